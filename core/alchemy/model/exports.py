"""A part of the state as one document, to be carried elsewhere: rows, their scopes, and the keys of what is sealed.

Read as strictly as what somebody else wrote. Pure. Neighbours: `backup` is the document of a whole journal,
`operations.surgery` writes and brings in these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alchemy.errors import InvalidName, StateInvalid, UsageError
from alchemy.model.canonical import digest, normalise
from alchemy.model.paths import ScopePath, check_id
from alchemy.model.schema import UnknownHere, check_resource, check_scope
from alchemy.model.strict import MAX_COPY, read
from alchemy.model.text import safe_text
from alchemy.model.values import FORMAT, ResourceState, ScopeState, Target

_HINT = "export it again; `alchemy scope export SCOPE --out FILE`"
_TEXTS = ("scope", "owner", "lineage", "taken", "by", "tool")


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """`scope` was taken out of the journal of `owner`: a scope, or the address of one resource."""

    scope: str
    owner: str
    lineage: str
    taken: str
    by: str
    tool: str
    target: Target | None
    scopes: tuple[ScopeState, ...]
    rows: tuple[ResourceState, ...]
    keys: dict[str, Any] | None = None  # `keys.json` of its application, where something is sealed

    @property
    def base(self) -> str:
        """The scope that addresses are told from: of a single resource the one that it is in."""
        single = any(row.address == self.scope for row in self.rows)
        return self.scope.rpartition("/")[0] if single else self.scope

    def to_json(self) -> dict[str, Any]:
        """The document, its checksum last."""
        body: dict[str, Any] = {"format": FORMAT, "type": "export", **{name: getattr(self, name) for name in _TEXTS}}
        body["target"] = self.target.to_json() if self.target else None
        body["scopes"] = [scope.to_json() for scope in self.scopes]
        body["resources"] = [row.to_json() for row in self.rows]
        if self.keys is not None:
            body["keys"] = self.keys
        return {**body, "sha256": digest(body)}


def read_export(data: bytes, file: str) -> Export:
    """StateInvalid names the file and what is wrong with it: torn, edited, of a newer format, or not one of ours."""
    body = read(data, file, _HINT, MAX_COPY)
    if not isinstance(body, dict) or body.get("type") != "export":
        raise _bad(file, "it was not written by `alchemy scope export`")
    version = body.get("format")
    if type(version) is not int or version < 1:
        raise _bad(file, "its format is no number")
    if version > FORMAT:
        raise StateInvalid(
            f"{safe_text(file)} has format {version}, this version reads {FORMAT}",
            hint="use the newer version that wrote it",
        )
    try:
        check = body.pop("sha256", None)
        if check != digest(body):
            raise ValueError("its checksum does not match: it was edited, or a part of it is lost")
        return _export(body)
    except UnknownHere as error:
        raise StateInvalid(f"{safe_text(file)}: {safe_text(error, 300)}", hint="use the newer version") from error
    except UsageError as error:  # a name outside the grammar, an integer that we could not write
        raise _bad(file, safe_text(error.message, 300)) from error
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise _bad(file, safe_text(error, 300)) from error


def _export(body: dict[str, Any]) -> Export:
    for name in _TEXTS:
        if type(body.get(name)) is not str:
            raise ValueError(f"its field {name} is not a text")
    owner, scope = ScopePath.parse(body["owner"]), body["scope"]
    rows = [_row(item, owner, scope) for item in _objects(body, "resources")]
    scopes = [_scope(item, owner, scope) for item in _objects(body, "scopes")]
    for what, names in (("resource", [row.key for row in rows]), ("scope", [each.path for each in scopes])):
        _refuse_twice(what, names)
    if not rows and not scopes:
        raise ValueError("nothing is in it")
    if {row.address for row in rows} & {each.path for each in scopes}:
        raise ValueError("a resource and a scope in it have one name")
    keys = body.get("keys")
    if keys is not None and type(keys) is not dict:
        raise ValueError("its keys are no object")
    target = body.get("target")
    if target is not None and not (
        type(target) is dict and all(type(target.get(n)) is str for n in ("account", "name"))
    ):
        raise ValueError("its target is none")
    return Export(
        **{name: body[name] for name in _TEXTS},
        target=Target.from_json(target) if target else None,
        scopes=tuple(scopes),
        rows=tuple(rows),
        keys=keys,
    )


def _objects(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = body.get(name)
    if type(found) is not list or any(type(item) is not dict for item in found):
        raise ValueError(f"its field {name} is no list of objects")
    return found


def _row(item: dict[str, Any], owner: ScopePath, scope: str) -> ResourceState:
    check_resource(item)
    row = ResourceState.from_json(item)
    _refuse_outside(row.address, row.scope, owner, scope)
    if check_id(row.id) != row.id:
        raise InvalidName(f"the id {safe_text(row.id, 80)!r} is not in its normal form")
    normalise({name: value for name, value in item.items() if isinstance(value, dict)}, row.address)
    return row


def _scope(item: dict[str, Any], owner: ScopePath, scope: str) -> ScopeState:
    check_scope(item)
    found = ScopeState.from_json(item)
    _refuse_outside(found.path, found.path, owner, scope)
    return found


def _refuse_outside(name: str, path: str, owner: ScopePath, scope: str) -> None:
    """All of it was in one journal, and is what the document says that it is."""
    if not owner.holds(ScopePath.parse(path)) or not (name == scope or name.startswith(f"{scope}/")):
        raise ValueError(f"misplaced: {safe_text(name, 200)} does not belong to {safe_text(scope, 200)}")


def _refuse_twice(what: str, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the {what} {safe_text(twice, 200)} is in it twice")


def _bad(file: str, why: str) -> StateInvalid:
    return StateInvalid(f"{safe_text(file)} cannot be imported: {why}", hint=_HINT)
