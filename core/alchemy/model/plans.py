"""A plan as a value that can be put away: what a deploy would do to which state, and the file that says so. Pure.

It holds no live secret: sealed values stand for themselves by their keyed hash, differences are masked. Neighbours:
`moves` compares two of them, `strict` reads the bytes, `operations.planning` makes them of runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import orjson

from alchemy.errors import StateInvalid
from alchemy.model import strict
from alchemy.model.canonical import Json, digest
from alchemy.model.changes import Change, Difference, unverified
from alchemy.model.deletions import Deletion
from alchemy.model.fold import Fold
from alchemy.model.masking import EQUAL, SECRET, hash_props, masked
from alchemy.model.text import safe_text
from alchemy.model.values import Desired, ResourceState

FORMAT = 1
TYPE = "alchemy plan"
LARGEST = 64 << 20  # bytes; a thousand resources with long props are two megabytes
_FRAME = {"type", "format", "checksum", "fingerprint", "plan"}
_MARK = 16  # hex digits that tell one row from another
_PASSING = frozenset(["run", "updated_at"])  # of a row: says who wrote it, not what it is


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChange:
    """`wish` is a digest of everything of the wish that is known; `open` names the props that are not."""

    address: str
    kind: str
    action: str
    reason: str = ""
    wish: str = ""
    open: tuple[str, ...] = ()
    resume: bool = False
    verify: bool = False  # the deploy looks first whether it is there
    found: bool | None = None
    loses: str = ""
    follows: str = ""
    diff: tuple[Difference, ...] = ()

    @classmethod
    def of(cls, change: Change) -> PlannedChange:
        wish = change.desired
        kept_open = open_props(change)
        return cls(
            address=change.address,
            kind=change.kind,
            action=str(change.action),
            reason=change.reason,
            wish=wish_mark(wish, kept_open) if wish else "",
            open=tuple(sorted(kept_open)),
            resume=change.resume,
            verify=unverified(change.before),
            found=change.found,
            loses=change.loses,
            follows=change.follows,
            diff=change.diff,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDeletion:
    """`generation` of a former incarnation, else -1."""

    address: str
    generation: int
    kind: str
    action: str
    reason: str = ""
    blocked: str = ""

    @classmethod
    def of(cls, step: Deletion) -> PlannedDeletion:
        return cls(
            address=step.address,
            generation=generation_of(step.row),
            kind=step.kind,
            action=str(step.action),
            reason=step.reason,
            blocked=step.blocked,
        )

    @property
    def identity(self) -> tuple[str, int]:
        return self.address, self.generation


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedScope:
    """One journal. `serial`, `lineage` and `rows` say which state the plan was made on; an absent one has serial 0.

    `account` of the target is empty where there was none yet. `rows`: (address, generation or -1, mark).
    """

    path: str
    target: str
    account: str
    serial: int
    epoch: int
    lineage: str
    rows: tuple[tuple[str, int, str], ...] = ()
    changes: tuple[PlannedChange, ...] = ()
    deletions: tuple[PlannedDeletion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlan:
    """`program` and `program_digest` are for people; `stage`, `adopt` and `refresh` are what a deploy of it takes."""

    made_at: str
    program: str
    program_digest: str
    stage: str
    adopt: bool
    refresh: bool = False
    scopes: tuple[PlannedScope, ...] = field(default=())

    @property
    def fingerprint(self) -> str:
        """Of what would be done to which state of which target: two plans with the same one are the same plan."""
        return digest(
            [
                FORMAT,
                [[s.path, s.account or s.target, s.serial, s.lineage] for s in self.scopes],
                [
                    [c.address, c.kind, c.action, c.wish, list(c.open), c.found, c.loses, c.follows]
                    for scope in self.scopes
                    for c in scope.changes
                ],
                [[*d.identity, d.kind, d.action, d.blocked] for scope in self.scopes for d in scope.deletions],
            ]
        )

    @property
    def losses(self) -> tuple[PlannedChange, ...]:
        """Steps that need consent."""
        return tuple(change for scope in self.scopes for change in scope.changes if change.loses)

    def scope(self, path: str) -> PlannedScope | None:
        return next((scope for scope in self.scopes if scope.path == path), None)

    def to_bytes(self) -> bytes:
        """Indented, for people; what counts is what it says."""
        plan = _to_json(self)
        frame = {"type": TYPE, "format": FORMAT, "fingerprint": self.fingerprint, "checksum": digest(plan)}
        return orjson.dumps({**frame, "plan": plan}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_bytes(cls, data: bytes, file: object) -> SavedPlan:
        """StateInvalid names the file, and what is wrong with it."""
        hint = "make a new one: alchemy plan --out FILE"
        name = safe_text(file)
        try:
            frame = strict.parse(data, LARGEST)
        except strict.NotStrict as error:
            what = strict.invalid(file, error) if is_plan(data) else f"{name} is not a plan"
            raise StateInvalid(what, hint=hint) from error
        if not isinstance(frame, dict) or frame.get("type") != TYPE:
            raise StateInvalid(f"{name} is not a plan", hint=hint)
        version = frame.get("format")
        if type(version) is not int or version > FORMAT:
            said = safe_text(version, 40)
            raise StateInvalid(
                f"{name} is a plan of format {said}; this version of alchemy reads format {FORMAT}",
                hint="deploy it with the version that made it, or make a new one: alchemy plan --out FILE",
            )
        plan = frame.get("plan")
        if frame.keys() != _FRAME or frame["checksum"] != digest(plan):
            raise StateInvalid(f"{name} was changed after it was written: its checksum does not hold", hint=hint)
        try:
            found = _saved(plan)
        except (KeyError, TypeError, ValueError) as error:
            raise StateInvalid(f"{name} is no plan of alchemy: {safe_text(error, 200)}", hint=hint) from error
        if found.fingerprint != frame["fingerprint"]:
            raise StateInvalid(f"{name} was changed after it was written: its fingerprint does not hold", hint=hint)
        return found


def is_plan(data: bytes) -> bool:
    """Whole or damaged, of whatever format: it may be overwritten by another one."""
    return data.lstrip()[:40].replace(b" ", b"").replace(b"\n", b"").startswith(b'{"type":"alchemyplan"')


def row_marks(fold: Fold) -> tuple[tuple[str, int, str], ...]:
    """What tells whether a row is the one that the plan was made on."""
    rows = sorted(fold.resources.values(), key=lambda row: row.key)
    return tuple((row.address, generation_of(row), _mark(row)) for row in rows)


def generation_of(row: ResourceState) -> int:
    return row.generation if row.former else -1


def _mark(row: ResourceState) -> str:
    return digest({name: value for name, value in row.to_json().items() if name not in _PASSING}, _MARK)


def open_props(change: Change) -> frozenset[str]:
    """Props whose value only the deploy can tell, or may find to be another one."""
    wish = change.desired
    if wish is None:
        return frozenset()
    unread = {"$inputs"} if wish.unknown and "$inputs" not in wish.props else set()
    unsealed = {name for name, value in wish.props.items() if _unsealed(value)}
    return wish.unknown | wish.assumed | wish.uncompared | unread | unsealed


def wish_mark(wish: Desired, kept_open: Iterable[str]) -> str:
    """Of the props that are known, and of what decides about the object's end."""
    known = {name: value for name, value in wish.props.items() if name not in set(kept_open)}
    return digest([hash_props(known), wish.adopt, wish.protect, wish.retain, wish.on_destroy], 32)


def _unsealed(value: Json) -> bool:
    """Holds a secret that has no key yet: a plan makes none."""
    if isinstance(value, dict):
        return value.get(EQUAL) == "" if SECRET in value else any(_unsealed(item) for item in value.values())
    return isinstance(value, list) and any(_unsealed(item) for item in value)


def _to_json(value: Any) -> Json:
    if isinstance(value, Difference):
        flags = {"was": value.was, "will": value.will, "unknown": value.unknown, "locked": value.locked}
        return {"path": value.path, "before": masked(value.before), "after": masked(value.after), **flags}
    if hasattr(value, "__dataclass_fields__"):
        return {each.name: _to_json(getattr(value, each.name)) for each in fields(value)}
    return [_to_json(item) for item in value] if isinstance(value, tuple) else value


_TYPES: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "bool": (bool,), "tuple[str, ...]": (list,)}
_TYPES |= {"bool | None": (bool, type(None))}


def _read(cls: Any, data: Json, **parts: Any) -> Any:
    """`data` as `cls`, every field of its type; `parts` are read already."""
    if type(data) is not dict:
        raise ValueError(f"a {cls.__name__} is no object")
    values = dict(parts)
    known = {each.name: str(each.type) for each in fields(cls)}
    if data.keys() != known.keys():
        raise ValueError(f"{cls.__name__} has other fields")
    for name in known.keys() - parts.keys():
        annotation = known[name]
        if annotation == "Json":
            values[name] = data[name]
        elif type(data[name]) not in _TYPES[annotation]:
            raise ValueError(f"{cls.__name__}.{name} is no {annotation}")
        else:
            values[name] = tuple(_texts(data[name])) if annotation.startswith("tuple") else data[name]
    return cls(**values)


def _texts(items: list[Any]) -> list[str]:
    if not all(type(item) is str for item in items):
        raise ValueError("a list of texts holds something else")
    return items


def _items(data: Json, name: str) -> list[Any]:
    found = data[name]
    if type(found) is not list:
        raise ValueError(f"{name} is no list")
    return found


def _saved(data: Json) -> SavedPlan:
    found: SavedPlan = _read(SavedPlan, data, scopes=tuple(_scope(each) for each in _items(data, "scopes")))
    return found


def _scope(data: Json) -> Any:
    rows = []
    for row in _items(data, "rows"):
        address, generation, mark = row
        if (type(address), type(generation), type(mark)) != (str, int, str):
            raise ValueError("a row is no row")
        rows.append((address, generation, mark))
    return _read(
        PlannedScope,
        data,
        rows=tuple(rows),
        changes=tuple(_change(each) for each in _items(data, "changes")),
        deletions=tuple(_read(PlannedDeletion, each) for each in _items(data, "deletions")),
    )


def _change(data: Json) -> Any:
    return _read(PlannedChange, data, diff=tuple(_read(Difference, each) for each in _items(data, "diff")))
