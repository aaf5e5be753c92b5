"""Backups: one self-contained file a stage, indented JSON that one can read, copy and mail, so that people can go back.

Written, found, checked and thinned out here, through whichever store. Never changed once written. Neighbours:
`model.backup` reads one strictly, `model.retention` says which stay, `operations.restoring` goes back to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from alchemy.errors import StateInvalid, StorageFailed
from alchemy.model.backup import BACKUP as BACKUP
from alchemy.model.backup import Backup, BadBackup, Header, newest_first, read_head, read_whole
from alchemy.model.canonical import digest
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.retention import Kept, Pruning, plan_pruning
from alchemy.model.text import safe_text
from alchemy.model.values import FORMAT
from alchemy.store import identity
from alchemy.store.store import Store

HEAD = 4096  # bytes of a backup that hold its header
PIN = "pin"  # the mark of a backup that is never removed
TOOL = "alchemy 0.1.0"
_SLACK = 5  # backups in a bucket above what the rules keep, so that not every run thins them out


def backup_name(at: str) -> str:
    """`state-2024-01-15T10-30-00-000Z.json` from an ISO time."""
    return f"state-{at.replace(':', '-').replace('.', '-')}.json"


def encode_backup(fold: Fold, at: str, reason: str, *, note: str = "") -> bytes:
    """Header first, so that a list of backups reads the first bytes of each only."""
    state = fold.to_snapshot()
    header: dict[str, Any] = {"format": FORMAT, "type": "backup", "scope": fold.path, "taken": at, "reason": reason}
    if note:
        header["note"] = note
    header |= {"by": f"{identity.user()}@{identity.host()}", "lineage": fold.lineage}
    header |= {"seq": fold.seq, "epoch": fold.epoch, "serial": fold.serial, "tool": TOOL}
    header |= {"counts": {"resources": len(fold.resources), "scopes": len(fold.scopes)}, "sha256": digest(state)}
    return orjson.dumps({**header, "state": state}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def write_backup(store: Store, fold: Fold, reason: str, *, note: str = "") -> str:
    """A new file, durable; when the name is taken or the clock went back, the next free millisecond after the last.

    No time comes after what somebody else may have called one, `state-9999-12-31…`: then it is the clock's.
    """
    at = store.clock.now()
    data = encode_backup(fold, at, reason, note=note)
    name = backup_name(at)
    last = max(store.backups(fold.path), default="")
    if name <= last:
        name = _next_name(last) or name
    while True:
        try:
            store.create_backup(fold.path, name, data)
        except FileExistsError:
            name = _next_name(name) or backup_name(at)
            continue
        return name


def _next_name(name: str) -> str:
    """One millisecond later; "" where no clock gets to."""
    import datetime

    parts = BACKUP.fullmatch(name)
    assert parts is not None
    day, hours, minutes, seconds, millis = parts.groups()
    try:
        then = datetime.datetime.fromisoformat(f"{day}T{hours}:{minutes}:{seconds}.{millis}+00:00")
        then += datetime.timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return ""
    return backup_name(then.strftime("%Y-%m-%dT%H:%M:%S.") + f"{then.microsecond // 1000:03d}Z")


def last_serial(store: Store, path: ScopePath | str) -> int:
    """Of the newest backup that is whole, as far as a glance tells; -1 when there is none."""
    for name in reversed(store.backups(path)):
        try:
            data, size = store.read_backup(path, name)
        except (StateInvalid, FileNotFoundError):  # no file at all, or removed in this moment
            continue
        except StorageFailed:
            if store.remote:  # it does not answer: the next request would not be answered either
                raise
            continue
        header = read_head(name, data[:HEAD], size)
        if header is not None and not header.problem and data.endswith(b"\n}\n"):  # a kill leaves no such end
            return header.serial
    return -1


def headers(store: Store, path: ScopePath | str) -> list[Header]:
    """Of every backup, newest first: a damaged one says so in its header."""
    return newest_first(_header(store, path, name) for name in store.backups(path))


def _header(store: Store, path: ScopePath | str, name: str) -> Header:
    size = 0
    try:
        data, size = store.read_backup(path, name, head=HEAD)
        found = read_head(name, data, size)
        if found is None:  # laid out by somebody else, or torn
            whole, size = store.read_backup(path, name)
            found = read_whole(name, whole, str(path)).header
        return found
    except BadBackup as error:
        return Header(name, size=size, problem=str(error))
    except (StorageFailed, StateInvalid, FileNotFoundError) as error:
        return Header(name, problem=f"it cannot be read: {safe_text(error, 200)}")


def read_valid(store: Store, path: ScopePath | str, name: str) -> Backup:
    """BadBackup when it is not whole, or of another scope. FileNotFoundError when it is not there."""
    try:
        data, _ = store.read_backup(path, name)
    except (StorageFailed, StateInvalid) as error:
        raise BadBackup(f"it cannot be read: {safe_text(error, 200)}") from error
    return read_whole(name, data, str(path))


def problem_of(store: Store, path: ScopePath | str, name: str) -> str:
    """Why nobody can go back to it; empty when it is whole."""
    try:
        read_valid(store, path, name)
    except BadBackup as error:
        return str(error)
    except FileNotFoundError:
        return "it is gone"
    return ""


def pins(store: Store, path: ScopePath | str) -> dict[str, str]:
    """{name: why} of those that are never removed."""
    return {name: text for (name, mark), text in store.backup_marks(path).items() if mark == PIN}


def plan_prune(store: Store, path: ScopePath | str, *, thorough: bool) -> Pruning:
    """What the store's rules keep, and what not. `thorough`: each is read whole, so that none damaged counts."""
    pinned = pins(store, path)
    found = []
    for header in headers(store, path):
        problem = header.problem or (problem_of(store, path, header.file) if thorough else "")
        kept = Kept(header.file, header.seq, header.taken, header.file in pinned, not problem, header.lineage)
        found.append(kept)
    return plan_pruning(found, store.retention)


def prune_after(store: Store, path: ScopePath | str, name: str) -> tuple[str, ...]:
    """At the end of a run that wrote `name`: removes what no rule keeps. StateInvalid when the new one is not whole.

    What it removed. The new one was read back, so it is the newest valid one, and it stays.
    """
    rules, count = store.retention, len(store.backups(path))
    enough = rules.last
    if store.remote:  # each costs a request to look at: not before there are more than all rules together can keep
        enough += rules.daily + rules.weekly + rules.monthly + _SLACK
    if count <= enough:
        return ()
    problem = problem_of(store, path, name)
    if problem:
        raise StateInvalid(
            f"no backup of {path} is removed: the new one, {name}, is damaged: {problem}",
            hint=f"`alchemy scope backups {path} --verify` shows which ones are whole",
        )
    old = [each for each in plan_prune(store, path, thorough=False).remove if each != name]
    return remove_backups(store, path, old)


def remove_backups(store: Store, path: ScopePath | str, names: Sequence[str]) -> tuple[str, ...]:
    """Those that went. One that was pinned while it was decided stays: to look at all of them takes its time."""
    pinned = pins(store, path) if names else {}
    gone = tuple(name for name in names if name not in pinned)
    for name in gone:
        store.remove_backup(path, name)
    return gone


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
