"""What one step of a decided plan would do, in words: the call, who uses it, what no backup brings back, what is after.

Pure. Shown step by step by the command line and the dashboard. Neighbour: `decisions` says whether it runs at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from alchemy.model.decisions import STAYS, DecidedPlan, DecidedStep, Fate
from alchemy.model.text import safe_text
from alchemy.model.values import Action, ResourceState

_LONGEST = 120  # characters of a name that the cloud or a file gave


@dataclass(frozen=True, slots=True)
class Effects:
    """`call` is "" when nothing is sent. `used_by` and `uses` are steps of the same plan."""

    call: str
    used_by: tuple[DecidedStep, ...]
    uses: tuple[DecidedStep, ...]
    lost: str
    after: tuple[str, ...]


def effects(decided: DecidedPlan, key: str) -> Effects:
    """Of the step with this row key, as decided."""
    step = decided.by_key[key]
    row = step.step.row
    used_by = [other for other in decided.steps if _uses(other.step.row, row)]
    uses = [other for other in decided.steps if _uses(row, other.step.row)]
    lost = _lost(step)
    return Effects(call(step), tuple(used_by), tuple(uses), lost, tuple(_after(decided, step)))


def call(step: DecidedStep) -> str:
    """What would be sent for it if it ran: the verb, the kind, the physical name."""
    row = step.step.row
    if step.fate in (Fate.KEPT, Fate.FORGOTTEN) or step.step.action is Action.FORGET:
        return ""
    return f"delete {safe_text(row.kind, _LONGEST)} {safe_text(row.physical_name, _LONGEST)}"


def _uses(user: ResourceState, used: ResourceState) -> bool:
    return used.address in user.depends_on and user.address != used.address


def _lost(step: DecidedStep) -> str:
    if call(step):
        return "the object and all that is in it: no backup of the state brings it back"
    if step.fate is Fate.KEPT:
        return ""
    return "nothing: the object stays, and nothing here knows of it any more"


def _after(decided: DecidedPlan, step: DecidedStep) -> Iterator[str]:
    yield _row_after(step)
    goes = step.fate not in STAYS
    for path, stays in decided.scopes:
        if not step.address.startswith(f"{path}/"):
            continue
        if not goes or stays:
            yield f"the scope {path} stays: {stays or f'{step.address} stays'}"
        elif _last_in(decided, path) == step.key:
            yield f"the scope {path} goes with it: nothing is left in it"


def _row_after(step: DecidedStep) -> str:
    match step.fate:
        case Fate.RUNS if step.step.action is Action.FORGET:
            return f"the row of {step.address} is gone; the object stays, it is not ours to delete"
        case Fate.RUNS:
            return f"the row of {step.address} is gone, and so is the object"
        case Fate.FORGOTTEN:
            return f"the row of {step.address} is gone; the object stays"
        case Fate.KEPT:
            return f"{step.address} stays, and is passed over until `alchemy scope keep {step.address} --undo`"
        case _:
            return f"{step.address} stays as it is, and is asked about again"


def _last_in(decided: DecidedPlan, path: str) -> str:
    return [step.key for step in decided.steps if step.address.startswith(f"{path}/")][-1]
