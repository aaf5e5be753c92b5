"""Snapshots in a bucket: the fold up to a record, and what its records said that a fold does not keep.

Framed like the local ones (`copies`), with one field more, `log`: who has the epoch open (the opener may lie below the
snapshot), and which records of the stretch it stands for were kept. Neighbours: `log` reads them, `epochs` writes them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from alchemy.errors import StateInvalid
from alchemy.model.fold import Fold
from alchemy.model.text import safe_text
from alchemy.model.values import FORMAT, Holder

_HEAD, _MIDDLE, _TAIL = b'{"r":', b',"c":"', b'"}\n'


class BadSnapshot(ValueError):
    """It is torn or edited; says which."""


@dataclass(slots=True)
class Snapshot:
    """`below` is the snapshot before this one; `kept` are the openers and releases between the two."""

    fold: Fold
    below: int
    kept: tuple[int, ...]


def encode_snapshot(fold: Fold, below: int, kept: tuple[int, ...]) -> bytes:
    """The same bytes whoever writes it: everything in it comes from the records up to `fold.seq`."""
    log: dict[str, Any] = {
        "below": below,
        "kept": kept,
        "holder": fold.holder.to_json() if fold.holder else None,
        "released": fold.released,
        "last_release": fold.last_release,
        "last_at": fold.last_at,
    }
    raw = orjson.dumps({"format": FORMAT, **fold.to_snapshot(), "log": log})
    return _HEAD + raw + _MIDDLE + hashlib.sha256(raw).hexdigest().encode() + _TAIL


def decode_snapshot(key: str, data: bytes) -> Snapshot:
    """BadSnapshot when a byte is not as it was written; StateInvalid when a newer version wrote it."""
    raw = data[len(_HEAD) : -(len(_MIDDLE) + 64 + len(_TAIL))]
    if data != _HEAD + raw + _MIDDLE + hashlib.sha256(raw).hexdigest().encode() + _TAIL:
        raise BadSnapshot("it is torn or edited: its checksum does not match")
    try:
        body = orjson.loads(raw)
        if body["format"] > FORMAT:
            raise StateInvalid(
                f"{safe_text(key)} has format {body['format']}, this version reads {FORMAT}",
                hint="use the newer version that wrote it",
            )
        log = body["log"]
        fold = Fold.from_snapshot(body)
        fold.holder = Holder.from_json(log["holder"]) if log["holder"] else None
        fold.released, fold.last_release, fold.last_at = log["released"], log["last_release"], log["last_at"]
        return Snapshot(fold, int(log["below"]), tuple(log["kept"]))
    except (KeyError, TypeError, ValueError, orjson.JSONDecodeError) as error:
        raise BadSnapshot("its checksum matches, and it is no snapshot: not written by this tool") from error
