"""The store in a bucket: objects that are created once, claims with heartbeats, and nothing of it on this machine.

Neighbours: `store` (one level up) is the contract; `beside`, `medium`, `locks`, `reading`, `verdicts`, `scopes` do it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from alchemy.errors import AlchemyError
from alchemy.model.fold import Fold
from alchemy.model.locks import LockView
from alchemy.model.paths import ScopePath
from alchemy.model.records import Op, Record
from alchemy.model.values import Holder, ScopeKind
from alchemy.store.activity import Activity
from alchemy.store.beginnings import Beginning, Salvaged
from alchemy.store.clock import Clock
from alchemy.store.journal import Journal
from alchemy.store.layout import Layout
from alchemy.store.objects.beside import Beside
from alchemy.store.objects.bucket import Bucket
from alchemy.store.objects.claims import break_claim, is_free
from alchemy.store.objects.holding import fenced
from alchemy.store.objects.keys import Keys
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.locks import ObjectLocks
from alchemy.store.objects.log import Log
from alchemy.store.objects.medium import lost_journal, open_remote
from alchemy.store.objects.port import Objects
from alchemy.store.objects.probe import admit
from alchemy.store.objects.reading import ObjectReader, RunIndex
from alchemy.store.objects.requests import perform
from alchemy.store.objects.scopes import Scopes
from alchemy.store.objects.settings import BucketSettings
from alchemy.store.objects.silence import Silence
from alchemy.store.objects.superseding import salvage_log, supersede
from alchemy.store.objects.verdicts import Verdicts
from alchemy.store.store import Lease, Reader


class ObjectStore(Beside):
    """`root` is the state directory on this machine, for spills. `beats`: a client of its own for heartbeats.

    `admit`, called once before the first write, finds out whether the place keeps its word; returns what to use of it.
    """

    remote = True

    def __init__(
        self,
        objects: Objects,
        root: Path,
        session: str = "",
        *,
        prefix: str = "",
        beats: Objects | None = None,
        clock: Clock | None = None,
        limits: Limits | None = None,
        admit: Callable[[], tuple[Objects, Objects]] | None = None,
    ) -> None:
        self.session = session
        self.clock = clock or Clock()
        self.root = root
        self.objects = objects
        self.keys = Keys(prefix)
        self.limits = limits or Limits()
        self.look_every = self.limits.heartbeat / 2  # each look is a request
        self.lock_timeout = self.limits.lease * 1.5  # longer than a dead run on another machine is in the way
        self._admit = admit
        self._admitting = threading.Lock()
        self._journals: dict[ScopePath, Journal] = {}
        self._opened: dict[ScopePath, Fold] = {}
        self._runs: dict[str, RunIndex] = {}
        self._activity: Activity | None = None  # as it was seen last
        given = (self.keys, self.clock)
        self._scopes = Scopes(objects, *given, self.limits, self._opened)
        self._verdicts = seen = Verdicts(
            objects, *given, self.limits, session, lambda path, session: self._index(path).opener(session)
        )
        self._locks = ObjectLocks(objects, beats or objects, *given, self.limits, session, self._lost, seen.changed)

    @property
    def place(self) -> str:
        return self.objects.place

    # -- taking -------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        if self._admit is None:
            return
        with self._admitting:
            if self._admit is not None:
                # Only writing can differ: who read until now goes on as before.
                objects, beats = self._admit()
                self.objects = self._locks.objects = objects
                self._locks.beats = beats
                self._admit = None

    async def acquire(
        self,
        path: ScopePath,
        *,
        owner: ScopePath | None = None,
        timeout: float | None,
        held: Collection[ScopePath] = (),
        waiting: Callable[[str], None] | None = None,
    ) -> Lease:
        if self._admit is not None:
            await asyncio.to_thread(self.prepare)
        limit = self.lock_timeout if timeout is None else timeout
        return await self._locks.acquire(path, owner=owner, timeout=limit, held=held, waiting=waiting)

    def _lost(self, path: ScopePath) -> None:
        """A heartbeat found that a claim is not ours any more: the runs it was for start nothing more."""
        for owner, journal in list(self._journals.items()):
            if path.holds(owner):
                journal.fail(fenced(owner))

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
        journal = open_remote(
            self.writable(),
            self.clock,
            self._scopes.take_writer(path),
            Layout(self.root),
            path,
            session=self.session,
            holder=holder,
            ops=ops,
            body=body,
            refuse=refuse,
            seen=seen,
            check=partial(self._locks.check, path),
            closed=lambda: self._closed(path),
        )
        self._journals[path], self._opened[path] = journal, journal.fold
        self._scopes.changed()
        return journal

    def begin_journal(
        self, path: ScopePath, *, holder: Callable[[int], Holder], beginning: Beginning, body: dict[str, Any]
    ) -> Journal:
        self._locks.check(path)
        supersede(self.writable(), self.clock, self.keys, self.limits, path, beginning)
        self._runs.pop(str(path), None)
        self._closed(path)
        return self.open_journal(path, holder=holder, ops=lambda fold: (), body=body)

    def set_journal_aside(self, path: ScopePath) -> str:
        """Nothing has to move: what is damaged stays below the snapshot that takes its place."""
        return ""

    def salvage(self, path: ScopePath | str) -> Salvaged:
        return salvage_log(self.objects, self.clock, self.keys, self, path)

    def _closed(self, path: ScopePath) -> None:
        self._journals.pop(path, None)
        self._opened.pop(path, None)
        self._scopes.changed()

    def free(self, path: ScopePath, session: str) -> None:
        perform(self.writable(), self.clock, break_claim(self.keys, path, session, self.limits))
        self._verdicts.changed()

    # -- reading ------------------------------------------------------------------------------------------------

    def owners(self) -> list[str]:
        return self._scopes.owners()

    def has_journal(self, path: ScopePath | str) -> bool:
        return self._scopes.has_journal(_parse(path))

    def reader(self, path: ScopePath | str) -> Reader:
        seen, lacks = self._index(path).remember, partial(self._scopes.lacks, path)
        return ObjectReader(self.objects, self.keys, self.clock, path, seen, lacks)

    def read_fold(self, path: ScopePath | str) -> Fold:
        log = Log(self.keys, path)
        perform(self.objects, self.clock, log.load())
        error = lost_journal(self.objects, self.keys, log.fold)
        if error is not None:
            raise error
        return log.fold

    def lost_records(self, fold: Fold, *, thorough: bool) -> AlchemyError | None:
        if not thorough and not fold.seq and self._scopes.lacks(fold.path):
            return None
        return lost_journal(self.objects, self.keys, fold)

    def epochs(self, path: ScopePath | str) -> list[int]:
        return self._index(path).epochs()

    def read_epoch(self, path: ScopePath | str, epoch: int) -> list[Record]:
        return self._index(path).records(epoch)

    def _index(self, path: ScopePath | str) -> RunIndex:
        return self._runs.setdefault(str(path), RunIndex(self.objects, self.keys, self.clock, path))

    def lock_view(self, path: ScopePath | str) -> LockView:
        return self._verdicts.view(str(_parse(path)))

    def lock_views(self) -> list[LockView]:
        return self._verdicts.views()

    def activity(self) -> Activity | None:
        before, self._activity = self._activity, self._verdicts.activity()
        if before is None or self._activity.since(before):
            self._scopes.changed()
        return self._activity

    # -- scopes as names ----------------------------------------------------------------------------------------

    def stored_kind(self, path: ScopePath) -> ScopeKind | None:
        return self._scopes.kind(path)

    def siblings(self, path: ScopePath) -> list[str]:
        return self._scopes.siblings(path)

    def ensure_application(self, path: ScopePath) -> None:
        """Whatever lies below it makes it known."""

    def forget(self, path: ScopePath) -> None:
        """Backups first, then the newest records, so that what is left when this is cut off is still a journal."""
        if path.parent is None:
            return
        whole = self.keys.scope(path)
        for prefix in (self.keys.backups(path), self.keys.journal(path), whole):
            for item in sorted(self.objects.list(prefix), key=lambda item: item.key, reverse="/journal/" in prefix):
                self.objects.delete(item.key)
        locks = [item for item in self.objects.list(self.keys.below_lock(path)) if is_free(item)]
        locks += [item for item in self.objects.list(self.keys.lock(path)) if is_free(item)]
        for item in locks:  # of a test: nobody takes its path ever again
            self.objects.delete(item.key)
        self._runs.pop(str(path), None)
        self._closed(path)
        self._verdicts.changed()


def _parse(path: ScopePath | str) -> ScopePath:
    return path if isinstance(path, ScopePath) else ScopePath.parse(path)


def bucket_store(settings: BucketSettings, root: Path, session: str = "", clock: Clock | None = None) -> ObjectStore:
    """Nothing is sent yet; before the first write the bucket is tried, unless that is remembered in it."""

    silence = Silence()
    limits = Limits() if settings.is_r2 else Limits(gap=0.0)  # others take as many writes of one key as come

    def admitted() -> tuple[Objects, Objects]:
        bucket = admit(Bucket(settings, silence))
        return bucket, Bucket(bucket.settings)

    first = Bucket(settings, silence)
    store = ObjectStore(first, root, session, prefix=settings.prefix, clock=clock, limits=limits, admit=admitted)
    silence.tell = store.tell_trouble
    return store
