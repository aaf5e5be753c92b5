"""Making the state of a scope anew from what is left of it: journal, snapshots, views, backups, and then the cloud.

Another journal begins with the rows in its opener, all or nothing; the one that was there is set aside, never deleted.
Every row is looked up by the next run. Neighbours: `store.salvage` reads what is left, `searching` asks the cloud.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alchemy.engine.session import Listener
from alchemy.errors import AlchemyError, Refused, StateInvalid, UsageError
from alchemy.model.canonical import digest
from alchemy.model.events import BackupTaken, Entry, Event, RunEnded, RunStarted
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Op, Put, Reserve
from alchemy.model.values import ResourceState, ScopeKind, ScopeState
from alchemy.settings import Options, Project
from alchemy.store import identity
from alchemy.store.admission import refuse_run
from alchemy.store.backups import write_backup
from alchemy.store.beginnings import Salvaged
from alchemy.store.ledger import Ledger, make_holder
from alchemy.store.store import Store

PURPOSE = "rebuild"


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """What a rebuild would write. `damage`: why the state cannot be read as it is; "" when it can."""

    owner: ScopePath
    kind: ScopeKind
    damage: str
    stored: int  # rows in the state as it can be read
    rows: tuple[tuple[ResourceState, str], ...]  # each with where it was found
    scopes: tuple[ScopeState, ...]
    vanishing: tuple[str, ...]  # addresses in the state as it can be read, of which the rest says they are gone
    problems: tuple[str, ...]
    lost: int  # records of which nothing is left
    mark: str  # of what was found in files

    @property
    def severe(self) -> bool:
        """There is sound state to lose."""
        return not self.damage and self.stored > 0


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """`before`: the backup of what was there, "" where nothing was. `aside`: the name of the old journal now."""

    scope: str
    run: str
    rows: int
    before: str
    aside: str


async def plan_rebuild(
    store: Store, path: ScopePath, options: Options, *, project: Project, program: Path | None = None
) -> RebuildPlan:
    """Without a lock; nothing is written. With `program`, the cloud is asked for what it declares and nobody knows."""
    owner, kind = _owner_of(store, path)
    damage, now = _state_of(store, owner)
    salvaged = store.salvage(owner)
    kind = salvaged.fold.kind or kind
    mark = _mark(salvaged)
    fold = salvaged.fold
    rows = [(row, salvaged.sources.get(row.key, "journal")) for row in _in_order(fold)]
    problems = list(salvaged.problems)
    target = fold.target
    if program is not None:
        from alchemy.operations.searching import search

        found = await search(store, owner, kind, fold, program, options, project)
        rows += _numbered(found.rows, fold.next_seq)
        problems += found.notes
        target = target or found.target
    if not rows and (damage or not now.resources):
        raise _nothing_left(owner, damage)
    vanishing = sorted(row.address for row in now.resources.values() if row.key not in fold.resources)
    return RebuildPlan(
        owner=owner,
        kind=kind,
        damage=damage,
        stored=len(now.resources),
        rows=tuple((replace(row, verify=True), source) for row, source in rows),
        scopes=tuple(_scopes(store, owner, kind, fold, [row for row, _ in rows], target)),
        vanishing=tuple(vanishing),
        problems=tuple(problems),
        lost=salvaged.missing,
        mark=mark,
    )


async def rebuild(
    store: Store, plan: RebuildPlan, options: Options, *, listener: Listener | None = None
) -> RebuildReport:
    """What `plan` says. Refused when something else is found in the files by now."""
    owner = plan.owner
    store.prepare()
    lease = await store.acquire(owner, timeout=options.lock_timeout) if options.enable_locking else None
    try:
        salvaged = store.salvage(owner)
        if _mark(salvaged) != plan.mark:
            raise Refused(
                f"{owner} changed meanwhile: somebody wrote to it, or mended it",
                hint=f"`alchemy scope rebuild {owner} --dry-run` shows what a rebuild would do now",
            )
        refuse_run(store, owner, salvaged.fold)
        last = max((row.seq for row, _ in plan.rows), default=0)
        beginning = salvaged.beginning(list(_ops(plan, salvaged.fold)))
        beginning = replace(beginning, next_seq=max(beginning.next_seq, last + 1))
        if lease is not None:
            lease.publish(make_holder(store, owner, beginning.epoch, PURPOSE))
        fold = salvaged.fold
        keeps = bool(fold.resources and fold.kind)
        before = write_backup(store, fold, "before a rebuild") if keeps else ""
        aside = store.set_journal_aside(owner)
        ledger = await Ledger.open(
            store, owner, plan.kind, purpose=PURPOSE, timeout=0, locking=False, beginning=beginning
        )
        _finish(ledger, plan, before, _declared(fold, beginning.next_seq), listener)
        store.ensure_application(owner)
    finally:
        if lease is not None:
            lease.release()
    return RebuildReport(str(owner), ledger.run, len(plan.rows), before, aside)


def _declared(fold: Fold, next_seq: int) -> dict[str, Any]:
    """What was known to be left behind still is; everything else counts as declared until a deploy says otherwise."""
    orphans = sorted(row.address for row in fold.resources.values() if not row.former and fold.orphaned(row.address))
    return {"complete": True, "orphans": orphans, "next_seq": next_seq}


def _finish(
    ledger: Ledger, plan: RebuildPlan, before: str, declared: dict[str, Any], listener: Listener | None
) -> None:
    """The rows are durable: tells, and releases."""
    tell = _teller(ledger, listener)
    who = f"{identity.user()}@{identity.host()}"
    holder = ledger.fold.holder
    tell(RunStarted(str(ledger.path), PURPOSE, "", who, holder.pid if holder else 0, identity.command()))
    if before:
        event = BackupTaken(str(ledger.path), before, "before a rebuild")
        ledger.emit(event)
        tell(event)
    counts = {"rebuilt": len(plan.rows)}
    ledger.close(outcome="done", counts=counts, failures=[], declared=declared)
    took = round(ledger.store.clock.elapsed() - ledger.started, 3)
    tell(RunEnded(str(ledger.path), "done", counts, [], took, len(plan.rows)))


def _teller(ledger: Ledger, listener: Listener | None) -> Callable[[Event], None]:
    run = ledger.run

    def tell(event: Event) -> None:
        if listener is not None:
            listener(Entry(run, 0, ledger.store.clock.now(), event))

    return tell


def _nothing_left(owner: ScopePath, damage: str) -> AlchemyError:
    if not damage:
        return UsageError(f"nothing is stored in {owner}: there is nothing to rebuild", hint="`alchemy scope list`")
    return StateInvalid(
        f"nothing can be rebuilt of {owner}: {damage}",
        hint=f"`alchemy scope rebuild {owner} PROGRAM` looks in the cloud for what the program declares; "
        f"`alchemy scope reset {owner}` starts anew",
    )


def _ops(plan: RebuildPlan, fold: Fold) -> Sequence[Op]:
    ops: list[Op] = [Put(scope) for scope in plan.scopes]
    ops += [Put(row, reason=f"rebuilt from {source}") for row, source in plan.rows]
    if fold.hold is not None:
        ops.append(Reserve(fold.hold))
    return ops


# -- what there is


def _owner_of(store: Store, path: ScopePath) -> tuple[ScopePath, ScopeKind]:
    """UsageError for a scope whose rows are in the journal of one above it."""
    owners = set(store.owners())
    for above in reversed(path.ancestors):
        if str(path) not in owners and str(above) in owners and (above.parent is not None or store.has_journal(above)):
            if above.parent is None and len(path.parts) == 2:
                break  # a stage of an application that holds resources too: it stands by itself
            raise UsageError(
                f"{path} is in the journal of {above}, which is rebuilt as a whole",
                hint=f"alchemy scope rebuild {above}",
            )
    parts = path.parts
    if len(parts) == 1:
        return path, ScopeKind.APPLICATION
    if len(parts) == 3 and parts[1] == "test":
        return path, ScopeKind.TEST
    if len(parts) == 2 and parts[1] != "test":
        return path, ScopeKind.STAGE
    raise UsageError(f"{path} is not in the state", hint="rebuild the stage or the application that it was in")


def _state_of(store: Store, owner: ScopePath) -> tuple[str, Fold]:
    """(what is wrong with it, the state as it can be read): one of the two is empty."""
    try:
        return "", store.read_fold(owner)
    except StateInvalid as error:
        return error.message, Fold(str(owner))


def _in_order(fold: Fold) -> list[ResourceState]:
    return sorted(fold.resources.values(), key=lambda row: (row.address, row.generation))


def _mark(salvaged: Salvaged) -> str:
    fold = salvaged.fold
    rows: list[Any] = [row.to_json() for row in _in_order(fold)]
    return digest([rows, [salvaged.epoch, salvaged.seq, salvaged.serial, fold.lineage, list(salvaged.problems)]])


def _numbered(found: Sequence[tuple[ResourceState, str]], first: int) -> list[tuple[ResourceState, str]]:
    """Older incarnations before newer ones of one address, all after what is known."""
    ordered = sorted(found, key=lambda pair: pair[0].generation)
    return [(replace(row, seq=first + number), source) for number, (row, source) in enumerate(ordered)]


def _scopes(
    store: Store, owner: ScopePath, kind: ScopeKind, fold: Fold, rows: Sequence[ResourceState], target: Any
) -> list[ScopeState]:
    """Those that are known, and those that the rows need."""
    now = store.clock.now()
    made = dict(fold.scopes)
    mine = made.get(str(owner)) or ScopeState(path=str(owner), kind=kind, created_at=now, updated_at=now)
    made[str(owner)] = replace(mine, target=target)
    for row in rows:
        path = row.scope
        while path != str(owner) and path.startswith(f"{owner}/"):
            made.setdefault(path, ScopeState(path=path, kind=ScopeKind.NESTED, created_at=now, updated_at=now))
            path = path.rpartition("/")[0]
    return [made[path] for path in sorted(made)]
