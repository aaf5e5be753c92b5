"""The writer of one open epoch: groups what is queued into records, and acknowledges what has become durable.

Contract, the same on local disk and in a bucket: `append(ops)` returns an acknowledgement that completes when the
batch is durable and no later epoch exists, or fails with Fenced or StorageFailed, for good. A thread puts whatever
was queued during the last write into one record. Where records go is the `Medium`: `localjournal`, `objects`.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from alchemy.errors import AlchemyError, StorageFailed, UsageError
from alchemy.model.fold import Fold
from alchemy.model.records import Drop, Op, Put, Record, encode
from alchemy.model.text import safe_text
from alchemy.store.clock import Clock
from alchemy.store.spill import Spill

Ack = Future[None]


class Medium(Protocol):
    """Where the records of one epoch go. One thread uses it: the journal's writer, and after it whoever closes."""

    linger: float  # seconds that results wait for company when nobody awaits them

    def put(self, record: Record, line: bytes) -> None:
        """Durable, and no later epoch is open, when this returns; else Fenced or StorageFailed: nothing more counts."""
        ...

    def folded(self, rows: Collection[str], scopes: Collection[str], *, changed: bool) -> None:
        """The record is in the fold; `rows` and `scopes` it touched may be shown to people now."""
        ...

    @property
    def doubtful(self) -> bool:
        """A later epoch may be open: a record should precede what is about to be done outside. Cheap."""
        ...

    def opened(self) -> None:
        """The opener is durable: time to look at what a crash may have left."""
        ...

    @property
    def behind(self) -> bool:
        """There is something to show that is not shown yet."""
        ...

    def catch_up(self) -> None:
        """Shows one of them. Never raises: what is shown is a copy."""
        ...

    def released(self) -> None:
        """The release is durable: time for a snapshot."""
        ...

    def close(self) -> None:
        """Gives back what it holds; the second time nothing happens."""
        ...


@dataclass(slots=True)
class _Batch:
    ops: Sequence[Op]
    ack: Ack | None
    kind: str = "commit"
    body: dict[str, Any] = field(default_factory=dict)
    probing: bool = False  # written also when it is empty: to learn whether this run may still write

    @property
    def alone(self) -> bool:  # a record of its own, all or nothing: no part of it is ever spilled
        return self.kind != "commit" or bool(self.body)

    def done(self, error: AlchemyError | None = None) -> None:
        if self.ack is None or not self.ack.set_running_or_notify_cancel():  # False: who waited for it was cancelled
            return
        self.ack.set_exception(error) if error else self.ack.set_result(None)


class Journal:
    """One open epoch. `fold` is changed by the writer thread only; reading single rows is safe at any time."""

    def __init__(self, fold: Fold, epoch: int, session: str, clock: Clock, medium: Medium, spill: Spill) -> None:
        self.fold = fold
        self.epoch = epoch
        self.session = session
        self.failure: AlchemyError | None = None
        self.seconds = 0.0  # spent in the medium: what durability costs
        self._pid = os.getpid()
        self._clock = clock
        self._medium = medium
        self._spill = spill
        self._queue: list[_Batch] = []
        self._condition = threading.Condition()
        self._urgent = self._closing = False
        self._due = 0.0  # when what is queued has lingered enough
        self._unwritten: list[Op] = []
        self._writing: list[Op] = []  # handed to the medium, not acknowledged yet
        self._thread: threading.Thread | None = None

    def start(self, ops: Sequence[Op], body: dict[str, Any]) -> None:
        """The opener, and then the thread. When the opener cannot be written, the medium is closed."""
        try:
            self._write("open", ops, body)
            self._medium.opened()
        except BaseException:
            self._medium.close()
            raise
        self._thread = threading.Thread(target=self._run, name=f"journal {self.fold.path}", daemon=True)
        self._thread.start()

    def append(
        self,
        ops: Sequence[Op],
        *,
        wait: bool,
        kind: str = "commit",
        body: dict[str, Any] | None = None,
        probing: bool = False,
    ) -> Ack | None:
        """Queues a batch. With `wait` the writer hurries; the future completes with the ack.

        With a `body`, or of another `kind`, it is a record of its own, all or nothing. `probing`: also an empty one.
        """
        self._refuse_forked()
        batch = _Batch(ops, Future() if wait else None, kind, body or {}, probing)
        with self._condition:
            if self.failure:
                self._unwritten += () if batch.alone else ops
                batch.done(self.failure)
                return batch.ack
            if not self._queue:
                self._due = time.monotonic() + self._medium.linger
            self._queue.append(batch)
            self._urgent |= wait
            if wait or len(self._queue) == 1:  # else the writer knows when it is due, and waking it costs us
                self._condition.notify()
        return batch.ack

    def fail(self, error: AlchemyError) -> None:
        """From outside, for good: a heartbeat found out that somebody took over."""
        with self._condition:
            if self.failure is None and not self._closing:
                self.failure = error
                self._condition.notify()

    @property
    def doubtful(self) -> bool:
        return self._medium.doubtful

    def rescue(self, error: AlchemyError) -> None:
        """What is not acknowledged goes to the spill: this process ends without waiting."""
        # No lock: a signal handler calls this. Read against the way they go: none is missed, and once is enough.
        queued = [op for part in list(self._queue) if not part.alone for op in part.ops]
        writing, unwritten = self._writing, list(self._unwritten)
        self._spill.write(list({id(op): op for op in (*unwritten, *writing, *queued)}.values()), error)

    def _refuse_forked(self) -> None:
        if os.getpid() != self._pid:
            said = f"this process was forked from the one that holds {self.fold.path}: it cannot write its state"
            raise UsageError(said, hint="start another process instead (subprocess, or multiprocessing's spawn)")

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
        """The release, a snapshot when the tail has grown, and all that is to be shown. Blocks. Never in a fork."""
        if os.getpid() != self._pid:
            return
        self.settle()
        try:
            # Before the release: whoever dies here leaves an open run, after which every view is looked at again.
            self._catch_up()
            if self.failure is None:
                self._write("release", list(ops), body)
                self._medium.released()
            self._catch_up()
        finally:
            self._medium.close()
        if self.failure is not None:  # with what calls in flight have brought since
            self._spill.write(self._unwritten, self.failure)
            raise self.failure

    def _catch_up(self) -> None:
        while self._medium.behind and self.failure is None:
            self._medium.catch_up()

    def _run(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                if batch:
                    self._commit(batch)
                else:
                    self._medium.catch_up()
        except Exception as error:  # whoever waits for an ack must not wait for a thread that is gone
            self._give_up(self._defect(error), [])

    def _next_batch(self) -> list[_Batch] | None:
        """What is due for one record; empty when there is time to show something first; None when all is settled."""
        with self._condition:
            while True:
                if self.failure:  # from outside: whatever is queued learns of it
                    if self._queue or self._closing:
                        return self._take(len(self._queue)) or None
                    self._condition.wait()
                    continue
                left = self._due - time.monotonic()
                if self._queue and (self._urgent or self._closing or left <= 0):
                    return self._cut()
                if self._closing:
                    return None
                if self._medium.behind:
                    return []
                self._condition.wait(left if self._queue else None)

    def _cut(self) -> list[_Batch]:
        """From the head of the queue: commits up to the next record of its own, or that one alone."""
        others = (at for at, each in enumerate(self._queue) if each.alone)
        batch = self._take(next(others, len(self._queue)) or 1)
        self._urgent = bool(self._queue)
        return batch

    def _take(self, count: int) -> list[_Batch]:
        batch = self._queue[:count]
        self._writing = [op for part in batch if not part.alone for op in part.ops]  # before they leave: see `rescue`
        self._queue = self._queue[count:]
        return batch

    def _commit(self, batch: list[_Batch]) -> None:
        ops = [op for part in batch for op in part.ops]
        try:
            if self.failure:
                raise self.failure
            # A flush behind which nothing is queued has nothing to write.
            if ops or batch[0].kind != "commit" or any(part.probing for part in batch):
                self._write(batch[0].kind, ops, batch[0].body)
            self._writing = []
        except AlchemyError as error:
            self._give_up(error, batch)
        except Exception as error:
            self._give_up(self._defect(error), batch)
        else:
            for part in batch:
                part.done()

    def _defect(self, error: Exception) -> StorageFailed:
        why = f"{type(error).__name__}: {safe_text(error, 300)}"
        failure = StorageFailed(f"the journal of {self.fold.path} cannot be written: {why}")
        failure.__cause__ = error
        return failure

    def _give_up(self, error: AlchemyError, batch: list[_Batch]) -> None:
        """For good: everybody who waits, and whoever comes later, gets `error`."""
        with self._condition:
            self.failure = error
            batch, self._queue = batch + self._queue, []
            self._unwritten += [op for part in batch if not part.alone for op in part.ops]
            self._writing = []
        self._spill.write(self._unwritten, error)
        for part in batch:
            part.done(error)

    def _write(self, kind: str, ops: Sequence[Op], body: dict[str, Any]) -> None:
        """One record: to the medium, then into the fold. Raises Fenced when a later run took over."""
        fold = self.fold
        changes = any(isinstance(op, Put | Drop) for op in ops)
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
        began = time.perf_counter()
        try:
            self._medium.put(record, line)
        finally:
            self.seconds += time.perf_counter() - began
        rows, scopes = fold.apply(record, check)
        self._medium.folded(rows, scopes, changed=changes)
