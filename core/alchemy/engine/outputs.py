"""Outputs that travel: as references before they are known, as marked text while planning, as values after.

Also finds edges that survive awaiting: a string that another resource put out, wherever it appears in a prop.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

from alchemy.errors import NotYetKnown

if TYPE_CHECKING:
    from alchemy.engine.resource import Resource

_MARK = "‹known after deploy: "
_MARKED = re.compile(r"‹known after deploy: ([^›]+)\.[^.›]+›")
_TOKEN = re.compile(r"[A-Za-z0-9_.-]+")
_JOINT = re.compile(r"([._-])")
_MOST_PIECES = 40
_INDEXED_FROM = 8  # characters: shorter outputs would match by chance


class OutputRef:
    """`db.database_id` before `db` is awaited: pass it as a prop, or await the resource first."""

    __slots__ = ("name", "resource")

    def __init__(self, resource: Resource, name: str) -> None:
        self.resource = resource
        self.name = name

    def __repr__(self) -> str:
        return f"<output {self.resource.address}.{self.name}, not yet known>"

    def _refuse(self, *_: object) -> NoReturn:
        raise NotYetKnown(
            f"{self.resource.address}.{self.name} is not known yet",
            hint=f"write `await {self.resource.id}` before using it in Python, or pass it to another resource as it is",
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # what Python and its tools ask of any object
            raise AttributeError(name)
        self._refuse()

    __str__ = __format__ = __bool__ = __len__ = __iter__ = __int__ = __float__ = __index__ = _refuse
    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __getitem__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __mod__ = __truediv__ = __rtruediv__ = _refuse
    __floordiv__ = __rfloordiv__ = __pow__ = __neg__ = __pos__ = __abs__ = __round__ = __or__ = __and__ = _refuse
    __hash__ = object.__hash__


class Unknown(str):
    """An output while planning, after `await`: prints what it will be, refuses to be compared."""

    __slots__ = ()

    @classmethod
    def of(cls, address: str, name: str) -> Unknown:
        return cls(f"{_MARK}{address}.{name}›")

    def _refuse(self, *_: object) -> NoReturn:
        raise NotYetKnown(
            f"the program decides by a value that only a deploy can tell: {str.__str__(self)}",
            hint="deploy first, or do not branch on outputs of resources that do not exist yet",
        )

    __bool__ = __len__ = __int__ = __float__ = __iter__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __eq__ = __ne__ = __contains__ = __getitem__ = _refuse
    __hash__ = str.__hash__


# Methods that decide, or that would break the mark by which it is found again; the others leave it whole.
_REFUSED = (
    "startswith endswith find rfind index rindex count split rsplit splitlines partition rpartition encode translate "
    "upper title swapcase capitalize isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric "
    "isprintable isspace istitle isupper"
)
for _method in _REFUSED.split():
    setattr(Unknown, _method, Unknown._refuse)


def unknown_sources(text: str) -> list[str]:
    """Addresses whose outputs a string holds that are not known yet."""
    plain = str.__str__(text)
    return _MARKED.findall(plain) if _MARK in plain else []


class OutputIndex:
    """Every output string of a run by its longest token. A false hit only adds order."""

    def __init__(self) -> None:
        self._sources: dict[str, str] = {}

    def add(self, address: str, outputs: dict[str, Any]) -> None:
        for value in outputs.values():
            if isinstance(value, str) and len(value) >= _INDEXED_FROM:
                token = max(_TOKEN.findall(value), key=len, default="")
                if len(token) >= _INDEXED_FROM:
                    self._sources.setdefault(token, address)

    def sources(self, text: str) -> list[str]:
        if not self._sources or len(text) < _INDEXED_FROM:
            return []
        found = (self._source(token) for token in _TOKEN.findall(text) if len(token) >= _INDEXED_FROM)
        return [address for address in found if address]

    def _source(self, token: str) -> str:
        """Of the whole token, or of a part between dots and dashes: `https://<id>.example`."""
        whole = self._sources.get(token, "")
        pieces = _JOINT.split(token)  # names at even places, what joins them at odd ones
        if whole or len(pieces) > _MOST_PIECES:
            return whole
        places = range(0, len(pieces), 2)
        parts = ("".join(pieces[i : j + 1]) for i in places for j in places[i // 2 :])
        return next((self._sources[part] for part in parts if part in self._sources), "")
