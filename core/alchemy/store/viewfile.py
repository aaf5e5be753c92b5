"""One view as a file: `state.json` of a scope or resource, rendered, and examined when it is found.

Each carries the place in the journal it was written from and its own checksum, so that a hand edit, a torn file or a
lost journal shows. Neighbour: `views` keeps those of one journal up to date.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from alchemy.errors import StateInvalid, StorageFailed
from alchemy.model.canonical import Json, digest
from alchemy.model.fold import Stamp
from alchemy.model.schema import check_resource, check_scope
from alchemy.model.strict import NotStrict, parse
from alchemy.model.text import safe_text
from alchemy.model.values import FORMAT, ResourceState, ScopeKind, ScopeState
from alchemy.store.files import Files
from alchemy.store.layout import Layout

_BLANK = "it is empty"
_LAYOUT = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def render(row: ResourceState | ScopeState, stamp: Stamp) -> bytes:
    """The bytes of a view: indented JSON, its checksum last."""
    body: dict[str, Any] = {"format": FORMAT, **row.to_json()}
    body["journal"] = {"epoch": stamp.epoch, "seq": stamp.seq, "serial": stamp.serial}
    body["sha256"] = digest(body)
    return orjson.dumps(body, option=_LAYOUT)


@dataclass(frozen=True, slots=True)
class ViewFile:
    """A view as found. `problem`: "" when whole; torn files have no `stamp`, and no `key` (of the row in it)."""

    data: bytes
    problem: str = ""
    line: int = 0
    stamp: Stamp | None = None
    key: str = ""

    @property
    def blank(self) -> bool:
        """Nothing is in it: what a power cut leaves of a file that was never synced. Nobody edits a file to that."""
        return self.problem == _BLANK


def examine(data: bytes) -> ViewFile:
    """Is it whole, of which row, and from which record? Never raises."""
    if not data.strip(b"\0 \t\r\n"):
        return ViewFile(data, _BLANK)
    try:
        body = _body(data)
    except NotStrict as error:
        return ViewFile(data, f"Invalid JSON: {error}", line=error.line)
    if not isinstance(body, dict):
        return ViewFile(data, "it holds no object", line=1)
    found = body.get("format")
    if type(found) is int and found > FORMAT:
        return ViewFile(data, f"format {found} is newer than this version reads ({FORMAT}); use the one that wrote it")
    check = body.pop("sha256", "")
    try:
        if check != digest(body):
            return ViewFile(data, "edited by hand: its checksum does not match")
        place = body["journal"]
        stamp = Stamp(int(place["epoch"]), int(place["seq"]), int(place["serial"]))
        return ViewFile(data, stamp=stamp, key=_key(body))
    except (TypeError, KeyError, ValueError, RecursionError) as error:
        return ViewFile(data, f"edited by hand: its checksum is right, and it is no row: {safe_text(error, 200)}")


def _body(data: bytes) -> Json:
    """Byte for byte as we lay it out, it has one meaning; what looks otherwise is read strictly."""
    with suppress(ValueError, TypeError):  # TypeError: too deep to be written again
        body = orjson.loads(data)
        if orjson.dumps(body, option=_LAYOUT) == data:
            return body
    return parse(data)


def _key(body: dict[str, Any]) -> str:
    """As in `Fold.stamps`."""
    if body.get("type") == "scope":
        check_scope(body)
        return f"\x00{body['path']}"
    check_resource(body)
    return f"{body['address']}\x00{body.get('generation', 0)}" if body.get("former") else str(body["address"])


def read_view(files: Files, path: Path, key: str = "") -> ViewFile | None:
    """None when there is no such file. `key`: of the row that belongs there, as in `Fold.stamps`."""
    try:
        found = examine(files.read(path))
    except FileNotFoundError:
        return None
    except (StorageFailed, StateInvalid) as error:  # a directory, a link: no reason to stop anybody
        return ViewFile(b"", error.message)
    if key and found.key and found.key != key:
        whose = safe_text(found.key.strip("\x00").replace("\x00", " of generation "), 200)
        return ViewFile(found.data, f"misplaced: it is the file of {whose}")
    return found


def place_of(layout: Layout, key: str) -> Path:
    """Where the view of a row lies; `key` as in `Fold.stamps`."""
    if key.startswith("\x00"):
        return layout.scope_view(key[1:])
    address, _, generation = key.partition("\x00")
    return layout.resource_view(address, int(generation) if generation else None)


def stands_by_itself(view: bytes) -> bool:
    """Of a stage or a test: all that is left of one whose journal and copies are gone."""
    try:
        return orjson.loads(view).get("kind") in (ScopeKind.STAGE, ScopeKind.TEST)
    except (ValueError, AttributeError):
        return False
