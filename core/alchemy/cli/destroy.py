"""`alchemy destroy`: everything in the scopes a program opens, or in one stored scope, dependents first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alchemy.cli.options import Command, Given, shared, stage_option
from alchemy.errors import StateInvalid, UsageError
from alchemy.model.text import safe_text
from alchemy.settings import STRATEGIES

if TYPE_CHECKING:
    from alchemy.model.deletions import DeletionPlan
    from alchemy.model.paths import ScopePath
    from alchemy.store.store import Store


@click.command(cls=Command)
@click.argument("what", metavar="[PROGRAM | SCOPE]", required=False)
@stage_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--strategy", type=click.Choice(STRATEGIES), help="How many at once.  [default: sequential]")
@click.option("--force", is_flag=True, help="Do not ask, and go on after a failure. Protected resources stay refused.")
@shared
def destroy(given: Given, what: str | None, stage: str, yes: bool, strategy: str | None, force: bool) -> None:
    """Delete everything in the scopes that PROGRAM opens (default: alchemy_run.py), or in the stored scope SCOPE.

    Shows what will go, and asks for the last part of the path. Dependents go before what they use.
    """
    options: dict[str, Any] = {"destroy_strategy": strategy} if strategy else {}
    if force:
        options["force"] = True
    if _is_program(given, what):
        _by_program(given, what, stage, options, yes=yes or force)
    else:
        assert what is not None
        _stored(given, what, stage, options, yes=yes or force)


def _is_program(given: Given, what: str | None) -> bool:
    """A file, or a folder with a program in it; UsageError when a stored scope has the same name."""
    if what is None or what.endswith(".py") or Path(what).is_file():
        return True
    if not what or not (Path(what) / "alchemy_run.py").is_file():
        return False
    from alchemy.operations.workspace import Workspace

    if what in Workspace(given.store).refresh().scopes:
        raise UsageError(
            f"{safe_text(what, 200)} is a scope in the state and a folder with a program",
            hint=f"name the program: alchemy destroy {safe_text(what, 200)}/alchemy_run.py",
        )
    return True


def _by_program(given: Given, what: str | None, stage: str, options: dict[str, Any], *, yes: bool) -> None:
    from alchemy.cli.running import program_of, run
    from alchemy.operations.destroying import plan_destroy

    program = program_of(given, what)
    if not yes:
        opened = _opened(given, program, stage)
        plans = [plan for store, path in opened for plan in plan_destroy(store, path, given.project)]
        paths = list(dict.fromkeys(path for _, path in opened))
        if not _show(plans):
            from alchemy.cli.doomed import nothing

            _say(nothing(plans, "nothing is stored: there is nothing to destroy"))
            return
        _ask(paths, yes=False)
    run(given, program, phase="destroy", stage=stage, options=options, shows_plan=yes).raise_error()


def _stored(given: Given, what: str, stage: str, options: dict[str, Any], *, yes: bool) -> None:
    import asyncio

    from alchemy import wiring
    from alchemy.cli.failures import CommandFailed
    from alchemy.cli.running import narrator
    from alchemy.model.paths import ScopePath
    from alchemy.operations.destroying import destroy_stored, plan_destroy

    path = ScopePath.parse(what)
    if stage:
        if path.parent is not None:
            raise UsageError(f"{path} and --stage {safe_text(stage, 80)} contradict each other", hint="leave one out")
        path = path.child(stage)
    chosen = given.options(**options)
    plans = plan_destroy(given.store, path, given.project)
    if not (yes or given.quiet):
        _say(f"{path}: target: {wiring.describe_target(given.store, chosen)[0]}")
    if _show(plans, quiet=given.quiet and yes):
        _ask([path], yes=yes)
    told = narrator(given)
    try:
        asyncio.run(destroy_stored(given.store, path, chosen, project=given.project, listener=told))
    except Exception as error:
        raise CommandFailed(told.told) from error
    finally:
        told.finish()


def _opened(given: Given, program: Path, stage: str) -> list[tuple[Store, ScopePath]]:
    """What the program opens, from a plan in a child process: no program runs twice in one interpreter."""
    from alchemy.cli.failures import Ended
    from alchemy.model.paths import ScopePath
    from alchemy.store.place import find_store

    command = [sys.executable, "-P", "-m", "alchemy.cli", "plan", str(program), "--json", "--quiet"]
    command += ["--stage", stage] if stage else []
    command += ["--state-dir", str(given.state_dir)] if given.state_dir else []
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env={**os.environ})
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise Ended(done.returncode)
    try:
        scopes = json.loads(done.stdout)["scopes"]
        places = {given.store.place: given.store}
        for name in {found["state_dir"] for found in scopes} - {given.store.place}:
            places[name] = find_store(given.project, name)
        return [(places[found["state_dir"]], ScopePath.parse(found["scope"])) for found in scopes]
    except (ValueError, KeyError) as error:
        raise StateInvalid(f"what {safe_text(program.name)} opens cannot be read", hint="add --yes") from error


def _show(plans: list[DeletionPlan], *, quiet: bool = False) -> bool:
    """What will go, on stderr; false when nothing will. Refused when something in it is protected.

    Whoever is asked sees it; `quiet` is for those who are not.
    """
    from alchemy.cli import doomed
    from alchemy.engine.finalize import refuse_protected

    for plan in plans:
        refuse_protected(plan)
    return doomed.show(plans, "to destroy", quiet=quiet)


def _ask(paths: list[ScopePath], *, yes: bool) -> None:
    from alchemy.cli import consent

    if len(paths) == 1:
        consent.ask(paths[0].name, f"destroy {paths[0]}", yes=yes)
    else:
        apps = " ".join(dict.fromkeys(path.app for path in paths))
        consent.ask(apps, f"destroy {', '.join(map(str, paths))}", yes=yes)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
