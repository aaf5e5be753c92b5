"""What lies in a store beside its journals, by paths that are the same on local disk and in a bucket.

Backups, key rings, audit entries, marks: `my-app/keys.json` is a file below the state directory, or an object below the
project's prefix. A file here is whole or not there, whatever happens while it is written.
"""

from __future__ import annotations

import fcntl
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from alchemy.store.files import TEMPORARY
from alchemy.store.local import LocalStore
from alchemy.store.store import Store

if TYPE_CHECKING:
    from alchemy.store.objects.store import ObjectStore


class Shelf(ABC):
    """Paths have `/` throughout and come from validated names."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Files directly in `folder`, sorted; empty when there is none."""

    @abstractmethod
    def read(self, path: str) -> bytes | None:
        """None when it is not there."""

    @abstractmethod
    def create(self, path: str, data: bytes) -> bool:
        """Durable when this returns; False when the name is taken by other bytes."""

    @abstractmethod
    def replace(self, path: str, data: bytes) -> None:
        """Durable when this returns, whatever was there."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Not there is fine."""


def shelf_of(store: Store) -> Shelf:
    if isinstance(store, LocalStore):
        return FileShelf(store)
    from alchemy.store.objects.store import ObjectStore

    assert isinstance(store, ObjectStore)
    return ObjectShelf(store)


class FileShelf(Shelf):
    def __init__(self, store: LocalStore) -> None:
        self._files = store.files
        self._root = store.root

    def names(self, folder: str) -> list[str]:
        directory = self._root / folder
        return [n for n in self._files.names(directory) if not TEMPORARY.fullmatch(n) and (directory / n).is_file()]

    def read(self, path: str) -> bytes | None:
        try:
            return self._files.read(self._root / path)
        except FileNotFoundError:
            return None

    def create(self, path: str, data: bytes) -> bool:
        file = self._root / path
        self._files.make_directory(file.parent)
        with _alone(file.parent):
            if self._files.exists(file):
                return self._files.read(file) == data
            self._files.replace(file, data, durable=True)
        return True

    def replace(self, path: str, data: bytes) -> None:
        file = self._root / path
        self._files.make_directory(file.parent)
        self._files.replace(file, data, durable=True)

    def remove(self, path: str) -> None:
        """And the folder, when nothing is left in it: in a bucket there would be none."""
        self._files.remove(self._root / path)
        self._files.remove_empty((self._root / path).parent)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Of two processes that create one file, one does; the kernel lets go when a process dies."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class ObjectShelf(Shelf):
    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._prefix = store.keys.prefix

    def names(self, folder: str) -> list[str]:
        below = f"{self._prefix}{folder}/" if folder else self._prefix
        names = [item.key[len(below) :] for item in self._store.objects.list(below)]
        return sorted(name for name in names if "/" not in name)

    def read(self, path: str) -> bytes | None:
        found = self._store.objects.get(self._prefix + path)
        return found.body if found else None

    def create(self, path: str, data: bytes) -> bool:
        from alchemy.store.objects.requests import perform
        from alchemy.store.objects.writes import create_whole

        store = self._store
        return perform(store.writable(), store.clock, create_whole(self._prefix + path, data, store.limits))

    def replace(self, path: str, data: bytes) -> None:
        from alchemy.store.objects.requests import perform
        from alchemy.store.objects.writes import put_whole

        store = self._store
        perform(store.writable(), store.clock, put_whole(self._prefix + path, data, store.limits))

    def remove(self, path: str) -> None:
        self._store.objects.delete(self._prefix + path)
