"""On a terminal: progress that moves, colours, the confirmation that is typed, Ctrl-C; and how each is turned off."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.cli.driver import COMMAND, Terminal, alchemy, environment, lamps, terminal

HALL = 'hall = Lamp("hall", wait=0.6)\nasync with alchemy.run("up"):\n    Lamp("bed", after=hall.place)'
SLOW = 'Lamp("slow", wait=1.5)\nLamp("quick")'


def lit(directory: Path) -> list[str]:
    place = directory / "hall"
    return sorted(name.rpartition("-")[0] for name in os.listdir(place)) if place.exists() else []


def test_a_deploy_on_a_terminal_moves_and_keeps_what_ended(tmp_path: Path) -> None:
    lamps(tmp_path, HALL + '\nprint("from [b]the[/b] program")')
    with terminal("deploy", cwd=tmp_path) as shown:
        assert shown.end() == 0
    assert re.search(r"[⠋-⠿] creating +house/prod/hall  Lamp  0\.\ds", shown.text)
    assert re.search(r"0 of \d done, 1 in flight", shown.text)
    for address in ("house/prod/hall", "house/prod/up/bed"):
        assert len(re.findall(rf"\+ created    {address}  Lamp  \d\.\ds\r\n", shown.text)) == 1
    assert "from [b]the[/b] program" in shown.text
    assert "\x1b[32m" in shown.raw
    assert shown.raw.rfind("\x1b[?25h") > shown.raw.rfind("\x1b[?25l")  # the cursor is back
    assert re.search(r"✓ house/prod deployed in \d\.\ds: 2 created\s*$", shown.text)


def test_plain_stands_still_and_no_color_has_no_colour(tmp_path: Path) -> None:
    lamps(tmp_path, HALL)
    with terminal("deploy", "--plain", cwd=tmp_path) as shown:
        assert shown.end() == 0
    assert "\x1b" not in shown.raw
    assert "+ creating   house/prod/hall" in shown.text
    with terminal("scope", "list", cwd=tmp_path, NO_COLOR="1") as shown:
        assert shown.end() == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", shown.raw)
    assert "└── " in shown.raw
    with terminal("scope", "list", "--plain", cwd=tmp_path) as shown:
        assert shown.end() == 0
    assert not set(shown.raw) & set("\x1b└├")
    with terminal("scope", "list", cwd=tmp_path, TERM="dumb", PYTHONIOENCODING="ascii") as shown:
        assert shown.end() == 0
    assert shown.raw.isascii()


def test_the_tree_on_a_terminal_has_its_columns_under_each_other(house: Path) -> None:
    with terminal("scope", "list", cwd=house) as shown:
        assert shown.end() == 0
    lines = shown.text.splitlines()
    assert [text.split()[-1] for text in lines] == ["ok", "ok", "ok", "ready", "ready"]
    assert len({text.rindex(text.split()[-1]) for text in lines}) == 1
    assert lines[-1].startswith("    └── hall")


def test_destroying_asks_for_the_last_part_of_the_path(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")')
    assert alchemy("deploy", cwd=tmp_path).code == 0
    for answer in ("yes\n", "house/prod\n", "\n", "\x04"):
        with terminal("destroy", "house/prod", cwd=tmp_path) as shown:
            shown.wait_for("Type prod to destroy house/prod: ")
            assert "− delete     house/prod/hall" in shown.text  # what will go stands above the question
            shown.type(answer)
            assert shown.end() == 2
        assert "error: that is not prod: nothing was done" in shown.text
    assert lit(tmp_path) == ["house-prod-hall"]
    with terminal("destroy", cwd=tmp_path) as shown:  # what the program opens
        shown.wait_for("Type prod to destroy house/prod: ")
        shown.send(signal.SIGINT)
        assert shown.end() == 130
    assert "Traceback" not in shown.text
    with terminal("destroy", cwd=tmp_path) as shown:
        shown.wait_for("Type prod to destroy house/prod: ")
        shown.type("prod\n")
        assert shown.end() == 0
    assert "house/prod destroyed in" in shown.text
    assert lit(tmp_path) == []


def test_ctrl_c_finishes_what_is_in_flight_and_ends_with_130(tmp_path: Path) -> None:
    lamps(tmp_path, SLOW + '\nawait Lamp("slower", wait=1.0)\nLamp("never")')
    with terminal("deploy", cwd=tmp_path) as shown:
        shown.wait_for("in flight")
        shown.type("\x03")
        assert shown.end() == 130
    assert "Traceback" not in shown.text
    assert re.search(r"▲ house/prod deploy interrupted after \d\.\ds: \d created", shown.text)
    assert lit(tmp_path) == ["house-prod-quick", "house-prod-slow", "house-prod-slower"]
    assert shown.raw.rfind("\x1b[?25h") > shown.raw.rfind("\x1b[?25l")
    assert "never" not in shown.text
    locks = alchemy("scope", "locks", cwd=tmp_path)
    assert "no locks" in locks.err


def test_ctrl_c_twice_leaves_at_once_with_the_cursor_visible(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("slow", wait=5.0)')
    with terminal("deploy", cwd=tmp_path) as shown:
        shown.wait_for("in flight")
        started = time.monotonic()
        shown.type("\x03")
        shown.wait_for("again to leave now")
        shown.type("\x03")
        assert shown.end() == 130
    assert time.monotonic() - started < 4.5
    assert "left at once: the next run looks up what was under way" in shown.text
    assert shown.raw.endswith("\n"), "the prompt of the shell is due on a line of its own"
    assert shown.raw.rfind("\x1b[?25h") > shown.raw.rfind("\x1b[?25l")


def test_sigterm_and_a_program_run_with_python_end_with_130_too(tmp_path: Path) -> None:
    program = lamps(tmp_path, 'Lamp("slow", wait=1.0)')
    by_command, by_python = [*COMMAND, "deploy"], [sys.executable, program.name]
    for command, number in ((by_command, signal.SIGTERM), (by_python, signal.SIGINT), (by_python, signal.SIGTERM)):
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stderr is not None
            while "creating" not in (said := process.stderr.readline()):
                assert said, "it ended early"
            process.send_signal(number)
            rest = process.stderr.read()
            assert process.wait(30) == 130, rest
        assert "Traceback" not in rest
        assert "interrupted after" in rest
        assert alchemy("destroy", "house", "--yes", cwd=tmp_path).code == 0


def test_ctrl_c_before_anything_is_open_ends_with_130(tmp_path: Path) -> None:
    program = tmp_path / "alchemy_run.py"
    program.write_text(
        "import asyncio\n\n\nasync def main() -> None:\n    print('here')\n    await asyncio.sleep(30)\n"
    )
    with terminal("deploy", cwd=tmp_path) as shown:
        shown.wait_for("here")
        shown.type("\x03")
        assert shown.end() == 130
    assert "Traceback" not in shown.text
    assert "Error" not in shown.text


def test_following_a_run_of_another_process_until_it_ends(tmp_path: Path) -> None:
    lamps(tmp_path, 'first = Lamp("first", until="go")\nLamp("second", after=first.place, wait=0.3)')
    deploy = Terminal(*COMMAND, "deploy", cwd=tmp_path)
    try:
        deploy.wait_for("in flight")
        with terminal("scope", "logs", "house/prod", "--follow", cwd=tmp_path) as shown:
            shown.wait_for("creating   house/prod/first")
            with terminal("scope", "logs", "house/prod", "-f", cwd=tmp_path) as other:
                other.wait_for("creating")
                other.type("\x03")
                assert other.end() == 0  # Ctrl-C is how one leaves it
                assert "Traceback" not in other.text
            (tmp_path / "go").touch()
            assert shown.end() == 0
        assert deploy.end() == 0
    finally:
        deploy.close()
    said = [re.search(r"(creating|created) +(\S+)", text) for text in shown.text.splitlines()]
    assert [found.groups() for found in said if found] == [
        ("creating", "house/prod/first"),
        ("created", "house/prod/first"),
        ("creating", "house/prod/second"),
        ("created", "house/prod/second"),
    ]


def test_a_waiting_deploy_says_whom_it_waits_for(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("slow", until="go")')
    with terminal("deploy", cwd=tmp_path) as first:
        first.wait_for("in flight")
        with terminal("deploy", "--plain", cwd=tmp_path) as second:
            second.wait_for(f"waiting for the lock of house/prod: held by .*pid {first.process.pid}.*for 30 s at most")
            with terminal("deploy", cwd=tmp_path) as third:
                third.wait_for("waiting for the lock")
                third.type("\x03")  # nothing is open yet: leaves at once
                assert third.end() == 130
                assert "Traceback" not in third.text
            (tmp_path / "go").touch()
            assert first.end() == 0
            assert second.end() == 0
        assert "nothing changed, 1 resource" in second.text
