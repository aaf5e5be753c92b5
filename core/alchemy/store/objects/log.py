"""Reading a journal in a bucket: the newest valid snapshot, and after it the records, one object each, without a gap.

Whoever reads may meet somebody who compacts: what is missing then lies in a newer snapshot, so reading starts again.
Missing without a newer snapshot is damage. Steps (`requests`); `epochs` adds writing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from alchemy.errors import StateInvalid
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import BadLine, Newer, Record, Unreadable, decode
from alchemy.model.schema import refuse_misplaced
from alchemy.model.text import safe_text
from alchemy.store.objects.keys import Keys, number
from alchemy.store.objects.port import Found, Listed
from alchemy.store.objects.requests import Fetch, Get, List, Steps
from alchemy.store.objects.snapshots import BadSnapshot, decode_snapshot

ENDS = ("open", "release")  # never deleted: a sleeper collides with the one, people read both


def damaged(key: str, what: str, path: str) -> StateInvalid:
    """The one error for a journal that cannot be believed."""
    return StateInvalid(
        f"the journal is damaged: {safe_text(key)}: {what}",
        hint="nothing was changed; bring the object back from a version that the bucket keeps, or make another "
        f"journal from what is left: `alchemy scope rebuild {path}`; `alchemy scope validate` lists what is affected",
    )


class _Broken(Exception):
    """It does not fit together as listed: somebody compacted, or it is damaged."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(what)
        self.key = key
        self.what = what


class Log:
    """One journal as this process knows it. `fold` is the state; `load` replaces it, `poll` carries it on.

    `seen` is told of each record that was read.
    """

    def __init__(self, keys: Keys, path: ScopePath | str, seen: Callable[[Record], None] | None = None) -> None:
        self.keys = keys
        self.seen = seen
        self.path = str(path)
        self.fold = Fold(self.path)
        self.floor = 0  # the record the snapshot stands at that `fold` was read from
        self.below = 0  # up to here compaction has cleared away
        self.kept: list[int] = []  # openers and releases behind `below`
        self.records: list[Record] = []  # what the last load or poll found behind what was known
        self.reloaded = False  # the last poll read everything anew
        self.notes: list[str] = []

    def load(self) -> Steps[None]:
        """Everything anew. StateInvalid when the journal is damaged."""
        tried = -1
        while True:
            yield from self._start()
            try:
                seqs = yield from self._list(self.floor)
                yield from self._extend(seqs, [])
            except _Broken as broken:
                if self.floor == tried:  # nobody compacted in between: it is damaged
                    raise damaged(broken.key, broken.what, self.path) from None
                tried = self.floor
            else:
                self.reloaded = True
                return

    def poll(self) -> Steps[bool]:
        """True when something is new; one request when nothing is."""
        self.records, self.reloaded = [], False
        before = (self.fold.seq, self.fold.prev)
        if self.fold.seq:
            seqs = yield from self._list(self.fold.seq - 1)  # the newest record is never deleted: it must be there
            if seqs == [self.fold.seq]:
                return False
            if seqs and seqs[0] == self.fold.seq:
                try:
                    yield from self._extend(seqs[1:], self.records)
                    return True
                except _Broken:
                    self.records = []
        yield from self.load()
        return before != (self.fold.seq, self.fold.prev)

    def _start(self) -> Steps[None]:
        """From the newest snapshot that is whole, or from nothing."""
        folder = self.keys.snapshots(self.path)
        while True:
            self.notes = []
            listed: Sequence[Listed] = yield List(folder)
            seqs = sorted((seq for item in listed if (seq := number(item.key, folder))), reverse=True)
            for seq in seqs:
                key = self.keys.snapshot(self.path, seq)
                found: Found | None = yield Get(key)
                if found is None:
                    break  # there is a newer one by now
                try:
                    snapshot = decode_snapshot(key, self.path, found.body)
                except BadSnapshot as error:
                    self.notes.append(f"{safe_text(key)}: {error}")
                    continue
                self.fold, self.floor, self.below = snapshot.fold, snapshot.fold.seq, snapshot.below
                self.kept = list(snapshot.kept)
                return
            else:
                self.fold, self.floor, self.below, self.kept = Fold(self.path), 0, 0, []
                return

    def _list(self, after: int) -> Steps[list[int]]:
        """The numbers of the records behind `after`."""
        folder = self.keys.journal(self.path)
        listed: Sequence[Listed] = yield List(folder, self.keys.record(self.path, after) if after > 0 else "")
        return [seq for item in listed if (seq := number(item.key, folder))]

    def _extend(self, seqs: Sequence[int], found: list[Record]) -> Steps[None]:
        """Reads these records and folds them. _Broken when they do not follow each other."""
        expected = range(self.fold.seq + 1, self.fold.seq + 1 + len(seqs))
        for seq, wanted in zip(seqs, expected, strict=True):
            if seq != wanted:
                raise _Broken(self._key(wanted), self._missing(wanted, seq - 1))
        contested = 0  # the first opener that took over from somebody who had not released
        bodies: list[Found | None] = (yield Fetch(tuple(self._key(seq) for seq in seqs))) if seqs else []
        for seq, body in zip(seqs, bodies, strict=True):
            if body is None:
                raise _Broken(self._key(seq), "it was listed and is gone")
            record, check = self.decode(seq, body.body)
            if record.prev != self.fold.prev:
                raise _Broken(self._key(seq), "it does not follow the record before it")
            if record.kind == "open" and not self.fold.released:
                contested = contested or seq
            self.apply(record, check)
            found.append(record)
            if self.seen is not None:
                self.seen(record)
        if contested and (yield from self.covered(contested)):
            raise _Broken(self._key(contested), self._missing(contested, contested))

    def covered(self, seq: int) -> Steps[bool]:
        """A snapshot stands at `seq` or above it.

        Then an opener there may open nothing: a living holder compacts, so a number that somebody saw free and that
        was used meanwhile is free once more. Nobody but a taker-over of a living holder can come to write there.
        """
        folder = self.keys.snapshots(self.path)
        listed: Sequence[Listed] = yield List(folder, self.keys.snapshot(self.path, seq - 1))
        return any(number(item.key, folder) for item in listed)

    def _missing(self, first: int, last: int) -> str:
        what = "it is missing" if first == last else f"records {first} to {last} are missing"
        return f"{what}, and {self.notes[0]}" if self.notes else what

    def _key(self, seq: int) -> str:
        return self.keys.record(self.path, seq)

    def decode(self, seq: int, body: bytes) -> tuple[Record, str]:
        """What stands at a number; StateInvalid when it is no record, or another one's."""
        try:
            record, check = decode(body)
        except Newer as error:
            raise StateInvalid(
                f"{safe_text(self._key(seq))} was written by a later version: {error}",
                hint="nothing was changed; use the version that wrote it, or a later one",
            ) from error
        except Unreadable as error:
            raise damaged(self._key(seq), str(error), self.path) from error
        except BadLine as error:
            raise damaged(
                self._key(seq), f"{error}: an object is written at once, so it was edited", self.path
            ) from error
        if record.seq != seq:
            raise damaged(self._key(seq), f"it holds record {record.seq}", self.path)
        return record, check

    def apply(self, record: Record, check: str) -> bool:
        """One record onto the fold; False, and a note, when a later epoch was open already: then it does not count."""
        fold, opens = self.fold, record.kind == "open"
        if record.epoch < fold.epoch:
            why = f"of epoch {record.epoch}, and epoch {fold.epoch} was open"
            self.notes.append(f"{safe_text(self._key(record.seq))} does not count: it is {why}")
            fold.seq, fold.prev = record.seq, check
            return False
        if opens == (record.epoch == fold.epoch):
            how = "opened twice" if opens else "never opened"
            raise damaged(self._key(record.seq), f"epoch {record.epoch} was {how}", self.path)
        try:
            rows, scopes = fold.apply(record, check)
            for key in (*rows, *scopes):
                refuse_misplaced(key, self.path)
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # ours by its checksum, and by nothing else
            raise damaged(
                self._key(record.seq), f"the checksum matches, and it is no record: {error}", self.path
            ) from error
        self.remember(record)
        return True

    def remember(self, record: Record) -> None:
        """For compaction: this one stays."""
        if record.kind in ENDS:
            self.kept.append(record.seq)
