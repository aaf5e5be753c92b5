"""`alchemy demo`: a sample project, deployed twice to the local cloud, and the dashboard on what came of it.

Can be run again and again, also after it was interrupted. A program that somebody changed is deployed as it is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alchemy.cli import sample
from alchemy.cli.options import Command, Given, shared
from alchemy.cli.terminal import counted, is_terminal
from alchemy.cli.tones import coloured, joined, line
from alchemy.errors import Refused, StorageFailed
from alchemy.model.text import safe_text

if TYPE_CHECKING:
    from alchemy.operations.shapes import View

# The demo goes to the local cloud, whatever account the shell is set up for, and into its own directory.
_NOT_FOR_IT = ("CLOUDFLARE_", "R2_", "ALCHEMY_STAGE", "ALCHEMY_STATE_DIR", "ALCHEMY_DESTROY_STRATEGY")


@click.command(cls=Command)
@click.argument("directory", metavar="[DIR]", default="alchemy-demo")
@shared
def demo(given: Given, directory: str) -> None:
    """Write a sample project into DIR, deploy it, change it, deploy it again, and open the dashboard on it.

    Always goes to the local cloud. Without a terminal it prints the tree and a summary instead of the dashboard.
    """
    root = Path(directory).expanduser().absolute()
    program = root / sample.NAME
    ours = _write(root)
    if ours:
        _heading(given, f"Deploying version 1 of {_shown(program)}")
        _put(program, sample.FIRST)
        _deploy(given, root)
        _heading(given, f"Version 2 drops {', '.join(sample.GONE)} and changes api: deploying again")
        _put(program, sample.SECOND)
    else:
        _heading(given, f"{_shown(program)} was changed: deploying it as it is")
    _deploy(given, root)
    if all(is_terminal(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)) and not given.plain:
        if _open_dashboard(given, root):
            _next(given, root)
        return
    _tell(given, root)


def _write(root: Path) -> bool:
    """The files that are missing; false when the program there is not one of ours."""
    program = root / sample.NAME
    try:
        if root.is_dir() and not program.exists() and (root / "pyproject.toml").exists():
            text = (root / "pyproject.toml").read_text(encoding="utf-8", errors="replace")
            if text != sample.PROJECT:
                raise Refused(f"{_shown(root)} holds another project", hint="alchemy demo some/new/directory")
        for name, text in sample.FILES.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_text(text, encoding="utf-8")
        there = program.read_text(encoding="utf-8", errors="replace") if program.exists() else sample.FIRST
    except OSError as error:
        raise _unwritable(root, error) from error
    return there in (sample.FIRST, sample.SECOND)


def _put(program: Path, text: str) -> None:
    """Whole or not at all: what is there decides whether the next demo takes it for its own."""
    try:
        new = program.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(program)
    except OSError as error:
        raise _unwritable(program, error) from error


def _unwritable(path: Path, error: OSError) -> StorageFailed:
    return StorageFailed(f"cannot write {_shown(path)}: {error.strerror}", hint="alchemy demo some/other/directory")


def _deploy(given: Given, root: Path) -> None:
    """In a process of its own, as somebody would type it: no program runs twice in one interpreter."""
    from alchemy.cli.failures import Ended

    environment = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_IT)}
    command = [sys.executable, "-P", "-m", "alchemy.cli", "deploy", "--state-dir", str(_state_dir(given, root))]
    for flag, wanted in (("--plain", given.plain), ("--verbose", given.verbose), ("--quiet", given.quiet)):
        command += [flag] if wanted else []
    sys.stdout.flush()
    child = subprocess.Popen(command, cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    interrupted = False
    while child.returncode is None:
        try:
            child.wait()
        except KeyboardInterrupt:  # the terminal told the deploy as well: it finishes what is in flight, we wait for it
            interrupted = True
    if interrupted or child.returncode:
        raise Ended(130 if interrupted or child.returncode < 0 else child.returncode)


def _state_dir(given: Given, root: Path) -> Path:
    return given.state_dir or root / ".alchemy"


def _open_dashboard(given: Given, root: Path) -> bool:
    """False when there is none: then the tree is printed."""
    from alchemy.cli.commands import plugin

    command = plugin("tui")
    if command is None:
        _tell(given, root)
        return False
    with contextlib.chdir(root):
        command.main(["--state-dir", str(_state_dir(given, root))], prog_name="alchemy tui", standalone_mode=False)
    return True


def _tell(given: Given, root: Path) -> None:
    from alchemy.cli.pages import Page
    from alchemy.cli.scope.tree import branch
    from alchemy.operations.workspace import Workspace

    workspace = Workspace(_state_dir(given, root))
    view = workspace.refresh()
    page = Page(plain=given.plain)
    page.tree([branch(view, view.scopes[path]) for path in view.applications])
    page.say()
    backups = sum(len(workspace.backups(owner)) for owner in _owners(view))
    runs = sum(len(found) for found in view.runs.values())
    page.say(
        f"{counted(len(view.resources), 'resource')} in {counted(len(view.scopes), 'scope')}, "
        f"{counted(runs, 'run')} on record, {counted(backups, 'backup')}"
    )
    page.show()
    sys.stdout.flush()
    _next(given, root)


def _owners(view: View) -> list[str]:
    return sorted({node.owner for node in view.scopes.values() if node.owner in view.runs})


def _next(given: Given, root: Path) -> None:
    if given.quiet:
        return
    name = _typed()
    sys.stderr.write(f"\nIt is in {_shown(root)}. Try:\n  cd {_shown(root)}\n")
    for command, says in (
        ("tui", "the dashboard"),
        ("scope inspect lantern/prod", "one stage: health, runs, backups"),
        ("scope logs lantern/prod", "what the last run did"),
        ("plan", f"what a deploy would do, once you have changed {sample.NAME}"),
        ("destroy lantern/dev", "a whole stage, after asking"),
    ):
        sys.stderr.write(f"  {name} {command:<28}{says}\n")


def _typed() -> str:
    """How this command is typed here: by its place when it is not on the path."""
    if shutil.which("alchemy"):
        return "alchemy"
    place = Path(sys.argv[0]).absolute()
    return "python -m alchemy.cli" if place.name == "__main__.py" else safe_text(place)


def _heading(given: Given, text: str) -> None:
    if not given.quiet:
        colour = coloured(sys.stderr, plain=given.plain)
        sys.stderr.write("\n" + joined(line((text, "title")), colour=colour) + "\n")
        sys.stderr.flush()


def _shown(path: Path) -> str:
    try:
        return safe_text(path.relative_to(Path.cwd()))
    except ValueError:
        return safe_text(path)
