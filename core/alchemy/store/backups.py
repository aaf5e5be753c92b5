"""Backups: one self-contained file a stage, indented JSON that one can read, copy and mail, so that people can go back.

Written here, through whichever store; `operations.restoring` goes back to one. Never changed once written.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from alchemy.model.canonical import digest
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.values import FORMAT
from alchemy.store.store import Store

BACKUP = re.compile(r"state-(\d{4}-\d{2}-\d{2})T(\d{2})-(\d{2})-(\d{2})-(\d{3})Z\.json")
HEAD = 2000  # bytes of a backup that hold its header
TOOL = "alchemy 0.1.0"
_SERIAL = re.compile(rb'"serial": (\d+)')


def backup_name(at: str) -> str:
    """`state-2024-01-15T10-30-00-000Z.json` from an ISO time."""
    return f"state-{at.replace(':', '-').replace('.', '-')}.json"


def encode_backup(fold: Fold, at: str, reason: str, *, note: str = "") -> bytes:
    """Header first, so that a list of backups reads the first bytes of each only."""
    state = fold.to_snapshot()
    header: dict[str, Any] = {"format": FORMAT, "type": "backup", "scope": fold.path, "taken": at, "reason": reason}
    if note:
        header["note"] = note
    header |= {"seq": fold.seq, "epoch": fold.epoch, "serial": fold.serial, "tool": TOOL}
    header |= {"counts": {"resources": len(fold.resources), "scopes": len(fold.scopes)}, "sha256": digest(state)}
    return orjson.dumps({**header, "state": state}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def write_backup(store: Store, fold: Fold, reason: str, *, note: str = "") -> str:
    """A new file, durable; when the name is taken or the clock went back, the next free millisecond after the last."""
    at = store.clock.now()
    data = encode_backup(fold, at, reason, note=note)
    name = backup_name(at)
    last = max(store.backups(fold.path), default="")
    if name <= last:
        name = _next_name(last)
    while True:
        try:
            store.create_backup(fold.path, name, data)
        except FileExistsError:
            name = _next_name(name)
            continue
        return name


def _next_name(name: str) -> str:
    """One millisecond later."""
    import datetime

    parts = BACKUP.fullmatch(name)
    assert parts is not None
    day, hours, minutes, seconds, millis = parts.groups()
    then = datetime.datetime.fromisoformat(f"{day}T{hours}:{minutes}:{seconds}.{millis}+00:00")
    then += datetime.timedelta(milliseconds=1)
    return backup_name(then.strftime("%Y-%m-%dT%H:%M:%S.") + f"{then.microsecond // 1000:03d}Z")


def last_serial(store: Store, path: ScopePath | str) -> int:
    """Of the newest backup; -1 when there is no whole one."""
    names = store.backups(path)
    if not names:
        return -1
    data, _ = store.read_backup(path, names[-1])
    found = _SERIAL.search(data[:HEAD])
    return int(found[1]) if found and data.endswith(b"\n}\n") else -1  # a kill in the middle leaves no such end


def read_backup(data: bytes) -> dict[str, Any]:
    """The header and state of a backup; ValueError says what is wrong with it."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValueError("it is not whole JSON") from error
    if not isinstance(body, dict) or body.get("type") != "backup" or "state" not in body:
        raise ValueError("it is not a backup")
    if body.get("sha256") != digest(body["state"]):
        raise ValueError("its checksum does not match: it was edited or damaged")
    return body
