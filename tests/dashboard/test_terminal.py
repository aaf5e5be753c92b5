"""The command in a real terminal (a pseudo one): it starts, shows, resizes, ends, and gives the terminal back."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PATIENCE = 30.0  # seconds


class Terminal:
    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.master = master
        self.output = b""

    def read(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self.master], [], [], 0.05)
            if ready:
                try:
                    self.output += os.read(self.master, 65536)
                except OSError:  # the other side is closed
                    return

    def sees(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text.encode() not in self.output:
            assert time.monotonic() < deadline, f"{text!r} never came: {self.output[-2000:]!r}"
            self.read(0.1)

    def type(self, keys: str) -> None:
        self.output = b""
        os.write(self.master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        self.output = b""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def ends(self) -> int:
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read(0.05)
        self.read(0.2)
        return self.process.wait(timeout=1)


@contextmanager
def terminal(*arguments: str, cwd: Path) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "core"), str(ROOT)]),
        "TERM": "xterm-256color",
        "PYTHONIOENCODING": "utf-8",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "alchemy_tui", *arguments],
        cwd=cwd,
        env=environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_it_opens_on_nothing_fills_when_asked_and_gives_the_terminal_back(tmp_path: Path) -> None:
    with terminal(cwd=tmp_path) as screen:
        screen.sees("There is no state directory yet.")
        screen.type("?")
        screen.sees("Help")
        screen.type("\x1b")
        screen.read(0.5)
        screen.resize(120, 40)
        screen.sees("palette")
        screen.type("q")
        assert screen.ends() == 0
        assert b"\x1b[?1049l" in screen.output, "the alternate screen is left"
    assert not (tmp_path / ".alchemy").exists(), "looking makes nothing"


def test_read_only_is_shown(tmp_path: Path) -> None:
    with terminal("--read-only", "--state-dir", "elsewhere", cwd=tmp_path) as screen:
        screen.sees("READ-ONLY")
        screen.sees("elsewhere")
        screen.type("q")
        assert screen.ends() == 0


def test_an_ascii_terminal_gets_ascii(tmp_path: Path) -> None:
    with terminal("--ascii", cwd=tmp_path) as screen:
        screen.sees("There is no state directory yet.")
        screen.type("q")
        assert screen.ends() == 0
        assert "─".encode() not in screen.output


def test_without_a_terminal_it_says_what_prints_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "alchemy_tui"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "core"), str(ROOT)])},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert done.returncode == 2
    assert "alchemy scope list" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_project_file_it_cannot_read_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.alchemy]\nstat_dir = 'x'\n")
    with terminal(cwd=tmp_path) as screen:
        assert screen.ends() != 0
        assert b"stat_dir" in screen.output
        assert b"Traceback" not in screen.output
