"""The same resources deployed through a store that counts its file operations; prints them as JSON when it is done.

Run as its own process by `counts`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections import Counter
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
from alchemy.store.store import Store
from benchmarks import program


class Counting(Files):
    """Counts what changes something, the journal's own part apart."""

    def __init__(self) -> None:
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


def no_cloud(store: Store, options: Options) -> NoReturn:
    raise AssertionError("a resource that does nothing needs no cloud")


async def deploy(files: Counting) -> None:
    strategy = "sequential" if os.environ.get("BENCH_MODE") == "sequential" else "parallel"
    options = Options(destroy_strategy=strategy)
    root = Path(os.environ["ALCHEMY_STATE_DIR"])
    store = LocalStore(Layout(root), os.urandom(16).hex(), files)
    session = Session(store, os.environ.get("BENCH_PHASE", "up"), options, no_cloud, None, "nowhere")
    path = ScopePath.parse("bench/bench")
    async with Opening(lambda: open_owner(session, path, ScopeKind.STAGE, options)):
        await program.declare()


if __name__ == "__main__":
    files = Counting()
    asyncio.run(deploy(files))
    sys.stdout.write(json.dumps(files.counts))
