"""What the files of a scope still prove when its journal cannot be read: whole records, images, views. Changes nothing.

A record counts when its checksum is right and the next one follows it; what lies behind a gap counts for itself. An
image (snapshot, backup) is the whole state at one record. Neighbours: `salvage` makes one state of all this, `opening`
is the strict reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from alchemy.errors import AlchemyError, StateInvalid
from alchemy.model.fold import Fold, Stamp
from alchemy.model.paths import ScopePath
from alchemy.model.records import BadLine, Newer, Record, decode
from alchemy.model.text import safe_text
from alchemy.model.values import ResourceState, ScopeState
from alchemy.store.backups import read_backup
from alchemy.store.beginnings import BEGINS
from alchemy.store.copies import newest_snapshot
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.viewfile import read_view
from alchemy.store.views import view_files

if TYPE_CHECKING:
    from alchemy.store.store import Store

ASIDE = re.compile(r"journal\.damaged-([1-9][0-9]*)")
_EPOCH = re.compile(r"([0-9]{6,})\.jsonl")


@dataclass(frozen=True, slots=True)
class Found:
    """A whole record and its SHA-256."""

    record: Record
    check: str


@dataclass(slots=True)
class Records:
    """`chain`: those that count, oldest first. `epoch`, `seq`, `serial`: the highest ever used, also by torn ones."""

    chain: list[Found] = field(default_factory=list)
    epoch: int = 0
    seq: int = 0
    serial: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Image:
    """The whole state at `fold.seq`; `source` says where it was found."""

    fold: Fold
    source: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One view with a good checksum."""

    row: ResourceState | ScopeState
    stamp: Stamp
    source: str

    @property
    def key(self) -> str:
        return self.row.key if isinstance(self.row, ResourceState) else "\x00" + self.row.path


def aside_names(files: Files, layout: Layout, path: ScopePath | str) -> list[str]:
    """The journals of `path` that were set aside, oldest first."""
    found = [(int(m[1]), name) for name in files.names(layout.scope(path)) if (m := ASIDE.fullmatch(name))]
    return [name for _, name in sorted(found)]


def has_begun(files: Files, layout: Layout, path: ScopePath | str) -> bool:
    """The journal at hand has a run in it. StateInvalid when it cannot be read."""
    for name in reversed(files.names(layout.journal(path))):
        if not _EPOCH.fullmatch(name):
            continue
        raw = files.read(layout.journal(path) / name)
        try:
            record, _ = decode(raw[: raw.find(b"\n") + 1])
        except BadLine:
            continue
        if record.kind == "open":
            return True
    return False


def read_records(files: Files, layout: Layout, path: ScopePath | str) -> Records:
    """Of the journal at hand and of those that were set aside. StateInvalid when a newer version wrote one."""
    found = Records()
    pieces: dict[int, list[Found]] = {}
    scope = layout.scope(path)
    for name in [*aside_names(files, layout, path), "journal"]:
        try:
            for epoch in files.names(scope / name):
                _read_file(files, scope / name / epoch, str(path), pieces, found)
        except AlchemyError as error:  # the directory is a link, or cannot be listed
            if isinstance(error.__cause__, Newer):
                raise
            found.problems.append(error.message)
    candidates = [piece for epoch in sorted(pieces) for piece in pieces[epoch]]
    found.seq = max((piece.record.seq for piece in candidates), default=0)
    found.serial = max((piece.record.serial for piece in candidates), default=0)
    found.chain = _chained(candidates)
    return found


def _read_file(files: Files, file: Path, path: str, pieces: dict[int, list[Found]], found: Records) -> None:
    number = _EPOCH.fullmatch(file.name)
    if number is None:
        return
    epoch = int(number[1])
    found.epoch = max(found.epoch, epoch)
    try:
        raw = files.read(file)
    except (AlchemyError, FileNotFoundError) as error:
        found.problems.append(str(error))
        return
    lines, whole = raw.splitlines(keepends=True), []
    for place, line in enumerate(lines, 1):
        try:
            record, check = decode(line)
        except Newer as error:
            raise StateInvalid(
                f"{safe_text(file)}:{place}: {error}", hint="rebuild it with the newer version; nothing was changed"
            ) from error
        except BadLine as error:
            last = place == len(lines) and not line.endswith(b"\n")
            if not last:
                found.problems.append(f"{safe_text(file)}:{place}: {error}")
            continue
        if record.epoch != epoch or not _is_of(record, path):
            found.problems.append(f"{safe_text(file)}:{place}: it is of another journal")
            continue
        whole.append(Found(record, check))
    pieces[epoch] = [*pieces.get(epoch, []), *whole]


def _is_of(record: Record, path: str) -> bool:
    return record.kind != "open" or record.body.get("holder", {}).get("path") == path


def _chained(candidates: list[Found]) -> list[Found]:
    """From the newest back: the one each follows, else, behind a gap, the next older one of no later epoch.

    So what a stale run appended after it was sealed off is left out: the newer epoch went on from another record.
    """
    by_check = {found.check: found for found in candidates}
    left = sorted(candidates, key=lambda found: (found.record.epoch, found.record.seq))
    chain: list[Found] = []
    now = left.pop() if left else None
    while now is not None:
        chain.append(now)
        record = now.record
        if BEGINS in record.body:
            break
        before = by_check.get(record.prev) if record.prev else None
        if before is None or before.record.seq != record.seq - 1:
            while left and (left[-1].record.seq >= record.seq or left[-1].record.epoch > record.epoch):
                left.pop()
            before = left.pop() if left else None
        now = before
    return chain[::-1]


def read_images(files: Files, layout: Layout, store: Store, path: ScopePath | str) -> Iterator[Image]:
    """The newest whole snapshot, and the newest backup that is valid."""
    try:
        fold, _ = newest_snapshot(files, layout, path)
        if fold is not None and fold.path == str(path):
            yield Image(fold, "snapshot")
    except AlchemyError:
        pass
    for name in reversed(store.backups(path)):
        try:
            body = read_backup(store.read_backup(path, name)[0])
            fold = Fold.from_snapshot(body["state"])
        except (AlchemyError, ValueError, KeyError, TypeError, AttributeError, FileNotFoundError):
            continue
        if fold.path == str(path):
            yield Image(fold, f"backup {name}")
            return


def read_views(files: Files, layout: Layout, path: ScopePath | str) -> Iterator[Seen]:
    """Those that are as we wrote them, and where they belong."""
    for file in view_files(files, layout, Fold(str(path)), widely=True):
        try:
            found = read_view(files, file)
            if found is None or found.stamp is None:
                continue
            body = orjson.loads(found.data)
            for name in ("format", "journal", "sha256"):
                body.pop(name, None)
            seen = _row(body)
        except (AlchemyError, ValueError, KeyError, TypeError):
            continue
        if seen is not None and _place(layout, seen) == file:
            yield Seen(seen, found.stamp, f"view {file.relative_to(layout.scope(path))}")


def _row(body: dict[str, object]) -> ResourceState | ScopeState | None:
    if body.get("type") == "resource":
        return ResourceState.from_json(body)
    return ScopeState.from_json(body) if body.get("type") == "scope" else None


def _place(layout: Layout, row: ResourceState | ScopeState) -> Path:
    if isinstance(row, ScopeState):
        return layout.scope_view(row.path)
    return layout.resource_view(row.address, row.generation if row.former else None)
