"""The journal of one scope in a bucket: the `Medium` of an epoch, and opening one.

Neighbours: `epochs` is the protocol, `journal` (one level up) groups what is put here, `store` is who asks.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

from alchemy.errors import LockHeld, Refused, StateInvalid, StorageFailed
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Op, Record
from alchemy.model.text import safe_text
from alchemy.model.values import Holder
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.journal import Journal
from alchemy.store.layout import Layout
from alchemy.store.objects.epochs import Writer
from alchemy.store.objects.keys import Keys
from alchemy.store.objects.port import Objects
from alchemy.store.objects.requests import Steps, perform
from alchemy.store.spill import Spill

TRIES = 20  # each means that somebody else opened the journal at that moment


class _Beaten(Exception):
    """Somebody else's record is where the opener was to be."""


class ObjectMedium:
    """Nothing is shown to people: snapshot and records are the state."""

    def __init__(self, objects: Objects, clock: Clock, writer: Writer, closed: Callable[[], None]) -> None:
        self._objects = objects
        self._clock = clock
        self._writer = writer
        self._closed = closed
        self.linger = writer.limits.linger

    @property
    def alive(self) -> float:
        """When a record of ours last counted, by the own clock."""
        return self._writer.alive

    @property
    def doubtful(self) -> bool:
        """No record of ours counted for so long that others may have taken over; heartbeats are not asked."""
        return self._clock.elapsed() - self.alive > self._writer.limits.give_up

    def put(self, record: Record, line: bytes) -> None:
        if record.kind != "open":
            self._perform(self._writer.append(record, line))
        elif not self._perform(self._writer.open(record, line)):
            raise _Beaten

    def folded(self, rows: Collection[str], scopes: Collection[str], *, changed: bool) -> None:
        return

    def opened(self) -> None:
        return

    @property
    def behind(self) -> bool:
        return False

    def catch_up(self) -> None:
        return

    def released(self) -> None:
        if self._writer.wants_compaction:
            with suppress(StorageFailed):  # the run is over and durable; the next one compacts
                self._perform(self._writer.compact())

    def close(self) -> None:
        self._closed()

    def _perform(self, steps: Steps[Any]) -> Any:
        return perform(self._objects, self._clock, steps)


def open_remote(
    objects: Objects,
    clock: Clock,
    writer: Writer,
    root: Layout,
    path: ScopePath,
    *,
    session: str,
    holder: Callable[[int], Holder],
    ops: Callable[[Fold], Sequence[Op]],
    body: dict[str, Any],
    refuse: Callable[[Fold], None] | None = None,
    seen: int | None = None,
    check: Callable[[Fold | None], None],
    closed: Callable[[], None],
) -> Journal:
    """`Store.open_journal` in a bucket. Whoever holds the lock opens at once: nobody who is alive has it.

    `check` raises when the lock is not ours any more; None: whatever is stored, ask. Whoever breaks it does so before
    he opens, so what it finds after the journal was read is true of what was read; and what comes later has our number.
    `writer` may have read the journal before; only what came since is read then.
    """
    for attempt in range(TRIES):
        perform(objects, clock, writer.poll())
        fold = writer.fold
        error = lost_journal(objects, writer.keys, fold)
        if error is not None:
            raise error
        if refuse is not None:
            refuse(fold)
        if seen is not None and fold.epoch != seen:
            raise Refused(
                f"{path} is at run R-{fold.epoch} by now, not at R-{seen} that was to be broken: "
                "somebody opened it meanwhile",
                hint="`alchemy scope locks` shows who holds it now; nothing was changed",
            )
        check(None if attempt else fold)
        epoch = fold.epoch + 1
        full = {**body, "holder": holder(epoch).to_json(), "lineage": fold.lineage or uuid.uuid4().hex}
        medium = ObjectMedium(objects, clock, writer, closed)
        spill = Spill(Files(root.root), root.spill, objects.place, fold, epoch, session)
        journal = Journal(fold, epoch, session, clock, medium, spill)
        try:
            journal.start(list(ops(fold)), full)
        except _Beaten:
            writer = Writer(writer.keys, path, writer.limits)
            continue
        return journal
    raise LockHeld(
        f"Failed to acquire lock {path}: other runs open it all the time",
        hint="`alchemy scope locks` shows who; run the command again",
    )


def lost_journal(objects: Objects, keys: Keys, fold: Fold) -> StateInvalid | None:
    """Backups of a journal of which nothing is there."""
    if fold.seq or not objects.list(keys.backups(fold.path)):
        return None
    return StateInvalid(
        f"{safe_text(keys.backups(fold.path))} holds backups of a journal that is missing: "
        f"{safe_text(keys.journal(fold.path))}",
        hint="nothing was changed; put the journal's objects back from versions that the bucket keeps",
    )
