"""Following a journal that another process may be writing: by offset, without a lock, synchronously.

`poll` returns the records that are new. A half-written line is not there yet; a later epoch moves the reader on.
"""

from __future__ import annotations

from alchemy.errors import StateInvalid
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import BadLine, Record, Unreadable, decode
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.opening import apply, damaged, epoch_numbers, load, unreadable


class JournalReader:
    """`fold` is the state as of the last poll."""

    def __init__(self, files: Files, layout: Layout, path: ScopePath | str) -> None:
        self._files = files
        self._layout = layout
        self.path = str(path)
        self.fold = Fold(self.path)
        self._epoch = 0  # whose file we are in
        self._offset = 0
        self._names: list[int] | None = None  # as of the last reload
        self._void = False
        self.records: list[Record] = []  # what the last poll found
        self.reloaded = False  # the last poll read everything anew
        self.torn = 0
        self.clean = False  # as of the last reload: the newest run was released and nothing is torn

    def poll(self) -> bool:
        """True when something changed. StateInvalid when the journal is damaged."""
        self.records, self.reloaded = [], False
        names = epoch_numbers(self._files, self._layout, self.path)
        if names != self._names or self._void or not names:
            return self._load(names)
        try:
            return self._read_on()
        except StateInvalid:
            # Somebody removed the scope and a new run began: the same names, other bytes. Else it is damage.
            before, self.records, self._names = self.fold, [], None
            changed = self._load(names)
            if self.fold.lineage == before.lineage and self.fold.seq < before.seq:
                raise
            return changed

    def _load(self, names: list[int]) -> bool:
        if names == self._names and not self._void:
            return False
        before = (self.fold.seq, self.fold.prev)
        loaded = load(self._files, self._layout, self.path)
        self._names, self._void = loaded.epochs, loaded.void
        self.fold, self._epoch, self._offset, self.torn = loaded.fold, loaded.last, loaded.end, loaded.torn
        self.clean, self.reloaded = loaded.clean, True
        return before != (self.fold.seq, self.fold.prev)

    def _read_on(self) -> bool:
        if not self._epoch:
            return False
        file = self._layout.epoch(self.path, self._epoch)
        if self._files.size(file) < self._offset:
            raise damaged(file, f"it became shorter than the {self._offset} bytes already read").of(self.path)
        raw = self._files.read_from(file, self._offset)
        offset = 0
        while offset < len(raw):
            end = raw.find(b"\n", offset) + 1
            if not end:
                break
            try:
                record, check = decode(raw[offset:end])
            except BadLine as error:
                if end < len(raw) or isinstance(error, Unreadable):
                    raise unreadable(file, error).of(self.path) from error
                break
            if apply(file, 0, record, check, self.fold):
                self.records.append(record)
            offset = end
        self._offset += offset
        self.torn = len(raw) - offset
        return bool(self.records)


def read_epoch(files: Files, layout: Layout, path: ScopePath | str, epoch: int) -> list[Record]:
    """The whole lines of one epoch, for showing: stops at the first bad one, an empty list when there is none."""
    try:
        raw = files.read(layout.epoch(path, epoch))
    except FileNotFoundError:
        return []
    records: list[Record] = []
    offset = 0
    while offset < len(raw):
        end = raw.find(b"\n", offset) + 1 or len(raw)
        try:
            records.append(decode(raw[offset:end])[0])
        except BadLine:
            break
        offset = end
    return records
