"""The same resources deployed through a store that counts: file operations, or with BENCH_STORE=bucket requests.

Run as its own process by `counts`; prints JSON when it is done.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from alchemy.engine.blocks import Opening
from alchemy.engine.entering import open_owner
from alchemy.engine.session import Session
from alchemy.model.paths import ScopePath
from alchemy.model.values import ScopeKind
from alchemy.settings import Options
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from alchemy.store.objects.port import Found, Listed
from alchemy.store.objects.store import ObjectStore
from alchemy.store.store import Store
from alchemy.testing.objects import MemoryObjects
from benchmarks import program

STAGE = "bench/bench"


class Counting(Files):
    """Counts what changes something, the journal's own part apart."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def _count(self, what: str, path: Path) -> None:
        with self._lock:
            self.counts[f"journal {what}" if path.suffix == ".jsonl" else what] += 1

    def make_directory(self, path: Path, *, durable: bool = True) -> None:
        if not path.is_dir():
            self._count("directories", path)
        super().make_directory(path, durable=durable)

    def create(self, path: Path, data: bytes) -> int:
        self._count("creates", path)
        return super().create(path, data)

    def append(self, descriptor: int, data: bytes, path: Path) -> None:
        self._count("writes", path)
        super().append(descriptor, data, path)

    def sync(self, descriptor: int, path: Path) -> None:
        self._count("syncs", path)
        super().sync(descriptor, path)

    def sync_directory(self, directory: Path) -> None:
        self._count("directory syncs", directory)
        super().sync_directory(directory)

    def replace(self, path: Path, data: bytes, *, durable: bool = False) -> None:
        self._count("replaces", path)
        super().replace(path, data, durable=durable)

    def remove(self, path: Path) -> None:
        if self.exists(path):
            self._count("removes", path)
        super().remove(path)


def no_cloud(store: Store, options: Options) -> NoReturn:
    raise AssertionError("a resource that does nothing needs no cloud")


async def run(store: Store) -> None:
    """The program on that store."""
    options = Options(destroy_strategy="sequential" if os.environ.get("BENCH_MODE") == "sequential" else "parallel")
    session = Session(store, os.environ.get("BENCH_PHASE", "up"), options, no_cloud, None, "nowhere")
    async with Opening(lambda: open_owner(session, ScopePath.parse(STAGE), ScopeKind.STAGE, options)):
        await program.declare()


class Requests:
    """A bucket that counts what is asked of it."""

    def __init__(self, bucket: MemoryObjects) -> None:
        self.counts: Counter[str] = Counter()
        self._bucket = bucket

    @property
    def place(self) -> str:
        return self._bucket.place

    def create(self, key: str, body: bytes) -> str:
        self.counts["create"] += 1
        return self._bucket.create(key, body)

    def replace(self, key: str, body: bytes, etag: str) -> str:
        self.counts["replace"] += 1
        return self._bucket.replace(key, body, etag)

    def get(self, key: str) -> Found | None:
        self.counts["get"] += 1
        return self._bucket.get(key)

    def list(self, prefix: str, *, after: str = "") -> Sequence[Listed]:
        self.counts["list"] += 1
        return self._bucket.list(prefix, after=after)

    def folders(self, prefix: str) -> Sequence[str]:
        self.counts["list"] += 1
        return self._bucket.folders(prefix)

    def delete(self, key: str) -> None:
        self.counts["delete"] += 1
        self._bucket.delete(key)


def in_a_bucket(root: Path) -> Iterator[Counter[str]]:
    """The four steps, one after the other, heartbeats apart."""
    bucket = MemoryObjects()
    for phase, drop in (("up", ""), ("up", ""), ("up", "1"), ("destroy", "1")):
        os.environ |= {"BENCH_PHASE": phase, "BENCH_DROP": drop}
        requests = Requests(bucket)
        asyncio.run(run(ObjectStore(requests, root, os.urandom(16).hex(), beats=bucket)))
        yield requests.counts


def main() -> None:
    root = Path(os.environ["ALCHEMY_STATE_DIR"])
    if os.environ.get("BENCH_STORE") == "bucket":
        found: object = list(in_a_bucket(root))
    else:
        files = Counting(root)
        asyncio.run(run(LocalStore(Layout(root), os.urandom(16).hex(), files)))
        found = files.counts
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
