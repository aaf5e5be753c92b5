"""Rows under other addresses: what moves, and what refers to it. Pure; the objects in the cloud know nothing of it.

Neighbours: `operations.surgery` moves rows within a journal and brings them from another one; `store.sealing` binds
sealed values to their address, so whoever renames brings the function that seals them again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from alchemy.model.canonical import Json
from alchemy.model.masking import SECRET, has_sealed, hash_props
from alchemy.model.naming import ownership_mark
from alchemy.model.values import ResourceState

REFERENCE = "$resource"  # how a resource stands in stored props: its address is the value
Reseal = Callable[[dict[str, Any], str], Json]  # (sealed value, its pointer in the row) -> the same, for the new place


@dataclass(frozen=True, slots=True)
class Renaming:
    """`before` becomes `now`: an address, or (`whole`) a scope with everything in it."""

    before: str
    now: str
    whole: bool = False

    def of(self, name: str) -> str:
        """The address or scope path from now on: `name` itself when it is not meant."""
        if name == self.before:
            return self.now
        if self.whole and name.startswith(f"{self.before}/"):
            return self.now + name[len(self.before) :]
        return name

    def means(self, name: str) -> bool:
        return self.of(name) != name


def moved(row: ResourceState, renaming: Renaming, lineage: str, reseal: Reseal) -> ResourceState:
    """A row that is meant, under its new address. The object, its token and its name stay."""
    now = renaming.of(row.address)
    found = rewritten(row, renaming)
    found = replace(
        found,
        address=now,
        made_as=_made_as(row, lineage, now),
        props=_resealed(found.props, "/props", reseal),
        outputs=_resealed(found.outputs, "/outputs", reseal),
        pending=None if found.pending is None else _resealed(found.pending, "/props", reseal),
    )
    return _hashed(found, row)


def rewritten(row: ResourceState, renaming: Renaming) -> ResourceState:
    """Any row with its edges and references as they are from now on; equal to `row` when it has none that is meant."""
    found = replace(
        row,
        depends_on=tuple(sorted(map(renaming.of, row.depends_on))),
        props=_readdressed(row.props, renaming),
        pending=None if row.pending is None else _readdressed(row.pending, renaming),
    )
    return row if found == replace(row, depends_on=tuple(sorted(row.depends_on))) else _hashed(found, row)


def holds_sealed(row: ResourceState) -> bool:
    """It cannot be renamed without the password."""
    return any(has_sealed(tree) for tree in (row.props, row.outputs, row.pending))


def references(row: ResourceState) -> set[str]:
    """Every address that the row refers to."""
    found = set(row.depends_on)
    todo: list[Any] = [row.props, row.pending]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            if isinstance(item.get(REFERENCE), str):
                found.add(item[REFERENCE])
            todo += item.values()
        elif isinstance(item, list):
            todo += item
    return found


def _hashed(row: ResourceState, before: ResourceState) -> ResourceState:
    """Its own hash anew; one that was not of its props (what it was made with is not known) stays what it was."""
    own = before.props_hash == hash_props(before.props)
    return replace(row, props_hash=hash_props(row.props)) if own else row


def _made_as(row: ResourceState, lineage: str, now: str) -> str:
    """Of which address the mark in the object's name is; "" for its own, or where the name holds none of ours."""
    first = row.made_as or row.address
    ours = row.physical_name.endswith(f"-{ownership_mark(lineage, first, row.generation)}")
    return first if ours and first != now else ""


def _readdressed(value: Any, renaming: Renaming) -> Any:
    if isinstance(value, dict):
        if SECRET in value:
            return value
        found = {key: _readdressed(item, renaming) for key, item in value.items()}
        if isinstance(value.get(REFERENCE), str):
            found[REFERENCE] = renaming.of(value[REFERENCE])
        return found
    return [_readdressed(item, renaming) for item in value] if isinstance(value, list) else value


def _resealed(value: Any, pointer: str, reseal: Reseal) -> Any:
    """`pointer` is where `value` stands in the row (RFC 6901)."""
    if isinstance(value, dict):
        if SECRET in value:
            return reseal(value, pointer)
        return {key: _resealed(item, f"{pointer}/{_step(key)}", reseal) for key, item in value.items()}
    if isinstance(value, list):
        return [_resealed(item, f"{pointer}/{index}", reseal) for index, item in enumerate(value)]
    return value


def _step(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
