"""Going back to a backup: one record of the journal, all or nothing, with a backup before it that undoes it.

Changes the state only: every row that is set is looked at in the cloud by the next run. Over a journal that cannot be
read another one begins, and the damaged one is kept (docs/decisions/0009-restore.md). Neighbour: `backups` compares.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from alchemy.errors import InvalidName, Refused, StateInvalid, StorageFailed
from alchemy.model.backup import BEFORE_RESTORE, Backup
from alchemy.model.comparison import Comparison, still_declared, whole_ops
from alchemy.model.events import BackupTaken, ChangeEnded, Entry, Event, LockWaited, RunEnded, RunStarted
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Drop, Op, Put, restored
from alchemy.model.values import ResourceState, ScopeKind
from alchemy.operations.backups import Subject, find_subject, hold_against, load, state_of
from alchemy.operations.shapes import RestoreReport
from alchemy.operations.undoing import PURPOSE, undoes
from alchemy.store import identity
from alchemy.store.admission import refuse_run
from alchemy.store.backups import problem_of, write_backup
from alchemy.store.beginnings import Beginning
from alchemy.store.ledger import Ledger, make_holder
from alchemy.store.store import Store

Listener = Callable[[Entry], None]


async def restore(
    store: Store,
    scope: str,
    file: str,
    *,
    expect_serial: int | None = None,
    timeout: float | None = None,
    locking: bool = True,
    over_damage: bool = False,
    listener: Listener | None = None,
) -> RestoreReport:
    """`scope` as it was in the backup `file`; nothing in the cloud changes.

    `expect_serial`: Refused when the state is at another one by now. `timeout` is for the lock. `over_damage`: a
    journal that cannot be read is set aside and another one begins; without it, StateInvalid.
    """
    subject = find_subject(store, scope)
    backup = load(store, subject, file)
    work = _Restore(store, subject, backup, expect_serial, listener)
    now, damage = state_of(store, subject)
    work.look(now, damage)
    if damage and not over_damage:
        raise StateInvalid(
            f"the journal of {subject.owner} cannot be read: {damage}",
            hint=f"`alchemy scope restore {subject.owner} --backup {backup.header.file} --force` sets it aside and "
            "begins another one from the backup",
        )
    if work.done(now):
        return work.report(now.serial, now.serial)
    return await (work.begin(timeout, locking) if damage else work.carry_out(timeout, locking))


async def undo(
    store: Store,
    scope: str,
    *,
    expect_serial: int | None = None,
    timeout: float | None = None,
    locking: bool = True,
    listener: Listener | None = None,
) -> RestoreReport:
    """Back to what was before the newest restore. Refused when there was none, or when something ran since."""
    file = undoes(store, scope)
    given: dict[str, Any] = {"timeout": timeout, "locking": locking, "listener": listener}
    return await restore(store, scope, file, expect_serial=expect_serial, **given)


@dataclass(slots=True)
class _Restore:
    """One restore under way."""

    store: Store
    subject: Subject
    backup: Backup
    expect: int | None
    listener: Listener | None
    found: Comparison | None = None
    kind: ScopeKind = ScopeKind.STAGE
    run: str = ""

    @property
    def comparison(self) -> Comparison:
        assert self.found is not None
        return self.found

    def look(self, now: Fold, damage: str = "") -> None:
        """At what there is to do; Refused when it is not what was agreed on."""
        owner, file = self.subject.owner, self.backup.header.file
        if self.expect is not None and now.serial != self.expect:
            raise Refused(
                f"{owner} is at serial {now.serial} by now, not at {self.expect}: somebody changed it meanwhile",
                hint=f"`alchemy scope diff {self.subject.path} --backup {file}` shows what a restore would do now",
            )
        self.found = hold_against(now, self.backup, self.subject, damage)
        self.kind = now.kind or self.backup.fold.kind or self.subject.kind
        before, after = now.target, self.backup.fold.target
        if before is None or after is None or before.account == after.account:
            return
        if not self.subject.whole:
            raise Refused(
                f"{owner} goes to {before} now, and went to {after} when {file} was taken",
                hint=f"restore the whole of it: `alchemy scope restore {owner} --backup {file}`",
            )
        if self.comparison.unfinished:
            raise Refused(
                f"calls to {before} have no known end, and with {file} {owner} would go to {after}",
                hint="let a deploy or a destroy finish them first",
            )

    def done(self, now: Fold) -> bool:
        """Nothing to write, and nobody died before the end of it."""
        return self.comparison.same and now.released

    def report(self, serial: int, after: int, before: str = "", aside: str = "") -> RestoreReport:
        counts = restored({}, [op.to_json() for op in self.comparison.ops])
        return RestoreReport(
            scope=self.subject.path,
            owner=str(self.subject.owner),
            file=self.backup.header.file,
            run=self.run,
            serial_before=serial,
            serial=after,
            restored=counts.restored,
            forgotten=counts.forgotten,
            unchanged=self.comparison.same,
            consequences=self.comparison.consequences,
            before=before,
            aside=aside,
        )

    # -- one record -----------------------------------------------------------------------------------------------

    async def carry_out(self, timeout: float | None, locking: bool) -> RestoreReport:
        ledger = await self._open(timeout, locking)
        serial = ledger.fold.serial
        self._tell_start(ledger)
        outcome, before = "failed", ""
        try:
            self.look_again(ledger.fold)
            if not self.comparison.same:
                before = self._back_up(ledger.fold, ledger)
                await self._write(ledger, self.comparison.ops, before)
            outcome = "done"
        except (asyncio.CancelledError, KeyboardInterrupt):
            outcome = "interrupted"
            raise
        finally:
            self._close(ledger, outcome, self.comparison.ops if outcome == "done" else ())
        return self.report(serial, ledger.fold.serial, before)

    def look_again(self, now: Fold) -> None:
        """Ours by now: opening may have written the owner's row, which is no change of anybody's."""
        self.found = hold_against(now, self.backup, self.subject)

    async def _open(self, timeout: float | None, locking: bool, beginning: Beginning | None = None) -> Ledger:
        store, owner = self.store, self.subject.owner
        store.prepare()
        if self.kind in (ScopeKind.STAGE, ScopeKind.TEST):
            store.ensure_application(owner)
        return await Ledger.open(
            store,
            owner,
            self.kind,
            purpose=PURPOSE,
            timeout=timeout,
            locking=locking,
            waiting=self._wait,
            lock_path=self._nested(),
            beginning=beginning,
            refuse=self.look,
        )

    def _nested(self) -> ScopePath | None:
        """A nested scope is shown as locked as well; a resource is not a path."""
        if self.subject.whole or self.subject.path not in self.backup.fold.scopes:
            return None
        try:
            return ScopePath.parse(self.subject.path)
        except InvalidName:
            return None

    def _back_up(self, now: Fold, ledger: Ledger | None = None) -> str:
        """What undoes it; read back before anything is changed."""
        owner = self.subject.owner
        reason = f"{BEFORE_RESTORE}{self.backup.header.file}"
        name = write_backup(self.store, now, reason)
        problem = problem_of(self.store, owner, name)
        if problem:
            raise StorageFailed(
                f"nothing is restored: the backup of what is there now does not read back: {problem}",
                hint="see to the disk, and run the same command again",
            )
        self._tell(BackupTaken(str(owner), name, reason), ledger)
        return name

    async def _write(self, ledger: Ledger, ops: Sequence[Op], before: str) -> None:
        header = self.backup.header
        body = {"scope": self.subject.path, "from": header.file, "taken": header.taken, "of": header.serial}
        await ledger.commit("restore", ops, {**body, "before": before})
        for op in ops:
            if isinstance(op, Put) and isinstance(op.row, ResourceState):
                self._tell(ChangeEnded(op.row.address, op.row.kind, "restore", "done"))
            elif isinstance(op, Drop) and op.address:
                self._tell(ChangeEnded(op.address, op.kind, op.action, "done"))
        self._tell(restored({**body, "before": before}, [op.to_json() for op in ops]))

    # -- over a journal that cannot be read -----------------------------------------------------------------------

    async def begin(self, timeout: float | None, locking: bool) -> RestoreReport:
        """Another journal begins with the rows of the backup in its opener: again all or nothing."""
        store, owner = self.store, self.subject.owner
        lease = await store.acquire(owner, timeout=timeout, waiting=self._wait) if locking else None
        try:
            now, damage = state_of(store, self.subject)
            if not damage:
                raise Refused(
                    f"the journal of {owner} can be read by now: somebody mended it, or restored it",
                    hint="run the same command again to see what a restore would do now",
                )
            self.look(now, damage)
            refuse_run(store, owner, now)
            beginning = self._beginning(now)
            if lease is not None:
                lease.publish(make_holder(store, owner, beginning.epoch, PURPOSE))
            before = ""
            if now.lineage and now.resources and now.kind:
                with suppress(StorageFailed):  # what could be read is a help; the damaged journal itself is kept
                    before = self._back_up(now)
            aside = store.set_journal_aside(owner)
            ledger = await self._open(timeout, False, beginning)
            if lease is not None:
                lease.publish(make_holder(store, owner, ledger.epoch, PURPOSE))
            self._tell_start(ledger)
            outcome = "failed"
            try:
                await self._write(ledger, (), before)
                outcome = "done"
            finally:
                self._close(ledger, outcome, self.comparison.ops, still_declared(now, self.comparison.ops))
        finally:
            if lease is not None:
                lease.release()
        return self.report(now.serial, ledger.fold.serial, before, aside)

    def _beginning(self, now: Fold) -> Beginning:
        """Numbered behind all that was ever used."""
        then = self.backup.fold
        salvaged = self.store.salvage(self.subject.owner)
        return replace(
            salvaged.beginning(list(whole_ops(now, self.comparison.ops))),
            lineage=then.lineage,
            next_seq=max(now.next_seq, then.next_seq),
            epoch=max(salvaged.epoch, then.epoch),
            seq=max(salvaged.seq, then.seq),
            serial=max(salvaged.serial, then.serial),
        )

    # -- telling --------------------------------------------------------------------------------------------------

    def _wait(self, who: str) -> None:
        self._tell(LockWaited(str(self.subject.owner), who))

    def _tell_start(self, ledger: Ledger) -> None:
        self.run = ledger.run
        holder = ledger.fold.holder
        who = f"{identity.user()}@{identity.host()}"
        pid, command = (holder.pid, holder.command) if holder else (0, "")
        self._tell(RunStarted(str(ledger.path), PURPOSE, "", who, pid, command))

    def _tell(self, event: Event, ledger: Ledger | None = None) -> None:
        if ledger is not None:
            ledger.emit(event)
        if self.listener is not None:
            try:
                self.listener(Entry(self.run, 0, self.store.clock.now(), event))
            except Exception:  # a closed terminal ends the telling, not the restore
                self.listener = None

    def _close(self, ledger: Ledger, outcome: str, ops: Sequence[Op], declared: Any = None) -> None:
        took = round(ledger.store.clock.elapsed() - ledger.started, 3)
        told = restored({}, [op.to_json() for op in ops])
        counts = {"restore": told.restored, "forget": told.forgotten}
        counts = {name: number for name, number in counts.items() if number}
        ledger.close(outcome=outcome, counts=counts, failures=[], declared=declared)
        self._tell(RunEnded(str(ledger.path), outcome, counts, [], took, len(ledger.fold.resources)))
