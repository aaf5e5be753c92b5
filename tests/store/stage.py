"""A stage on disk for tests of the store: write runs into its journal, read it back, break its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Op, Put
from alchemy.model.values import Holder, ResourceState, ScopeKind
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.journal import Journal
from alchemy.store.layout import Layout
from alchemy.store.localjournal import open_local
from alchemy.store.opening import Loaded, load
from tests.model import rows
from tests.store.lock_peer import holder

PATH = "my-app/prod"


class Stage:
    """`path` owns a journal below `root`; `boot` is what the holder of the next run says of its boot."""

    def __init__(self, root: Path, path: str = PATH, files: Files | None = None, clock: Clock | None = None) -> None:
        self.path = path
        self.files = files or Files()
        self.clock = clock or Clock()
        self.layout = Layout(root)
        self.boot = "boot-1"

    def address(self, id: str) -> str:
        return f"{self.path}/{id}"

    def row(self, id: str, **changed: Any) -> ResourceState:
        return rows.row(self.address(id), **changed)

    def open(self, session: str = "5e55") -> Journal:
        """A run begins; nobody asks for a lock."""

        def ops(fold: Fold) -> Sequence[Op]:
            return [] if self.path in fold.scopes else [Put(rows.scope(self.path, ScopeKind.STAGE))]

        def who(epoch: int) -> Holder:
            return holder(self.path, epoch, boot_id=self.boot, session=session * 8)

        path = ScopePath.parse(self.path)
        return open_local(self.files, self.layout, self.clock, path, session=session, holder=who, ops=ops, body={})

    def write(self, journal: Journal, *ops: Op) -> None:
        """Returns when it is acknowledged."""
        ack = journal.append(ops, wait=True)
        assert ack is not None
        ack.result(timeout=30)

    def run(self, *ids: str) -> Fold:
        """A whole run that writes one record for each id, then ends."""
        journal = self.open()
        for id in ids:
            self.write(journal, Put(self.row(id)))
        self.end(journal)
        return journal.fold

    def end(self, journal: Journal, **body: Any) -> None:
        """As the ledger does it: a run that wrote rows writes its stage once more."""
        journal.settle()
        journal.close({"outcome": "done", **body}, [Put(rows.scope(self.path, ScopeKind.STAGE))])

    def die(self, journal: Journal) -> None:
        """The run ends as with kill -9: everything acknowledged is on disk, no release, no more views."""
        journal.settle()
        journal._medium.close()

    def load(self) -> Loaded:
        return load(self.files, self.layout, self.path)

    @property
    def ids(self) -> list[str]:
        """What is stored."""
        return sorted(row.id for row in self.load().fold.resources.values())

    def epoch(self, number: int) -> Path:
        return self.layout.epoch(self.path, number)

    def lines(self, epoch: int) -> list[bytes]:
        return self.epoch(epoch).read_bytes().splitlines(keepends=True)

    def view(self, id: str, generation: int | None = None) -> Path:
        return self.layout.resource_view(self.address(id), generation)

    @property
    def own_view(self) -> Path:
        return self.layout.scope_view(self.path)
