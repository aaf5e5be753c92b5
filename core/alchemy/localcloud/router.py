"""Finding the route of a path, on the path as it was sent: an encoded slash is part of a name, not a separator.

Neighbours: `app` asks; the product modules' ROUTES are the table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from alchemy.localcloud.call import Route


@dataclass(slots=True)
class _Node:
    literals: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    rest: dict[str, Route] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)


class Router:
    """A tree over path segments; a literal segment wins over a parameter."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in _segments(route.template):
            if segment.endswith("*}"):
                node.rest[route.method] = route
                return
            if segment.startswith("{"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment, _Node())
        node.routes[route.method] = route

    def find(self, path: str) -> dict[str, Route]:
        """The routes of this path by method; empty when there is none."""
        return _descend(self._root, _segments(path))


def _segments(path: str) -> list[str]:
    return path.removeprefix("/").split("/")


def _descend(node: _Node, segments: list[str]) -> dict[str, Route]:
    for position, segment in enumerate(segments):
        literal = node.literals.get(segment)
        if literal is not None and (node.parameter is None and not node.rest):
            node = literal
            continue
        if literal is not None and (found := _descend(literal, segments[position + 1 :])):
            return found
        if node.parameter is not None and segment and (found := _descend(node.parameter, segments[position + 1 :])):
            return found
        return node.rest
    return node.routes


def parameters(template: str, path: str) -> dict[str, str] | None:
    """The decoded parameters of a path that matched `template`; None when one is not UTF-8."""
    found: dict[str, str] = {}
    wanted = _segments(template)
    given = _segments(path)
    try:
        for position, segment in enumerate(wanted):
            if segment.endswith("*}"):
                found[segment[1:-2]] = unquote_to_bytes("/".join(given[position:])).decode()
            elif segment.startswith("{"):
                found[segment[1:-1]] = unquote_to_bytes(given[position]).decode()
    except UnicodeDecodeError:
        return None
    return found
