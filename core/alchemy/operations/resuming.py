"""Going on where a run was interrupted, without its program: deletions that were announced are finished.

What was being created, updated or replaced only the program knows; it is listed. Neighbours: `deciding` carries out,
`cleaning` also takes what nobody declares any more.
"""

from __future__ import annotations

from dataclasses import dataclass

from alchemy.model.decisions import Choice, Decisions
from alchemy.model.deletions import Deletion
from alchemy.model.paths import ScopePath
from alchemy.model.values import Status
from alchemy.operations.deciding import Finalization, plan_finalization
from alchemy.operations.shapes import OpenIntent
from alchemy.operations.verdicts import open_intents
from alchemy.settings import Project
from alchemy.store.store import Store


@dataclass(frozen=True, slots=True)
class Resumption:
    """`steps` are what `decisions` finish, `program` is what only a deploy can."""

    plan: Finalization
    decisions: Decisions
    steps: tuple[Deletion, ...]
    program: tuple[OpenIntent, ...]


def plan_resume(store: Store, path: ScopePath, *, project: Project | None = None) -> Resumption:
    """What interrupted runs left in `path`. Takes no lock, writes nothing."""
    plan = plan_finalization(store, path, project=project)
    steps = tuple(step for step in plan.plan.deletions if _begun(step))
    keys = [step.row.key for step in steps]
    decisions = Decisions(plan.plan.fingerprint).decide(keys, Choice.DESTROY)
    mine = {step.address for step in steps}
    left = [intent for part in plan.parts for intent in open_intents(store.read_fold(part.owner))]
    inside = [each for each in left if each.address.startswith(f"{path}/") and each.address not in mine]
    return Resumption(plan, decisions, steps, tuple(inside))


def _begun(step: Deletion) -> bool:
    """An announced deletion, or the old half of a replacement that is done otherwise."""
    return step.row.former or step.row.status is Status.DELETING
