"""What the strict server holds: the objects of its buckets, in memory and, where asked, in a directory too.

Neighbour: `server`, whose single thread is the only one in here, so that a look and the write after it are one step.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stored:
    """An object. `number` rises with each write: the newest has the highest."""

    body: bytes
    etag: str
    modified: float
    number: int
    before: bytes | None = None  # the version before: for a store that answers with it

    @property
    def iso(self) -> str:
        return datetime.fromtimestamp(self.modified, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Page:
    objects: list[tuple[str, Stored]]
    folders: list[str]
    token: str


def etag_of(body: bytes) -> str:
    """As S3 makes it: of the content, so the same bytes have the same one."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


class Shelf:
    """One bucket."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._objects: dict[str, Stored] = {}
        self._writes = 0
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            for file in sorted(directory.glob("*.object")):
                head, _, body = file.read_bytes().partition(b"\n")
                self._put(json.loads(head)["key"], body, json.loads(head)["modified"])

    def bodies(self) -> dict[str, bytes]:
        return {key: stored.body for key, stored in self._objects.copy().items()}

    def find(self, key: str) -> Stored | None:
        return self._objects.get(key)

    def put(self, key: str, body: bytes) -> Stored:
        stored = self._put(key, body, time.time())
        if self._directory is not None:
            file = self._file(key)
            head = json.dumps({"key": key, "modified": stored.modified}).encode()
            file.with_suffix(".tmp").write_bytes(head + b"\n" + body)
            os.replace(file.with_suffix(".tmp"), file)
        return stored

    def delete(self, key: str) -> None:
        if self._objects.pop(key, None) is not None and self._directory is not None:
            self._file(key).unlink()

    def page(self, prefix: str, delimiter: str, after: str, token: str, most: int, *, newest: bool = True) -> Page:
        """In the order of the UTF-8 bytes, keys behind `after`, from behind the page that ended in `token`.

        Folders count like objects. `newest` False leaves out the object that was written last, wherever it is.
        """
        hidden = max(self._objects.values(), key=lambda stored: stored.number, default=None)
        passed = token if delimiter and token.endswith(delimiter) and len(token) > len(prefix) else ""
        behind = max(after.encode(), token.encode())
        objects: list[tuple[str, Stored]] = []
        folders: list[str] = []
        last = ""
        for key in sorted(self._objects, key=str.encode):
            stored = self._objects[key]
            if not key.startswith(prefix) or key.encode() <= behind or (stored is hidden and not newest):
                continue
            rest = key[len(prefix) :]
            folder = prefix + rest.partition(delimiter)[0] + delimiter if delimiter and delimiter in rest else ""
            if folder and folder in (passed, last):
                continue
            if len(objects) + len(folders) == most:
                return Page(objects, folders, last)
            if folder:
                folders.append(folder)
            else:
                objects.append((key, stored))
            last = folder or key
        return Page(objects, folders, "")

    def _put(self, key: str, body: bytes, modified: float) -> Stored:
        before = self._objects.get(key)
        self._writes += 1
        stored = Stored(body, etag_of(body), modified, self._writes, before.body if before else None)
        self._objects[key] = stored
        return stored

    def _file(self, key: str) -> Path:
        assert self._directory is not None
        return self._directory / f"{hashlib.sha256(key.encode()).hexdigest()}.object"
