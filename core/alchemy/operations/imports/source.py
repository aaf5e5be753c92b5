"""What a reader found, in no tool's own form: resources with their scopes, links between them, values still sealed.

Neighbours: `flat` and `typescript` make these, `planning` turns them into rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from alchemy.model.canonical import Json
from alchemy.model.values import Status

Tree: TypeAlias = Any  # JSON whose leaves may be Hidden or Linked
BEYOND = "numbers beyond 64 bits are kept as text"


@dataclass(frozen=True, slots=True)
class Hidden:
    """A value as the source sealed it. `salts`: those of the scopes above it, the nearest first."""

    payload: Json = field(repr=False)
    salts: tuple[str, ...] = field(default=(), repr=False)
    structured: bool = False  # what comes out is JSON, else a string
    where: str = ""  # for errors


@dataclass(frozen=True, slots=True)
class Linked:
    """Another resource that stands inside a prop; `key` is its `Found.key`."""

    key: str
    kind: str
    outputs: Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One resource. Trees of `props` and `outputs` are objects."""

    key: str  # the source's own name for it, unique there
    scope: tuple[str, ...]  # below what is migrated, as the source calls them
    id: str
    kind: str  # as the source spells it
    file: str
    status: Status = Status.READY
    props: Mapping[str, Tree] = field(default_factory=dict)
    outputs: Mapping[str, Tree] = field(default_factory=dict)
    pending: Mapping[str, Tree] | None = None  # props of an update that nobody confirmed
    former: bool = False  # replaced, and not deleted yet
    order: tuple[int, ...] = ()  # of creation, outermost scope first
    name: str = ""  # what it is called in the cloud, when the source says so or always calls it that
    guessed: bool = False  # `name` is what the source would have called it
    needs: tuple[str, ...] = ()  # keys of others
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Everything that is migrated at once. `digest` is of the bytes read, so that a second try knows the first."""

    tool: str
    place: str
    digest: str
    found: tuple[Found, ...]
    notes: tuple[str, ...] = ()
    data: Mapping[tuple[str, ...], Json] = field(default_factory=dict)  # what programs stored with a scope


def hidden_in(tree: Tree) -> list[Hidden]:
    """Every sealed value, in the order of the tree."""
    if isinstance(tree, Hidden):
        return [tree]
    if isinstance(tree, Linked):
        return hidden_in(tree.outputs)
    if isinstance(tree, Mapping):
        return [hidden for item in tree.values() for hidden in hidden_in(item)]
    return [hidden for item in tree for hidden in hidden_in(item)] if isinstance(tree, list) else []


def links_in(tree: Tree) -> list[Linked]:
    """Every resource that stands inside, the outer ones only."""
    if isinstance(tree, Linked):
        return [tree]
    if isinstance(tree, Mapping):
        return [link for item in tree.values() for link in links_in(item)]
    return [link for item in tree for link in links_in(item)] if isinstance(tree, list) else []


def is_beyond(value: object) -> bool:
    """A whole number that our state has no form for."""
    return type(value) is int and not -(1 << 63) <= value < 1 << 63


def within(tree: Json) -> Json:
    """Plain JSON with such numbers as text."""
    if isinstance(tree, dict):
        return {key: within(item) for key, item in tree.items()}
    if isinstance(tree, list):
        return [within(item) for item in tree]
    return str(tree) if is_beyond(tree) else tree
