"""Reading a journal: newest valid snapshot plus the epochs after it, with every seal and checksum honoured.

A torn last line is a crash and is passed over; a bad line before a good one, a missing epoch, a broken chain or a
sealed byte that is gone is damage, and said so. Neighbours: `journal` appends, `reader` follows.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from alchemy.errors import StateInvalid, StorageFailed
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import BadLine, Newer, Record, Unreadable, decode, is_commit_before
from alchemy.model.schema import refuse_misplaced
from alchemy.model.text import safe_text
from alchemy.store.beginnings import BEGINS, begun
from alchemy.store.copies import newest_snapshot
from alchemy.store.descent import BadSector
from alchemy.store.evidence import aside_names, has_begun
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.views import newest_stamp

EPOCH = re.compile(r"([0-9]{6}|[1-9][0-9]{6,14})\.jsonl")  # one name for one number


class JournalInvalid(StateInvalid):
    """Of one file of a journal."""

    def __init__(self, message: str, *, hint: str, file: Path, line: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.file = file
        self.line = line

    def of(self, path: ScopePath | str) -> JournalInvalid:
        """Whose it is, for the commands in the hint."""
        self.hint = self.hint.replace("SCOPE", str(path))
        return self


def gone(path: ScopePath | str) -> str:
    """The ways out where there is no journal at all."""
    return (
        "nothing was changed; put the journal directory back from your own copy, or make another from what is left "
        f"with `alchemy scope rebuild {path}`"
    )


def damaged(file: Path, what: str, line: int = 0) -> JournalInvalid:
    """The one error for a journal that cannot be believed."""
    where = f"{safe_text(file)}:{line}" if line else safe_text(file)
    return JournalInvalid(
        f"the journal is damaged: {where}: {what}",
        file=file,
        line=line,
        hint="nothing was changed; put back your own copy of the journal directory, or make another from what can be "
        "read with `alchemy scope rebuild SCOPE`; `alchemy scope validate` lists what else is affected",
    )


def unreadable(file: Path, error: BadLine, line: int = 0) -> JournalInvalid:
    """Damage, or the work of a later version, which is none."""
    if not isinstance(error, Newer):
        return damaged(file, str(error), line)
    where = f"{safe_text(file)}:{line}" if line else safe_text(file)
    return JournalInvalid(
        f"{where} was written by a later version: {error}",
        file=file,
        line=line,
        hint="nothing was changed; use the version that wrote it, or a later one",
    )


@dataclass(slots=True)
class Loaded:
    """A journal as read. `end`: bytes of the newest opened epoch that count; `unsealed`: epochs nobody sealed."""

    fold: Fold
    epochs: list[int] = field(default_factory=list)  # every name, opened or void
    last: int = 0  # newest epoch with a valid opener
    end: int = 0
    torn: int = 0  # bytes after `end`
    unsealed: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)  # bytes of each epoch that was read

    @property
    def void(self) -> bool:
        """An epoch was claimed and its opener never written: its owner died or was cut."""
        return bool(self.epochs) and self.epochs[-1] > self.last

    @property
    def clean(self) -> bool:
        return self.fold.released and not self.torn and not self.void


def epoch_numbers(files: Files, layout: Layout, path: ScopePath | str) -> list[int]:
    return sorted(int(m[1]) for name in files.names(layout.journal(path)) if (m := EPOCH.fullmatch(name)))


def load(files: Files, layout: Layout, path: ScopePath | str, *, below: int = 0) -> Loaded:
    """The fold of the journal of `path`; `below` > 0 reads only epochs under that number."""
    try:
        return _load(files, layout, path, below)
    except JournalInvalid as error:
        raise error.of(path) from error.__cause__


def _load(files: Files, layout: Layout, path: ScopePath | str, below: int) -> Loaded:
    epochs = [e for e in epoch_numbers(files, layout, path) if not below or e < below]
    snapshot, notes = newest_snapshot(files, layout, path)
    fold = snapshot if snapshot is not None else Fold(str(path))
    loaded = Loaded(fold, epochs, notes=notes)
    wanted = [e for e in epochs if e >= fold.epoch]
    # Newest first: what an opener seals was there before it, so the file it seals cannot be read too early.
    data = {epoch: _read(files, layout.epoch(path, epoch)) for epoch in reversed(wanted)}
    loaded.sizes = {epoch: len(raw) for epoch, raw in data.items()}
    read = {epoch: _opener(layout.epoch(path, epoch), raw, epoch) for epoch, raw in data.items()}
    openers = {epoch: opener for epoch, opener in read.items() if opener}
    began = [epoch for epoch, opener in openers.items() if BEGINS in opener.body]
    if began and openers[began[0]].body[BEGINS]["seq"] >= fold.seq:  # in the place of another: its snapshots are over
        fold = loaded.fold = begun(path, openers[began[0]].body[BEGINS])
    if fold.seq and fold.epoch and fold.epoch not in epochs and (not below or fold.epoch < below):
        raise damaged(layout.epoch(path, fold.epoch), "it is missing, and a snapshot was taken from it")
    limits = _limits(openers)
    opened = [epoch for epoch in wanted if epoch in openers and limits.get(epoch) != 0]
    for epoch in (epoch for epoch in wanted if epoch > fold.epoch and epoch not in openers and limits.get(epoch)):
        raise damaged(layout.epoch(path, epoch), "the record of its opening is no record any more", 1)
    loaded.last = opened[-1] if opened else fold.epoch
    for epoch in opened:
        limit = limits.get(epoch)
        if limit is None and epoch != opened[-1]:
            missing = epoch + 1 not in data
            raise damaged(
                layout.epoch(path, epoch + 1 if missing else epoch),
                "it is missing" if missing else "the next run did not seal it",
            )
        loaded.end = _read_epoch(layout.epoch(path, epoch), data[epoch], limit, fold)
        loaded.torn = 0 if limit is not None else len(data[epoch]) - loaded.end
    if wanted and fold.epoch in wanted and fold.epoch not in opened and limits.get(fold.epoch) != 0:
        raise damaged(layout.epoch(path, fold.epoch), "its first record is gone, and a snapshot was taken from it")
    loaded.unsealed = [epoch for epoch in wanted if epoch not in limits and epoch >= loaded.last]
    return loaded


def _read(files: Files, file: Path) -> bytes:
    try:
        return files.read(file)
    except FileNotFoundError as error:
        raise damaged(file, "it was removed while the journal was read") from error
    except BadSector as error:
        raise damaged(file, "the disk cannot read it (input/output error)") from error


def load_again(files: Files, layout: Layout, path: ScopePath | str, before: Loaded, *, below: int) -> Loaded:
    """`load` once more, unless nothing was appended since `before`: files only grow, so their sizes tell."""
    epochs = [e for e in epoch_numbers(files, layout, path) if e < below]
    if epochs == before.epochs and all(files.size(layout.epoch(path, e)) == n for e, n in before.sizes.items()):
        return before
    return load(files, layout, path, below=below)


def lost_records(files: Files, layout: Layout, fold: Fold, *, thorough: bool) -> StateInvalid | None:
    """A view is only ever written after its record was durable: one that is ahead proves that records are gone.

    `thorough` looks at every view, not only at the owner's own.
    """
    aside = aside_names(files, layout, fold.path)
    if aside and not has_begun(files, layout, fold.path):
        return StateInvalid(
            f"the journal of {fold.path} was set aside as {aside[-1]}, and no other has begun in its place",
            hint=f"`alchemy scope rebuild {fold.path}` finishes what was interrupted; nothing is lost",
        )
    newest = newest_stamp(files, layout, fold, thorough=thorough)
    if newest is None or newest[0].seq <= fold.seq:
        backups = layout.backups(fold.path)
        if fold.seq or epoch_numbers(files, layout, fold.path) or not files.names(backups):
            return None
        return StateInvalid(
            f"{safe_text(backups)} are backups of a journal that is missing: {safe_text(layout.journal(fold.path))}",
            hint=gone(fold.path),
        )
    stamp, path = newest
    if load(files, layout, fold.path).fold.seq >= stamp.seq:
        return None  # a run is writing: its view came after we had read the journal
    directory = layout.journal(fold.path)
    if not fold.seq and not epoch_numbers(files, layout, fold.path):
        return StateInvalid(
            f"{safe_text(path)} was written from a journal that is missing or empty: {safe_text(directory)}",
            hint=gone(fold.path),
        )
    return damaged(
        layout.epoch(fold.path, stamp.epoch),
        f"it ends at record {fold.seq}, but {safe_text(path.relative_to(layout.root))} was written from {stamp.seq}",
    ).of(fold.path)


def read_fold(files: Files, layout: Layout, path: ScopePath | str) -> Fold:
    """For reading without a lock: StateInvalid also when records are gone."""
    loaded = load(files, layout, path)
    error = lost_records(files, layout, loaded.fold, thorough=not loaded.clean)
    if error is not None:
        raise error
    return loaded.fold


def _opener(file: Path, raw: bytes, epoch: int) -> Record | None:
    end = raw.find(b"\n") + 1
    try:
        record, _ = decode(raw[:end])
    except Unreadable as error:
        raise unreadable(file, error, 1) from error
    except BadLine:
        return None
    return record if record.kind == "open" and record.epoch == epoch else None


def sealed_sizes(files: Files, layout: Layout, path: ScopePath | str) -> dict[int, int]:
    """How many bytes of each sealed epoch count, as far as openers can be read; for whoever looks at single files."""
    openers: dict[int, Record] = {}
    for epoch in epoch_numbers(files, layout, path):
        file = layout.epoch(path, epoch)
        with suppress(StateInvalid, StorageFailed, FileNotFoundError):
            opener = _opener(file, files.read(file), epoch)
            if opener:
                openers[epoch] = opener
    return _limits(openers)


def _limits(openers: dict[int, Record]) -> dict[int, int]:
    """How many bytes of each sealed epoch count. An opener that was itself sealed away says nothing."""
    limits: dict[int, int] = {}
    for epoch in sorted(openers, reverse=True):
        if limits.get(epoch) == 0:
            continue
        for sealed, size in openers[epoch].body.get("seals", {}).items():
            limits.setdefault(int(sealed), int(size))
    return limits


def _read_epoch(file: Path, raw: bytes, limit: int | None, fold: Fold) -> int:
    """Folds the lines that count; returns where they end."""
    if limit is not None and limit > len(raw):
        raise damaged(file, f"{limit - len(raw)} of {limit} sealed bytes are missing")
    counted = raw if limit is None else raw[:limit]
    offset = 0
    number = 0
    while offset < len(counted):
        number += 1
        end = counted.find(b"\n", offset) + 1 or len(counted)
        line = counted[offset:end]
        offset, start = end, offset
        try:
            if is_commit_before(line, fold.seq):
                continue
            record, check = decode(line)
        except BadLine as error:
            if limit is None and not isinstance(error, Unreadable) and not _good_line_after(counted, end):
                return start
            raise unreadable(file, error, number) from error
        apply(file, number, record, check, fold)
    return offset


def apply(file: Path, number: int, record: Record, check: str, fold: Fold) -> bool:
    """One record onto the fold, its place in the chain checked; False when a snapshot already held it."""
    if record.seq <= fold.seq:
        if record.seq == fold.seq and check != fold.prev:
            raise damaged(file, "it is not the record that the snapshot was taken after", number)
        fold.note_run(record)
        return False
    if record.seq != fold.seq + 1:
        raise damaged(file, f"records {fold.seq + 1} to {record.seq - 1} are missing", number)
    if record.prev != fold.prev:
        raise damaged(file, "it does not follow the record before it", number)
    try:
        rows, scopes = fold.apply(record, check)
        for key in (*rows, *scopes):
            refuse_misplaced(key, fold.path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # ours by its checksum, and by nothing else
        raise damaged(file, f"the checksum matches, and it is no record: {error}", number) from error
    return True


def _good_line_after(raw: bytes, offset: int) -> bool:
    while offset < len(raw):
        end = raw.find(b"\n", offset) + 1 or len(raw)
        try:
            decode(raw[offset:end])
        except Unreadable:
            return True
        except BadLine:
            offset = end
            continue
        return True
    return False
