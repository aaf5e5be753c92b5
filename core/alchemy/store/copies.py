"""Whole copies of a fold: snapshots (so that opening is fast) and backups (so that people can go back).

A snapshot is framed like a journal line; a backup is indented JSON that one can read, copy and mail.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import orjson

from alchemy.errors import StateInvalid
from alchemy.model.canonical import digest
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.model.values import FORMAT
from alchemy.store.files import Files
from alchemy.store.layout import Layout

_SNAPSHOT = re.compile(r"(\d{10,})\.json")
BACKUP = re.compile(r"state-(\d{4}-\d{2}-\d{2})T(\d{2})-(\d{2})-(\d{2})-(\d{3})Z\.json")
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


def backup_name(at: str) -> str:
    """`state-2024-01-15T10-30-00-000Z.json` from an ISO time."""
    return f"state-{at.replace(':', '-').replace('.', '-')}.json"


def write_backup(files: Files, layout: Layout, fold: Fold, at: str, reason: str, tool: str) -> str:
    """A new file, synced; when the name is taken or the clock went back, the next free millisecond after the last."""
    directory = layout.backups(fold.path)
    files.make_directory(directory)
    state = fold.to_snapshot()
    header: dict[str, Any] = {"format": FORMAT, "type": "backup", "scope": fold.path, "taken": at, "reason": reason}
    header |= {"seq": fold.seq, "epoch": fold.epoch, "serial": fold.serial, "tool": tool}
    header |= {"counts": {"resources": len(fold.resources), "scopes": len(fold.scopes)}, "sha256": digest(state)}
    data = orjson.dumps({**header, "state": state}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    name = backup_name(at)
    last = max((n for n in files.names(directory) if BACKUP.fullmatch(n)), default="")
    if name <= last:
        name = _next_name(last)
    while True:
        try:
            files.close(files.create(directory / name, data))
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
