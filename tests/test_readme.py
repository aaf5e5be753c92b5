"""What the README and the guides tell a reader to type is typed here, page by page, in an empty directory.

The convention, by fence and by the HTML comment on the line above it:

- ```bash is run by bash, in order, in one shell a page, so that `cd` and `export` hold as they do for the reader.
- ```console too: lines beginning with `$ ` are run, and what stands below each must be in its output, line for line
  in that order; `…` stands for anything.
- ```python is run as a program; with `<!-- file: NAME -->` above, any block is written to that file instead.
- ```toml and ```json have to parse. ```text is only looked at.
- `<!-- not run: reason -->` leaves the next block out. Few may, and the reason is for the reader of this page's source.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs" / "guides").rglob("*.md"))]
READ_ONLY = [REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]

NOT_RUN = 2  # blocks a page may leave out
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```[ ]*$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!-- (file|not run): (.+?) -->\n*\Z")
LANGUAGES = {"bash", "console", "python", "toml", "json", "text", "mermaid", "javascript"}


@dataclass(frozen=True)
class Block:
    line: int
    language: str
    text: str
    file: str = ""
    not_run: str = ""


def blocks(page: str) -> list[Block]:
    found = []
    for fence in FENCE.finditer(page):
        indent, language, text = fence.groups()
        comment = COMMENT.search(page[: fence.start()].removesuffix(indent))
        file, not_run = "", ""
        if comment:
            file, not_run = (comment[2], "") if comment[1] == "file" else ("", comment[2])
        text = re.sub(f"^{indent}", "", text, flags=re.MULTILINE)
        found.append(Block(page.count("\n", 0, fence.start()) + 1, language, text, file, not_run))
    return found


def commands(block: Block) -> list[tuple[str, list[str]]]:
    """Each command of a console block with the lines promised below it; a bash block is one that promises nothing."""
    if block.language == "bash":
        return [(block.text, [])]
    pairs: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            pairs.append((line[2:], []))
        elif line.strip():
            pairs[-1][1].append(line.strip())
    return pairs


def expected(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, line.split("…"))))


def script(page: list[Block], python: str) -> str:
    """One bash program for a page; a mark before each command says which one spoke, or failed."""
    lines = ["set -euo pipefail"]
    for number, (block, command, _) in enumerate(steps(page)):
        lines.append(f"printf '\\n@@ {number} line {block.line}\\n'")
        if block.file:
            directory = shlex.quote(str(Path(block.file).parent))
            lines.append(f"mkdir -p {directory}; printf %s {shlex.quote(command)} > {shlex.quote(block.file)}")
        elif block.language == "python":
            lines.append(f"{shlex.quote(python)} -c {shlex.quote(command)}")
        else:
            lines.append(command)
    return "\n".join([*lines, "printf '\\n@@ end\\n'"])


def steps(page: list[Block]) -> list[tuple[Block, str, list[str]]]:
    """What is done, in order: a file written, a program or a command run, with the output that is promised."""
    done: list[tuple[Block, str, list[str]]] = []
    for block in page:
        if block.not_run:
            continue
        if block.file or block.language == "python":
            done.append((block, block.text, []))
        elif block.language in {"bash", "console"}:
            done.extend((block, command, promised) for command, promised in commands(block))
    return done


def prepare(directory: Path) -> dict[str, str]:
    """Makes home, bin and work in it; the environment in which `alchemy` is our command."""
    home, bin_directory = directory / "home", directory / "bin"
    for place in (home, bin_directory, directory / "work"):
        place.mkdir()
    launcher = bin_directory / "alchemy"
    launcher.write_text(f"#!{sys.executable}\nimport sys\nfrom alchemy.cli import main\nsys.exit(main())\n")
    launcher.chmod(0o755)
    for name in ("python", "python3"):
        (bin_directory / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        (bin_directory / name).chmod(0o755)
    return {
        **os.environ,
        "HOME": str(home),
        "PATH": os.pathsep.join([str(bin_directory), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "core"), str(REPOSITORY)]),
        "PYTHONWARNINGS": "error",
    }


def follow(page: str, directory: Path, environment: dict[str, str] | None = None) -> list[str]:
    """Do what a page says, in `work` below an empty directory; return what did not go as it says.

    `environment`: from `prepare`, by who has put something into `work` before.
    """
    parts = blocks(page)
    environment = environment or prepare(directory)
    (directory / "page.sh").write_text(script(parts, sys.executable))
    run = subprocess.run(
        ["bash", str(directory / "page.sh")],
        cwd=directory / "work",
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    if run.returncode:
        return [f"exit code {run.returncode}\n{run.stdout}"]
    spoken = re.split(r"\n@@ (?:\d+ line \d+|end)\n", run.stdout)[1:]
    missing: list[str] = []
    for (block, command, promised), said in zip(steps(parts), spoken, strict=False):
        rest = iter(said.splitlines())
        missing.extend(
            f"line {block.line}: `{command}` did not say: {line}\nbut: {said}"
            for line in promised
            if not any(expected(line).search(heard) for heard in rest)
        )
    return missing


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_says_works_when_typed(page: Path, tmp_path: Path) -> None:
    assert follow(page.read_text(), tmp_path) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_few_blocks_of_a_page_are_left_out_and_each_language_is_known(page: Path) -> None:
    parts = blocks(page.read_text())
    assert len([block for block in parts if block.not_run]) <= NOT_RUN
    assert {block.language for block in parts} <= LANGUAGES
    assert page.read_text().count("```") == 2 * len(parts)
    for block in parts:
        if block.language == "toml":
            assert tomllib.loads(block.text)
        if block.language == "json":
            assert json.loads(block.text) is not None


def test_every_make_target_that_is_written_about_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for page in {*PAGES, *READ_ONLY}
        for target in re.findall(r"(?:`|^|\$ )make ([a-z]+)", page.read_text(), re.MULTILINE)
    }
    assert {"demo", "test", "quick"} <= named
    assert named <= targets


def test_every_link_to_a_file_of_the_repository_leads_somewhere() -> None:
    dead = [
        f"{page.name}: {link}"
        for page in {*PAGES, *READ_ONLY}
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text())
        if not re.match(r"[a-z]+:", link) and not (page.parent / link).exists()
    ]
    assert dead == []


def test_a_page_that_works_is_followed_to_its_end(tmp_path: Path) -> None:
    page = """
<!-- file: deep/hello.py -->
```python
print("hello")
```
```bash
cd deep
export NAME=world
```
```console
$ python hello.py
hello
$ echo "to the $NAME at 12:31" && pwd
to the … at 12:…
…/deep
```
<!-- not run: it would fail -->
```bash
exit 7
```
```python
print("a program")
```
"""
    assert follow(page, tmp_path) == []
    assert (tmp_path / "work" / "deep" / "hello.py").read_text() == 'print("hello")\n'


@pytest.mark.parametrize(
    ("page", "because"),
    [
        ("```bash\nfalse\n```\n", "exit code 1"),
        ("```bash\nfalse | true\n```\n", "exit code 1"),
        ("```python\nraise SystemExit(4)\n```\n", "exit code 4"),
        ("```console\n$ echo one\ntwo\n```\n", "did not say: two"),
        ("```console\n$ printf 'a\\nb\\n'\nb\na\n```\n", "did not say: a"),
    ],
)
def test_a_page_that_does_not_work_is_caught(page: str, because: str, tmp_path: Path) -> None:
    (reason,) = follow(page, tmp_path)
    assert because in reason
