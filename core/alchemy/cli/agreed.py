"""`alchemy deploy --plan FILE`: what was agreed and nothing else.

Neighbours: `deploy` is the command, `plan` makes the file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from alchemy.cli.options import Given
from alchemy.cli.running import Ran
from alchemy.cli.tones import line
from alchemy.errors import Refused, UsageError
from alchemy.model.plans import SavedPlan
from alchemy.model.text import safe_text

_MOST = 20  # differences that are listed


def carry_out(given: Given, program: Path, file: Path, *, stage: str, options: dict[str, bool], yes: bool) -> Ran:
    """Plans again in a child process and compares; then runs, held to the plan step by step.

    `options` are those that were typed; the plan has its own.
    """
    from alchemy.cli.running import run
    from alchemy.engine.agreement import Agreement
    from alchemy.operations.planning import read_plan

    planned = read_plan(file)
    _refuse_other_options(planned, stage, options)
    _refuse_moved(given, file, planned, _plan_again(given, program, planned))
    _refuse_losses(planned, yes=yes)
    agreement = Agreement(planned)
    ran = run(given, program, phase="up", stage=planned.stage, options=_options(planned), yes=yes, agreed=agreement)
    if ran.error is not None and agreement.broken and not isinstance(ran.error, Refused):
        left = Refused(
            f"the run left its plan and stopped: {agreement.broken[0]}",
            hint=f"what was done is done; look at a new plan: alchemy plan --out {safe_text(file)}",
        )
        left.__cause__ = ran.error
        ran.error = left
    return ran


def _options(planned: SavedPlan) -> dict[str, bool]:
    """Those that it was made with."""
    given = {"adopt": planned.adopt, "refresh": planned.refresh}
    return {name: True for name, wanted in given.items() if wanted}


def _refuse_other_options(planned: SavedPlan, stage: str, options: dict[str, bool]) -> None:
    if stage and stage != planned.stage:
        was = f"with --stage {safe_text(planned.stage, 80)}" if planned.stage else "without --stage"
        raise UsageError(f"the plan was made {was}, not with {safe_text(stage, 80)!r}", hint="leave --stage out")
    for name in options.keys() - _options(planned).keys():
        raise UsageError(f"the plan was made without --{name}", hint=f"leave it out, or plan with --{name}")


def _refuse_moved(given: Given, file: Path, planned: SavedPlan, now: SavedPlan) -> None:
    """Each on a line of its own where there are several."""
    from alchemy.cli.running import narrator
    from alchemy.model.moves import moves
    from alchemy.operations.planning import refuse_moved

    found = moves(planned, now)
    if len(found) < 2:
        refuse_moved(file, found)
        return
    told = narrator(given)
    for each in found[:_MOST]:
        told.print(line("  ", (f"{told.signs.failed} ", "bad"), each))
    if len(found) > _MOST:
        told.print(line(f"    and {len(found) - _MOST} more"))
    raise Refused(
        f"{safe_text(file)} is not what a deploy would do now: {len(found)} differences, nothing was done",
        hint=f"look at a new plan: alchemy plan --out {safe_text(file)}",
    )


def _refuse_losses(planned: SavedPlan, *, yes: bool) -> None:
    binding = [change for change in planned.losses if "--yes" not in change.loses]
    if not planned.losses or (yes and not binding):
        return
    named = "; ".join(f"{change.address}: {change.loses}" for change in (binding if yes else planned.losses))
    hint = "pass allow_data_loss=True in the program, and plan again" if binding else "add --yes when that is meant"
    raise Refused(f"the plan holds what needs consent, nothing was done: {safe_text(named, 600)}", hint=hint)


def _plan_again(given: Given, program: Path, planned: SavedPlan) -> SavedPlan:
    """In a child process: no program runs twice in one interpreter."""
    from alchemy.cli.failures import Ended
    from alchemy.operations.planning import read_plan

    with tempfile.TemporaryDirectory(prefix="alchemy-") as directory:
        file = Path(directory, "plan")
        command = [sys.executable, "-P", "-m", "alchemy.cli", "plan", str(program), "--quiet", "--plain"]
        command += ["--out", str(file)]
        command += ["--stage", planned.stage] if planned.stage else []
        command += [f"--{name}" for name in _options(planned)]
        command += ["--state-dir", str(given.state_dir)] if given.state_dir else []
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env={**os.environ})
        if done.returncode:
            sys.stderr.write(done.stderr)
            raise Ended(done.returncode)
        return read_plan(file)
