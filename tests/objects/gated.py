"""A store of objects in front of another one: it can be held up, refuse everything, or call itself by another name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from alchemy.errors import StorageFailed
from alchemy.store.objects.port import Found, Listed, Objects, Unknown

T = TypeVar("T")


class Gated:
    """`place` tells two of them apart that stand for two processes; `lose` so many writes get no answer."""

    def __init__(self, behind: Objects, place: str = "") -> None:
        self.behind = behind
        self.place = place or behind.place
        self.open = threading.Event()
        self.open.set()
        self.fail = ""
        self.lose = 0
        self.writes: list[str] = []
        self.reads: list[str] = []

    def create(self, key: str, body: bytes) -> str:
        return self._write(key, lambda: self.behind.create(key, body))

    def replace(self, key: str, body: bytes, etag: str) -> str:
        return self._write(key, lambda: self.behind.replace(key, body, etag))

    def _write(self, key: str, write: Callable[[], str]) -> str:
        assert self.open.wait(30)
        if self.fail:
            raise StorageFailed(f"{key}: {self.fail}", hint="alchemy doctor")
        self.writes.append(key)
        etag = write()
        if self.lose:
            self.lose -= 1
            raise Unknown("the answer was lost")
        return etag

    def get(self, key: str) -> Found | None:
        self.reads.append(f"get {key}")
        return self._read(lambda: self.behind.get(key))

    def list(self, prefix: str, *, after: str = "") -> Sequence[Listed]:
        self.reads.append(f"list {prefix}")
        return self._read(lambda: self.behind.list(prefix, after=after))

    def folders(self, prefix: str) -> Sequence[str]:
        self.reads.append(f"folders {prefix}")
        return self._read(lambda: self.behind.folders(prefix))

    def _read(self, read: Callable[[], T]) -> T:
        if self.fail:
            raise StorageFailed(f"the store: {self.fail}", hint="alchemy doctor")
        return read()

    def delete(self, key: str) -> None:
        self.writes.append(f"delete {key}")
        self.behind.delete(key)
