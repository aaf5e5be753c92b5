"""What a move of state to another store is made of: copies of everything an application has, and two kinds of marks.

`moved.json` at the root of the old place is the move itself; `<app>/arriving.json` keeps runs out of what is not whole
yet. Design: docs/decisions/0008-migration.md. Neighbours: `operations.moving` gives the order, `shelf` the files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from alchemy.errors import Refused, StateInvalid
from alchemy.model import strict
from alchemy.model.canonical import Json
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Record, encode
from alchemy.model.text import safe_text
from alchemy.store import identity
from alchemy.store.local import LocalStore
from alchemy.store.shelf import Shelf, shelf_of
from alchemy.store.store import Store

MOVED: Final = "moved.json"
ARRIVING: Final = "arriving.json"
_FORMAT = 1
_HISTORY = 2000  # records of one journal: each is an object, and R2 counts requests


@dataclass(frozen=True, slots=True)
class Mark:
    """`place` is the other side: where it went, or where it comes from."""

    place: str
    apps: tuple[str, ...]
    at: str
    by: str

    def to_bytes(self) -> bytes:
        body = {"format": _FORMAT, "type": "move", "place": self.place, "apps": self.apps, "at": self.at, "by": self.by}
        return orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def place_of(store: Store) -> str:
    """One text for one place, also when two machines have the same directories."""
    return store.place if store.remote else f"{identity.host()}:{os.path.realpath(store.place)}"


def means(told: str, store: Store) -> bool:
    """`told`, of a mark, is the place of `store`, however it was spelled by whoever wrote it."""
    here = place_of(store)
    if told == here:
        return True
    if store.remote:
        from alchemy.store.objects.settings import same_spelling

        return "://" in told and same_spelling(told) == same_spelling(here)
    host, _, path = told.partition(":")
    if host.casefold() != identity.host().casefold():
        return False
    try:
        return os.path.realpath(path) == os.path.realpath(store.place) or os.path.samefile(path, store.place)
    except (OSError, ValueError):  # one of them is not there
        return False


def make_mark(store: Store, apps: tuple[str, ...], at: str) -> Mark:
    """About `store`, to be left on the other side."""
    return Mark(place_of(store), apps, at, f"{identity.user()}@{identity.host()}")


def read_mark(store: Store, path: str) -> Mark | None:
    """None when there is none; StateInvalid when it cannot be read: then nobody can tell which place counts."""
    return _mark(store, path, shelf_of(store).read(path))


def _mark(store: Store, path: str, data: bytes | None) -> Mark | None:
    if data is None:
        return None
    where = f"{store.place}/{path}"
    hint = "find out where the state is now (`scope list` on both places), then mend or remove this file"
    body: Json = strict.read(data, where, hint)
    try:
        return Mark(str(body["place"]), tuple(map(str, body["apps"])), str(body["at"]), str(body["by"]))
    except (KeyError, TypeError) as error:
        raise StateInvalid(f"{safe_text(where)} is no mark of a move", hint=hint) from error


def refuse_moved(store: Store) -> None:
    """For every command, before it looks at a store: Refused names where its state went."""
    _refuse_moved(store, read_mark(store, MOVED))


def _refuse_moved(store: Store, mark: Mark | None) -> None:
    if mark is not None:
        raise Refused(
            f"the state of {safe_text(store.place)} was moved to {safe_text(mark.place, 300)} "
            f"on {safe_text(mark.at, 40)} by {safe_text(mark.by, 80)}",
            hint="use that place: for a bucket its R2_* variables, for files --state-dir; "
            f"`alchemy scope migrate --to {'file' if store.remote else 'r2'}` finishes a move that was cut short",
        )


def refuse_arriving(store: Store, path: ScopePath) -> None:
    """For every run, right before it opens a journal: Refused while its application is not whole here yet.

    And when it went elsewhere while the run waited for its lock.
    """
    shelf, names = shelf_of(store), [MOVED, f"{path.app}/{ARRIVING}"]
    if store.remote:
        from alchemy.store.objects.requests import abreast

        found = abreast(shelf.read, names)
    else:
        found = [shelf.read(name) for name in names]
    moved, mark = (_mark(store, name, data) for name, data in zip(names, found, strict=True))
    _refuse_moved(store, moved)
    if mark is not None:
        raise Refused(
            f"{path.app} is on its way into {safe_text(store.place)} from {safe_text(mark.place, 300)}, "
            f"begun on {safe_text(mark.at, 40)} by {safe_text(mark.by, 80)}: until it is whole, that place counts",
            hint=f"`alchemy scope migrate --to {'r2' if store.remote else 'file'}` there finishes it",
        )


# -- copies ---------------------------------------------------------------------------------------------------------


def history(store: Store, fold: Fold) -> list[Record]:
    """What a journal's runs wrote, oldest first, as far as it is kept; of a long one the newest runs."""
    runs: list[list[Record]] = []
    before, count = fold.seq + 1, 0
    for epoch in reversed(store.epochs(fold.path)):
        # What a run wrote after a later one took over was never part of the state, and has another one's number.
        run = [record for record in store.read_epoch(fold.path, epoch) if record.seq < before]
        if run and run[0].kind == "open" and run[0].epoch == epoch:
            runs.append(run)
            before, count = run[0].seq, count + len(run)
        if count >= _HISTORY:
            break
    return [record for run in reversed(runs) for record in run]


def seed(store: Store, fold: Fold, records: Sequence[Record]) -> None:
    """A journal where none is: its runs for people, and a snapshot behind them that the next opener goes on from."""
    shelf = shelf_of(store)
    plain = Fold.from_snapshot(fold.to_snapshot())  # without who holds it: that was there
    if isinstance(store, LocalStore):
        from alchemy.store.copies import write_snapshot

        for epoch in dict.fromkeys(record.epoch for record in records):
            lines = b"".join(encode(record)[0] for record in records if record.epoch == epoch)
            shelf.replace(f"{fold.path}/journal/{epoch:06d}.jsonl", lines)
        write_snapshot(store.files, store.layout, plain)
        return
    from alchemy.store.objects.requests import abreast
    from alchemy.store.objects.snapshots import encode_snapshot

    bodies = {f"{fold.path}/journal/{record.seq:016d}.json": encode(record)[0] for record in records}
    abreast(lambda path: shelf.replace(path, bodies[path]), list(bodies))
    ends = tuple(record.seq for record in records if record.kind in ("open", "release"))
    shelf.replace(f"{fold.path}/snapshots/{fold.seq:016d}.json", encode_snapshot(plain, 0, ends))


def clear(store: Store, owner: str) -> None:
    """What an earlier try left of a journal, newest first."""
    shelf = shelf_of(store)
    for folder in ("journal", "snapshots"):
        for name in reversed(shelf.names(f"{owner}/{folder}")):
            shelf.remove(f"{owner}/{folder}/{name}")


def same_fold(one: Fold, other: Fold) -> bool:
    """To the last stamp; who held it, and how its last run ended, is not part of it."""
    return one.to_snapshot() == other.to_snapshot()


def carry(source: Shelf, target: Shelf, folder: str, only: tuple[str, ...] = (), *, extra: bool = False) -> list[str]:
    """Every file of a folder (or `only` these), byte for byte; with `extra`, others there may stay. Their names."""
    names = [name for name in source.names(folder) if not only or name in only]
    there = target.names(folder)
    for name in () if extra else there:
        if name not in names and (not only or name in only):
            target.remove(f"{folder}/{name}")
    for name in names:
        path = f"{folder}/{name}"
        data = source.read(path)
        if data is not None and not (name in there and target.read(path) == data):
            target.replace(path, data)
    return names


def differing(source: Shelf, target: Shelf, folder: str, names: list[str]) -> str:
    """The first file that is not the same on both sides; "" when all are."""
    return next((n for n in names if source.read(f"{folder}/{n}") != target.read(f"{folder}/{n}")), "")
