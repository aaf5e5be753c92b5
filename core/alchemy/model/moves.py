"""What moved between a saved plan and what would be done now: state, program or target, in words. Pure.

Neighbours: `plans` has the values; `engine.agreement` holds a run to a plan step by step.
"""

from __future__ import annotations

from collections.abc import Iterator

from alchemy.model.fold import Fold
from alchemy.model.plans import PlannedChange, PlannedDeletion, PlannedScope, SavedPlan, row_marks
from alchemy.model.text import safe_text

_MOST = 4  # rows that are named; a whole stage would be a page


def moves(planned: SavedPlan, now: SavedPlan) -> list[str]:
    """One sentence each; empty when the same would be done to the same state of the same target."""
    found: list[str] = []
    for scope in planned.scopes:
        other = now.scope(scope.path)
        if other is None:
            found.append(f"{scope.path}: the program does not open it any more")
            continue
        if not same_target(scope, other.target, other.account):
            found.append(f"{scope.path}: planned for {safe_text(scope.target)}, now it would go to {other.target}")
        state = _state(scope, other.serial, other.lineage, other.rows)
        if state:
            found.append(state)
        found += _changes(scope, other)
        found += _deletions(scope, other)
    found += [f"{scope.path}: not in the plan" for scope in now.scopes if planned.scope(scope.path) is None]
    return found


def same_target(planned: PlannedScope, target: str, account: str) -> bool:
    """By account. A local cloud that did not exist yet has none: whichever is there now is meant."""
    return planned.account == account if planned.account else planned.target == target


def state_moves(planned: PlannedScope, fold: Fold) -> str:
    """How the journal differs from what the plan was made on; empty when it does not."""
    return _state(planned, fold.serial, fold.lineage, row_marks(fold))


def _state(planned: PlannedScope, serial: int, lineage: str, rows: tuple[tuple[str, int, str], ...]) -> str:
    if (planned.serial, planned.lineage, planned.rows) == (serial, lineage, rows):
        return ""
    before = {(address, generation): mark for address, generation, mark in planned.rows}
    after = {(address, generation): mark for address, generation, mark in rows}
    names = [
        f"{safe_text(address, 200)}{' (former)' if generation >= 0 else ''} {what}"
        for address, generation in sorted(before.keys() | after.keys())
        if (what := _row(before.get((address, generation)), after.get((address, generation))))
    ]
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    which = f": {', '.join(names[:_MOST])}{more}" if names else ""
    if planned.serial != serial:
        return f"{planned.path}: its state was at serial {planned.serial} when planned, now it is at {serial}{which}"
    return f"{planned.path}: its state is another one of the same serial {serial}{which}"


def _row(before: str | None, after: str | None) -> str:
    if before == after:
        return ""
    return "is new" if before is None else "is gone" if after is None else "changed"


def _changes(planned: PlannedScope, now: PlannedScope) -> Iterator[str]:
    before = {change.address: change for change in planned.changes}
    after = {change.address: change for change in now.changes}
    for address, change in before.items():
        other = after.get(address)
        if other is None:
            yield f"{safe_text(address)}: planned {_said(change)}, now the program does not declare it"
        elif _essence(change) != _essence(other):
            yield f"{safe_text(address)}: planned {_said(change)}, now {_said(other, change)}"
    for address, change in after.items():
        if address not in before:
            yield f"{safe_text(address)}: not in the plan, now {_said(change)}"


def _essence(change: PlannedChange) -> tuple[object, ...]:
    return (
        change.action,
        change.kind,
        change.wish,
        change.open,
        change.found,
        change.loses,
        change.follows,
        change.resume,
        change.verify,
    )


def _said(change: PlannedChange, than: PlannedChange | None = None) -> str:
    """`than`: another one that it is told apart from."""
    said = f"{safe_text(change.action, 20)} ({safe_text(change.reason, 200)})"
    if than is None or (than.action, than.reason) != (change.action, change.reason):
        return said
    if than.kind != change.kind:
        return f"{said} of kind {safe_text(change.kind, 80)}"
    was = {d.path: repr((d.after, d.will, d.unknown)) for d in than.diff}
    now = {d.path: repr((d.after, d.will, d.unknown)) for d in change.diff}
    paths = sorted(path for path in was.keys() | now.keys() if was.get(path) != now.get(path))
    return f"{said} to other values{': ' + safe_text(', '.join(paths), 200) if paths else ''}"


def _deletions(planned: PlannedScope, now: PlannedScope) -> Iterator[str]:
    before = {step.identity: step for step in planned.deletions}
    after = {step.identity: step for step in now.deletions}
    for identity, step in before.items():
        other = after.get(identity)
        if other is None:
            yield f"{safe_text(step.address)}: planned {_fate(step)}, now it stays"
        elif (step.action, step.kind, step.blocked) != (other.action, other.kind, other.blocked):
            yield f"{safe_text(step.address)}: planned {_fate(step)}, now {_fate(other)}"
    for identity, step in after.items():
        if identity not in before:
            yield f"{safe_text(step.address)}: not in the plan, now {_fate(step)}"


def _fate(step: PlannedDeletion) -> str:
    why = f"blocked: {step.blocked}" if step.blocked else step.reason
    return f"{safe_text(step.action, 20)} ({safe_text(why, 200)})"
