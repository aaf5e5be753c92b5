"""Flat state: one JSON document with every resource of a project, as hand-written tools keep it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from alchemy.errors import StateInvalid
from alchemy.model import strict
from alchemy.model.canonical import Json
from alchemy.model.text import safe_text
from alchemy.model.values import Status
from alchemy.operations.imports.source import BEYOND, Found, Source, within

TOOL = "flat state"
EXAMPLE = (
    '{"resources": {"main-db": {"kind": "cloudflare:D1Database", "props": {}, '
    '"outputs": {"database_id": "…", "database_name": "…"}}}}'
)
_FIELDS = frozenset(["id", "kind", "type", "props", "outputs", "depends_on", "name", "status"])


def read_flat(data: bytes, file: Path) -> Source:
    """Pure over the bytes; StateInvalid names file and place, and shows the form that is read."""
    body = strict.read(data, file, f"mend it, or write it in this form: {EXAMPLE}")
    if not isinstance(body, dict) or "resources" not in body:
        raise _refused(file, "it has no `resources`")
    listed = body["resources"]
    if isinstance(listed, dict):
        pairs = [(str(id), item) for id, item in listed.items()]
    elif isinstance(listed, list):
        pairs = [(_id_of(item, n, file), item) for n, item in enumerate(listed)]
    else:
        raise _refused(file, "`resources` is neither an object nor a list")
    ids: set[str] = set()
    for id, _ in pairs:
        if id in ids:
            raise _refused(file, f"the resource {safe_text(id, 80)!r} stands in it twice")
        ids.add(id)
    found = tuple(_resource(id, item, n, file, ids) for n, (id, item) in enumerate(pairs))
    rest = sorted(body.keys() - {"resources"})
    notes = (f"not brought over: {safe_text(', '.join(rest), 200)} of {safe_text(file.name)}",) if rest else ()
    return Source(tool=TOOL, place=str(file), digest=hashlib.sha256(data).hexdigest(), found=found, notes=notes)


def _id_of(item: Json, number: int, file: Path) -> str:
    id = item.get("id") if isinstance(item, dict) else None
    if not isinstance(id, str) or not id:
        raise _refused(file, f"/resources/{number} has no id")
    return id


def _resource(id: str, item: Json, number: int, file: Path, ids: set[str]) -> Found:
    where = f"/resources/{safe_text(id, 80)}"
    if not isinstance(item, dict):
        raise _refused(file, f"{where} is not an object")
    if item.get("id", id) != id:
        raise _refused(file, f"{where} says that its id is {safe_text(item['id'], 80)!r}")
    kind = item.get("kind", item.get("type"))
    if not isinstance(kind, str) or not kind:
        raise _refused(file, f"{where} has no kind")
    given = item.get("depends_on", [])
    if not isinstance(given, list) or not all(isinstance(needed, str) for needed in given):
        raise _refused(file, f"{where}/depends_on is not a list of ids")
    notes = [
        f"it depends on {safe_text(needed, 80)!r}, which is not in the file" for needed in given if needed not in ids
    ]
    rest = sorted(item.keys() - _FIELDS)
    if rest:
        notes.append(f"not brought over: {safe_text(', '.join(rest), 200)}")
    props, outputs = (_object(item, part, where, file) for part in ("props", "outputs"))
    if (props, outputs) != (within(props), within(outputs)):
        notes.append(BEYOND)
    name = item.get("name", "")
    if not isinstance(name, str):
        raise _refused(file, f"{where}/name is not a string")
    return Found(
        key=id,
        scope=(),
        id=id,
        kind=kind,
        file=file.name,
        status=_status(item, where, file),
        props=within(props),
        outputs=within(outputs),
        order=(number,),
        name=name,
        needs=tuple(needed for needed in given if needed in ids and needed != id),
        notes=tuple(notes),
    )


def _object(item: dict[str, Any], name: str, where: str, file: Path) -> dict[str, Any]:
    value = item.get(name, {})
    if not isinstance(value, dict):
        raise _refused(file, f"{where}/{name} is not an object")
    return value


def _status(item: dict[str, Any], where: str, file: Path) -> Status:
    word = item.get("status", "ready")
    known = {"created": Status.READY, "updated": Status.READY, **{str(status): status for status in Status}}
    known.pop(str(Status.REPLACING))  # says nothing here about the object it replaces
    if not isinstance(word, str) or word not in known:
        raise _refused(file, f"{where}/status is {safe_text(word, 40)!r}, not one of {', '.join(sorted(known))}")
    return known[word]


def _refused(file: Path, why: str) -> StateInvalid:
    return StateInvalid(f"{safe_text(file)} is no flat state that can be read: {why}", hint=f"the form is: {EXAMPLE}")
