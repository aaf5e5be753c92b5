"""A run that was agreed: it does what a saved plan holds, and refuses before it does anything else.

Looked at under the lock, before the epoch is claimed; then each change before its intent, and each deletion.
Neighbours: `model.plans` has the plan, `model.moves` the words.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from alchemy.errors import Refused
from alchemy.model.changes import Change
from alchemy.model.deletions import DeletionPlan
from alchemy.model.fold import Fold
from alchemy.model.moves import same_target, state_moves
from alchemy.model.paths import ScopePath
from alchemy.model.plans import PlannedChange, SavedPlan, generation_of, wish_mark
from alchemy.model.text import safe_text
from alchemy.model.values import Action

_HINT = "make a new plan: alchemy plan --out FILE"
_NEW = frozenset(["create", "adopt"])
_SAME = frozenset(["update", "keep"])  # what a resumed change may turn out to be


class Agreement:
    """`broken`: what was refused, in order. From the first on nothing more is started."""

    def __init__(self, plan: SavedPlan) -> None:
        self.plan = plan
        self.broken: list[str] = []
        self._changes = {change.address: change for scope in plan.scopes for change in scope.changes}
        self._deletions = {step.identity: step for scope in plan.scopes for step in scope.deletions}

    def check_scope(self, path: ScopePath, target: str, account: str) -> None:
        """Before anything is opened."""
        scope = self.plan.scope(str(path))
        if scope is None:
            self._refuse(f"{path} is not in the plan")
        elif not same_target(scope, target, account):
            self._refuse(f"{path}: planned for {safe_text(scope.target, 80)}, now it would go to {target}")

    def check_state(self, fold: Fold) -> None:
        """Under the lock: it is what the plan was made on."""
        scope = self.plan.scope(fold.path)
        moved = "it is not in the plan" if scope is None else state_moves(scope, fold)
        if moved:
            self._refuse(moved)

    def check_opened(self, fold: Fold) -> None:
        """The epoch is claimed: nobody came between. A journal that begins with it has its own row."""
        scope = self.plan.scope(fold.path)
        if scope is not None and fold.serial != scope.serial + (0 if scope.serial else 1):
            self._refuse(f"{fold.path}: planned at serial {scope.serial}, it was opened at {fold.serial}")

    def check_change(self, change: Change) -> None:
        """What was decided now, against what was planned. Unknown values may have become any."""
        if self.broken:
            raise Refused(f"not begun: the run left its plan at {self.broken[0]}", hint=_HINT)
        planned = self._changes.get(change.address)
        now = f"{change.action} ({change.reason})"
        if planned is None:
            self._refuse(f"{change.address} is not in the plan: {now}")
        elif planned.kind != change.kind:
            self._refuse(f"{change.address}: planned as {safe_text(planned.kind, 80)}, now it is {change.kind}")
        elif str(change.action) not in _decisions(planned):
            self._refuse(f"{change.address}: planned {safe_text(planned.action, 20)}, now {now}")
        elif change.desired is not None and wish_mark(change.desired, planned.open) != planned.wish:
            self._refuse(f"{change.address}: its props or options are others than planned: {now}")

    def check_step(self, address: str, action: str) -> None:
        """Right before an intent, or before something that was found is taken over."""
        planned = self._changes.get(address)
        if planned is None or action not in _steps(planned):
            was = safe_text(planned.action, 20) if planned else "nothing"
            self._refuse(f"{address}: planned {was}, now {action}")

    def check_deletions(self, plan: DeletionPlan) -> None:
        """Only what the plan held, and the old incarnations of what it replaces."""
        for step in plan.deletions:
            if step.blocked:
                continue
            planned = self._deletions.get((step.address, generation_of(step.row)))
            if planned is not None and not planned.blocked and planned.action == step.action:
                continue
            change = self._changes.get(step.address)
            if step.row.former and change is not None and Action.REPLACE in (change.action, change.follows):
                continue
            self._refuse(f"{step.address} is not in the plan: {step.action} ({step.reason})")

    def _refuse(self, why: str) -> None:
        self.broken.append(why)
        raise Refused(f"this is not what was planned: {why}", hint=_HINT)


@dataclass(slots=True)
class Terms:
    """On which a session runs. `consent`: to what replacements lose; `agreed`: the plan that it carries out."""

    consent: bool = False
    agreed: Agreement | None = None
    changing: set[str] = field(default_factory=set)  # while planning: addresses whose outputs an update may change

    def check_change(self, change: Change) -> None:
        if self.agreed is not None:
            self.agreed.check_change(change)

    def check_step(self, address: str, action: str) -> None:
        if self.agreed is not None:
            self.agreed.check_step(address, action)

    def check_deletions(self, plan: DeletionPlan) -> None:
        if self.agreed is not None:
            self.agreed.check_deletions(plan)


def _decisions(planned: PlannedChange) -> frozenset[str]:
    action = planned.action
    if action in _NEW:
        return _NEW
    also: frozenset[str] = frozenset()
    if planned.open:  # a value that became known can be the one that is there
        also = _SAME
    if planned.follows:
        also = also | {planned.follows}
    if planned.verify:  # nobody had looked
        also = also | {"create", "adopt", "update", "keep"}
    return also | {action}


def _steps(planned: PlannedChange) -> frozenset[str]:
    action = planned.action
    if planned.resume:
        return _SAME | {action} | (_NEW if action in _NEW else set())
    if action in _NEW:
        return _NEW if action == Action.ADOPT and planned.found is None else frozenset([action])
    return _decisions(planned)
