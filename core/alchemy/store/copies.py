"""Snapshots: whole copies of a fold, so that opening is fast. Framed like a journal line.

Neighbours: `opening` reads the newest one and goes on from there; `backups` are the copies for people.
"""

from __future__ import annotations

import hashlib
import re

import orjson

from alchemy.errors import StateInvalid
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.model.values import FORMAT
from alchemy.store.files import Files
from alchemy.store.layout import Layout

_SNAPSHOT = re.compile(r"(\d{10,})\.json")
SNAPSHOT_AFTER = 200  # ops: below that, replaying is as fast as reading a snapshot


def wants_snapshot(fold: Fold) -> bool:
    return fold.ops_since_snapshot > max(SNAPSHOT_AFTER, len(fold.resources) // 4)


def write_snapshot(files: Files, layout: Layout, fold: Fold) -> None:
    """Durable; named by serial and seq, so that it is never rewritten with other bytes."""
    directory = layout.snapshots(fold.path)
    files.make_directory(directory)
    raw = orjson.dumps({"format": FORMAT, **fold.to_snapshot()})
    check = hashlib.sha256(raw).hexdigest().encode()
    data = b'{"r":' + raw + b',"c":"' + check + b'"}\n'
    files.replace(directory / f"{fold.seq:010d}.json", data, durable=True)
    fold.ops_since_snapshot = 0


def newest_snapshot(files: Files, layout: Layout, path: ScopePath | str) -> tuple[Fold | None, list[str]]:
    """The newest that is whole, and a note for each that is not."""
    notes: list[str] = []
    directory = layout.snapshots(path)
    for name in reversed([name for name in files.names(directory) if _SNAPSHOT.fullmatch(name)]):
        data = files.read(directory / name)
        raw = data[len(b'{"r":') : -(len(b',"c":"') + 64 + len(b'"}\n'))]
        if data == b'{"r":' + raw + b',"c":"' + hashlib.sha256(raw).hexdigest().encode() + b'"}\n':
            body = orjson.loads(raw)
            if body["format"] > FORMAT:
                raise StateInvalid(
                    f"{safe_text(directory / name)} has format {body['format']}, this version reads {FORMAT}",
                    hint="use the newer version that wrote it",
                )
            return Fold.from_snapshot(body), notes
        notes.append(f"snapshots/{name} is torn; the one before it and the journal are used instead")
    return None, notes
