"""Props in three forms: as the program wrote them, as the verbs see them, as they are stored.

References to resources become `{"$resource": address, "kind", "outputs"}` on disk, secrets `{"$secret", "$equal"}`.
Keys of the user's own that begin with `$` get one more, so that these can always be told apart. Neighbour: `secrets`
has the keys that seal and open.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from alchemy.engine.outputs import OutputIndex, OutputRef, unknown_sources
from alchemy.engine.resource import MISSING, Resource
from alchemy.errors import UsageError
from alchemy.model import scrubbing
from alchemy.model.canonical import MAX_JSON_DEPTH, Json, SecretText, normalise
from alchemy.model.secrets import LockedSecret, Secret, opened
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


Opener: TypeAlias = Callable[[dict[str, Any], str], Any]  # (sealed value, its pointer) -> the value, or a LockedSecret
_TELLING = 8  # characters from which on a text that holds a secret is one itself


class Sealing(ABC):
    """What makes a value of a row unreadable. `pointer` is its place in the row (RFC 6901)."""

    @abstractmethod
    def seal(self, value: Json, pointer: str) -> Json: ...

    @abstractmethod
    def keep(self, locked: LockedSecret, pointer: str) -> Json:
        """What stands there already, for a value that could not be opened."""


class LeftOut(Sealing):
    """Where there is no key: a secret is not stored at all, and looked up again by the next run."""

    def seal(self, value: Json, pointer: str) -> Json:
        return None

    def keep(self, locked: LockedSecret, pointer: str) -> Json:
        return None


@dataclass(slots=True)
class Resolved:
    """`live` for the verbs, `stored` for disk and comparison, `sources` the edges, `unknown` set while planning."""

    live: Any
    stored: Any
    sources: set[str] = field(default_factory=set)
    unknown: bool = False


def resolve(value: object, index: OutputIndex, where: str, pointer: str, sealing: Sealing, secret: bool) -> Resolved:
    """All handles inside are ready (or planned). UsageError names the place of what has no JSON form."""
    out = Resolved(None, None)
    out.live, out.stored = _Walk(index, out, sealing).step(value, where, pointer, 0, secret)
    return out


def step_below(pointer: str, name: str | int) -> str:
    return f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}"


class _Walk:
    """One value on its way to its two forms."""

    def __init__(self, index: OutputIndex, out: Resolved, sealing: Sealing) -> None:
        self._index = index
        self._out = out
        self._sealing = sealing

    def step(self, value: Any, where: str, pointer: str, depth: int, secret: bool) -> tuple[Any, Any]:
        """(live, stored)"""
        if depth > MAX_JSON_DEPTH:
            raise UsageError(f"{where[:200]} is nested deeper than {MAX_JSON_DEPTH} levels", hint="flatten it")
        if isinstance(value, OutputRef):
            secret = secret or _is_secret(value.resource, value.name)
            value = self._output(value, where)
        if isinstance(value, Secret):
            return self._secret(value.value, where, pointer)
        if isinstance(value, LockedSecret):
            return value, self._sealing.keep(value, pointer)
        if isinstance(value, Resource):
            return value, self._reference(value, where, pointer, depth)
        if isinstance(value, str):
            return self._text(value, where, pointer, secret)
        if isinstance(value, Mapping):
            live: dict[Any, Any] = {}
            kept: dict[str, Any] = {}
            for key, item in value.items():
                if not isinstance(key, str):
                    raise UsageError(f"{where}: the key {safe_text(key, 40)!r} is not a string")
                name = normalise(key, where)
                own = "$" + name if name.startswith("$") else name
                below = step_below(pointer, own)
                live[key], kept[own] = self.step(item, f"{where}.{name}", below, depth + 1, secret)
            return live, kept
        if isinstance(value, list | tuple):
            pairs = [
                self.step(item, f"{where}[{i}]", step_below(pointer, i), depth + 1, secret)
                for i, item in enumerate(value)
            ]
            return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        plain = normalise(value, where)
        if not secret or value is None:
            return value, plain
        scrubbing.remember(plain)
        return value, self._sealing.seal(plain, pointer)

    def _output(self, ref: OutputRef, where: str) -> Any:
        self._out.sources.add(ref.resource.address)
        if ref.name not in ref.resource.outputs:
            raise UsageError(
                f"{where}: {ref.resource.address} has no output {ref.name!r}",
                hint=f"{ref.resource.kind} did not return it from create, read or update",
            )
        return ref.resource.outputs[ref.name]

    def _reference(self, value: Resource, where: str, pointer: str, depth: int) -> dict[str, Any]:
        self._out.sources.add(value.address)
        kept: dict[str, Any] = {}
        for name, item in value.outputs.items():
            if name in value._fields and not value._fields[name].volatile:
                below, secret = step_below(f"{pointer}/outputs", name), _is_secret(value, name)
                kept[name] = self.step(item, f"{where}.{name}", below, depth + 2, secret)[1]
        return {"$resource": value.address, "kind": value.kind, "outputs": kept}

    def _secret(self, value: Json, where: str, pointer: str) -> tuple[Any, Any]:
        """One sealed value, however much is in it."""
        texts = [value] if isinstance(value, str) else [*scrubbing.texts_in(value)]
        planned = [address for text in texts for address in unknown_sources(text)]
        if planned or isinstance(value, str):
            self._out.sources.update(planned)
            self._out.unknown = self._out.unknown or bool(planned)
            return (value, None) if planned else self._text(value, where, pointer, True)
        return opened(value), self._sealing.seal(value, pointer)

    def _text(self, value: str, where: str, pointer: str, secret: bool) -> tuple[Any, Any]:
        planned = unknown_sources(value)
        if planned:
            self._out.sources.update(planned)
            self._out.unknown = True
            return value, normalise(str.__str__(value), where)
        self._out.sources.update(self._index.sources(value))
        plain = normalise(str.__str__(value), where)
        if not plain or not (secret or _is_secret_text(value, where)):
            return value, plain
        return opened(plain), self._sealing.seal(plain, pointer)


def _is_secret(resource: Resource, output: str) -> bool:
    declared = resource._fields.get(output)
    return declared is not None and declared.secret


def _is_secret_text(value: str, where: str) -> bool:
    """It was given out as one, or holds one. Dots that stand for one are never meant."""
    if isinstance(value, SecretText):
        return True
    if scrubbing.MASKED in value and scrubbing.knows_any():
        raise UsageError(
            f"{where}: a secret was put into text, which has dots in its place",
            hint='read it there: alchemy.secret(f"…{secret.value}…")',
        )
    return scrubbing.holds_value(value, _TELLING)


def holds_secret(value: object) -> bool:
    """A secret, or text with one in it; not one that a resource in it puts out."""
    seen: set[int] = set()  # containers: one may hold itself
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Secret | SecretText) or (isinstance(item, str) and scrubbing.holds_value(item, _TELLING)):
            return True
        if isinstance(item, Mapping | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            stack.extend(item.values() if isinstance(item, Mapping) else item)
    return False


def revive(stored: Any, pointer: str, open_value: Opener) -> Any:
    """Stored props or outputs as the verbs see them."""
    if isinstance(stored, dict):
        if "$secret" in stored:
            return open_value(stored, pointer)
        if "$resource" in stored:
            outputs = revive(stored.get("outputs", {}), f"{pointer}/outputs", open_value)
            return Reference(stored["$resource"], stored.get("kind", ""), outputs)
        return {
            key[1:] if key.startswith("$$") else key: revive(item, step_below(pointer, key), open_value)
            for key, item in stored.items()
        }
    if isinstance(stored, list):
        return [revive(item, step_below(pointer, i), open_value) for i, item in enumerate(stored)]
    return stored


def plain_outputs(resource: Resource, given: Any, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Plain JSON, resources inside as their addresses; every declared output has a value, `before`'s if not new."""
    if not isinstance(given, dict) and not hasattr(given, "items"):
        raise UsageError(f"{resource.kind} returned {type(given).__name__} where outputs were expected")
    plain = {k: v.address if isinstance(v, Resource | Reference) else v for k, v in given.items()}
    locked = {k: v for k, v in plain.items() if isinstance(v, LockedSecret)}
    secret = {k: opened(v.value) for k, v in plain.items() if isinstance(v, Secret)}
    known = {name: None for name, declared in resource._fields.items() if declared.is_output}
    found = normalise({k: v for k, v in plain.items() if k not in locked | secret}, f"{resource.address} outputs")
    found = {k: opened(v) if _is_secret(resource, k) else v for k, v in found.items()}
    return {**known, **(before or {}), **found, **locked, **secret}


def seal_outputs(resource: Resource, outputs: Mapping[str, Any], sealing: Sealing) -> dict[str, Any]:
    """As they are stored."""
    walk = _Walk(OutputIndex(), Resolved(None, None), sealing)
    where, kept = f"{resource.address} outputs", dict[str, Any]()
    for name, value in outputs.items():
        own = "$" + name if name.startswith("$") else name
        below = step_below("/outputs", own)
        kept[own] = walk.step(value, f"{where}.{name}", below, 0, _is_secret(resource, name))[1]
    return kept


class _Unsealed(Sealing):
    """A default is in the program's text: no secret."""

    def seal(self, value: Json, pointer: str) -> Json:
        return value

    def keep(self, locked: LockedSecret, pointer: str) -> Json:
        return locked.sealed


_defaults: dict[type[Resource], Mapping[str, Json]] = {}


def defaults_of(cls: type[Resource]) -> Mapping[str, Json]:
    """Of the props that have one, as they would be stored."""
    if cls not in _defaults:
        index, sealing, found = OutputIndex(), _Unsealed(), {}
        for name, declared in cls._fields.items():
            if not declared.is_output and declared.default is not MISSING:
                with suppress(UsageError):  # one that has no JSON form is said where it is used
                    found[name] = resolve(declared.default, index, name, "", sealing, False).stored
        _defaults[cls] = found
    return _defaults[cls]
