"""Following a journal in a bucket, and the runs it holds, also those whose records were compacted away.

Neighbours: `log` reads; `store` hands these out. Records never change, so what was read of a run is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import BadLine, Record, decode
from alchemy.model.values import Holder
from alchemy.store.clock import Clock
from alchemy.store.objects.keys import Keys, number
from alchemy.store.objects.log import Log
from alchemy.store.objects.port import Objects
from alchemy.store.objects.requests import Fetch, Steps, perform

REMEMBERED = 4000  # records


class ObjectReader:
    """`Reader` of a bucket. A poll that finds nothing new is one request. `seen` is told of each record read.

    `lacks`: it is known at this moment that there is nothing to read.
    """

    def __init__(
        self,
        objects: Objects,
        keys: Keys,
        clock: Clock,
        path: ScopePath | str,
        seen: Callable[[Record], None],
        lacks: Callable[[], bool],
    ) -> None:
        self._objects = objects
        self._clock = clock
        self._lacks = lacks
        self._log = Log(keys, path, seen)
        self.path = str(path)
        self.fold: Fold = self._log.fold
        self.records: list[Record] = []
        self.reloaded = False
        self.clean = True

    def poll(self) -> bool:
        log = self._log
        if not log.fold.seq and self._lacks():
            self.records, self.reloaded = [], False
            return False
        try:
            return perform(self._objects, self._clock, log.poll())
        finally:
            self.fold, self.records, self.reloaded, self.clean = log.fold, log.records, log.reloaded, log.fold.released


class RunIndex:
    """Which records belong to which run, of one journal."""

    def __init__(self, objects: Objects, keys: Keys, clock: Clock, path: ScopePath | str) -> None:
        self._objects = objects
        self._keys = keys
        self._clock = clock
        self._path = str(path)
        self._known: dict[int, Record | None] = {}  # by number; None: it cannot be read
        self._seqs: list[int] = []  # as listed last
        self._newest = 0  # the epoch that was the newest then

    def epochs(self) -> list[int]:
        """Every run from the first to the newest: openers are never deleted."""
        self._seqs = self._list()
        newest = next((record for seq in reversed(self._seqs) if (record := self._record(seq))), None)
        self._newest = newest.epoch if newest else 0
        return list(range(1, self._newest + 1))

    def records(self, epoch: int) -> list[Record]:
        """Of one run, as far as they are kept."""
        # Of a run that has ended nothing comes any more; of the newest there may be records by now.
        seqs = self._seqs if epoch < self._newest else self._list()
        first, last = self._first(seqs, epoch), self._first(seqs, epoch + 1)
        found = [record for record in self._read(seqs[first:last]) if record and record.epoch == epoch]
        openers = [at for at, record in enumerate(found) if record.kind == "open"]
        return found[openers[-1] :] if openers else []  # an earlier one was written where records had been compacted

    def opener(self, session: str) -> Holder | None:
        """Who opened the newest run, when that is one of `session` and not released."""
        self._seqs = self._list()
        newest = next((record for seq in reversed(self._seqs) if (record := self._record(seq))), None)
        if newest is None or newest.session != session or newest.kind == "release":
            return None
        try:
            opened = self._record(self._seqs[self._first(self._seqs, newest.epoch)])
            return Holder.from_json(opened.body["holder"]) if opened else None
        except (KeyError, TypeError):
            return None

    def remember(self, record: Record) -> None:
        """Somebody read it: it need not be read again."""
        if len(self._known) < REMEMBERED:
            self._known[record.seq] = record

    def _first(self, seqs: Sequence[int], epoch: int) -> int:
        """Where in `seqs` the first record of `epoch`, or of a later one, stands; or one before it that is damaged."""
        low, high = 0, len(seqs)
        while low < high:
            at = middle = (low + high) // 2
            while at < high and (record := self._record(seqs[at])) is None:
                at += 1  # it says nothing, and stays there for ever: the one behind it does
            if at < high and record is not None and record.epoch < epoch:
                low = at + 1
            else:
                high = middle
        return low

    def _list(self) -> list[int]:
        folder = self._keys.journal(self._path)
        return [seq for item in self._objects.list(folder) if (seq := number(item.key, folder))]

    def _record(self, seq: int) -> Record | None:
        return self._read([seq])[0]

    def _read(self, seqs: Sequence[int]) -> list[Record | None]:
        missing = tuple(seq for seq in seqs if seq not in self._known)
        if missing:
            if len(self._known) + len(missing) > REMEMBERED:
                self._known.clear()
                missing = tuple(seqs)
            self._known.update(zip(missing, perform(self._objects, self._clock, self._fetch(missing)), strict=True))
        return [self._known[seq] for seq in seqs]

    def _fetch(self, seqs: Sequence[int]) -> Steps[list[Record | None]]:
        bodies = yield Fetch(tuple(self._keys.record(self._path, seq) for seq in seqs))
        return [_decoded(found.body) if found else None for found in bodies]


def _decoded(body: bytes) -> Record | None:
    try:
        return decode(body)[0]
    except BadLine:
        return None
