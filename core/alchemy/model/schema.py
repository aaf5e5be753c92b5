"""The shapes of what is stored, looked at when it is read: a right checksum does not say that we wrote it.

ValueError names the field; whoever reads adds the file. What has passed here has the types that `values`, `fold` and
the front ends rely on; fields that are not known here may hold anything. Neighbour: `strict` checks the bytes before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import Any

from alchemy.errors import InvalidName
from alchemy.model.canonical import MAX_JSON_DEPTH
from alchemy.model.paths import ScopePath, check_id
from alchemy.model.text import safe_text
from alchemy.model.values import Holder, ResourceState, ScopeKind, ScopeState, Status, Target


class UnknownHere(ValueError):
    """A kind, operation or status that only a later version can have written."""


KINDS = frozenset(["open", "commit", "restore", "checkpoint", "release"])
_STATUSES = frozenset(map(str, Status))
_SCOPE_KINDS = frozenset(map(str, ScopeKind))
_TYPES: dict[str, type] = {"str": str, "int": int, "bool": bool, "float": float, "Status": str, "ScopeKind": str}
_TYPES |= {"dict[str, Any]": dict, "tuple[str, ...]": list, "Target": dict}
_WORDS = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    float: "a number",
    dict: "an object",
    list: "a list",
}
_MOST = 1 << 53  # what every reader of JSON can count to
_NUL = "\x00"  # between the address and the generation of a former incarnation


class _Shape:
    """The fields of an object that are known here. Those of one that passed are remembered: most look alike."""

    def __init__(self, types: Mapping[str, type], needs: Iterable[str] = (), null: Iterable[str] = ()) -> None:
        self.types = types
        self.needs = frozenset(needs)
        self.null = frozenset(null)
        self._passed: set[tuple[object, ...]] = set()

    @classmethod
    def of(cls, model: type) -> _Shape:
        """Of a dataclass as it is stored."""
        known = {f.name: str(f.type) for f in fields(model) if f.name != "extra"}
        types = {name: _TYPES[annotation.removesuffix(" | None")] for name, annotation in known.items()}
        null = [name for name, annotation in known.items() if annotation.endswith(" | None")]
        needs = [f.name for f in fields(model) if f.default is MISSING and f.default_factory is MISSING]
        return cls(types, needs, null)

    def check(self, data: dict[str, Any]) -> None:
        look = (*data, *map(type, data.values()))
        if look in self._passed:
            return
        for name, value in data.items():
            due = self.types.get(name)
            if due is None or type(value) is due:
                continue
            if (due is float and type(value) is int) or (value is None and name in self.null):
                continue
            raise ValueError(f"its field {name} is not {_WORDS[due]}")
        if not self.needs <= data.keys():
            raise ValueError(f"its field {min(self.needs - data.keys())} is missing")
        if len(self._passed) < _REMEMBERED:
            self._passed.add(look)


_REMEMBERED = 256
_RESOURCE = _Shape.of(ResourceState)
_SCOPE = _Shape.of(ScopeState)
_TARGET = _Shape.of(Target)
_HOLDER = _Shape.of(Holder)
_RECORD_TYPES = {"seq": int, "epoch": int, "session": str, "wid": str, "kind": str, "at": str, "prev": str}
_RECORD_TYPES |= {"serial": int, "ops": list}
_RECORD = _Shape(_RECORD_TYPES, _RECORD_TYPES)
_OPEN = _Shape({"holder": dict, "seals": dict, "lineage": str, "target": str, "begins": dict}, ["holder"])
_BEGINS = _Shape(dict.fromkeys(["seq", "serial", "next_seq"], int), ["seq", "serial", "next_seq"])
_RELEASE = _Shape(
    {"scope": str, "outcome": str, "counts": dict, "failures": list, "took": float, "declared": dict, "total": int}
    | {"hints": list}
)
_DECLARED = _Shape(
    {"complete": bool, "orphans": list, "seq": int, "next_seq": int, "leftovers": list, "leftovers_seq": int}
    | {"undeclared": list}
)
_PUT = _Shape({"row": dict, "phase": str, "action": str, "reason": str, "took": float}, ["row"])
_DROP = _Shape(
    {"scope": str, "address": str, "kind": str, "action": str, "generation": int, "took": float}, null=["generation"]
)
_EVENT = _Shape({"event": dict}, ["event"])
_HOLD = _Shape({"hold": dict}, null=["hold"])
_FOLD_TYPES = {"scope": str, "seq": int, "epoch": int, "serial": int, "prev": str, "lineage": str, "next_seq": int}
_FOLD_TYPES |= {"declared": dict, "scopes": list, "resources": list}
_FOLD = _Shape({**_FOLD_TYPES, "hold": dict}, _FOLD_TYPES, ["hold"])


def check_record(data: dict[str, Any]) -> None:
    """One batch as decoded. Also says which kind or operation this version does not know."""
    _RECORD.check(data)
    if data["kind"] not in KINDS:
        raise UnknownHere(f"its kind {_shown(data['kind'])} is unknown to this version")
    _counted(data, "seq", "epoch", "serial")
    for op in _list(data, "ops", dict):
        _check_op(op)
    if data["kind"] == "open":
        _OPEN.check(data)
        check_holder(data["holder"])
        if "begins" in data:
            _BEGINS.check(data["begins"])
            _counted(data["begins"], "seq", "serial", "next_seq")
        for epoch, size in data.get("seals", {}).items():
            if not epoch.isdecimal() or not epoch.isascii() or len(epoch) > 15 or not _is_count(size):
                raise ValueError("its seals are no numbers")
    elif data["kind"] == "release":
        _check_release(data)


def _check_release(data: dict[str, Any]) -> None:
    _RELEASE.check(data)
    if any(type(count) is not int for count in data.get("counts", {}).values()):
        raise ValueError("its counts are no numbers")
    for failure in _list(data, "failures", list):
        if len(failure) != 2 or any(type(part) is not str for part in failure):
            raise ValueError("its failures are no pairs of texts")
    _list(data, "hints", str)
    _check_declared(data.get("declared", {}))


def _check_declared(data: dict[str, Any]) -> None:
    _DECLARED.check(data)
    _list(data, "orphans", str)
    _list(data, "leftovers", str)
    _list(data, "undeclared", str)
    if "leftovers" in data and "seq" in data and "leftovers_seq" not in data:
        raise ValueError("what was left behind names no record")


def _check_op(op: dict[str, Any]) -> None:
    verb = op.get("op")
    if verb == "put":
        _PUT.check(op)
        if op["row"].get("type") == "scope":
            check_scope(op["row"])
        else:
            check_resource(op["row"])
        if op.get("phase", "set") != "set" and "action" not in op:
            raise ValueError("an operation names no action")
    elif verb == "drop":
        _DROP.check(op)
        if "scope" in op:
            _check_path(op["scope"])
        else:
            _check_address(op.get("address", ""))
    elif verb == "event":
        _EVENT.check(op)
    elif verb == "hold":
        _HOLD.check(op)
    else:
        raise UnknownHere(f"its operation {_shown(verb)} is unknown to this version")


def check_resource(row: dict[str, Any]) -> None:
    """A resource's row, from a record, a copy or a view."""
    if row.get("type") != "resource":
        raise UnknownHere(f"a row's type {_shown(row.get('type'))} is unknown to this version")
    _RESOURCE.check(row)
    if row["status"] not in _STATUSES:
        raise UnknownHere(f"its status {_shown(row['status'])} is unknown to this version")
    _check_address(row["address"])
    if not (0 <= row.get("seq", 0) <= _MOST and 0 <= row.get("generation", 0) <= _MOST):
        raise ValueError("its seq or generation is out of range")
    if row.get("depends_on"):
        _list(row, "depends_on", str)
    for name in _TREES:
        for item in (row.get(name) or _NOTHING).values():
            if type(item) is dict or type(item) is list:
                _check_depth(item, MAX_JSON_DEPTH + 1, name)


_TREES = ("props", "outputs", "pending")
_NOTHING: dict[str, Any] = {}


def check_scope(row: dict[str, Any]) -> None:
    _SCOPE.check(row)
    if row["kind"] not in _SCOPE_KINDS:
        raise UnknownHere(f"its kind {_shown(row['kind'])} is unknown to this version")
    _check_path(row["path"])
    if row.get("target") is not None:
        _TARGET.check(row["target"])


def check_holder(data: dict[str, Any]) -> None:
    _HOLDER.check(data)
    if not 1 <= data["pid"] < 1 << 31:
        raise ValueError("its pid is none")
    _counted(data, "epoch")


def check_fold(data: Any, path: str) -> None:
    """A whole copy, of the journal of `path`."""
    if type(data) is not dict:
        raise ValueError("it holds no object")
    _FOLD.check(data)
    if data["scope"] != path:
        raise ValueError(f"misplaced: it is of {_shown(data['scope'])}")
    _counted(data, "seq", "epoch", "serial", "next_seq")
    _check_declared(data["declared"])
    for rows, check, name in ((data["scopes"], check_scope, "path"), (data["resources"], check_resource, "address")):
        for row in rows:
            if type(row) is not dict:
                raise ValueError("a row is no object")
            check(row)
            at = row.get("at")
            if type(at) is not list or len(at) != 3 or not all(map(_is_count, at)):
                raise ValueError("a row does not say where it was written")
            refuse_misplaced(row[name], path)


def refuse_misplaced(key: str, path: str) -> None:
    """`key` is an address or scope path in the journal of `path`."""
    if not key.startswith(f"{path}/") and key != path:
        raise ValueError(f"misplaced: {_shown(key.partition(_NUL)[0])} does not belong to {path}")


def _list(data: dict[str, Any], name: str, of: type) -> list[Any]:
    found = data.get(name, [])
    if type(found) is not list or any(type(item) is not of for item in found):
        raise ValueError(f"its field {name} is no list of such things")
    return found


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MOST


def _counted(data: dict[str, Any], *names: str) -> None:
    for name in names:
        if not 0 <= data.get(name, 0) <= _MOST:
            raise ValueError(f"its field {name} is out of range")


def _check_address(address: str) -> None:
    scope, _, id = address.rpartition("/")
    _check_path(scope)
    if id.isascii() and id.isprintable() and 0 < len(id) <= 256:
        return
    try:
        same = check_id(id) == id
    except InvalidName as error:
        raise ValueError(error.message) from error
    if not same:
        raise ValueError(f"the id {_shown(id)} is not in its normal form")


def _check_path(path: str) -> None:
    why = _wrong_path(path)
    if why:
        raise ValueError(why)


@lru_cache(maxsize=4096)
def _wrong_path(path: str) -> str:
    try:
        ScopePath.parse(path)
    except InvalidName as error:
        return error.message
    return ""


def _check_depth(value: Any, left: int, name: str) -> None:
    if left < 0:
        raise ValueError(f"its field {name} is nested too deep")
    for item in value.values() if type(value) is dict else value:
        if type(item) is dict or type(item) is list:
            _check_depth(item, left - 1, name)


def _shown(value: object) -> str:
    return repr(safe_text(value, 80))
