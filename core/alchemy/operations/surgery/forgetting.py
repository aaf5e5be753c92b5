"""Dropping single rows from the state. The objects in the cloud stay, and nobody tracks them any more.

Also the way out where nobody can tell whose object it is. Neighbours: `record` writes, `resetting` drops
all of a scope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alchemy.errors import Refused, UsageError
from alchemy.model.canonical import digest
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Drop, Op
from alchemy.model.renaming import references
from alchemy.model.text import safe_text
from alchemy.model.values import Action, ResourceState, ScopeKind
from alchemy.operations.surgery import record, subject
from alchemy.operations.surgery.record import Act, Written
from alchemy.settings import Options
from alchemy.store.ledger import Ledger
from alchemy.store.store import Store

PURPOSE = "forget"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetPlan:
    """`rows` go; what they stand for is then nobody's. `users` stay and refer to one that goes."""

    owner: ScopePath
    kind: ScopeKind
    addresses: tuple[str, ...]
    former: bool  # only old incarnations
    rows: tuple[ResourceState, ...]
    users: tuple[str, ...]

    @property
    def mark(self) -> str:
        return digest([[row.key, row.physical_name, row.status, row.token] for row in self.rows])


def plan_forget(store: Store, addresses: Sequence[str], *, former: bool = False) -> ForgetPlan:
    """Without a lock; nothing is written. An address means its old incarnations too; `former`: only those."""
    workspace, view = subject.look(store)
    owners = dict.fromkeys(workspace.owner_of(address) for address in addresses)
    if len(owners) > 1:
        raise UsageError(
            f"{' and '.join(owners)} have a journal each: no record spans them", hint="one command for each of them"
        )
    owner, kind, fold = subject.owner_of(store, workspace, addresses[0])
    for address in addresses:
        if address in fold.scopes:
            raise UsageError(
                f"{safe_text(address, 200)} is a scope, not a resource",
                hint=f"`alchemy scope reset {safe_text(address, 200)}` forgets everything in it",
            )
        if not any(row.address == address for row in fold.resources.values()):
            raise subject.not_stored(address, view)
    plan = _plan(fold, owner, kind, tuple(dict.fromkeys(addresses)), former=former)
    if not plan.rows:
        raise Refused(
            f"{safe_text(addresses[0], 200)} has no old incarnation",
            hint="without --former, what is there now is forgotten",
        )
    return plan


def _plan(fold: Fold, owner: ScopePath, kind: ScopeKind, addresses: tuple[str, ...], *, former: bool) -> ForgetPlan:
    rows = [row for row in fold.resources.values() if row.address in addresses and (row.former or not former)]
    keys, gone = {row.key for row in rows}, {row.address for row in rows if not row.former}
    users = [row.address for row in fold.resources.values() if row.key not in keys and references(row) & gone]
    return ForgetPlan(
        owner=owner,
        kind=kind,
        addresses=addresses,
        former=former,
        rows=tuple(sorted(rows, key=lambda row: row.key)),
        users=tuple(sorted(set(users))),
    )


async def forget(store: Store, plan: ForgetPlan, options: Options) -> Written:
    """What the plan says, in one record. Refused when something else is stored by now."""

    def refuse(fold: Fold) -> None:
        if _plan(fold, plan.owner, plan.kind, plan.addresses, former=plan.former).mark != plan.mark:
            raise record.changed_meanwhile(plan.owner)

    async def make(ledger: Ledger) -> list[Op]:
        return [
            Drop(
                row.address,
                generation=row.generation if row.former else None,
                kind=row.kind,
                action=str(Action.FORGET),
            )
            for row in plan.rows
        ]

    names = ", ".join(safe_text(address, 200) for address in plan.addresses[:3])
    more = f" and {len(plan.addresses) - 3} more" if len(plan.addresses) > 3 else ""
    act = Act(
        name=PURPOSE,
        owner=plan.owner,
        kind=plan.kind,
        said=f"{names}{more} forgotten" + (", old incarnations only" if plan.former else ""),
        counts={"forget": len(plan.rows)},
        detail={
            "left_behind": [
                {"address": row.address, "kind": row.kind, "physical_name": row.physical_name} for row in plan.rows
            ]
        },
    )
    return await record.write(store, act, options, refuse=refuse, make=make)
