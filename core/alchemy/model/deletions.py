"""What to delete and in which order: garbage collection, destroy, rollback and test cleanup are this one plan.

Pure. They differ only in who survives. Neighbours: `changes` decides about what is wanted; the engine carries out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from alchemy.model.canonical import Json, digest
from alchemy.model.fold import Fold
from alchemy.model.values import Action, ResourceState, ScopeState, Status

PROTECTED = "it is protected"
UNFINISHED = "its replacement did not finish"


@dataclass(frozen=True, slots=True)
class Deletion:
    """One step. `blocked`: why it cannot be done, empty when it can."""

    row: ResourceState
    reason: str
    action: Action = Action.DELETE  # or FORGET: the row goes, the object stays
    blocked: str = ""

    @property
    def address(self) -> str:
        return self.row.address

    @property
    def kind(self) -> str:
        return self.row.kind

    @property
    def identity(self) -> str:
        """Of what would happen to which object: not of why, nor of how far an earlier try came."""
        row = self.row
        which = [row.key, row.kind, row.generation, row.seq, row.physical_name, row.token, row.created_at]
        return digest([*which, str(self.action), row.protect, sorted(row.depends_on)])


@dataclass(frozen=True, slots=True)
class DeletionPlan:
    """Steps in waves: a wave may run side by side, a later wave only after the earlier ones."""

    scope: str
    waves: tuple[tuple[Deletion, ...], ...] = ()
    scopes: tuple[str, ...] = ()  # scope rows that empty out, deepest first
    notes: tuple[str, ...] = ()  # edges dropped to break a cycle
    kept: tuple[str, ...] = field(default=())  # rows an operator keeps; collection passes over them

    @property
    def deletions(self) -> tuple[Deletion, ...]:
        return tuple(step for wave in self.waves for step in wave)

    @property
    def blocked(self) -> tuple[Deletion, ...]:
        return tuple(step for step in self.deletions if step.blocked)

    def to_json(self) -> Json:
        steps = [
            {"address": s.address, "kind": s.kind, "action": str(s.action), "reason": s.reason, "blocked": s.blocked}
            for s in self.deletions
        ]
        return {"scope": self.scope, "deletions": steps, "scopes": list(self.scopes), "kept": list(self.kept)}

    @property
    def fingerprint(self) -> str:
        steps = [[step.identity, step.blocked] for step in self.deletions]
        return digest([self.scope, steps, list(self.scopes), list(self.kept)])


def plan_deletions(
    scope: str,
    rows: Iterable[ResourceState],
    scopes: Iterable[ScopeState],
    *,
    alive: frozenset[str] | set[str],
    alive_scopes: frozenset[str] | set[str],
    reason: str = "not in the program",
    reasons: Mapping[str, str] | None = None,
) -> DeletionPlan:
    """`alive` are the addresses and `alive_scopes` the paths that survive, besides every row outside `scope`.

    Rows outside matter: what one of them uses stays. A former incarnation survives only by its own key in `alive`.
    `reasons`, by key, are more exact than `reason`.
    """
    everything = list(rows)
    prefix = f"{scope}/"
    doomed: dict[str, Deletion] = {}
    kept: list[str] = []
    for row in everything:
        if row.key in alive or not row.address.startswith(prefix):
            continue
        if row.kept and not row.former:
            kept.append(row.address)
            continue
        why = f"replaced by a newer incarnation (generation {row.generation})" if row.former else reason
        why = (reasons or {}).get(row.key, why)
        action = Action.FORGET if _forgotten(row) else Action.DELETE
        blocked = PROTECTED if row.protect and not row.former and action is Action.DELETE else ""
        doomed[row.key] = Deletion(row, why, action, blocked)
    current = {row.address: row for row in everything if not row.former}
    for key, step in list(doomed.items()):
        why = _successor_missing(current.get(step.address), doomed) if step.row.former else ""
        if why:
            doomed[key] = Deletion(step.row, step.reason, step.action, why)
    for row in sorted(everything, key=lambda row: row.key):
        if row.key in doomed:
            continue
        for needed in row.depends_on:
            if needed in doomed and doomed[needed].action is Action.DELETE:
                step = doomed[needed]
                doomed[needed] = Deletion(step.row, step.reason, step.action, f"still used by {row.address}")
    waves, notes = _waves(doomed)
    survivors = {row.scope for row in everything if row.key not in doomed}
    survivors |= {step.row.scope for step in doomed.values() if step.blocked}
    return DeletionPlan(scope, waves, tuple(_emptied(scopes, survivors, alive_scopes)), notes, tuple(sorted(kept)))


def merge(scope: str, plans: Sequence[DeletionPlan]) -> DeletionPlan:
    """Several journals in one plan: those below `scope`, in this order."""
    return DeletionPlan(
        scope,
        tuple(wave for plan in plans for wave in plan.waves),
        tuple(path for plan in plans for path in plan.scopes),
        tuple(note for plan in plans for note in plan.notes),
        tuple(address for plan in plans for address in plan.kept),
    )


def block(plan: DeletionPlan, obstacle: Callable[[ResourceState], str]) -> DeletionPlan:
    """The same plan where what `obstacle` names stands in the way: of deletions that nothing else blocks."""

    def looked_at(step: Deletion) -> Deletion:
        free = step.action is Action.DELETE and not step.blocked
        why = obstacle(step.row) if free else ""
        return replace(step, blocked=why) if why else step

    waves = tuple(tuple(looked_at(step) for step in wave) for wave in plan.waves)
    stay = {step.row.scope for wave in waves for step in wave if step.blocked}
    scopes = tuple(path for path in plan.scopes if not any(_holds(path, each) for each in stay))
    return replace(plan, waves=waves, scopes=scopes)


def plan_destroy(fold: Fold, scope: str) -> DeletionPlan:
    """Everything stored in `scope`."""
    scopes = [row for row in fold.scopes.values() if _holds(scope, row.path)]
    rows, nothing, why = fold.resources.values(), frozenset[str](), "destroyed with its scope"
    return plan_deletions(scope, rows, scopes, alive=nothing, alive_scopes=nothing, reason=why)


def plan_cleanup(fold: Fold, scope: str, *, died: bool = False) -> DeletionPlan:
    """What runs left behind in `scope`: orphans, former incarnations, deletions and deploys that did not finish.

    Nothing that the last complete deploy declared, nor the last one that failed. `died`: the scope is that of a test
    whose process is dead, so everything goes.
    """
    doomed: dict[str, str] = {}
    for row in fold.below(scope):
        why = _left_behind(fold, row) or ("its test died before it could destroy it" if died else "")
        if why:
            doomed[row.key] = why
    rows = list(fold.resources.values())
    alive = {row.key for row in rows if row.key not in doomed}
    touched = {row.scope for row in rows if row.key in doomed}
    emptied = {path for path in fold.scopes if path != fold.path and any(_holds(path, each) for each in touched)}
    scopes = [row for row in fold.scopes.values() if _holds(scope, row.path)]
    return plan_deletions(scope, rows, scopes, alive=alive, alive_scopes=fold.scopes.keys() - emptied, reasons=doomed)


def _holds(path: str, other: str) -> bool:
    return other == path or other.startswith(f"{path}/")


def _left_behind(fold: Fold, row: ResourceState) -> str:
    """Why it may go; "" when it stays."""
    if row.former:
        now = fold.current(row.address)
        finished = now is None or now.status is Status.READY
        return f"replaced by a newer incarnation (generation {row.generation})" if finished else ""
    if row.status is Status.DELETING:
        return "its deletion did not finish"
    if fold.orphaned(row.address):
        return "not in the program since the last complete deploy"
    return "left by a deploy that did not finish" if fold.leftover(row.address) else ""


def used_from_outside(prefix: str, rows: Collection[ResourceState]) -> set[str]:
    """Addresses below `prefix` that rows elsewhere use, by themselves or through others."""
    by_address: dict[str, list[ResourceState]] = {}
    for row in rows:
        by_address.setdefault(row.address, []).append(row)
    used: set[str] = set()
    todo = [row for row in rows if not row.address.startswith(prefix + "/")]
    while todo:
        for needed in todo.pop().depends_on:
            if needed not in used:
                used.add(needed)
                todo += by_address.get(needed, [])
    return {address for address in used if address.startswith(prefix + "/")}


def _successor_missing(now: ResourceState | None, doomed: dict[str, Deletion]) -> str:
    """Why an old incarnation may not go yet: it may be the only object there is."""
    if now is None:
        return ""
    if now.key in doomed:
        return doomed[now.key].blocked
    return "" if now.status is Status.READY else UNFINISHED


def _forgotten(row: ResourceState) -> bool:
    if row.on_destroy:
        return row.on_destroy == "forget"
    return row.retain or row.adopted


def _waves(doomed: dict[str, Deletion]) -> tuple[tuple[tuple[Deletion, ...], ...], tuple[str, ...]]:
    """Layers of the dependency graph, dependents first. An edge of the older row gives way in a cycle."""
    keys_at: dict[str, list[str]] = {}
    for key, step in doomed.items():
        keys_at.setdefault(step.address, []).append(key)
    users: dict[str, set[str]] = {key: set() for key in doomed}  # key -> who must go before it
    uses: dict[str, set[str]] = {key: set() for key in doomed}
    for key, step in doomed.items():
        for needed in step.row.depends_on:
            for target in keys_at.get(needed, ()):
                if doomed[target].address != step.address:
                    users[target].add(key)
                    uses[key].add(target)
    waves: list[tuple[Deletion, ...]] = []
    notes: list[str] = []
    left = dict(doomed)
    ready = [key for key in left if not users[key]]
    while left:
        if not ready:
            older, newer = _edge_to_drop(left, users)
            notes.append(f"{left[older].address} and {left[newer].address} use each other: order by age")
            users[newer].discard(older)
            uses[older].discard(newer)
            ready = [key for key in left if not users[key]]
            continue
        wave = sorted((left.pop(key) for key in ready), key=_rank)
        waves.append(tuple(wave))
        following: list[str] = []
        for key in ready:
            for target in uses[key]:
                users[target].discard(key)
                if not users[target] and target in left:  # empties once: never twice in the list
                    following.append(target)
        ready = following
    return tuple(waves), tuple(notes)


def _edge_to_drop(left: dict[str, Deletion], users: dict[str, set[str]]) -> tuple[str, str]:
    """(user, used) of one circle: the oldest row in it gives way. Everything left is used by something left."""

    def age(key: str) -> tuple[int, str]:
        return left[key].row.seq, key

    path = [min(left, key=age)]
    while (following := min(users[path[-1]], key=age)) not in path:
        path.append(following)
    circle = path[path.index(following) :]  # each is used by the next, the last by the first
    place = circle.index(min(circle, key=age))
    return circle[place], circle[place - 1]


def _rank(step: Deletion) -> tuple[int, int]:
    return (-step.address.count("/"), -step.row.seq)


def _emptied(scopes: Iterable[ScopeState], survivors: set[str], alive: frozenset[str] | set[str]) -> Iterator[str]:
    """Scope rows with nothing left in or below them, deepest first."""
    filled: set[str] = set()
    for path in survivors | set(alive):
        parts = path.split("/")
        filled.update("/".join(parts[:n]) for n in range(1, len(parts) + 1))
    yield from sorted((s.path for s in scopes if s.path not in filled), key=lambda path: (-path.count("/"), path))


def batches(wave: Sequence[Deletion], strategy: str, batch_size: int) -> Iterator[Sequence[Deletion]]:
    """How a wave is cut: sequential one by one, batched in `batch_size`, parallel whole."""
    size = {"sequential": 1, "batched": max(1, batch_size)}.get(strategy, max(1, len(wave)))
    for start in range(0, len(wave), size):
        yield wave[start : start + size]
