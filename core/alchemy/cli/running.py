"""Running a user's program for a command: the same way for deploy, plan and destroy, with a narrator on stderr."""

from __future__ import annotations

import asyncio
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alchemy.cli.failures import CommandFailed
from alchemy.cli.narration import Narrator, show_calls
from alchemy.cli.options import Given
from alchemy.engine.session import Run, recorded_runs
from alchemy.errors import UsageError
from alchemy.model.events import Entry
from alchemy.model.paths import check_name
from alchemy.operations.programs import find_program, run_program
from alchemy.settings import Invocation


@dataclass
class Ran:
    """One Run for each scope with a journal that the program opened, also when it failed on the way."""

    runs: list[Run] = field(default_factory=list)
    error: Exception | None = None
    told: set[str] = field(default_factory=set)  # addresses whose failure was shown

    def raise_error(self) -> None:
        if self.error is not None:
            raise CommandFailed(self.told) from self.error


def program_of(given: Given, argument: str | None) -> Path:
    """UsageError for an empty one: `alchemy destroy "$PROGRAM"` with the variable unset means nobody's program."""
    if argument == "":
        raise UsageError("the program's name is empty", hint="name it, or leave it out for alchemy_run.py")
    return find_program(argument, given.project)


def narrator(given: Given, *, shows_plan: bool = False) -> Narrator:
    made = Narrator(sys.stderr, plain=given.plain, quiet=given.quiet, verbose=given.verbose, shows_plan=shows_plan)
    if given.verbose:
        show_calls(made.say)
    return made


def run(
    given: Given,
    program: Path,
    *,
    phase: str,
    stage: str,
    options: dict[str, Any] | None = None,
    shows_plan: bool = False,
    prints_to_stderr: bool = False,
    yes: bool = False,
    agreed: Any = None,
) -> Ran:
    """`prints_to_stderr`: what the program prints stays out of a JSON document on stdout.

    `yes`: consent to what replacements lose. `agreed`: engine.agreement.Agreement, the plan that it is held to.
    """
    if stage:
        check_name(stage, "stage")
    told = narrator(given, shows_plan=shows_plan)
    ran = Ran(told=told.told)

    def listen(entry: Entry) -> None:
        recorded = recorded_runs.get()
        if recorded is not None:
            ran.runs = recorded  # the list that grows as scopes open: at hand also when the program raises
        told(entry)

    asked = Invocation(
        phase=phase,
        stage=stage,
        state_dir=given.state_dir,
        options={**given.values, **(options or {})},
        listener=listen,
        yes=yes,
        agreed=agreed,
    )
    try:
        if prints_to_stderr:
            with redirect_stdout(sys.stderr):
                asyncio.run(run_program(program, asked))
        else:
            asyncio.run(run_program(program, asked))
    except Exception as error:
        ran.error = error
    finally:
        told.finish()
    if not ran.runs and ran.error is None:
        told.write(f"{program.name} opened no scope: nothing was done")
    return ran
