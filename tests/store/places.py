"""Two places state can be kept in, seen alike: what the tests of the contract need beside the contract itself."""

from __future__ import annotations

import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alchemy.errors import StorageFailed
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Op, Put
from alchemy.model.values import Holder, ResourceState, ScopeKind
from alchemy.store.files import Files
from alchemy.store.journal import Journal
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.port import Objects
from alchemy.store.objects.store import ObjectStore
from alchemy.store.store import Store
from tests.model import rows
from tests.objects.gated import Gated
from tests.store.lock_peer import holder

PATH = ScopePath.parse("my-app/prod")
QUICK = Limits(gap=0.0, pause=0.001, poll=0.01, patience=5.0)


def row(id: str, **changed: Any) -> ResourceState:
    return rows.row(f"{PATH}/{id}", **changed)


class Place(ABC):
    """`store()` is another process at the same place each time; the last one made can be held up and made to fail."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0

    @abstractmethod
    def store(self) -> Store: ...

    @abstractmethod
    def hold(self, *, open: bool) -> None:
        """Writes wait until it is open again."""

    @abstractmethod
    def fail(self, why: str) -> None:
        """Every write fails from now on."""

    @abstractmethod
    def record_count(self) -> int:
        """Records of the only run, as they lie there."""

    @abstractmethod
    def lose_journal(self) -> None: ...

    @abstractmethod
    def spoil(self, number: int) -> str:
        """A byte of record `number` of the first run is another one; what the error has to name."""

    def open(self, store: Store | None = None, **given: Any) -> Journal:
        store = store or self.store()

        def ops(fold: Fold) -> Sequence[Op]:
            return [] if str(PATH) in fold.scopes else [Put(rows.scope(str(PATH), ScopeKind.STAGE))]

        def who(epoch: int) -> Holder:
            return holder(str(PATH), epoch, session=store.session)

        return store.open_journal(PATH, holder=who, ops=ops, body={}, **given)

    def end(self, journal: Journal) -> None:
        journal.close({"scope": str(PATH), "outcome": "done"})

    def die(self, journal: Journal) -> None:
        """As with kill -9: what is acknowledged is there, no release."""
        journal.settle()
        journal._medium.close()

    def session(self) -> str:
        self.count += 1
        return f"{self.count:032x}"


def write(journal: Journal, *ops: Op, **given: Any) -> None:
    ack = journal.append(ops, wait=True, **given)
    assert ack is not None
    ack.result(timeout=30)


class _Disk(Files):
    """The real files, with a gate in front of every sync of a journal."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.open = threading.Event()
        self.open.set()
        self.why = ""

    def sync(self, descriptor: int, path: Path) -> None:
        assert self.open.wait(30)
        if self.why and path.suffix == ".jsonl":
            raise StorageFailed(f"cannot sync {path}: {self.why}", hint="check free space")
        super().sync(descriptor, path)


class OnDisk(Place):
    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.files = _Disk(root)

    def store(self) -> Store:
        self.files = _Disk(self.root)
        return LocalStore(Layout(self.root), self.session(), self.files)

    def hold(self, *, open: bool) -> None:
        self.files.open.set() if open else self.files.open.clear()

    def fail(self, why: str) -> None:
        self.files.why = why

    def _epochs(self) -> list[Path]:
        return sorted(Layout(self.root).journal(PATH).glob("*.jsonl"))

    def record_count(self) -> int:
        return len(self._epochs()[-1].read_bytes().splitlines())

    def lose_journal(self) -> None:
        shutil.rmtree(Layout(self.root).journal(PATH))

    def spoil(self, number: int) -> str:
        file = self._epochs()[0]
        lines = file.read_bytes().splitlines(keepends=True)
        lines[number - 1] = lines[number - 1].replace(b'"epoch":1', b'"epoch":7', 1)
        file.write_bytes(b"".join(lines))
        return f"{file}:{number}"


class InObjects(Place):
    def __init__(self, root: Path, objects: Objects) -> None:
        super().__init__(root)
        self.objects = objects
        self.gated = Gated(objects)

    def store(self) -> Store:
        session = self.session()
        self.gated = Gated(self.objects, f"{self.objects.place}#{session}")
        return ObjectStore(self.gated, self.root, session, limits=QUICK)

    def hold(self, *, open: bool) -> None:
        self.gated.open.set() if open else self.gated.open.clear()

    def fail(self, why: str) -> None:
        self.gated.fail = why

    def record_count(self) -> int:
        found = self.objects.list(f"{PATH}/journal/")
        return len(found)

    def lose_journal(self) -> None:
        for folder in ("journal", "snapshots"):
            for item in self.objects.list(f"{PATH}/{folder}/"):
                self.objects.delete(item.key)

    def spoil(self, number: int) -> str:
        key = f"{PATH}/journal/{number:016d}.json"
        found = self.objects.get(key)
        assert found is not None
        self.objects.replace(key, found.body.replace(b'"epoch":1', b'"epoch":7', 1), found.etag)
        return key
