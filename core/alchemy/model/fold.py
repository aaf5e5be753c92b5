"""The state of one journal: the fold of its records. The engine, the readers and the views all start here.

Mutable, one writer. `stamps` remember which record last wrote a row, so that a view on disk can be checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from alchemy.model.records import Record
from alchemy.model.values import Hold, Holder, ResourceState, ScopeKind, ScopeState, Target


class Stamp(NamedTuple):
    """Where a row was last written."""

    epoch: int
    seq: int
    serial: int


@dataclass(slots=True)
class Fold:
    path: str  # the scope that owns the journal
    seq: int = 0
    epoch: int = 0
    serial: int = 0
    prev: str = ""
    lineage: str = ""
    resources: dict[str, ResourceState] = field(default_factory=dict)  # by ResourceState.key
    scopes: dict[str, ScopeState] = field(default_factory=dict)  # by path
    stamps: dict[str, Stamp] = field(default_factory=dict)  # by key, or "\x00" + scope path
    holder: Holder | None = None
    hold: Hold | None = None  # a person keeps runs out
    released: bool = True
    last_release: dict[str, Any] = field(default_factory=dict)
    declared: dict[str, Any] = field(default_factory=dict)  # of the newest release that has one
    last_at: str = ""
    next_seq: int = 1  # creation order of resources
    ops_since_snapshot: int = 0
    extra: dict[str, Any] = field(default_factory=dict)  # what a newer version wrote into the copy this was read from
    # (address, generation) in the names of objects that were moved away from there, once they were
    moved: set[tuple[str, int]] = field(default_factory=set, compare=False)

    @property
    def target(self) -> Target | None:
        row = self.scopes.get(self.path)
        return row.target if row else None

    @property
    def kind(self) -> ScopeKind | None:
        row = self.scopes.get(self.path)
        return row.kind if row else None

    def current(self, address: str) -> ResourceState | None:
        return self.resources.get(address)

    def apply(self, record: Record, check: str) -> tuple[set[str], set[str]]:
        """(keys of resource rows touched, scope paths touched). `check` is the record's SHA-256."""
        self.seq, self.epoch, self.serial, self.prev = record.seq, record.epoch, record.serial, check
        self.note_run(record)
        rows: set[str] = set()
        scopes: set[str] = set()
        stamp = Stamp(record.epoch, record.seq, record.serial)
        for op in record.ops:
            self._apply_op(op, stamp, rows, scopes)
        if record.kind == "release":
            self._note_declared(record.body.get("declared", {}), record.seq)
        return rows, scopes

    def _note_declared(self, said: dict[str, Any], seq: int) -> None:
        """A complete deploy says it all; one that failed, only what is left of failed ones before it."""
        if said.get("complete"):
            self.declared = {**said, "seq": seq, **({"leftovers_seq": seq} if "leftovers" in said else {})}
        elif "leftovers" in said:
            known = self.declared or {"complete": False, "orphans": [], "seq": seq}
            self.declared = {**known, "leftovers": said["leftovers"], "leftovers_seq": seq}

    def note_run(self, record: Record) -> None:
        """Who ran and how it ended: also of records that a snapshot holds already, because it says nothing of runs."""
        self.last_at = record.at
        if record.kind == "open":
            self.holder = Holder.from_json(record.body["holder"])
            self.lineage = record.body.get("lineage") or self.lineage
            self.released = False
        elif record.kind == "release":
            self.released, self.last_release = True, record.body

    def _apply_op(self, op: dict[str, Any], stamp: Stamp, rows: set[str], scopes: set[str]) -> None:
        verb = op["op"]
        if verb == "put":
            self.ops_since_snapshot += 1
            data = op["row"]
            if data["type"] == "scope":
                self._set_scope(ScopeState.from_json(data), stamp)
                scopes.add(data["path"])
            else:
                row = ResourceState.from_json(data)
                self.set_row(row, stamp)
                rows.add(row.key)
        elif verb == "drop":
            self.ops_since_snapshot += 1
            if "scope" in op:
                self.scopes.pop(op["scope"], None)
                self.stamps.pop("\x00" + op["scope"], None)
                scopes.add(op["scope"])
            else:
                generation = op.get("generation")
                key = op["address"] if generation is None else f"{op['address']}\x00{generation}"
                self.resources.pop(key, None)
                self.stamps.pop(key, None)
                rows.add(key)
        elif verb == "hold":
            self.hold = Hold.from_json(op["hold"]) if op["hold"] else None

    def set_row(self, row: ResourceState, stamp: Stamp) -> None:
        self.stamps[row.key] = stamp  # first: a copy may be made meanwhile, and needs it for every row it finds
        self.resources[row.key] = row
        if row.made_as:
            self.moved.add((row.made_as, row.generation))
        if row.seq >= self.next_seq:
            self.next_seq = row.seq + 1

    def _set_scope(self, row: ScopeState, stamp: Stamp) -> None:
        self.stamps["\x00" + row.path] = stamp
        self.scopes[row.path] = row

    def orphaned(self, address: str) -> bool:
        """Stored, not declared by the newest complete deploy, and not written since."""
        stamp = self.stamps.get(address)
        return stamp is not None and address in self.declared.get("orphans", ()) and stamp.seq < self.declared["seq"]

    def leftover(self, address: str) -> bool:
        """Made by a deploy that failed, declared by no complete one nor by the last that failed, not written since."""
        stamp = self.stamps.get(address)
        left = self.declared.get("leftovers", ())
        return stamp is not None and address in left and stamp.seq < self.declared["leftovers_seq"]

    def left_behind(self) -> dict[str, Any]:
        """What the newest deploys left, as a release says it: for a run that wrote such rows and declared none."""
        known = self.declared
        left = {"leftovers": [a for a in known["leftovers"] if self.leftover(a)]} if "leftovers" in known else {}
        if not known.get("complete"):
            return {"complete": False, **left}
        orphans = [address for address in known["orphans"] if self.orphaned(address)]
        more = {name: value for name, value in known.items() if name not in ("seq", "leftovers_seq")}
        return {**more, "orphans": orphans, **left}

    def undeclared(self, alive: set[str], since: int | None = None) -> list[str]:
        """What a deploy that declared `alive` and failed finds left of earlier ones: see `leftover`; or all of it."""
        if since is None:
            since = self.declared.get("next_seq") if self.declared.get("complete") else 0
        if since is None:
            return []
        rows = list(self.resources.values())
        return sorted(r.address for r in rows if not r.former and r.seq >= since and r.address not in alive)

    def below(self, path: str) -> list[ResourceState]:
        """Rows in `path` and below it, in no order."""
        if path == self.path:
            return list(self.resources.values())
        prefix = path + "/"
        return [row for row in list(self.resources.values()) if row.address.startswith(prefix)]  # others come meanwhile

    def to_snapshot(self) -> dict[str, Any]:
        """The fold as stored in `snapshots/` and `backups/`; `from_snapshot` is its opposite."""
        return {
            **self.extra,
            "scope": self.path,
            "seq": self.seq,
            "epoch": self.epoch,
            "serial": self.serial,
            "prev": self.prev,
            "lineage": self.lineage,
            "next_seq": self.next_seq,
            "declared": self.declared,
            **({"hold": self.hold.to_json()} if self.hold else {}),
            "scopes": [
                {**row.to_json(), "at": list(self.stamps["\x00" + path])} for path, row in sorted(self.scopes.items())
            ],
            "resources": [
                {**row.to_json(), "at": list(self.stamps[key])} for key, row in sorted(self.resources.items())
            ],
        }

    @classmethod
    def from_snapshot(cls, data: dict[str, Any]) -> Fold:
        fold = cls(path=data["scope"], seq=data["seq"], epoch=data["epoch"], serial=data["serial"])
        fold.prev, fold.lineage, fold.declared = data["prev"], data["lineage"], data["declared"]
        fold.hold = Hold.from_json(data["hold"]) if data.get("hold") else None
        for item in data["scopes"]:
            plain = {name: value for name, value in item.items() if name != "at"}
            fold._set_scope(ScopeState.from_json(plain), Stamp(*item["at"]))
        for item in data["resources"]:
            plain = {name: value for name, value in item.items() if name != "at"}
            fold.set_row(ResourceState.from_json(plain), Stamp(*item["at"]))
        fold.next_seq = max(fold.next_seq, data["next_seq"])
        fold.extra = {name: value for name, value in data.items() if name not in _STORED}
        return fold


_STORED = frozenset(Fold("").to_snapshot())
