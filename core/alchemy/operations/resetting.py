"""Forgetting everything in the state of a scope. The objects in the cloud stay, and nobody tracks them any more.

One record of a journal drops every row, all or nothing; the lineage and the backups stay, so that a restore undoes it.
Neighbour: `destroying` deletes the objects too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alchemy.errors import AlchemyError, Refused, StateInvalid, UsageError
from alchemy.model.canonical import digest
from alchemy.model.events import BackupTaken
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Drop, Op, Reserve
from alchemy.model.values import ResourceState, ScopeKind
from alchemy.operations.backups import assure
from alchemy.operations.destroying import owners_in
from alchemy.operations.workspace import Workspace
from alchemy.settings import Options
from alchemy.store.admission import refuse_run
from alchemy.store.backups import write_backup
from alchemy.store.beginnings import Salvaged
from alchemy.store.ledger import Ledger, make_holder
from alchemy.store.reservations import refuse_held
from alchemy.store.store import Lease, Store

PURPOSE = "reset"


@dataclass(frozen=True, slots=True)
class ResetPlan:
    """What a reset of `path` would forget in the journal of `owner`. `damage`: why that cannot be read as it is."""

    path: ScopePath
    owner: ScopePath
    kind: ScopeKind
    damage: str
    rows: tuple[ResourceState, ...]
    scopes: tuple[str, ...]

    @property
    def mark(self) -> str:
        return digest([[row.key, row.physical_name] for row in self.rows])

    @property
    def whole(self) -> bool:
        return self.path == self.owner


@dataclass(frozen=True, slots=True)
class ResetReport:
    """`before`: the backup that undoes it, "" where there was nothing to keep. `aside`: of a damaged journal."""

    scope: str
    run: str
    forgotten: tuple[str, ...]
    before: str
    aside: str = ""


def plan_reset(store: Store, path: ScopePath) -> list[ResetPlan]:
    """Without a lock; nothing is written. Of an application, one for each stage and test, and for its own rows."""
    found = owners_in(store, path)
    if found:
        return [_plan(store, owner, owner, kind) for owner, kind in reversed(found)]
    workspace = Workspace(store)
    view = workspace.refresh()
    owner = workspace.owner_of(str(path))
    return [_plan(store, path, ScopePath.parse(owner), view.scopes[owner].kind)]


def _plan(store: Store, path: ScopePath, owner: ScopePath, kind: ScopeKind) -> ResetPlan:
    damage = ""
    try:
        fold = store.read_fold(owner)
    except StateInvalid as error:
        if path != owner:
            raise
        damage, fold = error.message, store.salvage(owner).fold
    return _of(fold, path, owner, kind, damage)


def _of(fold: Fold, path: ScopePath, owner: ScopePath, kind: ScopeKind, damage: str = "") -> ResetPlan:
    rows = sorted(fold.below(str(path)), key=lambda row: (row.address, row.generation))
    scopes = sorted(scope for scope in fold.scopes if scope == str(path) or scope.startswith(f"{path}/"))
    return ResetPlan(path, owner, kind, damage, tuple(rows), tuple(scopes))


async def reset(store: Store, plans: Sequence[ResetPlan], options: Options) -> list[ResetReport]:
    """What the plans say; Refused when something else is stored by now. No record spans journals: one for each.

    Of several, all are looked at, with everybody kept out, before the first one forgets anything.
    """
    store.prepare()
    top = plans[-1].path
    lease = None
    if len(plans) > 1 and options.enable_locking:
        lease = await store.acquire(top, timeout=options.lock_timeout)
    reports: list[ResetReport] = []
    try:
        if lease is not None:
            lease.publish(make_holder(store, top, 0, PURPOSE))
            for plan in plans:
                _look_again(store, plan)
        for plan in plans:
            if plan.damage:
                reports.append(await _begin_anew(store, plan, options, _held(top, lease)))
            elif plan.rows or plan.scopes:
                reports.append(await _drop(store, plan, options, _held(top, lease)))
    except AlchemyError as error:
        done = [f"{report.scope} (in backup {report.before or 'none'})" for report in reports]
        error.hint += f"; forgotten already: {', '.join(done)}" if done else ""
        raise
    finally:
        if lease is not None:
            lease.release()
    if top.parent is None and not store.has_journal(top):
        store.forget(top)
    return reports


def _held(top: ScopePath, lease: Lease | None) -> tuple[ScopePath, ...]:
    return () if lease is None else (top,)


def _look_again(store: Store, plan: ResetPlan) -> None:
    now = _plan(store, plan.path, plan.owner, plan.kind)
    _refuse_other(plan, now)
    refuse_held(store.salvage(plan.owner).fold if now.damage else store.read_fold(plan.owner), store.clock.now())


async def _drop(store: Store, plan: ResetPlan, options: Options, held: tuple[ScopePath, ...]) -> ResetReport:
    def refuse(fold: Fold) -> None:
        _refuse_other(plan, _of(fold, plan.path, plan.owner, plan.kind))

    ledger = await Ledger.open(
        store,
        plan.owner,
        plan.kind,
        purpose=PURPOSE,
        timeout=options.lock_timeout,
        locking=options.enable_locking and plan.owner not in held,
        held=held,
        lock_path=None if plan.whole else plan.path,
        refuse=refuse,
    )
    before = ""
    outcome = "failed"
    try:
        before = assure(ledger, "before a reset")
        if before:
            ledger.emit(BackupTaken(str(plan.owner), before, "before a reset"))
        await ledger.intend(_ops(plan, ledger.fold))
        outcome = "done"
    finally:
        counts = {"forget": len(plan.rows)} if outcome == "done" and plan.rows else {}
        ledger.close(outcome=outcome, counts=counts, failures=[])
    return ResetReport(str(plan.path), ledger.run, tuple(row.address for row in plan.rows), before)


def _ops(plan: ResetPlan, fold: Fold) -> list[Op]:
    ops: list[Op] = []
    for row in plan.rows:
        generation = row.generation if row.former else None
        ops.append(Drop(row.address, generation=generation, kind=row.kind, action="forget"))
    path = str(plan.path)
    ops += [Drop(scope=s) for s in sorted(fold.scopes, reverse=True) if s == path or s.startswith(f"{path}/")]
    return ops


async def _begin_anew(store: Store, plan: ResetPlan, options: Options, held: tuple[ScopePath, ...]) -> ResetReport:
    """Over a journal that cannot be read: it is set aside, and another begins with nothing."""
    owner = plan.owner
    locking = options.enable_locking and owner not in held
    lease = await store.acquire(owner, timeout=options.lock_timeout, held=held) if locking else None
    try:
        salvaged: Salvaged = store.salvage(owner)
        fold = salvaged.fold
        _refuse_other(plan, _of(fold, plan.path, owner, plan.kind))
        refuse_run(store, owner, fold)
        beginning = salvaged.beginning([Reserve(fold.hold)] if fold.hold is not None else [])
        if lease is not None:
            lease.publish(make_holder(store, owner, beginning.epoch, PURPOSE))
        before = write_backup(store, fold, "before a reset") if fold.resources and fold.kind else ""
        aside = store.set_journal_aside(owner)
        ledger = await Ledger.open(
            store, owner, plan.kind, purpose=PURPOSE, timeout=0, locking=False, beginning=beginning
        )
        counts = {"forget": len(plan.rows)} if plan.rows else {}
        ledger.close(outcome="done", counts=counts, failures=[])
    finally:
        if lease is not None:
            lease.release()
    return ResetReport(str(plan.path), ledger.run, tuple(row.address for row in plan.rows), before, aside)


def _refuse_other(plan: ResetPlan, now: ResetPlan) -> None:
    if now.mark != plan.mark:
        raise Refused(
            f"{plan.path} changed meanwhile: other resources are stored than those that were shown",
            hint=f"`alchemy scope reset {plan.path}` shows what is there now",
        )


def refuse_empty(plans: Sequence[ResetPlan], path: ScopePath) -> None:
    """UsageError when there is nothing to forget."""
    if not any(plan.damage or plan.rows or plan.scopes for plan in plans):
        raise UsageError(f"nothing is stored in {path}: there is nothing to forget", hint="`alchemy scope list`")
