"""The store on local disk: files below one state directory, the kernel's locks, a journal file a run.

Neighbours: `store` is the contract; `localjournal`, `locks`, `holders`, `opening`, `copies`, `views` do the work.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from alchemy.errors import AlchemyError, InvalidName, StateInvalid, StorageFailed
from alchemy.model.fold import Fold, Stamp
from alchemy.model.locks import LockView
from alchemy.model.paths import ScopePath
from alchemy.model.records import Op, Record
from alchemy.model.values import Holder, ScopeKind, ScopeState
from alchemy.store.backups import BACKUP
from alchemy.store.beginnings import Beginning, Salvaged
from alchemy.store.clock import Clock
from alchemy.store.descent import is_open, is_plain_directory
from alchemy.store.files import Files
from alchemy.store.holders import lock_view, lock_views
from alchemy.store.layout import VIEW, Layout
from alchemy.store.opening import epoch_numbers, lost_records, read_fold
from alchemy.store.reader import JournalReader, read_epoch
from alchemy.store.salvage import refuse_while_held, salvage, set_aside
from alchemy.store.store import Lease, Reader, Store
from alchemy.store.viewfile import examine, read_view, render, stands_by_itself
from alchemy.store.viewwatch import ViewWatch

if TYPE_CHECKING:
    from alchemy.store.journal import Journal
    from alchemy.store.locks import LocalLocks

_NOT_SCOPES = frozenset(["locks", "local-cloud", "audit", "spill"])
_INSIDE = frozenset(["journal", "snapshots", "backups", "resources", "locks"])
_MARK = re.compile(r"(state-[0-9TZ-]+\.json)\.([a-z]+)")


class LocalStore(Store):
    """`layout.root` is the state directory; it may not exist yet."""

    def __init__(
        self, layout: Layout, session: str = "", files: Files | None = None, clock: Clock | None = None
    ) -> None:
        self.layout = layout
        self.session = session
        self.files = files or Files(layout.root)
        self.clock = clock or Clock()
        self.root = layout.root

    @property
    def place(self) -> str:
        return str(self.layout.root)

    @property
    def warning(self) -> str:
        return self.files.warning

    @property
    def locks(self) -> LocalLocks:
        from alchemy.store.locks import LocalLocks

        return LocalLocks(self.layout, self.files, self.clock)

    # -- taking -------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        self.files.make_directory(self.root)

    async def acquire(
        self,
        path: ScopePath,
        *,
        owner: ScopePath | None = None,
        timeout: float | None,
        held: Collection[ScopePath] = (),
        waiting: Callable[[str], None] | None = None,
    ) -> Lease:
        limit = self.lock_timeout if timeout is None else timeout
        return await self.locks.acquire(path, owner=owner, timeout=limit, held=held, waiting=waiting)

    def open_journal(
        self,
        path: ScopePath,
        *,
        holder: Callable[[int], Holder],
        ops: Callable[[Fold], Sequence[Op]],
        body: dict[str, Any],
        refuse: Callable[[Fold], None] | None = None,
        seen: int | None = None,
    ) -> Journal:
        from alchemy.store.localjournal import open_local

        return open_local(
            self.files,
            self.layout,
            self.clock,
            path,
            session=self.session,
            holder=holder,
            ops=ops,
            body=body,
            refuse=refuse,
            seen=seen,
        )

    def begin_journal(
        self, path: ScopePath, *, holder: Callable[[int], Holder], beginning: Beginning, body: dict[str, Any]
    ) -> Journal:
        from alchemy.store.localjournal import begin_local

        given = (self.files, self.layout, self.clock, path)
        return begin_local(*given, session=self.session, holder=holder, beginning=beginning, body=body)

    def set_journal_aside(self, path: ScopePath) -> str:
        refuse_while_held(self, path)
        return set_aside(self.files, self.layout, path)

    def salvage(self, path: ScopePath | str) -> Salvaged:
        return salvage(self.files, self.layout, self, path)

    def free(self, path: ScopePath, session: str) -> None:
        from alchemy.store.breaking import break_lock

        break_lock(self.layout, self.files, path, session)

    # -- reading ------------------------------------------------------------------------------------------------

    def owners(self) -> list[str]:
        found: list[str] = []
        for app in self.files.names(self.root):
            directory = self.root / app
            if app in _NOT_SCOPES or not _named(app):
                continue
            if not is_plain_directory(directory):
                found += [app] if self._blocked(app) else []
                continue
            if self._owns(directory) or self.files.exists(directory / VIEW):
                found.append(app)
            for name in self._names(directory):
                if name in _INSIDE or not _named(name):
                    continue
                if self._owns(directory / name) or self._blocked(f"{app}/{name}"):
                    found.append(f"{app}/{name}")
                elif name == "test":
                    tests = self._names(directory / name)
                    found += [f"{app}/test/{t}" for t in tests if _named(t) and self._owns(directory / name / t)]
        return found

    def _names(self, directory: Path) -> list[str]:
        """None of what is closed to us: it stands in the list by itself, and hides nothing else."""
        try:
            return self.files.names(directory)
        except (StorageFailed, StateInvalid):
            return []

    def _blocked(self, path: str) -> bool:
        """In the place of a scope lies a link, or what is no directory: whoever looks into it is told."""
        place = self.layout.scope(path)
        return os.path.islink(place) or (not os.path.isdir(place) and self.files.exists(self.layout.lock(path)))

    def _owns(self, directory: Path) -> bool:
        """It has a journal, or had one: views and backups stay when somebody removes it. Or nobody can tell."""
        if not is_plain_directory(directory):
            return False
        if not is_open(directory):
            return True
        if any(self.files.exists(directory / name) for name in ("journal", "backups", "snapshots")):
            return True
        view = read_view(self.files, directory / VIEW)
        return view is not None and stands_by_itself(view.data)

    def has_journal(self, path: ScopePath | str) -> bool:
        return self.files.exists(self.layout.journal(path))

    def reader(self, path: ScopePath | str) -> Reader:
        return JournalReader(self.files, self.layout, path)

    def read_fold(self, path: ScopePath | str) -> Fold:
        return read_fold(self.files, self.layout, path)

    def lost_records(self, fold: Fold, *, thorough: bool) -> AlchemyError | None:
        return lost_records(self.files, self.layout, fold, thorough=thorough)

    def epochs(self, path: ScopePath | str) -> list[int]:
        return epoch_numbers(self.files, self.layout, path)

    def read_epoch(self, path: ScopePath | str, epoch: int) -> list[Record]:
        return read_epoch(self.files, self.layout, path, epoch)

    def lock_view(self, path: ScopePath | str) -> LockView:
        return lock_view(self.layout, self.files, path, clock=self.clock)

    def lock_views(self) -> list[LockView]:
        return lock_views(self.layout, self.files, self.clock)

    def view_watch(self, path: ScopePath | str) -> ViewWatch | None:
        return ViewWatch(self.files, self.layout, str(path))

    # -- scopes as names ----------------------------------------------------------------------------------------

    def stored_kind(self, path: ScopePath) -> ScopeKind | None:
        found = read_view(self.files, self.layout.scope_view(path))
        if found is None or examine(found.data).problem:
            return None
        try:
            return ScopeKind(orjson.loads(found.data)["kind"])
        except (KeyError, ValueError):
            return None

    def siblings(self, path: ScopePath) -> list[str]:
        return self.files.names(self.layout.scope(path).parent)

    def ensure_application(self, path: ScopePath) -> None:
        """A view without a journal, from record 0. Synced, for nobody could write it again as it was."""
        view = self.layout.scope_view(path.app)
        if self.files.exists(view):
            return
        self.files.make_directory(view.parent)
        now = self.clock.now()
        row = ScopeState(path=path.app, kind=ScopeKind.APPLICATION, created_at=now, updated_at=now)
        self.files.replace(view, render(row, Stamp(0, 0, 0)), durable=True)

    def forget(self, path: ScopePath) -> None:
        if path.parent is None:
            if not self.has_journal(path):
                self.files.remove(self.layout.scope_view(path))
            return
        shutil.rmtree(self.layout.scope(path), ignore_errors=True)
        for file in (self.layout.lock(path), self.layout.gate(path), self.layout.holder(path)):
            self.files.remove(file)

    # -- backups, audit -----------------------------------------------------------------------------------------

    def backups(self, path: ScopePath | str) -> list[str]:
        return [name for name in self.files.names(self.layout.backups(path)) if BACKUP.fullmatch(name)]

    def read_backup(self, path: ScopePath | str, name: str, *, head: int = 0) -> tuple[bytes, int]:
        file = self.layout.backups(path) / name
        data = self.files.read_head(file, head) if head else self.files.read(file)
        return data, self.files.size(file) if head else len(data)

    def create_backup(self, path: ScopePath | str, name: str, data: bytes) -> None:
        self.files.make_directory(self.layout.backups(path))
        self.files.close(self.files.create(self.layout.backups(path) / name, data))

    def remove_backup(self, path: ScopePath | str, name: str) -> None:
        self.files.remove(self.layout.backups(path) / name)

    def mark_backup(self, path: ScopePath | str, name: str, mark: str, text: str | None) -> None:
        file = self.layout.backups(path) / f"{name}.{mark}"
        if text is None:
            self.files.remove(file)
        else:
            self.files.replace(file, text.encode("utf-8", "replace"), durable=True)

    def backup_marks(self, path: ScopePath | str) -> dict[tuple[str, str], str]:
        directory = self.layout.backups(path)
        marks: dict[tuple[str, str], str] = {}
        for found in filter(None, map(_MARK.fullmatch, self.files.names(directory))):
            marks[found[1], found[2]] = ""  # it counts by its name; the text is for people
            with suppress(FileNotFoundError, StorageFailed, StateInvalid):
                marks[found[1], found[2]] = self.files.read(directory / found[0]).decode("utf-8", "replace")
        return marks

    def audit(self, entry: dict[str, Any]) -> None:
        self.files.make_directory(self.layout.audit)
        at = self.clock.now()
        data = orjson.dumps({**entry, "at": at}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        stem = at.replace(":", "-").replace(".", "-")
        self.files.close(self.files.create(self.layout.audit / f"{stem}-{os.urandom(4).hex()}.json", data))

    def audits(self) -> list[dict[str, Any]]:
        found = []
        for name in self.files.names(self.layout.audit):
            with suppress(orjson.JSONDecodeError, OSError, StorageFailed, StateInvalid):
                entry = orjson.loads(self.files.read(self.layout.audit / name))
                if isinstance(entry, dict):
                    found.append(entry)
        return found


def _named(name: str) -> bool:
    """Names outside the grammar are not scopes; `validate` reports them."""
    try:
        ScopePath.parse(f"x/{name}")
    except InvalidName:
        return False
    return True
