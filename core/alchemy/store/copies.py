"""Snapshots: whole copies of a fold, so that opening is fast. Framed like a journal line.

Neighbours: `opening` reads the newest one and goes on from there; `backups` are the copies for people.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, cast

import orjson

from alchemy.errors import StateInvalid
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Newer
from alchemy.model.schema import check_fold
from alchemy.model.text import safe_text
from alchemy.model.values import FORMAT
from alchemy.store.files import Files
from alchemy.store.layout import Layout

SNAPSHOT = re.compile(r"([0-9]{10,})\.json")
_HEAD, _MIDDLE, _TAIL = b'{"r":', b',"c":"', b'"}\n'
_CHECK = 64  # hex digits: the whole SHA-256
SNAPSHOT_AFTER = 200  # ops: below that, replaying is as fast as reading a snapshot


def wants_snapshot(fold: Fold) -> bool:
    return fold.ops_since_snapshot > max(SNAPSHOT_AFTER, len(fold.resources) // 4)


def write_snapshot(files: Files, layout: Layout, fold: Fold) -> None:
    """Durable; named by serial and seq, so that it is never rewritten with other bytes."""
    directory = layout.snapshots(fold.path)
    files.make_directory(directory)
    raw = orjson.dumps({"format": FORMAT, **fold.to_snapshot()})
    check = hashlib.sha256(raw).hexdigest().encode()
    data = _HEAD + raw + _MIDDLE + check + _TAIL
    files.replace(directory / f"{fold.seq:010d}.json", data, durable=True)
    fold.ops_since_snapshot = 0


def newest_snapshot(files: Files, layout: Layout, path: ScopePath | str) -> tuple[Fold | None, list[str]]:
    """The newest that is whole, and a note for each that is not."""
    notes: list[str] = []
    directory = layout.snapshots(path)
    for name in reversed([name for name in files.names(directory) if SNAPSHOT.fullmatch(name)]):
        try:
            body = read_snapshot(files.read(directory / name), str(path))
        except Newer as error:
            raise StateInvalid(
                f"{safe_text(directory / name)} was written by a later version: {error}",
                hint="nothing was changed; use the version that wrote it, or a later one",
            ) from error
        except (ValueError, StateInvalid, FileNotFoundError) as error:
            notes.append(f"snapshots/{name}: {error}; the one before it and the journal are used instead")
            continue
        return Fold.from_snapshot(body), notes
    return None, notes


def read_snapshot(data: bytes, path: str) -> dict[str, Any]:
    """What `Fold.from_snapshot` takes, of the journal of `path`; ValueError says what is wrong with it."""
    raw = data[len(_HEAD) : -len(_MIDDLE) - _CHECK - len(_TAIL)]
    if data != _HEAD + raw + _MIDDLE + hashlib.sha256(raw).hexdigest().encode() + _TAIL:
        raise ValueError("it is torn")
    body = orjson.loads(raw)
    found = body.get("format") if type(body) is dict else None
    if type(found) is not int:
        raise ValueError("it names no format")
    if found > FORMAT:
        raise Newer(f"format {found} is newer than this version reads ({FORMAT})")
    check_fold(body, path)
    del body["format"]
    return cast("dict[str, Any]", body)
