"""Props in three forms: as the program wrote them, as the verbs see them, as they are stored.

References to resources become `{"$resource": address, "kind", "outputs"}` on disk; keys of the user's own that
begin with `$` get one more, so that stored props can always be told apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alchemy.engine.outputs import OutputIndex, OutputRef, unknown_sources
from alchemy.engine.resource import Resource
from alchemy.errors import UsageError
from alchemy.model.canonical import MAX_JSON_DEPTH, normalise
from alchemy.model.text import safe_text


class Reference:
    """A resource as another one's stored props remember it: its outputs are attributes."""

    def __init__(self, address: str, kind: str, outputs: Mapping[str, Any]) -> None:
        self.address = address
        self.kind = kind
        self.outputs = dict(outputs)
        self.id = address.rpartition("/")[2]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["outputs"][name]
        except KeyError:
            raise AttributeError(name) from None


def handles_in(value: object) -> list[Resource]:
    """Every resource that must be ready before this value can be used."""
    found: list[Resource] = []
    seen: set[int] = set()  # containers: one may hold itself
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Resource):
            found.append(item)
        elif isinstance(item, OutputRef):
            found.append(item.resource)
        elif isinstance(item, Mapping | list | tuple | set | frozenset) and id(item) not in seen:
            seen.add(id(item))
            stack.extend(item.values() if isinstance(item, Mapping) else item)
    return found


@dataclass(slots=True)
class Resolved:
    """`live` for the verbs, `stored` for disk and comparison, `sources` the edges, `unknown` set while planning."""

    live: Any
    stored: Any
    sources: set[str] = field(default_factory=set)
    unknown: bool = False


def resolve(value: object, index: OutputIndex, where: str) -> Resolved:
    """All handles inside are ready (or planned). UsageError names the place of what has no JSON form."""
    out = Resolved(None, None)
    out.live, out.stored = _walk(value, index, out, where, 0)
    return out


def _walk(value: Any, index: OutputIndex, out: Resolved, where: str, depth: int) -> tuple[Any, Any]:
    if depth > MAX_JSON_DEPTH:
        raise UsageError(f"{where[:200]} is nested deeper than {MAX_JSON_DEPTH} levels", hint="flatten it")
    if isinstance(value, OutputRef):
        out.sources.add(value.resource.address)
        if value.name not in value.resource.outputs:
            raise UsageError(
                f"{where}: {value.resource.address} has no output {value.name!r}",
                hint=f"{value.resource.kind} did not return it from create, read or update",
            )
        value = value.resource.outputs[value.name]
    if isinstance(value, Resource):
        out.sources.add(value.address)
        outputs = {n: v for n, v in value.outputs.items() if n in value._fields and not value._fields[n].volatile}
        _, stored = _walk(outputs, index, out, where, depth + 1)
        return value, {"$resource": value.address, "kind": value.kind, "outputs": stored}
    if isinstance(value, str):
        planned = unknown_sources(value)
        if planned:
            out.sources.update(planned)
            out.unknown = True
        else:
            out.sources.update(index.sources(value))
        return value, normalise(str.__str__(value), where)
    if isinstance(value, Mapping):
        live: dict[Any, Any] = {}
        kept: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise UsageError(f"{where}: the key {safe_text(key, 40)!r} is not a string")
            name = normalise(key, where)
            live[key], stored = _walk(item, index, out, f"{where}.{name}", depth + 1)
            kept["$" + name if name.startswith("$") else name] = stored
        return live, kept
    if isinstance(value, list | tuple):
        pairs = [_walk(item, index, out, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return value, normalise(value, where)


def revive(stored: Any) -> Any:
    """Stored props as the verbs see them."""
    if isinstance(stored, dict):
        if "$resource" in stored:
            return Reference(stored["$resource"], stored.get("kind", ""), revive(stored.get("outputs", {})))
        return {key[1:] if key.startswith("$$") else key: revive(item) for key, item in stored.items()}
    if isinstance(stored, list):
        return [revive(item) for item in stored]
    return stored


def plain_outputs(resource: Resource, given: Any, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """Plain JSON, resources inside as their addresses; every declared output has a value, `before`'s if not new."""
    if not isinstance(given, dict) and not hasattr(given, "items"):
        raise UsageError(f"{resource.kind} returned {type(given).__name__} where outputs were expected")
    plain = {k: v.address if isinstance(v, Resource | Reference) else v for k, v in given.items()}
    known = {name: None for name, declared in resource._fields.items() if declared.is_output}
    return {**known, **(before or {}), **normalise(plain, f"{resource.address} outputs")}
