"""Bringing an exported document into a scope: all of it in one record, or nothing, and nothing is written over.

Every row is looked up by the next run before it is believed. Sealed values are sealed again for their new place.
Neighbours: `exporting` made the document, `taking` takes in an object that no state knows, `record` writes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from alchemy.errors import Refused
from alchemy.model.canonical import Json, digest
from alchemy.model.exports import Export
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Op, Put
from alchemy.model.renaming import Renaming, holds_sealed, moved, references
from alchemy.model.text import safe_text
from alchemy.model.values import ResourceState, ScopeKind, Target
from alchemy.operations.surgery import record, subject
from alchemy.operations.surgery.record import Act, Written
from alchemy.settings import Options
from alchemy.store.ledger import Ledger
from alchemy.store.sealing import Where
from alchemy.store.store import Store

if TYPE_CHECKING:
    from alchemy.store.keyring import KeyRing

PURPOSE = "import"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlan:
    """What an import would bring. `rows` have the addresses that they had, `renaming` says what becomes of those."""

    export: Export
    owner: ScopePath
    kind: ScopeKind
    into: str
    renaming: Renaming
    target: Target | None  # becomes that of the stage, which has none yet
    foreign: tuple[str, ...]  # addresses that rows refer to and that do not come along
    moves: bool  # sealed values need a new seal

    @property
    def rows(self) -> tuple[ResourceState, ...]:
        return tuple(sorted(self.export.rows, key=lambda row: (row.seq, row.key)))

    @property
    def addresses(self) -> dict[str, str]:
        return {row.address: self.renaming.of(row.address) for row in self.rows}

    @property
    def sealed(self) -> int:
        return sum(map(holds_sealed, self.rows)) if self.moves else 0


def plan_import(store: Store, export: Export, into: ScopePath) -> ImportPlan:
    """Without a lock; nothing is written. Refused when anything of it is there already."""
    owner, kind = subject.place_of(store, into)
    fold = store.read_fold(owner)
    renaming = Renaming(export.base, str(into), whole=True)
    known = {row.address for row in export.rows}
    same = (fold.lineage, str(owner), str(into)) == (export.lineage, export.owner, export.base)
    plan = ImportPlan(
        export=export,
        owner=owner,
        kind=kind,
        into=str(into),
        renaming=renaming,
        target=_target(fold, export),
        foreign=tuple(sorted(set().union(*map(references, export.rows)) - known)) if export.rows else (),
        moves=not same,
    )
    _refuse_overlap(store, fold, plan)
    for row in export.rows:
        there = subject.same_object(store, row.kind, row.physical_name, row.account)
        if there is not None:
            raise subject.known_already(there)
    return plan


def _target(fold: Fold, export: Export) -> Target | None:
    """The cloud that the objects are in is that of the stage, or becomes it."""
    accounts = sorted({row.account for row in export.rows if row.account})
    if not accounts:
        return None
    if fold.target is not None:
        if accounts != [fold.target.account]:
            raise Refused(
                f"{fold.path} is deployed to {fold.target}, and the objects are in {safe_text(accounts[-1], 40)}",
                hint="import them into another stage",
            )
        return None
    if export.target is None or accounts != [export.target.account]:
        raise Refused(
            f"the objects are in {len(accounts)} accounts, or in one that the document does not name",
            hint="export them again; a stage has one account",
        )
    return export.target


def _refuse_overlap(store: Store, fold: Fold, plan: ImportPlan) -> None:
    there = {row.address for row in fold.resources.values()}
    for now in plan.addresses.values():
        if now in there or now in fold.scopes:
            raise Refused(
                f"{safe_text(now, 200)} is in the state already: nothing is written over",
                hint="import into another scope, or move what is there: `alchemy scope mv`",
            )
    for path in _scopes(plan):
        subject.refuse_place(store, fold, plan.owner, path)


def _scopes(plan: ImportPlan) -> list[str]:
    """Every scope that the rows need. InvalidName when one would be too deep."""
    found = {plan.into, *(plan.renaming.of(each.path) for each in plan.export.scopes)}
    found |= {now.rpartition("/")[0] for now in plan.addresses.values()}
    return sorted(str(ScopePath.parse(path)) for path in found)


async def bring_in(
    store: Store, plan: ImportPlan, options: Options, *, password: str | None, source_password: str | None
) -> Written:
    """What the plan says. `source_password` opens what is sealed in the document, `password` seals it here."""
    source: KeyRing | None = None
    ring: KeyRing | None = None
    if plan.sealed:
        source = _source(store, plan, source_password)
        for row in plan.rows:  # what does not open is found out before anything is written
            moved(row, plan.renaming, "", _opening(plan, row, source))
        store.prepare()
        ring = _target_ring(store, plan.owner.app, password)
    agreed = digest([row.to_json() for row in plan.rows])

    def refuse(fold: Fold) -> None:
        _refuse_overlap(store, fold, plan)
        if _target(fold, plan.export) != plan.target:
            raise record.changed_meanwhile(plan.owner)

    async def make(ledger: Ledger) -> Sequence[Op]:
        return _ops(plan, ledger, source, ring)

    act = Act(
        name=PURPOSE,
        owner=plan.owner,
        kind=plan.kind,
        said=f"{len(plan.rows)} rows of {safe_text(plan.export.scope, 300)} imported into {plan.into}",
        counts={"imported": len(plan.rows)},
        detail={"from": plan.export.scope, "taken": plan.export.taken, "into": plan.into, "sha256": agreed},
    )
    return await record.write(store, act, options, refuse=refuse, make=make, declared=declared)


def declared(was: dict[str, Any], fold: Fold) -> dict[str, Any]:
    """What came in counts as declared until a deploy says otherwise: no deploy that fails leaves it for a cleanup."""
    return {"orphans": [], **was, "complete": True, "next_seq": fold.next_seq}


def _ops(plan: ImportPlan, ledger: Ledger, source: KeyRing | None, ring: KeyRing | None) -> list[Op]:
    fold, now = ledger.fold, ledger.store.clock.now()
    ops: list[Op] = []
    if plan.target is not None:
        ops.append(Put(replace(fold.scopes[fold.path], target=plan.target)))
    known = {plan.renaming.of(each.path): each for each in plan.export.scopes}
    for path in subject.missing_scopes(fold, _scopes(plan)):
        made = record.nested(path, now, ledger.run)
        ops.append(Put(replace(made, extra=known[path].extra) if path in known else made))
    for seq, row in enumerate(plan.rows, fold.next_seq):
        found = moved(row, plan.renaming, fold.lineage, _resealing(plan, row, fold, source, ring))
        found = replace(found, verify=True, seq=seq)
        ops.append(Put(record.stamped(found, ledger), reason=f"imported from {safe_text(row.address, 300)}"))
    return ops


# -- secrets


def _source(store: Store, plan: ImportPlan, password: str | None) -> KeyRing:
    from alchemy.store.keyring import KeyRing, MissingPassword

    why = f"{safe_text(plan.export.scope, 200)} holds secrets"
    app = plan.export.owner.partition("/")[0]
    if plan.export.keys is None:
        return subject.opened_ring(store, app, password, why)
    if not password:
        raise MissingPassword(
            f"{why}, and no password is given: nothing was done",
            hint="set ALCHEMY_PASSWORD to the password that they were sealed with; of another project: --password-from",
        )
    return KeyRing.unlock(json.dumps(plan.export.keys).encode(), password, "the keys in the document")


def _target_ring(store: Store, app: str, password: str | None) -> KeyRing:
    from alchemy.store.keyfiles import open_or_create_ring

    return open_or_create_ring(store, app, password)


def _there(plan: ImportPlan, row: ResourceState, pointer: str) -> Where:
    return Where(plan.export.lineage, plan.export.owner, row.scope, row.id, pointer)


def _opening(plan: ImportPlan, row: ResourceState, source: KeyRing) -> Any:
    def opened(sealed: dict[str, Any], pointer: str) -> Json:
        source.open(sealed, _there(plan, row, pointer))
        return sealed

    return opened


def _resealing(plan: ImportPlan, row: ResourceState, fold: Fold, source: KeyRing | None, ring: KeyRing | None) -> Any:
    scope, _, id = plan.renaming.of(row.address).rpartition("/")

    def reseal(sealed: dict[str, Any], pointer: str) -> Json:
        if not plan.moves:
            return sealed
        assert source is not None
        assert ring is not None
        value = source.open(sealed, _there(plan, row, pointer))
        return ring.seal(value, Where(fold.lineage, fold.path, scope, id, pointer))

    return reseal
