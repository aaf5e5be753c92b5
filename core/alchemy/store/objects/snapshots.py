"""Snapshots in a bucket: the fold up to a record, and what its records said that a fold does not keep.

Framed like the local ones (`copies`), with one field more, `log`: who has the epoch open (the opener may lie below the
snapshot), and what compaction has to spare. Neighbours: `log` reads them, `epochs` writes them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from alchemy.errors import StateInvalid
from alchemy.model.fold import Fold
from alchemy.model.records import Newer
from alchemy.model.schema import check_holder
from alchemy.model.text import safe_text
from alchemy.model.values import FORMAT, Holder
from alchemy.store.copies import read_snapshot

_HEAD, _MIDDLE, _TAIL = b'{"r":', b',"c":"', b'"}\n'


class BadSnapshot(ValueError):
    """It is torn or edited; says which."""


@dataclass(slots=True)
class Snapshot:
    """Up to `below` compaction has cleared away; `kept` are the openers and releases behind that."""

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


def decode_snapshot(key: str, path: str, data: bytes) -> Snapshot:
    """BadSnapshot when a byte is not as it was written; StateInvalid when a newer version wrote it."""
    try:
        body = read_snapshot(data, path)
        log = body.pop("log")
        fold = Fold.from_snapshot(body)
        if log["holder"] is not None:
            check_holder(log["holder"])
            fold.holder = Holder.from_json(log["holder"])
        fold.released, fold.last_release, fold.last_at = log["released"], log["last_release"], log["last_at"]
        return Snapshot(fold, int(log["below"]), tuple(int(seq) for seq in log["kept"]))
    except Newer as error:
        raise StateInvalid(
            f"{safe_text(key)} was written by a later version: {error}",
            hint="nothing was changed; use the version that wrote it, or a later one",
        ) from error
    except StateInvalid as error:
        raise BadSnapshot(error.message) from error
    except (KeyError, TypeError, ValueError) as error:
        raise BadSnapshot(str(error) if type(error) is ValueError else "it is no snapshot of ours") from error
