"""Running the command line as users do: real processes, in a directory of their own, piped or on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
LIMIT = 60.0  # seconds for one process

# A kind of our own over files, so that a test sees what a "cloud" holds, and can make it slow or broken.
KINDS = '''
import asyncio
from pathlib import Path

from alchemy import Context, Outputs, Resource, alchemy, output, prop

HALL = Path(__file__).parent / "hall"


class Lamp(Resource, kind="test:Lamp"):
    """A file in the hall."""

    light: str = "warm"
    socket: str = prop(default="E27", fixed=True)
    wait: float = 0.0
    until: str = ""
    broken: bool = False
    after: str = ""
    place: str = output()

    async def create(self, ctx: Context) -> Outputs:
        await asyncio.sleep(self.wait)
        while self.until and not (HALL.parent / self.until).exists():
            await asyncio.sleep(0.02)
        if self.broken:
            raise RuntimeError("no bulb\\x1b[31m left")
        HALL.mkdir(exist_ok=True)
        (HALL / ctx.name).write_text(self.light)
        return {"place": f"hall of {self.id}"}

    async def read(self, ctx: Context) -> Outputs | None:
        return {"place": f"hall of {self.id}"} if (HALL / ctx.name).exists() else None

    async def observe(self, ctx: Context) -> dict[str, str] | None:
        if self.broken:
            raise RuntimeError("no ladder\\x1b[31m here")
        return {"light": (HALL / ctx.name).read_text()} if (HALL / ctx.name).exists() else None

    async def update(self, ctx: Context, before: "Lamp") -> Outputs:
        (HALL / ctx.name).write_text(self.light)
        return {"place": f"hall of {self.id}"}

    async def delete(self, ctx: Context) -> None:
        if before_delete := self.outputs.get("stuck"):
            raise RuntimeError(before_delete)
        (HALL / ctx.name).unlink(missing_ok=True)
'''


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    path = os.pathsep.join([str(REPOSITORY / "core"), str(REPOSITORY)])
    return {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "error", "TERM": "xterm-256color", **(extra or {})}


COMMAND = [sys.executable, "-m", "alchemy.cli"]


def alchemy(*arguments: str | bytes, cwd: Path, **extra: str) -> Done:
    """Piped; upper-case keywords are environment variables."""
    return execute([*COMMAND, *arguments], cwd, extra)


def python(*arguments: str, cwd: Path, **extra: str) -> Done:
    return execute([sys.executable, *arguments], cwd, extra)


@dataclass(frozen=True)
class Call:
    """One command line, for `forked`."""

    typed: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


def forked(calls: Sequence[Call], cwd: Path) -> list[Done]:
    """Each in a process of its own, forked from one that has loaded the command line: fifty in the time of two."""
    asked = json.dumps([{"typed": call.typed, "environment": dict(call.environment)} for call in calls])
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("forks.py"))],
        cwd=cwd,
        env=environment(),
        input=asked.encode(),
        capture_output=True,
        timeout=LIMIT,
    )
    assert run.returncode == 0, run.stderr.decode()
    return [Done(**answer) for answer in json.loads(run.stdout)]


def execute(command: list[str | bytes] | list[str], cwd: Path, extra: Mapping[str, str]) -> Done:
    run = subprocess.run(
        command, cwd=cwd, env=environment(extra), stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT
    )
    return Done(run.returncode, run.stdout.decode(), run.stderr.decode())


class Terminal:
    """A process whose three streams are one terminal of 100 by 30."""

    def __init__(self, *command: str, cwd: Path, **extra: str) -> None:
        self._own, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", _TAKE_TERMINAL, *command],
            cwd=cwd,
            env=environment(extra),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.raw = ""

    def wait_for(self, pattern: str) -> None:
        """Until what was shown so far matches."""
        end = time.monotonic() + LIMIT
        while not re.search(pattern, self.text):
            assert time.monotonic() < end, f"{pattern!r} was never shown:\n{self.raw}"
            assert self._read(0.2) or self.process.poll() is None, f"{pattern!r} was never shown:\n{self.raw}"

    def type(self, text: str) -> None:
        os.write(self._own, text.encode())

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """The exit code, after everything was read."""
        end = time.monotonic() + LIMIT
        while self._read(0.2) or self.process.poll() is None:
            assert time.monotonic() < end, self.raw
        return self.process.wait()

    @property
    def text(self) -> str:
        """What was shown, without colours and movements."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._own], [], [], seconds)[0]:
            return False
        try:
            chunk = os.read(self._own, 65536)
        except OSError:  # nobody holds the other side any more
            return False
        self.raw += chunk.decode("utf-8", "replace")
        return bool(chunk)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._own)


# A new session has no terminal until somebody takes one: only then is Ctrl-C a signal.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)


@contextlib.contextmanager
def terminal(*arguments: str, cwd: Path, **extra: str) -> Iterator[Terminal]:
    shown = Terminal(*COMMAND, *arguments, cwd=cwd, **extra)
    try:
        yield shown
    finally:
        shown.close()


def lamps(directory: Path, body: str, *, app: str = "house", stage: str = "prod", name: str = "alchemy_run.py") -> Path:
    """A program of lamps; `body` stands inside the stage."""
    directory.mkdir(parents=True, exist_ok=True)
    indented = "".join(f"        {text}\n" for text in body.strip().splitlines())
    opening = f'async with alchemy("{app}", stage="{stage}") as scope:' if stage else f'async with alchemy("{app}"):'
    (directory / "lamp.py").write_text(KINDS)
    program = directory / name
    program.write_text(
        "import asyncio\n\nfrom lamp import Lamp\nfrom alchemy import alchemy\n\n\n"
        f"async def main() -> None:\n    {opening}\n{indented}\n\n"
        'if __name__ == "__main__":\n    asyncio.run(main())\n'
    )
    return program
