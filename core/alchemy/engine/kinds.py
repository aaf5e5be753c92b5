"""The kinds of resource this process knows. A class registers itself when it is defined.

Nothing is imported because a stored row names it: state is not code. `wiring` decides what is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from alchemy.errors import UsageError
from alchemy.model.text import safe_text

if TYPE_CHECKING:
    from alchemy.engine.resource import Resource

_kinds: dict[str, type[Resource]] = {}
_loaders: list[Callable[[str], None]] = []
_program: Callable[[str], None] | None = None
_missed: set[str] = set()


def register(kind: str, cls: type[Resource]) -> None:
    """A later definition replaces an earlier one: a program that is loaded twice defines its kinds twice."""
    if kind.count(":") != 1 or not all(kind.split(":")) or not kind.isprintable() or "/" in kind:
        raise UsageError(f"kind {safe_text(kind, 80)!r} is not of the form 'vendor:Name'")
    _kinds[kind] = cls


def add_loader(loader: Callable[[str], None]) -> None:
    """`loader(kind)` is asked, in order, when a kind is not known yet; it imports what might define it."""
    if loader not in _loaders:
        _loaders.append(loader)
        _missed.clear()


def set_program(loader: Callable[[str], None] | None) -> None:
    """The last one asked: the program of the project at hand. One at a time."""
    global _program
    _program = loader
    _missed.clear()


def find(kind: str) -> type[Resource] | None:
    """None when no loader brings it."""
    for loader in [*_loaders, *([_program] if _program else [])]:
        if kind in _kinds or kind in _missed:
            break
        loader(kind)
    if kind not in _kinds:
        _missed.add(kind)  # a program is not executed once for each of its rows
    return _kinds.get(kind)


def known() -> tuple[str, ...]:
    return tuple(sorted(_kinds))
