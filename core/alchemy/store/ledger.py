"""One scope that owns a journal, as a run holds it: lock, epoch, rows, backups, release.

The engine's only way to state. `intend` returns when the intention is durable; `record` rides along. A ledger
opened for reading has the same rows and refuses to write. Neighbours: `store` is what it is on, `journal` writes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from alchemy.errors import AlchemyError, StateInvalid
from alchemy.model.events import Event, Noted
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Emit, Op, Put, Reserve
from alchemy.model.values import Holder, ResourceState, ScopeKind, ScopeState
from alchemy.store import identity
from alchemy.store.admission import admit_reader, refuse_run
from alchemy.store.afar import open_afar
from alchemy.store.beginnings import Beginning
from alchemy.store.elsewhere import remember
from alchemy.store.journal import Journal
from alchemy.store.runbackups import RunBackups
from alchemy.store.store import Lease, Store
from alchemy.store.waiting import Waiting


def make_holder(store: Store, path: ScopePath, epoch: int, purpose: str) -> Holder:
    """This process as others see it."""
    return identity.make_holder(path, store.session, store.clock.now(), epoch, purpose)


class Ledger:
    """`fold` is what is stored; `path` owns it."""

    def __init__(self, store: Store, path: ScopePath, kind: ScopeKind, fold: Fold) -> None:
        self.store = store
        self.path = path
        self.kind = kind
        self.fold = fold
        self.started = store.clock.elapsed()
        self.mutated = False  # a row changed in this run, apart from the opener's
        self._journal: Journal | None = None
        self._last: Journal | None = None  # also while it is being closed
        self._leases: list[Lease] = []
        self._backups = RunBackups(store)
        self._pid = os.getpid()
        self._round: asyncio.Task[None] | None = None
        self._round_ops: list[Op] = []

    @classmethod
    def read(cls, store: Store, path: ScopePath, kind: ScopeKind) -> Ledger:
        """Without lock or epoch, nothing created: for the phases `plan` and `read`."""
        return cls(store, path, kind, admit_reader(store, path))

    @classmethod
    async def open(
        cls,
        store: Store,
        path: ScopePath,
        kind: ScopeKind,
        *,
        purpose: str,
        target: str = "",
        timeout: float | None,
        held: Collection[ScopePath] = (),
        locking: bool = True,
        waiting: Callable[[str], None] | None = None,
        lock_path: ScopePath | None = None,
        held_by_person: bool = False,
        beginning: Beginning | None = None,
        refuse: Callable[[Fold], None] | None = None,
    ) -> Ledger:
        """Takes the lock, then the next epoch. `lock_path`: a nested path that is named in the lock as well.

        LockHeld also while a person keeps runs out (`scope lock`), unless `held_by_person`: the caller changes that.
        `beginning`: of a journal in the place of the one that is there, which is set aside; with it nobody is refused.
        `refuse` sees what is stored before the epoch is claimed, and may raise.
        """
        leases: list[Lease] = []
        wait = Waiting(store, path, waiting, by_person=held_by_person)
        if locking:
            wanted = lock_path or path
            owner = path if wanted != path else None
            leases = [await wait.acquire(wanted, owner=owner, timeout=timeout, held=held)]
        try:
            opening = partial(cls._open, store, path, kind, leases, purpose, target, held_by_person, beginning)
            opened = await open_afar(opening, refuse, cls._undo) if store.remote else opening(refuse)
        except BaseException:
            for lease in leases:
                lease.release()
            raise
        wait.over(opened.emit)
        return opened

    def _undo(self) -> None:
        self.close(outcome="interrupted", counts={}, failures=[])

    @classmethod
    def _open(
        cls,
        store: Store,
        path: ScopePath,
        kind: ScopeKind,
        leases: list[Lease],
        purpose: str,
        target: str,
        held_by_person: bool,
        beginning: Beginning | None,
        refuse_more: Callable[[Fold], None] | None,
    ) -> Ledger:
        clock = store.clock

        def holder(epoch: int) -> Holder:
            return make_holder(store, path, epoch, purpose)

        def refuse(fold: Fold) -> None:
            refuse_run(store, path, fold, by_person=held_by_person)
            if refuse_more is not None:
                refuse_more(fold)

        def ops(fold: Fold) -> Sequence[Op]:
            stored = fold.scopes.get(str(path))
            if stored is None:
                now = clock.now()
                return [Put(ScopeState(path=str(path), kind=kind, created_at=now, updated_at=now))]
            if stored.kind is not kind:
                raise StateInvalid(
                    f"{path} is a {stored.kind} scope in the state, and the program opens it as a {kind}",
                    hint="give one of the two another name",
                )
            return []

        body: dict[str, Any] = {"target": target} if target else {}
        if beginning is not None:
            journal = store.begin_journal(path, holder=holder, beginning=beginning, body=body)
        else:
            journal = store.open_journal(path, holder=holder, ops=ops, body=body, refuse=refuse)
        ledger = cls(store, path, kind, journal.fold)
        ledger._journal, ledger._last, ledger._leases = journal, journal, leases
        try:
            for lease in leases:
                lease.publish(holder(journal.epoch))
            remember(store, path)
            if kind in (ScopeKind.STAGE, ScopeKind.TEST):
                store.ensure_application(path)
        except BaseException as error:
            with suppress(AlchemyError):  # what kept the record from being shown is what is told
                ledger.close(outcome="failed", counts={}, failures=[[str(path), str(error)]])
            raise
        return ledger

    @property
    def writable(self) -> bool:
        return self._journal is not None

    @property
    def epoch(self) -> int:
        return self._journal.epoch if self._journal else self.fold.epoch

    @property
    def run(self) -> str:
        return f"R-{self.epoch}"

    @property
    def failure(self) -> AlchemyError | None:
        """Why nothing can be written any more (fenced, disk), or None."""
        return self._journal.failure if self._journal else None

    def row(self, address: str) -> ResourceState | None:
        return self.fold.resources.get(address)

    async def intend(self, ops: Sequence[Op]) -> None:
        """Durable and unfenced when this returns; only then may the call it announces be made."""
        self.mutated = True
        self._round_ops += ops
        if self._round is None:
            self._round = asyncio.get_running_loop().create_task(self._send_round(), name=f"intents {self.path}")
        await asyncio.shield(self._round)

    async def _send_round(self) -> None:
        """Everything intended in one round of the loop: a thousand resources declared at once are one batch."""
        ops, self._round_ops, self._round = self._round_ops, [], None
        ack = self._writer.append(ops, wait=True)
        assert ack is not None
        await asyncio.wrap_future(ack)

    def record(self, ops: Sequence[Op]) -> None:
        """Joins the next batch, within moments."""
        self.mutated = self.mutated or any(not isinstance(op, Emit | Reserve) for op in ops)
        self._writer.append(ops, wait=False)

    def emit(self, event: Event) -> None:
        """An event for the log; dropped when the ledger only reads."""
        if self._journal is not None:
            self._journal.append([Emit(event)], wait=False)

    async def commit(self, kind: str, ops: Sequence[Op], body: dict[str, Any]) -> None:
        """One record of its own (a `restore`, a move), with a `body`: all of it or nothing, never in a spill.

        Durable and unfenced when this returns.
        """
        self.mutated = True
        ack = self._writer.append(ops, wait=True, kind=kind, body=body)
        assert ack is not None
        await asyncio.wrap_future(ack)

    async def confirm(self) -> None:
        """Right before a call to the cloud: this run may still write. Fenced when another took over meanwhile."""
        journal = self._writer
        if journal.failure is not None:
            raise journal.failure
        if journal.doubtful:
            ack = journal.append((), wait=True, probing=True)
            assert ack is not None
            await asyncio.wrap_future(ack)

    def rescue(self, why: str) -> str:
        """Before the process ends without waiting: the way out, when something had to be put aside."""
        error = AlchemyError(why)
        if self._last is not None and os.getpid() == self._pid:
            self._last.rescue(error)
        return error.hint

    async def flush(self) -> None:
        """Everything recorded so far is durable."""
        ack = self._writer.append((), wait=True)
        assert ack is not None
        await asyncio.wrap_future(ack)

    def backup(self, reason: str, *, always: bool = False) -> str:
        """Before the first change of a run: a copy of what was, unless the newest copy is of the same serial.

        Returns the file's name, or "" when none was needed. `always`: one with this reason, whatever there is.
        """
        return self._backups.before_change(self.fold, reason, always=always)

    @property
    def warning(self) -> str:
        """What went wrong at the end and is no reason to fail."""
        return self._backups.warning

    def _prune(self) -> None:
        if self.failure is None and os.getpid() == self._pid:
            self._backups.prune(self.fold)
            if self.warning:
                self.emit(Noted(str(self.path), self.warning, "warning"))

    def close(
        self,
        *,
        outcome: str,
        counts: dict[str, int],
        failures: list[list[str]],
        hints: Sequence[str] = (),
        declared: Any = None,
    ) -> None:
        """Writes the release, the views and (after a stage's first mutating run) a backup; gives the lock back.

        Synchronous: also the exit path of a program that never finalized. Raises what kept it from being written.
        """
        self._prune()
        journal, self._journal = self._journal, None
        leases, self._leases = self._leases, []
        if journal is None:
            return
        clock, fold = self.store.clock, self.fold
        ops: list[Op] = []
        body: dict[str, Any] = {"scope": str(self.path), "outcome": outcome, "counts": counts, "failures": failures}
        body |= ({"hints": list(hints)} if hints else {}) | ({} if declared is None else {"declared": declared})
        body["took"] = round(clock.elapsed() - self.started, 3)
        try:
            journal.settle()
            body["total"] = len(fold.resources)
            stored = fold.scopes.get(str(self.path))
            if self.mutated and stored is not None:
                ops = [Put(replace(stored, updated_at=clock.now(), last_run=f"R-{journal.epoch}"))]
            journal.close(body, ops)
            if self.mutated:
                self._backups.after_first(fold)
        finally:
            for lease in leases:
                lease.release()

    @property
    def _writer(self) -> Journal:
        if self._journal is None:
            raise StateInvalid(
                f"{self.path} is open for reading only", hint="this is a defect of the caller: nothing was written"
            )
        return self._journal
