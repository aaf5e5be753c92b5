"""A backup as a value: its header, and the state in it, read as strictly as what somebody else wrote. Pure.

Neighbours: `store.backups` writes and finds them, `comparison` holds one against what is stored now.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from alchemy.errors import UsageError
from alchemy.model.canonical import Json, digest, normalise
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.schema import check_fold
from alchemy.model.strict import MAX_COPY, NotStrict, parse
from alchemy.model.text import safe_text
from alchemy.model.values import FORMAT, ResourceState, ScopeKind

BACKUP = re.compile(r"state-([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2})-([0-9]{2})-([0-9]{2})-([0-9]{3})Z\.json")
LONGEST_NOTE = 200  # characters
BEFORE_RESTORE = "before restore of "  # how the reason of a backup begins that undoes a restore
_STATE = b'\n  "state": '  # a newline cannot stand inside a JSON text, so this is where the header ends
_MOST = 1 << 53


class BadBackup(ValueError):
    """Why a file is no backup that anybody can go back to."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a backup says of itself. `problem`: why it cannot be read, else empty."""

    file: str
    scope: str = ""
    taken: str = ""
    reason: str = ""
    note: str = ""
    by: str = ""  # user@host
    seq: int = 0
    epoch: int = 0
    serial: int = 0
    lineage: str = ""
    resources: int = 0
    size: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Backup:
    """One that is whole. `fold` is the state as it was."""

    header: Header
    fold: Fold


def read_head(file: str, head: bytes, size: int) -> Header | None:
    """From the first bytes of a file as we write them; None when they do not hold the whole header."""
    cut = head.find(_STATE)
    if cut < 0:
        return None
    try:
        return _header(file, _dict(parse(head[:cut].rstrip(b",") + b"}")), size)
    except (NotStrict, BadBackup) as error:
        return Header(file, size=size, problem=f"its header is damaged: {safe_text(error, 200)}")


def read_whole(file: str, data: bytes, scope: str) -> Backup:
    """BadBackup when anything is not as it was written, or could not be taken back into the state of `scope`."""
    try:
        body = _dict(parse(data, MAX_COPY))
        if body.get("type") != "backup":
            raise BadBackup("it is not a backup")
        header = _header(file, body, len(data))
        state = _dict(body.get("state"), "its state")
        if body.get("sha256") != digest(state):
            raise BadBackup("its checksum does not match: it was edited or damaged")
        if scope not in (header.scope, ""):
            raise BadBackup(f"it is of {safe_text(header.scope, 200)}, not of {scope}")
        _check_state(state, header, body)
        fold = Fold.from_snapshot(state)
        if len(fold.resources) != len(state["resources"]):
            _refuse_twice("resource", [ResourceState.from_json(_plain(item)).key for item in state["resources"]])
        return Backup(header, fold)
    except NotStrict as error:
        raise BadBackup(f"it is not whole JSON: {safe_text(error, 300)}") from error
    except UsageError as error:  # an integer or a key that we could not write again
        raise BadBackup(safe_text(error.message, 300)) from error
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        if isinstance(error, BadBackup):
            raise
        raise BadBackup(f"it is not as this tool writes it: {safe_text(error, 200)}") from error


def _header(file: str, body: dict[str, Any], size: int) -> Header:
    if body.get("type") != "backup":
        raise BadBackup("it is not a backup")
    version = _number(body, "format")
    if version > FORMAT:
        raise BadBackup(f"format {version} is newer than this version reads ({FORMAT})")
    counts = _dict(body.get("counts"), "counts")
    texts = {name: _text(body.get(name), name) for name in ("scope", "taken", "reason")}
    texts |= {name: _text(body.get(name, ""), name) for name in ("note", "by", "lineage")}
    found = Header(file, **texts, resources=_number(counts, "resources"), size=size)  # type: ignore[arg-type]
    return replace(found, seq=_number(body, "seq"), epoch=_number(body, "epoch"), serial=_number(body, "serial"))


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != "at"}


def _check_state(state: dict[str, Any], header: Header, body: dict[str, Any]) -> None:
    check_fold(state, header.scope)
    for name in ("seq", "epoch", "serial"):
        if state[name] != getattr(header, name):
            raise BadBackup(f"its header says another {name} than its state")
    if not state["lineage"] or header.lineage not in ("", state["lineage"]):
        raise BadBackup("its lineage is missing, or differs from its header's")
    if "seq" not in state["declared"] and state["declared"]:
        raise BadBackup("what was declared names no record")
    owner = ScopePath.parse(header.scope)
    _refuse_twice("scope", [item["path"] for item in state["scopes"]])
    for item in state["scopes"]:
        if (item["path"] == header.scope) == (item["kind"] == ScopeKind.NESTED):
            raise BadBackup(f"{safe_text(item['path'], 200)} cannot be a {safe_text(item['kind'], 40)} scope")
    for item in state["resources"]:
        if not owner.holds(ScopePath.parse(item["address"].rpartition("/")[0])):
            raise BadBackup(f"{safe_text(item['address'], 200)} is not in {owner}")
        normalise({name: value for name, value in item.items() if isinstance(value, dict)}, item["address"])
    counts = body["counts"]
    if (counts["resources"], counts.get("scopes")) != (len(state["resources"]), len(state["scopes"])):
        raise BadBackup("it holds another number of rows than its header says")


def _refuse_twice(what: str, keys: list[str]) -> None:
    if len(set(keys)) != len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise BadBackup(f"the {what} {safe_text(twice, 200)} is in it twice")


def _dict(value: Json, what: str = "it") -> dict[str, Any]:
    if type(value) is not dict:
        raise BadBackup(f"{what} is no JSON object")
    return value


def _text(value: Json, what: str) -> str:
    if type(value) is not str:
        raise BadBackup(f"{what} is no text")
    return value


def _number(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if type(value) is not int or not 0 <= value <= _MOST:
        raise BadBackup(f"{name} is no number")
    return value


def newest_first(headers: Iterable[Header]) -> list[Header]:
    """By number; a damaged one, which has none, where its name stands."""
    found = list(headers)
    whole = sorted((h for h in found if not h.problem), key=lambda h: (h.seq, h.file), reverse=True)
    for damaged in sorted((h for h in found if h.problem), key=lambda h: h.file):
        place = next((n for n, h in enumerate(whole) if h.file < damaged.file), len(whole))
        whole.insert(place, damaged)
    return whole
