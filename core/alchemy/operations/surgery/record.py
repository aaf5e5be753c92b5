"""The one record that every act of surgery is: lock, look again, back up, write all or nothing, say who did it.

A kill at any moment leaves the state as it was or as it shall be. Neighbours: `moving`, `forgetting`, `importing` and
`taking` say what is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from alchemy.errors import Refused
from alchemy.model.events import BackupTaken, Noted
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Emit, Op
from alchemy.model.values import ResourceState, ScopeKind, ScopeState
from alchemy.operations.auditing import note
from alchemy.operations.backups import assure
from alchemy.settings import Options
from alchemy.store.ledger import Ledger
from alchemy.store.store import Store


@dataclass(frozen=True, slots=True)
class Written:
    """`before`: the backup that undoes it, "" where there was nothing to keep."""

    scope: str
    run: str
    before: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What is done to the journal of `owner`. `said` is the line in the log, `detail` is for the audit."""

    name: str  # move, forget, import
    owner: ScopePath
    kind: ScopeKind
    said: str
    counts: Mapping[str, int]
    detail: Mapping[str, Any] = field(default_factory=dict)


async def write(
    store: Store,
    act: Act,
    options: Options,
    *,
    refuse: Callable[[Fold], None],
    make: Callable[[Ledger], Awaitable[Sequence[Op]]],
    declared: Callable[[dict[str, Any], Fold], dict[str, Any]] = lambda was, _: was,
) -> Written:
    """`refuse` sees what is stored before anything is written, `make` says what is to be.

    `declared` makes of what runs had left behind, and of the rows now, what the release says of it.
    """
    store.prepare()
    ledger = await Ledger.open(
        store,
        act.owner,
        act.kind,
        purpose=act.name,
        timeout=options.lock_timeout,
        locking=options.enable_locking,
        refuse=refuse,
    )
    before, outcome, said = "", "failed", None
    try:
        ops = await make(ledger)
        reason = f"before {act.said}"
        before = assure(ledger, reason)
        if before:
            ledger.emit(BackupTaken(str(act.owner), before, reason))
        was = ledger.fold.left_behind()
        await ledger.commit("commit", [*ops, Emit(Noted(str(act.owner), act.said))], {"surgery": act.name})
        outcome, said = "done", declared(was, ledger.fold)
    except (asyncio.CancelledError, KeyboardInterrupt):
        outcome = "interrupted"
        raise
    finally:
        counts = {name: number for name, number in act.counts.items() if number}
        ledger.close(outcome=outcome, counts=counts if outcome == "done" else {}, failures=[], declared=said)
    note(store, act.name, str(act.owner), "done", act.said, **act.detail, run=ledger.run, backup=before)
    return Written(str(act.owner), ledger.run, before)


def changed_meanwhile(owner: ScopePath) -> Refused:
    return Refused(
        f"{owner} changed meanwhile: something else is stored than what was shown",
        hint="run the same command again to see what it would do now",
    )


def stamped(row: ResourceState, ledger: Ledger) -> ResourceState:
    now = ledger.store.clock.now()
    return replace(row, run=ledger.run, updated_at=now)


def nested(path: str, now: str, run: str) -> ScopeState:
    return ScopeState(path=path, kind=ScopeKind.NESTED, created_at=now, updated_at=now, last_run=run)
