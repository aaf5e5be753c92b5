"""Writing a journal in a bucket: each record is an object that is created and never touched again.

The number is the fence: a later run begins with its opener at the next number, so what an earlier run still sends meets
that opener, at the store, without clocks. Any answer but a clean success is resolved by reading the number back.
Neighbours: `log` reads, `journal` (one level up) groups what is written, `medium` joins the two.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from alchemy.errors import StorageFailed
from alchemy.model.paths import ScopePath
from alchemy.model.records import Record
from alchemy.model.text import safe_text
from alchemy.store.fencing import fenced
from alchemy.store.objects.keys import Keys, number
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.log import Log
from alchemy.store.objects.patience import Patience
from alchemy.store.objects.port import Found, Listed, Taken, Unknown
from alchemy.store.objects.requests import Create, Delete, Get, List, Pause, Steps
from alchemy.store.objects.snapshots import encode_snapshot


class Writer(Log):
    """A log of which this process wants to write the next records. `alive`: when it was last seen to be unfenced."""

    def __init__(self, keys: Keys, path: ScopePath | str, limits: Limits) -> None:
        super().__init__(keys, path)
        self.limits = limits
        self.alive = 0.0  # by the own clock, before the request went out: a watcher saw it then or later

    def append(self, record: Record, line: bytes) -> Steps[None]:
        """Returns when it counts; Fenced when a later epoch is open. The caller folds it."""
        other = yield from self.put(record, line)
        if other is None:
            self.remember(record)
        elif other.epoch > record.epoch:
            raise fenced(self.path, other.epoch, other if other.kind == "open" else None)
        else:
            raise self.defect(record, other)

    def open(self, record: Record, line: bytes) -> Steps[bool]:
        """The opener, right after a load; False when somebody else was first: load again."""
        contested = not self.fold.released
        other = yield from self.put(record, line)
        if other is not None:
            return False
        if contested and not (yield from self.stands(record.seq)):
            return False  # left where it is: it may have counted, until somebody took over from us
        self.remember(record)
        return True

    def stands(self, seq: int) -> Steps[bool]:
        """An opener that took over from a holder who may be alive opens something."""
        return not (yield from self.covered(seq))

    def put(self, record: Record, line: bytes) -> Steps[Record | None]:
        """None when the number holds our record, else the one it holds. Never gives up a number without knowing.

        Only when the store answers nothing for `limits.patience` seconds: StorageFailed, and nobody knows.
        """
        key, pause = self._key(record.seq), self.limits.pause
        asked: float = yield Pause()
        patience = Patience(self.limits, asked)
        while True:
            try:
                yield Create(key, line)
                self.alive = asked
                return None
            except (Taken, Unknown) as answer:
                said = str(answer)
            patience.look((yield Pause()))
            try:
                found: Found | None = yield Get(key)
            except StorageFailed as error:
                found, said = None, error.message
            if found is not None:
                other, _ = self.decode(record.seq, found.body)
                if not self.is_ours(record, other):
                    return other
                self.alive = asked
                return None
            asked = yield Pause(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, self.limits.longest_pause)
            if patience.over(asked):
                raise StorageFailed(
                    f"{safe_text(key)} cannot be written: {safe_text(said, 300) or 'the store does not answer'}",
                    hint="`alchemy doctor` tries the store",
                )

    def is_ours(self, record: Record, found: Record) -> bool:
        return record.wid == found.wid

    def defect(self, record: Record, other: Record) -> StorageFailed:
        return StorageFailed(
            f"{safe_text(self._key(record.seq))} was written by session {safe_text(other.session, 40)} in our epoch",
            hint="nothing more is written here; `alchemy scope validate` looks at the journal",
        )

    # -- compaction ---------------------------------------------------------------------------------------------

    @property
    def wants_compaction(self) -> bool:
        fold = self.fold
        return fold.ops_since_snapshot > max(200, len(fold.resources) // 4) or fold.seq - self.floor > self.limits.tail

    def compact(self) -> Steps[bool]:
        """A snapshot of everything acknowledged, read back. False: not this time.

        What the snapshot before it stands for, and is old, goes first; but openers stay, a sleeper collides with them,
        and releases stay, with the openers they tell people of every run.
        """
        fold = self.fold
        if fold.seq <= self.floor:
            return False
        yield from self._sweep()
        body = encode_snapshot(fold, self.below, tuple(self.kept))
        if not (yield from self._store(self.keys.snapshot(self.path, fold.seq), body)):
            return False
        yield from self._drop_snapshots(self.floor)
        self.floor = fold.seq
        fold.ops_since_snapshot = 0
        return True

    def _sweep(self) -> Steps[None]:
        """Up to `floor`: there stands the snapshot that we read or read back. `below` moves up to what was swept."""
        end = self.floor - self.limits.history
        if end <= self.below:
            return
        stay = set(self.kept)
        seqs = yield from self._list(self.below)
        old = [seq for seq in seqs if seq <= end and seq not in stay]
        if len(old) > self.limits.sweep:
            old = old[: self.limits.sweep]
            end = old[-1]
        yield Delete(tuple(self._key(seq) for seq in old))
        self.below = end
        self.kept = [seq for seq in self.kept if seq > end]

    def _store(self, key: str, body: bytes) -> Steps[bool]:
        """True when it was read back as it should be."""
        for _ in range(3):
            try:
                yield Create(key, body)
            except (Taken, Unknown):
                yield Pause(max(self.limits.gap, self.limits.pause))
            found: Found | None = yield Get(key)
            if found is not None:
                return found.body == body
        return False

    def _drop_snapshots(self, before: int) -> Steps[None]:
        """The newest two stay."""
        folder = self.keys.snapshots(self.path)
        listed: Sequence[Listed] = yield List(folder)
        yield Delete(tuple(item.key for item in listed if 0 < number(item.key, folder) < before))
