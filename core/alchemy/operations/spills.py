"""Spills: what runs knew and could not write any more. Finding them, and reading one as strictly as anything foreign.

Light, changes nothing. Neighbours: `store.spill` writes them, `recovering` brings one into the state.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alchemy.errors import AlchemyError, InvalidName, StateInvalid, UsageError
from alchemy.model import strict
from alchemy.model.paths import ScopePath
from alchemy.model.schema import check_record
from alchemy.model.text import safe_text
from alchemy.model.values import FORMAT
from alchemy.operations.shapes import SpillInfo
from alchemy.store.files import Files
from alchemy.store.local import LocalStore
from alchemy.store.spill import ELSEWHERE, spill_digest
from alchemy.store.store import Store

DONE = "done"  # the directory of those that were recovered
_KEEP = "keep it: it may hold the only copy of an id that the cloud gave"
_TEXTS = ("scope", "place", "session", "lineage", "why")
_NUMBERS = ("epoch", "seq", "serial")


@dataclass(frozen=True, slots=True)
class Spilled:
    """One spill as read. `ops` are checked: rows and drops of resources and scopes at or below `scope`."""

    file: Path
    scope: ScopePath
    place: str
    epoch: int
    lineage: str
    seq: int  # of the last record that its run had committed
    why: str
    at: str
    ops: tuple[dict[str, Any], ...]
    data: bytes = field(repr=False)


def spills(store: Store, scope: str = "") -> tuple[SpillInfo, ...]:
    """Those that wait to be recovered, of `scope` and below; of the whole store without. Oldest first."""
    found = [_info(file) for file in _inside(store)]
    found += [info for file in _elsewhere() if (info := _info(file)).place == store.place]
    ours = [info for info in found if not scope or info.scope == scope or info.scope.startswith(f"{scope}/")]
    return tuple(sorted(ours, key=lambda info: (info.at, info.file)))


def files_of(store: Store) -> Files:
    """For the directory on this machine, wherever the state is."""
    return store.files if isinstance(store, LocalStore) else Files(store.root)


def _inside(store: Store) -> list[Path]:
    directory = store.root / "spill"
    try:
        return [directory / name for name in files_of(store).names(directory) if name.endswith(".json")]
    except AlchemyError:  # something else lies there: `validate` tells
        return []


def _elsewhere() -> list[Path]:
    """In the directory that everybody may write to only what we wrote."""
    found = []
    with suppress(OSError):
        for entry in os.scandir(tempfile.gettempdir()):
            if entry.name.startswith(ELSEWHERE) and entry.name.endswith(".json") and _is_ours(Path(entry.path)):
                found.append(Path(entry.path))
    return found


def _is_ours(file: Path) -> bool:
    try:
        known = os.lstat(file)
    except OSError:
        return False
    return stat.S_ISREG(known.st_mode) and known.st_uid == os.geteuid()


def _info(file: Path) -> SpillInfo:
    try:
        read = parse_spill(file, _bytes(file))
    except (AlchemyError, OSError) as error:
        problem = error.message if isinstance(error, AlchemyError) else f"{safe_text(file)}: {error.strerror}"
        return SpillInfo(str(file), "", "", "", "", 0, "", problem)
    return SpillInfo(str(file), str(read.scope), f"R-{read.epoch}", read.at, read.why, len(read.ops), read.place)


def read_spill(store: Store, file: Path) -> Spilled:
    """UsageError when it is not there; StateInvalid when it is no spill, or not one that we wrote."""
    file = Path(os.path.abspath(file))
    done = file.parent / DONE / file.name
    file = done if not os.path.lexists(file) and os.path.lexists(done) else file  # recovered before
    inside = os.path.realpath(file.parent) == os.path.realpath(store.root / "spill")
    if not os.path.lexists(file):
        raise _missing(store, file)
    if not _is_ours(file) and not inside:
        raise StateInvalid(
            f"{safe_text(file)} is not a plain file of {_user()}: only what a run of your own spilled is recovered",
            hint=f"copy it to {safe_text(store.root / 'spill')} after you have looked into it",
        )
    try:
        return parse_spill(file, _bytes(file))
    except FileNotFoundError:  # recovered by somebody else in this moment
        raise _missing(store, file) from None


def _missing(store: Store, file: Path) -> UsageError:
    known = [info.file for info in spills(store)]
    return UsageError(
        f"there is no {safe_text(file)}",
        hint=f"spills that wait: {', '.join(map(safe_text, known))}" if known else "no spill waits to be recovered",
    )


def _user() -> str:
    from alchemy.store import identity

    return identity.user()


def _bytes(file: Path) -> bytes:
    return Files().read_head(file, strict.MAX_FILE + 1)


def parse_spill(file: Path, data: bytes) -> Spilled:
    """StateInvalid names what is wrong with it."""
    body = strict.read(data, file, _KEEP)
    try:
        return _checked(file, body, data)
    except (ValueError, InvalidName, TypeError, KeyError) as error:
        why = error.message if isinstance(error, InvalidName) else str(error)
        raise StateInvalid(f"{safe_text(file)} is no spill that can be recovered: {why}", hint=_KEEP) from error


def _checked(file: Path, body: Any, data: bytes) -> Spilled:
    if not isinstance(body, dict) or body.get("type") != "spill":
        raise ValueError("it does not say that it is one")
    if type(body.get("format")) is not int or body["format"] > FORMAT:
        raise ValueError(f"its format {safe_text(body.get('format'), 20)} is newer than this version reads ({FORMAT})")
    check = body.pop("sha256", None)
    if check is not None and check != spill_digest(body):
        why = "its checksum does not match: it was edited or is damaged"
        hint = f"{_KEEP}; a change that you made and answer for is taken when the line with sha256 is removed"
        raise StateInvalid(f"{safe_text(file)} is no spill that can be recovered: {why}", hint=hint)
    for name in _TEXTS:
        if type(body.get(name)) is not str:
            raise ValueError(f"its {name} is no text")
    for name in _NUMBERS:
        if type(body.get(name)) is not int or not 0 <= body[name] < 1 << 53:
            raise ValueError(f"its {name} is no number")
    scope, ops = ScopePath.parse(body["scope"]), body.get("ops")
    if not isinstance(ops, list) or not all(isinstance(op, dict) for op in ops):
        raise ValueError("its ops are no list of operations")
    record = {"v": FORMAT, "wid": "", "kind": "commit", "at": "", "prev": "", "ops": ops}
    check_record({**record, **{name: body[name] for name in ("session", *_NUMBERS)}})
    for number, op in enumerate(ops):
        subject = _subject(op)
        if subject != str(scope) and not subject.startswith(f"{scope}/"):
            raise ValueError(f"ops/{number} is about {safe_text(subject, 120) or 'nothing'}, which is not in {scope}")
    at = body.get("at")
    return Spilled(
        file=file,
        scope=scope,
        place=body["place"],
        epoch=body["epoch"],
        lineage=body["lineage"],
        seq=body["seq"],
        why=body["why"],
        at=at if isinstance(at, str) else "",
        ops=tuple(ops),
        data=data,
    )


def _subject(op: dict[str, Any]) -> str:
    """The address or path of a row or a drop; "" of anything else."""
    if op["op"] == "put":
        row = op["row"]
        return str(row["path"] if row["type"] == "scope" else row["address"])
    return str(op.get("scope") or op.get("address", "")) if op["op"] == "drop" else ""
