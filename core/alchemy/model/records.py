"""Journal records: one line is one acknowledged batch. Encoding, checking, and reading events back out.

The layout is docs/state-format.md; the store appends the bytes, `fold` gives them their meaning.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from alchemy.model.events import ChangeEnded, ChangeStarted, Entry, Event, Restored, RunEnded, RunStarted
from alchemy.model.schema import UnknownHere, check_record
from alchemy.model.values import FORMAT, Hold, ResourceState, ScopeState

_HEAD = b'{"r":'
_MIDDLE = b',"c":"'
_TAIL = b'"}\n'
_CHECK = 16  # hex digits of SHA-256 behind each record
_COMMIT = re.compile(
    rb'\{"r":\{"v":1,"seq":([0-9]{1,15}),"epoch":[0-9]+,"session":"[0-9A-Za-z-]*","wid":"[0-9a-z]*","kind":"commit",'
)


class BadLine(ValueError):
    """A line that is torn, edited or of a newer format; says which."""


class Unreadable(BadLine):
    """A whole line by its checksum, which this version cannot read: never a torn one that may be passed over."""


class Newer(Unreadable):
    """Of a later major version of the format: nothing is wrong with it."""


@dataclass(frozen=True, slots=True)
class Put:
    """Write a row. `phase`: intent (before the call), result, failed (the call said no), or set (no call)."""

    row: ResourceState | ScopeState
    phase: str = "set"
    action: str = ""
    reason: str = ""
    took: float = 0.0  # seconds

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"op": "put", "row": self.row.to_json()}
        if self.phase != "set":
            out |= {"phase": self.phase, "action": self.action}
        if self.reason:
            out["reason"] = self.reason
        if self.took:
            out["took"] = round(self.took, 4)
        return out


@dataclass(frozen=True, slots=True)
class Drop:
    """Remove a resource row (`address`, with `generation` for a former incarnation) or a scope row (`scope`)."""

    address: str = ""
    scope: str = ""
    generation: int | None = None
    kind: str = ""
    action: str = "delete"
    took: float = 0.0

    def to_json(self) -> dict[str, Any]:
        if self.scope:
            return {"op": "drop", "scope": self.scope}
        out: dict[str, Any] = {"op": "drop", "address": self.address, "kind": self.kind, "action": self.action}
        if self.generation is not None:
            out["generation"] = self.generation
        if self.took:
            out["took"] = round(self.took, 4)
        return out


@dataclass(frozen=True, slots=True)
class Emit:
    """An event that rides along and changes no row."""

    event: Event

    def to_json(self) -> dict[str, Any]:
        return {"op": "event", "event": self.event.to_json()}


@dataclass(frozen=True, slots=True)
class Reserve:
    """Keep runs out of the scope (`hold`), or let them in again (None)."""

    hold: Hold | None

    def to_json(self) -> dict[str, Any]:
        return {"op": "hold", "hold": self.hold.to_json() if self.hold else None}


Op = Put | Drop | Emit | Reserve


@dataclass(frozen=True, slots=True)
class Record:
    """One batch. `body` holds what only some kinds carry: holder, seals, lineage, purpose, outcome, declared …"""

    seq: int
    epoch: int
    session: str
    wid: str  # fresh for each batch, so that a writer knows its own
    kind: str  # open, commit, restore, checkpoint, release
    at: str
    prev: str  # SHA-256 of the record before, "" for the first
    serial: int  # rises with each batch that changes a row
    ops: tuple[dict[str, Any], ...] = ()
    body: dict[str, Any] = field(default_factory=dict)
    v: int = FORMAT

    @property
    def run(self) -> str:
        return f"R-{self.epoch}"


_FIELDS = ("v", "seq", "epoch", "session", "wid", "kind", "at", "prev", "serial", "ops")


def encode(record: Record) -> tuple[bytes, str]:
    """(the line with its newline, the record's full SHA-256 for the next `prev`)."""
    data = {name: getattr(record, name) for name in _FIELDS} | record.body
    raw = orjson.dumps(data)
    check = hashlib.sha256(raw).hexdigest()
    return _HEAD + raw + _MIDDLE + check[:_CHECK].encode() + _TAIL, check


def _framed(line: bytes) -> tuple[bytes, str]:
    """(the record's bytes, their SHA-256); BadLine when one byte is not as it was written."""
    cut = len(line) - len(_TAIL) - _CHECK - len(_MIDDLE)
    if cut < len(_HEAD) or not line.startswith(_HEAD) or not line.endswith(_TAIL):
        raise BadLine("the line is torn")
    if line[cut : cut + len(_MIDDLE)] != _MIDDLE:
        raise BadLine("the line is torn")
    raw = line[len(_HEAD) : cut]
    check = hashlib.sha256(raw).hexdigest()
    if check[:_CHECK].encode() != line[-len(_TAIL) - _CHECK : -len(_TAIL)]:
        raise BadLine("the checksum does not match")
    return raw, check


def is_commit_before(line: bytes, seq: int) -> bool:
    """A whole commit of a lower number: who has the state as of `seq` needs nothing of it. BadLine as `decode`."""
    head = _COMMIT.match(line)
    return head is not None and int(head[1]) < seq and bool(_framed(line))


def decode(line: bytes) -> tuple[Record, str]:
    """The opposite; BadLine when one byte is not as it was written."""
    raw, check = _framed(line)
    try:
        data = orjson.loads(raw)
        if data["v"] > FORMAT:
            raise Newer(f"format {data['v']} is newer than this version reads ({FORMAT})")
        check_record(data)
    except Newer:
        raise
    except UnknownHere as error:
        raise Newer(str(error)) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise Unreadable("the checksum matches, and it is no record: not written by this tool") from error
    except ValueError as error:
        raise Unreadable(f"the checksum matches, and it is no record: {error}") from error
    body = {key: value for key, value in data.items() if key not in _FIELDS}
    values = {name: data[name] for name in _FIELDS}
    values["ops"] = tuple(values["ops"])
    return Record(**values, body=body), check


def entries(record: Record) -> Iterator[Entry]:
    """The record as events: an intent is ChangeStarted, its result ChangeEnded, opener and release are the run."""

    def entry(event: Event) -> Entry:
        return Entry(record.run, record.seq, record.at, event)

    if record.kind == "open":
        holder = record.body.get("holder", {})
        yield entry(
            RunStarted(
                subject=str(holder.get("path", "")),
                purpose=str(holder.get("purpose", "")),
                target=str(record.body.get("target", "")),
                who=f"{holder.get('user', '?')}@{holder.get('host', '?')}",
                pid=int(holder.get("pid", 0)),
                command=str(holder.get("command", "")),
            )
        )
    for op in record.ops:
        event = _event_of(op) or (_restored_row(op) if record.kind == "restore" else None)
        if event:
            yield entry(event)
    if record.kind == "restore":
        yield entry(restored(record.body, record.ops))
    if record.kind == "release":
        body = record.body
        yield entry(
            RunEnded(
                subject=str(body.get("scope", "")),
                outcome=str(body.get("outcome", "")),
                counts=body.get("counts", {}),
                failures=body.get("failures", []),
                took=body.get("took", 0.0),
                total=body.get("total", 0),
                hints=body.get("hints", []),
            )
        )


def _event_of(op: dict[str, Any]) -> Event | None:
    if op["op"] == "event":
        return Event.from_json(op["event"])
    if op["op"] == "drop" and "address" in op:
        return ChangeEnded(op["address"], op.get("kind", ""), op.get("action", "delete"), "done", op.get("took", 0.0))
    if op["op"] == "put" and op["row"].get("type") == "resource":
        row, phase = op["row"], op.get("phase", "set")
        if phase == "intent":
            return ChangeStarted(row["address"], row["kind"], op["action"], op.get("reason", ""))
        if phase in ("result", "failed"):
            outcome = "done" if phase == "result" else "failed"
            return ChangeEnded(
                row["address"], row["kind"], op["action"], outcome, op.get("took", 0.0), row.get("error", "")
            )
    return None


def _restored_row(op: dict[str, Any]) -> Event | None:
    if op["op"] != "put" or op["row"].get("type") != "resource":
        return None
    return ChangeEnded(op["row"]["address"], op["row"]["kind"], "restore", "done")


def restored(body: dict[str, Any], ops: Iterable[dict[str, Any]]) -> Restored:
    """A record of the kind `restore` as one event: `body` says from where, `ops` what."""
    verbs = [op["op"] for op in ops if op.get("row", {}).get("type") != "scope" and "scope" not in op]
    number = body.get("of", 0)
    return Restored(
        subject=str(body.get("scope", "")),
        file=str(body.get("from", "")),
        taken=str(body.get("taken", "")),
        serial=number if type(number) is int else 0,
        restored=verbs.count("put"),
        forgotten=verbs.count("drop"),
        before=str(body.get("before", "")),
    )
