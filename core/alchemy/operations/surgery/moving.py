"""Giving a resource another id, or it (or a nested scope) another place in its stage. The object in the cloud stays.

Rows that refer to it are rewritten in the same record. Its sealed values are sealed again, for its new address.
Neighbours: `model.renaming` makes the rows, `record` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from alchemy.errors import InvalidName, Refused, UsageError
from alchemy.model.canonical import Json, digest
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath, check_id
from alchemy.model.records import Drop, Op, Put
from alchemy.model.renaming import Renaming, holds_sealed, moved, references, rewritten
from alchemy.model.text import safe_text
from alchemy.model.values import ResourceState, ScopeKind, Status
from alchemy.operations.shapes import View
from alchemy.operations.surgery import record, subject
from alchemy.operations.surgery.record import Act, Written
from alchemy.settings import Options
from alchemy.store.keyring import KeyRing
from alchemy.store.ledger import Ledger
from alchemy.store.sealing import Where
from alchemy.store.store import Store

PURPOSE = "move"


@dataclass(frozen=True, slots=True, kw_only=True)
class MovePlan:
    """What a move would do. `rows` are as they are, old incarnations too; `users` are the rows that refer to them."""

    owner: ScopePath
    kind: ScopeKind
    renaming: Renaming
    rows: tuple[ResourceState, ...]
    scopes: tuple[str, ...]  # that move along
    made: tuple[str, ...]  # nested scopes that come to be
    users: tuple[str, ...]
    elsewhere: tuple[str, ...] = field(compare=False)  # that refer to them from another journal

    @property
    def sealed(self) -> int:
        """Rows that need the password."""
        return sum(map(holds_sealed, self.rows))

    @property
    def mark(self) -> str:
        rows = [[row.key, row.physical_name, row.status, row.token] for row in self.rows]
        return digest([rows, list(self.scopes), list(self.made), list(self.users)])


def plan_move(store: Store, before: str, now: str) -> MovePlan:
    """Without a lock; nothing is written. Refused, UsageError or InvalidName say why it cannot be."""
    workspace, view = subject.look(store)
    owner, kind, fold = subject.owner_of(store, workspace, before)
    if before not in fold.resources and before not in fold.scopes:
        raise subject.not_stored(before, view)
    if before == str(owner):
        raise Refused(
            f"{owner} has a journal of its own: it keeps its name",
            hint=f"alchemy scope export {owner} --out FILE, and import it --into another one",
        )
    _refuse_elsewhere(store, owner, before, now, view)
    plan = _plan(store, fold, owner, kind, before, now)
    moving = {row.address for row in plan.rows}
    others = [node.state for node in view.resources.values() if node.owner != str(owner)]
    return replace(plan, elsewhere=tuple(row.address for row in others if references(row) & moving))


def _refuse_elsewhere(store: Store, owner: ScopePath, before: str, now: str, view: View) -> None:
    """`now` is in the journal of `owner` as well: no record spans two."""
    if "/" not in now:
        where = before.rpartition("/")[0]
        raise UsageError(f"{safe_text(now, 80)!r} is no address", hint=f"the whole of it: {where}/{safe_text(now, 80)}")
    ScopePath.parse(now.rpartition("/")[0])
    owners = set(store.owners())
    parts = now.split("/")
    holders = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
    there = next((path for path in holders if path in owners), "")
    if there == str(owner) and owner.holds(ScopePath.parse(now.rpartition("/")[0])):
        return
    is_scope = before in view.scopes
    into = now if is_scope else now.rpartition("/")[0]
    shown = safe_text(before, 200)
    raise Refused(
        f"{shown} is in the journal of {owner}, and {safe_text(now, 200)} would be in another one",
        hint=f"alchemy scope export {shown} --out FILE, then scope rm it, then scope import FILE --into {into}",
    )


def _plan(store: Store, fold: Fold, owner: ScopePath, kind: ScopeKind, before: str, now: str) -> MovePlan:
    whole = before in fold.scopes
    now = _checked(before, now, whole=whole)
    renaming = Renaming(before, now, whole)
    rows = sorted((row for row in fold.resources.values() if renaming.means(row.address)), key=lambda row: row.key)
    if not whole and not rows:
        raise UsageError(f"{safe_text(before, 200)} is not in the state", hint="`alchemy scope list` shows what is")
    _refuse_taken(fold, renaming)
    scopes = sorted(path for path in fold.scopes if renaming.means(path))
    for path in scopes:
        ScopePath.parse(renaming.of(path))
    subject.refuse_place(store, fold, owner, now if whole else _scope_of(now))
    open_rows = [row for row in rows if row.status is not Status.READY]
    if open_rows:
        first = open_rows[0]
        raise Refused(
            f"{safe_text(first.address, 200)} is still {first.status}: how its last call ended is not known",
            hint="let a deploy or a cleanup finish it first",
        )
    users = [row for row in fold.resources.values() if not renaming.means(row.address)]
    return MovePlan(
        owner=owner,
        kind=kind,
        renaming=renaming,
        rows=tuple(rows),
        scopes=tuple(scopes),
        made=tuple(subject.missing_scopes(fold, [_scope_of(now)])),
        users=tuple(sorted(row.address for row in users if rewritten(row, renaming) != row)),
        elsewhere=(),
    )


def _scope_of(address: str) -> str:
    return address.rpartition("/")[0]


def _checked(before: str, now: str, *, whole: bool) -> str:
    """`now` inside the grammar, in its normal form."""
    scope, _, id = now.rpartition("/")
    now = str(ScopePath.parse(now)) if whole else f"{ScopePath.parse(scope)}/{check_id(id)}"
    if now == before:
        raise UsageError(f"{safe_text(before, 200)} is called that already", hint="name another address")
    if whole and now.startswith(f"{before}/"):
        raise InvalidName(f"{safe_text(before, 200)} cannot be moved into itself", hint="name another scope")
    return now


def _refuse_taken(fold: Fold, renaming: Renaming) -> None:
    now = renaming.now
    if any(row.address == now for row in fold.resources.values()):
        raise Refused(
            f"{safe_text(now, 200)} is in the state already",
            hint=f"move that first, or `alchemy scope rm {safe_text(now, 200)}`",
        )
    if now in fold.scopes:
        inside = f"{now}/{renaming.before.rpartition('/')[2]}"
        raise Refused(
            f"{safe_text(now, 200)} is a scope already",
            hint=f"to move it in there: alchemy scope mv {safe_text(renaming.before, 200)} {safe_text(inside, 200)}",
        )


# -- writing ----------------------------------------------------------------------------------------------------------


async def move(store: Store, plan: MovePlan, options: Options, *, password: str | None = None) -> Written:
    """What the plan says, in one record. Refused when something else is stored by now.

    `password` opens what is sealed; without it MissingPassword, before anything is written.
    """
    ring: KeyRing | None = None
    if plan.sealed:
        why = f"{safe_text(plan.renaming.before, 200)} holds secrets, which are sealed for its address"
        ring = subject.opened_ring(store, plan.owner.app, password, why)
        _ops(plan, store.read_fold(plan.owner), ring)  # what does not open is found out before anything is written

    def refuse(fold: Fold) -> None:
        now = _plan(store, fold, plan.owner, plan.kind, plan.renaming.before, plan.renaming.now)
        if now.mark != plan.mark:
            raise record.changed_meanwhile(plan.owner)

    async def make(ledger: Ledger) -> Sequence[Op]:
        return _ops(plan, ledger.fold, ring, ledger)

    def declared(was: dict[str, Any], _: Fold) -> dict[str, Any]:
        """An orphan is one under its new address too."""
        for name in {"orphans", "leftovers"} & was.keys():
            was[name] = sorted(map(plan.renaming.of, was[name]))
        return was

    before, now = safe_text(plan.renaming.before, 300), safe_text(plan.renaming.now, 300)
    act = Act(
        name=PURPOSE,
        owner=plan.owner,
        kind=plan.kind,
        said=f"{before} moved to {now}",
        counts={"moved": len(plan.rows), "rewritten": len(plan.users)},
        detail={"from": plan.renaming.before, "to": plan.renaming.now},
    )
    return await record.write(store, act, options, refuse=refuse, make=make, declared=declared)


def _ops(plan: MovePlan, fold: Fold, ring: KeyRing | None, ledger: Ledger | None = None) -> list[Op]:
    renaming = plan.renaming

    def stamped(row: ResourceState) -> ResourceState:
        return record.stamped(row, ledger) if ledger else row

    ops: list[Op] = []
    for row in plan.rows:
        ops.append(Drop(row.address, generation=row.generation if row.former else None, kind=row.kind, action=PURPOSE))
    ops += [Drop(scope=path) for path in reversed(plan.scopes)]
    if ledger is not None:
        now = ledger.store.clock.now()
        ops += [Put(record.nested(path, now, ledger.run)) for path in plan.made]
        for path in plan.scopes:
            ops.append(Put(replace(fold.scopes[path], path=renaming.of(path), updated_at=now)))
    for key in [row.key for row in plan.rows]:
        row = fold.resources[key]
        reason = f"moved from {safe_text(row.address, 300)}"
        ops.append(Put(stamped(moved(row, renaming, fold.lineage, _reseal(fold, row, renaming, ring))), reason=reason))
    for row in fold.resources.values():
        found = rewritten(row, renaming)
        if not renaming.means(row.address) and found != row:
            ops.append(Put(stamped(found), reason=f"what it refers to was moved to {safe_text(renaming.now, 300)}"))
    return ops


def _reseal(fold: Fold, row: ResourceState, renaming: Renaming, ring: KeyRing | None) -> Any:
    now = renaming.of(row.address)

    def reseal(sealed: dict[str, Any], pointer: str) -> Json:
        assert ring is not None
        here = Where(fold.lineage, fold.path, row.scope, row.id, pointer)
        scope, _, id = now.rpartition("/")
        return ring.reseal(sealed, here, Where(fold.lineage, fold.path, scope, id, pointer))

    return reseal
