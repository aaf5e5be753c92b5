"""The journal of one scope on local disk: the commit point, the run log and the fence in one append-only file a run.

Contract (the object store will keep the same): `append(ops)` returns an acknowledgement that completes when the
batch is durable and no later epoch exists, or fails with Fenced or StorageFailed, for good. A writer thread groups
whatever was queued during the last sync into one record: one write, one sync, one look, then the acks.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from alchemy.errors import AlchemyError, Fenced, LockHeld, StorageFailed, UsageError
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Drop, Emit, Op, Put, Record, encode
from alchemy.model.text import safe_text
from alchemy.model.values import Holder
from alchemy.store.clock import Clock
from alchemy.store.copies import wants_snapshot, write_snapshot
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.opening import Loaded, load, load_again, lost_records
from alchemy.store.views import Views

LINGER = 0.05  # seconds that results wait for company when nobody awaits them

Ack = Future[None]


class LocalJournal:
    """One open epoch. `fold` is changed by the writer thread only; reading single rows is safe at any time."""

    def __init__(self, files: Files, layout: Layout, clock: Clock, loaded: Loaded, epoch: int, session: str) -> None:
        self.fold: Fold = loaded.fold
        self.epoch = epoch
        self.session = session
        self.failure: AlchemyError | None = None
        self._pid = os.getpid()
        self._files = files
        self._layout = layout
        self._clock = clock
        self._path = layout.epoch(self.fold.path, epoch)
        self._next = layout.epoch(self.fold.path, epoch + 1)
        self._descriptor = -1
        self._queue: list[tuple[Sequence[Op], Ack | None]] = []
        self._condition = threading.Condition()
        self._urgent = False
        self._due = 0.0  # when what is queued has lingered enough
        self._closing = False
        self._began = False  # a row was changed in this run
        self._unwritten: list[Op] = []
        self._spilled = 0
        self._views = Views(files, layout, self.fold)
        self._thread: threading.Thread | None = None

    @classmethod
    def open(
        cls,
        files: Files,
        layout: Layout,
        clock: Clock,
        path: ScopePath,
        *,
        session: str,
        holder: Callable[[int], Holder],
        ops: Callable[[Fold], Sequence[Op]],
        body: dict[str, Any],
    ) -> LocalJournal:
        """Claims the next epoch and writes its opener durably. `ops` sees the fold and adds rows to the opener."""
        before = load(files, layout, path)
        _refuse_lost_records(files, layout, before)
        files.make_directory(layout.journal(path))
        epoch = (before.epochs[-1] if before.epochs else before.fold.epoch) + 1
        try:
            descriptor = files.create(layout.epoch(path, epoch), b"")
        except FileExistsError:
            raise LockHeld(
                f"Failed to acquire lock {path}: another run opened it at this moment",
                hint="`alchemy scope locks` shows who; run the command again",
            ) from None
        # Read again: the claim fixed what counts of the epochs before, and the seal says how much that is.
        loaded = load_again(files, layout, path, before, below=epoch)
        journal = cls(files, layout, clock, loaded, epoch, session)
        journal._descriptor = descriptor
        fold = loaded.fold
        seals = {str(e): loaded.end if e == loaded.last else 0 for e in loaded.unsealed}
        for sealed, size in seals.items():
            if size:  # its run may have been killed before it synced what we read and are going to build on
                files.sync_file(layout.epoch(path, int(sealed)))
        full = {**body, "holder": holder(epoch).to_json(), "seals": seals}
        full["lineage"] = fold.lineage or uuid.uuid4().hex
        rebooted = fold.holder is not None and fold.holder.boot_id != full["holder"]["boot_id"]
        recheck = rebooted or not loaded.clean or not journal._views.complete
        try:
            journal._write("open", list(ops(fold)), full)
        except BaseException:
            files.close(descriptor)
            raise
        if recheck:
            journal._views.check_all()
        journal._thread = threading.Thread(target=journal._run, name=f"journal {path}", daemon=True)
        journal._thread.start()
        return journal

    def append(self, ops: Sequence[Op], *, wait: bool) -> Ack | None:
        """Queues a batch. With `wait` the writer hurries and the returned future completes with the ack."""
        self._refuse_forked()
        ack: Ack | None = Future() if wait else None
        with self._condition:
            if self.failure:
                self._unwritten += ops
                if ack is None:
                    return None
                ack.set_exception(self.failure)
                return ack
            if not self._queue:
                self._due = time.monotonic() + LINGER
            self._queue.append((ops, ack))
            if wait:
                self._urgent = True
            if wait or len(self._queue) == 1:  # else the writer knows when it is due, and waking it costs us
                self._condition.notify()
        return ack

    def _refuse_forked(self) -> None:
        if os.getpid() != self._pid:
            raise UsageError(
                f"this process was forked from the one that holds {self.fold.path}: it cannot write its state",
                hint="start another process instead (subprocess, or multiprocessing's spawn)",
            )

    def settle(self) -> None:
        """Writes what is queued and stops the writer. Blocks; after it the fold no longer changes."""
        if os.getpid() != self._pid:
            return
        with self._condition:
            self._closing = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join()

    def close(self, body: dict[str, Any], ops: Sequence[Op] = ()) -> None:
        """The release, a snapshot when the tail has grown, and every view. Blocks."""
        if os.getpid() != self._pid:
            return  # a forked child: the epoch is its parent's
        self.settle()
        try:
            # Before the release: whoever dies here leaves an open run, after which every view is looked at again.
            self._write_views()
            if self.failure is None:
                self._write("release", list(ops), body)
                if wants_snapshot(self.fold):
                    write_snapshot(self._files, self._layout, self.fold)
            self._write_views()
        finally:
            if self._descriptor >= 0:
                self._files.close(self._descriptor)
                self._descriptor = -1
        if self.failure is not None:
            self._spill(self.failure)  # with what calls in flight have brought since
            raise self.failure

    def _write_views(self) -> None:
        while self._views.behind and self.failure is None:
            self._write_view()

    def _run(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                if batch:
                    self._commit(batch)
                else:
                    self._write_view()
        except Exception as error:  # whoever waits for an ack must not wait for a thread that is gone
            self._give_up(self._defect(error), [])

    def _next_batch(self) -> list[tuple[Sequence[Op], Ack | None]] | None:
        """What is due for one record; empty when there is time for a view first; None when all is settled."""
        with self._condition:
            while True:
                left = self._due - time.monotonic()
                if self._queue and (self._urgent or self._closing or left <= 0):
                    batch, self._queue, self._urgent = self._queue, [], False
                    return batch
                if self._closing:
                    return None
                if self._views.behind:
                    return []
                self._condition.wait(left if self._queue else None)

    def _write_view(self) -> None:
        try:
            self._views.write_one()
        except (AlchemyError, OSError):
            # A view is a copy: the journal has it all, and `validate` names a file that is not as it should be.
            return

    def _commit(self, batch: list[tuple[Sequence[Op], Ack | None]]) -> None:
        ops = [op for part, _ in batch for op in part]
        try:
            if ops:  # a flush behind which nothing is queued has nothing to write
                self._write("commit", ops, {})
        except AlchemyError as error:
            self._give_up(error, batch)
        except Exception as error:
            self._give_up(self._defect(error), batch)
        else:
            for _, ack in batch:
                if ack is not None and ack.set_running_or_notify_cancel():  # False: who waited for it was cancelled
                    ack.set_result(None)

    def _defect(self, error: Exception) -> StorageFailed:
        failure = StorageFailed(f"the journal of {self.fold.path} cannot be written: {type(error).__name__}: {error}")
        failure.__cause__ = error
        return failure

    def _give_up(self, error: AlchemyError, batch: list[tuple[Sequence[Op], Ack | None]]) -> None:
        """For good: everybody who waits, and whoever comes later, gets `error`."""
        with self._condition:
            self.failure = error
            left, self._queue = self._queue, []
            batch = batch + left
            self._unwritten += [op for part, _ in batch for op in part]
        self._spill(error)
        for _, ack in batch:
            if ack is not None and ack.set_running_or_notify_cancel():
                ack.set_exception(error)

    def _write(self, kind: str, ops: Sequence[Op], body: dict[str, Any]) -> None:
        """One record: append, sync, look for a later epoch, fold. Raises Fenced when there is one."""
        fold = self.fold
        changes = any(not isinstance(op, Emit) for op in ops)
        record = Record(
            seq=fold.seq + 1,
            epoch=self.epoch,
            session=self.session,
            wid=uuid.uuid4().hex[:16],
            kind=kind,
            at=self._clock.now(),
            prev=fold.prev,
            serial=fold.serial + 1 if changes else fold.serial,
            ops=tuple(op.to_json() for op in ops),
            body=body,
        )
        line, check = encode(record)
        self._files.append(self._descriptor, line, self._path)
        self._files.sync(self._descriptor, self._path)
        if self._files.exists(self._next):
            raise Fenced(
                f"this run may not write {fold.path} any more: a later run took over (epoch {self.epoch + 1})",
                hint=f"`alchemy scope locks` shows who; `alchemy scope logs {fold.path}` shows what it did",
            )
        rows, scopes = fold.apply(record, check)
        if changes and not self._began:
            self._began = True
            self._views.begin()
        self._views.touch(rows, scopes)

    def _spill(self, error: AlchemyError) -> None:
        """What could not be committed goes to a file of its own, so that an id the cloud gave is not lost.

        Intents are left out, their call was never made; so is what failed, the row's intent is durable.
        """
        telling = ("result", "set")
        ops = [op for op in self._unwritten if isinstance(op, Drop) or (isinstance(op, Put) and op.phase in telling)]
        if len(ops) == self._spilled:
            return
        import json
        import tempfile
        from pathlib import Path

        body: dict[str, Any] = {"scope": self.fold.path, "epoch": self.epoch, "session": self.session}
        body["ops"] = [op.to_json() for op in ops]
        name = f"{self.fold.path.replace('/', '-')}-{self.epoch}-{self.session[:8]}.json"
        data = json.dumps(body, indent=2, default=str).encode()  # also what orjson refuses, and the journal with it
        for directory in (self._layout.spill, Path(tempfile.gettempdir())):
            try:
                self._files.make_directory(directory, durable=False)
                self._files.replace(directory / name, data, durable=True)
            except (StorageFailed, OSError):
                continue
            if not self._spilled:
                where = safe_text(directory / name)
                error.hint = f"{error.hint}; what this run knew and could not write is in {where}"
            self._spilled = len(ops)
            return


def _refuse_lost_records(files: Files, layout: Layout, loaded: Loaded) -> None:
    error = lost_records(files, layout, loaded.fold, thorough=not loaded.clean)
    if error is not None:
        raise error
