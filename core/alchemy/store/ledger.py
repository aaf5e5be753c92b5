"""One scope that owns a journal, as a run holds it: lock, epoch, rows, backups, release.

The engine's only way to state. `intend` returns when the intention is durable; `record` rides along. A ledger
opened for reading has the same rows and refuses to write. Neighbours: `locks`, `journal`, `copies`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from alchemy.errors import AlchemyError, StateInvalid
from alchemy.model.events import Event
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Emit, Op, Put
from alchemy.model.values import Holder, ResourceState, ScopeKind, ScopeState
from alchemy.store import identity
from alchemy.store.clock import Clock
from alchemy.store.copies import BACKUP, write_backup
from alchemy.store.files import Files
from alchemy.store.journal import LocalJournal
from alchemy.store.layout import Layout
from alchemy.store.locks import Lease, LocalLocks
from alchemy.store.opening import read_fold

TOOL = "alchemy 0.1.0"


@dataclass(slots=True)
class Store:
    """The state directory and what reaches it. `session` names this program run in lock holders and records."""

    layout: Layout
    session: str
    files: Files = field(default_factory=Files)
    clock: Clock = field(default_factory=Clock)

    @property
    def locks(self) -> LocalLocks:
        return LocalLocks(self.layout, self.files, self.clock)


def make_holder(store: Store, path: ScopePath, epoch: int, purpose: str) -> Holder:
    """This process as others see it."""
    return Holder(
        path=str(path),
        epoch=epoch,
        session=store.session,
        pid=os.getpid(),
        process_start=identity.process_start(os.getpid()),
        boot_id=identity.boot_id(),
        host=identity.host(),
        user=identity.user(),
        command=identity.command(),
        since=store.clock.now(),
        purpose=purpose,
    )


class Ledger:
    """`fold` is what is stored; `path` owns it."""

    def __init__(self, store: Store, path: ScopePath, kind: ScopeKind, fold: Fold) -> None:
        self.store = store
        self.path = path
        self.kind = kind
        self.fold = fold
        self.started = store.clock.elapsed()
        self.mutated = False  # a row changed in this run, apart from the opener's
        self._journal: LocalJournal | None = None
        self._leases: list[Lease] = []
        self._backed_up = False
        self._round: asyncio.Task[None] | None = None
        self._round_ops: list[Op] = []

    @classmethod
    def read(cls, store: Store, path: ScopePath, kind: ScopeKind) -> Ledger:
        """Without lock or epoch, nothing created: for the phases `plan` and `read`."""
        return cls(store, path, kind, read_fold(store.files, store.layout, path))

    @classmethod
    async def open(
        cls,
        store: Store,
        path: ScopePath,
        kind: ScopeKind,
        *,
        purpose: str,
        target: str = "",
        timeout: float,
        held: Collection[ScopePath] = (),
        locking: bool = True,
        waiting: Callable[[str], None] | None = None,
        lock_path: ScopePath | None = None,
    ) -> Ledger:
        """Takes the lock, then the next epoch. `lock_path`: a nested path that is named in the lock as well."""
        leases: list[Lease] = []
        if locking:
            wanted = lock_path or path
            owner = path if wanted != path else None
            leases = [await store.locks.acquire(wanted, owner=owner, timeout=timeout, held=held, waiting=waiting)]
        try:
            return cls._open(store, path, kind, leases, purpose, target)
        except BaseException:
            for lease in leases:
                lease.release()
            raise

    @classmethod
    def _open(
        cls, store: Store, path: ScopePath, kind: ScopeKind, leases: list[Lease], purpose: str, target: str
    ) -> Ledger:
        clock = store.clock

        def holder(epoch: int) -> Holder:
            return make_holder(store, path, epoch, purpose)

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
        journal = LocalJournal.open(
            store.files, store.layout, clock, path, session=store.session, holder=holder, ops=ops, body=body
        )
        ledger = cls(store, path, kind, journal.fold)
        ledger._journal, ledger._leases = journal, leases
        try:
            for lease in leases:
                lease.publish(holder(journal.epoch))
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
        self.mutated = self.mutated or any(not isinstance(op, Emit) for op in ops)
        self._writer.append(ops, wait=False)

    def emit(self, event: Event) -> None:
        """An event for the log; dropped when the ledger only reads."""
        if self._journal is not None:
            self._journal.append([Emit(event)], wait=False)

    async def flush(self) -> None:
        """Everything recorded so far is durable."""
        ack = self._writer.append((), wait=True)
        assert ack is not None
        await asyncio.wrap_future(ack)

    def backup(self, reason: str) -> str:
        """Before the first change of a run: a copy of what was, unless the newest copy is of the same serial.

        Returns the file's name, or "" when none was needed.
        """
        if self._backed_up:
            return ""
        file = ""
        if self.fold.resources and self._last_backup_serial() != self.fold.serial:
            file = write_backup(self.store.files, self.store.layout, self.fold, self.store.clock.now(), reason, TOOL)
        self._backed_up = True
        return file

    def _last_backup_serial(self) -> int:
        """From the newest file's header, which stands in its first few hundred bytes; -1 when there is no whole one."""
        import re

        directory = self.store.layout.backups(self.path)
        names = [name for name in self.store.files.names(directory) if BACKUP.fullmatch(name)]
        if not names:
            return -1
        data = self.store.files.read(directory / names[-1])
        found = re.search(rb'"serial": (\d+)', data[:2000])
        return int(found[1]) if found and data.endswith(b"\n}\n") else -1  # a kill in the middle leaves no such end

    def close(self, *, outcome: str, counts: dict[str, int], failures: list[list[str]], declared: Any = None) -> None:
        """Writes the release, the views and (after a stage's first mutating run) a backup; gives the lock back.

        Synchronous: also the exit path of a program that never finalized. Raises what kept it from being written.
        """
        journal, self._journal = self._journal, None
        leases, self._leases = self._leases, []
        if journal is None:
            return
        clock, fold = self.store.clock, self.fold
        ops: list[Op] = []
        body: dict[str, Any] = {"scope": str(self.path), "outcome": outcome, "counts": counts, "failures": failures}
        body["took"] = round(clock.elapsed() - self.started, 3)
        if declared is not None:
            body["declared"] = declared
        try:
            journal.settle()
            body["total"] = len(fold.resources)
            stored = fold.scopes.get(str(self.path))
            if self.mutated and stored is not None:
                ops = [Put(replace(stored, updated_at=clock.now(), last_run=f"R-{journal.epoch}"))]
            journal.close(body, ops)
            if self.mutated and fold.resources and self._last_backup_serial() < 0:
                write_backup(self.store.files, self.store.layout, fold, clock.now(), "after the first run", TOOL)
        finally:
            for lease in leases:
                lease.release()

    @property
    def _writer(self) -> LocalJournal:
        if self._journal is None:
            raise StateInvalid(
                f"{self.path} is open for reading only", hint="this is a defect of the caller: nothing was written"
            )
        return self._journal
