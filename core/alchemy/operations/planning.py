"""Saved plans: made of what a plan pass found, written to a file, read back. Synchronous.

Neighbours: `model.plans` is the value, `model.moves` compares two, `engine.agreement` holds a run to one.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alchemy import wiring
from alchemy.errors import Refused, UsageError
from alchemy.model.plans import LARGEST, PlannedChange, PlannedDeletion, PlannedScope, SavedPlan, is_plan, row_marks
from alchemy.model.text import safe_text
from alchemy.operations.outfiles import write_out

if TYPE_CHECKING:
    from alchemy.engine.session import Run

_HEAD = 4096  # bytes that tell whether a file is a plan
_MOST = 6  # moves that are named in one error


def make_plan(
    runs: Sequence[Run], program: Path, *, stage: str, adopt: bool = False, refresh: bool = False
) -> SavedPlan:
    """Of the runs of a plan pass that went well."""
    if not runs:
        raise UsageError(f"{safe_text(program.name)} opened no scope: there is nothing to plan")
    return SavedPlan(
        made_at=runs[0].session.store.clock.now(),
        program=str(program),
        program_digest=hashlib.sha256(program.read_bytes()).hexdigest(),
        stage=stage,
        adopt=adopt,
        refresh=refresh,
        scopes=tuple(_scope(run) for run in runs),
    )


def _scope(run: Run) -> PlannedScope:
    fold, session = run.ledger.fold, run.session
    _, target = wiring.describe_target(session.store, session.options)
    steps = {
        step.row.key: step for plan in run.deletions for step in plan.deletions
    }  # a scope that ended early has one
    return PlannedScope(
        path=str(run.ledger.path),
        target=session.target,
        account=target.account if target else "",
        serial=fold.serial,
        epoch=fold.epoch,
        lineage=fold.lineage,
        rows=row_marks(fold),
        changes=tuple(PlannedChange.of(change) for change in sorted(run.planned, key=lambda c: c.address)),
        deletions=tuple(PlannedDeletion.of(step) for step in steps.values()),
    )


def refuse_moved(file: Path, found: Sequence[str]) -> None:
    """Refused, naming what moved (`model.moves`), unless nothing did."""
    if not found:
        return
    more = f"; and {len(found) - _MOST} more" if len(found) > _MOST else ""
    raise Refused(
        f"{safe_text(file)} is not what a deploy would do now: {'; '.join(found[:_MOST])}{more}",
        hint=f"look at a new plan: alchemy plan --out {safe_text(file)}",
    )


def refuse_overwriting(file: Path) -> None:
    """UsageError for what is there and is no plan: a typing error must not cost a file. An empty one costs nothing."""
    try:
        found = file.lstat()
        regular = stat.S_ISREG(found.st_mode)
        if regular and (found.st_size == 0 or is_plan(_head(file))):
            return
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(
            f"{safe_text(file)} cannot be looked at: {error.strerror}", hint="name another file"
        ) from error
    what = "it is no plan" if regular else "it is no ordinary file"
    raise UsageError(f"{safe_text(file)} is not overwritten: {what}", hint="name another file, or remove it")


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(_HEAD)


def write_plan(file: Path, plan: SavedPlan) -> None:
    """Whole or not at all, readable by its owner alone."""
    refuse_overwriting(file)
    write_out(file, plan.to_bytes(), "the plan", over=True)


def read_plan(file: Path) -> SavedPlan:
    """StateInvalid for a torn, edited or newer one."""
    try:
        if file.stat().st_size > LARGEST:
            raise UsageError(f"{safe_text(file)} is too large for a plan", hint="alchemy plan --out FILE makes one")
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"there is no plan {safe_text(file)}", hint="alchemy plan --out FILE makes one") from error
    except OSError as error:
        raise UsageError(f"{safe_text(file)} cannot be read: {error.strerror}", hint="name another file") from error
    return SavedPlan.from_bytes(data, file)
