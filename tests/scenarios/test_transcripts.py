"""Programs in, terminal transcripts out: each `*.txt` beside this file is typed as it stands and has to show the same.

A transcript is a sentence, then parts: `=== FILE` writes a file, `=== $ COMMAND` types a command and shows what comes
back, standard output before standard error, and `[CODE]` where it is not 0. `…` stands for anything on a line.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from tests.cli.driver import Call, forked, terminal

HERE = Path(__file__).parent
WIDTH = 80


@dataclass(frozen=True)
class Part:
    """`head` is a file's name, or `$ command`."""

    head: str
    body: str


def parts(text: str) -> list[Part]:
    found = re.split(r"^=== (.+)\n", text, flags=re.MULTILINE)[1:]
    return [Part(head, body.strip("\n")) for head, body in zip(found[::2], found[1::2], strict=True)]


def call(command: str) -> Call:
    words = shlex.split(command)
    environment = []
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        environment.append((name, value))
    assert words.pop(0) == "alchemy"
    return Call(tuple(words), tuple(environment))


def shown(directory: Path, *commands: str) -> list[str]:
    """One after the other."""
    return [
        f"{done.out}{done.err}{f'[{done.code}]' if done.code else ''}".strip("\n")
        for done in forked([call(command) for command in commands], directory)
    ]


def alike(promised: str, found: str) -> bool:
    pattern = "\n".join(re.escape(line.rstrip()).replace("…", ".*") for line in promised.splitlines())
    return re.fullmatch(pattern, "\n".join(line.rstrip() for line in found.splitlines())) is not None


@pytest.mark.slow
@pytest.mark.parametrize("file", sorted(HERE.glob("*.txt")), ids=lambda file: file.stem)
def test_a_transcript_is_what_a_terminal_shows(file: Path, tmp_path: Path) -> None:
    said: list[tuple[Part, str]] = []
    for typed, together in groupby(parts(file.read_text()), key=lambda part: part.head.startswith("$ ")):
        some = list(together)
        if typed:
            said += zip(some, shown(tmp_path, *(part.head[2:] for part in some)), strict=True)
        for part in [] if typed else some:
            (tmp_path / part.head).write_text(part.body + "\n")
    assert said
    for part, found in said:
        assert alike(part.body, found), f"{file.name}: {part.head}\n--- promised\n{part.body}\n--- shown\n{found}"


def test_a_transcript_fits_the_terminal_that_most_people_have() -> None:
    """What is meant to be read; errors are one line however long, so that a log finds them."""
    for file in HERE.glob("*.txt"):
        for part in parts(file.read_text()):
            if part.head.startswith("$ alchemy plan"):
                long = [line for line in part.body.splitlines() if len(line) > WIDTH and not line.startswith("error: ")]
                assert long == [], file.name


def test_the_comparison_of_transcripts_sees_a_difference() -> None:
    assert alike("a … c\nd", "a b c\nd  ")
    assert not alike("a … c", "a b c\nd")
    assert not alike("a.c", "abc")


@pytest.mark.slow
def test_on_a_terminal_the_differences_have_colours(tmp_path: Path) -> None:
    first, second = (
        part.body for part in parts((HERE / "plan-changes.txt").read_text()) if part.head == "alchemy_run.py"
    )
    (tmp_path / "alchemy_run.py").write_text(first)
    (done,) = forked([Call(("deploy", "-q"))], tmp_path)
    assert done.code == 0, done.err
    (tmp_path / "alchemy_run.py").write_text(second)
    with terminal("plan", cwd=tmp_path) as screen:
        assert screen.end() == 0
    red, green, yellow, bold = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[1m"
    assert f"{yellow}± replace  \x1b[0mshop/prod/db" in screen.raw, screen.raw
    assert f'{red}"weur"\x1b[0m' in screen.raw
    assert f'{green}"enam"\x1b[0m' in screen.raw
    assert f"{bold}shop/prod\x1b[0m" in screen.raw
    with terminal("plan", "--plain", cwd=tmp_path) as screen:
        assert screen.end() == 0
    assert "\x1b" not in screen.raw
