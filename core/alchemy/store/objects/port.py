"""What state in a bucket needs of an object store: five verbs, and three ways in which a write can not succeed.

Contract, for everybody who implements it: calls block and may come from any thread; `create` and `replace` are tried
once and never repeated inside, because only the caller can tell its own write from a stranger's; readings are
repeated inside and then raise StorageFailed. What the store answers after a write is what every later reading sees.
Keys are whole: the prefix of the project is part of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Taken(Exception):
    """`create`: an object of that name is there. Nothing was written."""


class Changed(Exception):
    """`replace`: the object is another one by now, or gone. Nothing was written."""


class Unknown(Exception):
    """The answer does not tell whether the write took effect: a fault on their side, a time-out, a throttle, a reset,
    no connection. The text says what came back.

    Resolved by reading, never by assuming.
    """


@dataclass(frozen=True, slots=True)
class Found:
    """An object. `etag` is for `replace` only, as the store spells it; equal bytes may have equal ones."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Listed:
    """An object's name and its size in bytes. `etag`: to see by that it was written again; "" when that is not told."""

    key: str
    size: int
    etag: str = field(default="", compare=False)


class Objects(Protocol):
    """One bucket."""

    @property
    def place(self) -> str:
        """For people: `r2://account/bucket/prefix`, one text for one place; holds no secret."""
        ...

    def create(self, key: str, body: bytes) -> str:
        """Only when nothing has that name. Returns the ETag; Taken, Unknown, or StorageFailed when refused for good."""
        ...

    def replace(self, key: str, body: bytes, etag: str) -> str:
        """Only while the object still has `etag`. Returns the new one; Changed, Unknown or StorageFailed."""
        ...

    def get(self, key: str) -> Found | None:
        """None when there is no such object."""
        ...

    def list(self, prefix: str, *, after: str = "") -> Sequence[Listed]:
        """Every object whose name begins with `prefix` and sorts behind `after`, in the order of their UTF-8 bytes."""
        ...

    def folders(self, prefix: str) -> Sequence[str]:
        """The names one level below `prefix` (which ends in `/` or is empty), as far as something is below them."""
        ...

    def delete(self, key: str) -> None:
        """Garbage only: no condition protects it. Not there is fine."""
        ...
