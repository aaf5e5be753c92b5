"""The kinds of resource this process knows. A class registers itself when it is defined.

Nothing is imported because a stored row names it: state is not code. `wiring` decides what is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from alchemy.errors import AlchemyError, UsageError
from alchemy.model.text import safe_text
from alchemy.model.values import ResourceState

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


def unloaded(row: ResourceState) -> str:
    """Why nothing here can delete this row's object, and how that changes; "" when its kind is loaded.

    One sentence for everybody who meets such a row.
    """
    try:
        if find(row.kind) is not None:
            return ""
    except AlchemyError as error:
        return safe_text(f"the kind {row.kind} cannot be loaded: {error.message}: {error.hint}", 500)
    where = f" (defined in {safe_text(row.module, 80)})" if row.module else ""
    return (
        f"no loaded class for the kind {safe_text(row.kind, 80)}{where}: "
        "name its module in [tool.alchemy] kinds, or run the program's own destroy"
    )


def obstacle() -> Callable[[ResourceState], str]:
    """`unloaded`, asking once for each kind: what cannot be loaded is not tried again for each of its rows."""
    asked: dict[tuple[str, str], str] = {}

    def answer(row: ResourceState) -> str:
        which = (row.kind, row.module)
        if which not in asked:
            asked[which] = unloaded(row)
        return asked[which]

    return answer


def known() -> tuple[str, ...]:
    return tuple(sorted(_kinds))
