"""What lies in a bucket beside journals: backups with their marks, and who did what without a lock.

Neighbours: `store` is the whole of it; `writes` puts these objects there.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Any

import orjson

from alchemy.errors import StorageFailed
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.store.backups import BACKUP
from alchemy.store.objects.keys import Keys
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.port import Objects
from alchemy.store.objects.requests import abreast, perform
from alchemy.store.objects.writes import create_whole, put_whole
from alchemy.store.store import Store

_MARK = re.compile(r"(state-[0-9TZ-]+\.json)\.([a-z]+)")


class Beside(Store):
    """The part of `ObjectStore` that no journal is needed for."""

    objects: Objects
    keys: Keys
    limits: Limits

    def writable(self) -> Objects:
        """To be asked for by whatever writes: the store was tried before."""
        self.prepare()
        return self.objects

    def backups(self, path: ScopePath | str) -> list[str]:
        return [name for name in self._names(self.keys.backups(path)) if BACKUP.fullmatch(name)]

    def _names(self, folder: str) -> list[str]:
        return [item.key[len(folder) :] for item in self.objects.list(folder)]

    def read_backup(self, path: ScopePath | str, name: str, *, head: int = 0) -> tuple[bytes, int]:
        found = self.objects.get(self.keys.backups(path) + name)
        if found is None:
            raise FileNotFoundError(name)
        return (found.body[:head] if head else found.body), len(found.body)

    def create_backup(self, path: ScopePath | str, name: str, data: bytes) -> None:
        if not perform(self.writable(), self.clock, create_whole(self.keys.backups(path) + name, data, self.limits)):
            raise FileExistsError(name)

    def remove_backup(self, path: ScopePath | str, name: str) -> None:
        self.objects.delete(self.keys.backups(path) + name)

    def mark_backup(self, path: ScopePath | str, name: str, mark: str, text: str | None) -> None:
        key = f"{self.keys.backups(path)}{name}.{mark}"
        if text is None:
            self.objects.delete(key)
        else:
            perform(self.writable(), self.clock, put_whole(key, text.encode("utf-8", "replace"), self.limits))

    def backup_marks(self, path: ScopePath | str) -> dict[tuple[str, str], str]:
        folder = self.keys.backups(path)
        marks = [found for name in self._names(folder) if (found := _MARK.fullmatch(name))]
        bodies = abreast(self.objects.get, [folder + mark[0] for mark in marks])
        pairs = zip(marks, bodies, strict=True)
        return {(mark[1], mark[2]): found.body.decode("utf-8", "replace") for mark, found in pairs if found}

    def audit(self, entry: dict[str, Any]) -> None:
        at = self.clock.now()
        data = orjson.dumps({**entry, "at": at}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        key = f"{self.keys.audit}{at.replace(':', '-').replace('.', '-')}-{os.urandom(4).hex()}.json"
        if not perform(self.writable(), self.clock, create_whole(key, data, self.limits)):
            raise StorageFailed(f"{safe_text(key)} is there already", hint="run the same command again")

    def audits(self) -> list[dict[str, Any]]:
        found = []
        for body in abreast(self.objects.get, [item.key for item in self.objects.list(self.keys.audit)]):
            with suppress(orjson.JSONDecodeError):
                entry = orjson.loads(body.body) if body else None
                if isinstance(entry, dict):
                    found.append(entry)
        return found
