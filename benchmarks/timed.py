"""What the store alone costs, in seconds: the writer thread while N resources are deployed, and opening a large stage.

Run as its own process by `__main__`: `deploy` with the settings of `program`, or `open N`. Prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alchemy.model.paths import ScopePath
from alchemy.model.records import Put
from alchemy.model.values import ResourceState, ScopeKind, Status
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from benchmarks.counted import STAGE, run

OPENINGS = 5


class Timed(Files):
    """Seconds in file operations of the writer thread: `journal` for records, `views` for the rest."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.seconds = {"journal": 0.0, "views": 0.0}
        self._inside = threading.local()

    @contextmanager
    def _count(self, path: Path) -> Iterator[None]:
        inside = getattr(self._inside, "yes", False)
        began = time.perf_counter()
        self._inside.yes = True
        try:
            yield
        finally:
            self._inside.yes = inside
            if not inside and threading.current_thread().name.startswith("journal "):
                self.seconds["journal" if path.suffix == ".jsonl" else "views"] += time.perf_counter() - began

    def make_directory(self, path: Path, *, durable: bool = True) -> None:
        with self._count(path):
            super().make_directory(path, durable=durable)

    def append(self, descriptor: int, data: bytes, path: Path) -> None:
        with self._count(path):
            super().append(descriptor, data, path)

    def sync(self, descriptor: int, path: Path) -> None:
        with self._count(path):
            super().sync(descriptor, path)

    def exists(self, path: Path) -> bool:
        with self._count(path):
            return super().exists(path)

    def read(self, path: Path) -> bytes:
        with self._count(path):
            return super().read(path)

    def replace(self, path: Path, data: bytes, *, durable: bool = False) -> None:
        with self._count(path):
            super().replace(path, data, durable=durable)


def deploy() -> dict[str, float]:
    root = Path(os.environ["ALCHEMY_STATE_DIR"])
    files = Timed(root)
    asyncio.run(run(LocalStore(Layout(root), os.urandom(16).hex(), files)))
    return files.seconds


def a_row(number: int) -> ResourceState:
    """As large as one of the program's."""
    props = {"title": f"item-{number}", "region": "eu-west", "size": 3, "enabled": True, "tags": "a,b,c"}
    return ResourceState(
        address=f"{STAGE}/r{number}",
        kind="bench:Item",
        status=Status.READY,
        physical_name=f"bench-bench-r{number}",
        token=f"{number:032x}",
        props={**props, "note": "x" * 40},
        props_hash=f"{number:032x}",
        outputs={"item_id": f"local-r{number}"},
        seq=number,
        run="R-1",
        created_at="2026-01-01T00:00:00.000Z",
        updated_at="2026-01-01T00:00:00.000Z",
    )


async def opened(root: Path) -> Ledger:
    store = LocalStore(Layout(root), os.urandom(16).hex(), Files(root))
    return await Ledger.open(store, ScopePath.parse(STAGE), ScopeKind.STAGE, purpose="deploy", timeout=0)


async def openings(n: int, root: Path) -> dict[str, float]:
    """The best of some: for a run, from asking for the lock to the durable opener; and for reading only."""
    ledger = await opened(root)
    await ledger.intend([Put(a_row(number), "result", "create") for number in range(n)])
    ledger.close(outcome="done", counts={}, failures=[])
    path = ScopePath.parse(STAGE)
    runs, looks = [], []
    for _ in range(OPENINGS):
        began = time.perf_counter()
        ledger = await opened(root)
        runs.append(time.perf_counter() - began)
        ledger.close(outcome="done", counts={}, failures=[])
        began = time.perf_counter()
        LocalStore(Layout(root)).read_fold(path)
        looks.append(time.perf_counter() - began)
    return {"run": min(runs), "look": min(looks)}


def main() -> None:
    if sys.argv[1] == "deploy":
        found = deploy()
    else:
        with tempfile.TemporaryDirectory(prefix="bench-") as place:
            found = asyncio.run(openings(int(sys.argv[2]), Path(place) / ".alchemy"))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
