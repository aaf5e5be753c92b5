"""Waiting for a lock: a reservation met on the way ends it, and the run's log remembers for whom and how long.

Neighbours: `reservations` says what is reserved; `ledger` opens scopes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from alchemy.errors import AlchemyError, LockHeld
from alchemy.model.events import Event, LockWaited
from alchemy.model.paths import ScopePath
from alchemy.store.reservations import refuse_held, refuse_held_above
from alchemy.store.store import Lease, Store


class Waiting:
    """Taking a lock, with an ear open. A reservation ends the waiting: it would last longer than anybody's patience."""

    def __init__(
        self, store: Store, path: ScopePath, tell: Callable[[str], None] | None, *, by_person: bool = False
    ) -> None:
        self._store = store
        self._path = path
        self._tell = tell
        self._by_person = by_person
        self._began = store.clock.elapsed()
        self._who = ""  # whoever was in the way first
        self._taking: asyncio.Future[Lease] | None = None
        self._look: asyncio.Task[None] | None = None
        self._refusal: LockHeld | None = None

    async def acquire(self, path: ScopePath, **given: Any) -> Lease:
        """As `Store.acquire`; LockHeld also as soon as somebody is in the way and the scope is reserved."""
        self._taking = asyncio.ensure_future(self._store.acquire(path, waiting=self._hear, **given))
        try:
            return await self._taking
        except asyncio.CancelledError:
            if self._refusal is not None:
                raise self._refusal from None
            raise
        finally:
            if self._look is not None:
                self._look.cancel()

    def _hear(self, who: str) -> None:
        if not self._who and not self._by_person:
            self._look = asyncio.get_running_loop().create_task(self._see())
        self._who = self._who or who
        if self._tell is not None:
            self._tell(who)

    async def _see(self) -> None:
        try:
            await asyncio.to_thread(self._refuse) if self._store.remote else self._refuse()
        except LockHeld as error:
            assert self._taking is not None
            self._refusal = error
            self._taking.cancel()
        except AlchemyError:  # whoever has the lock at last is told
            return

    def _refuse(self) -> None:
        if self._store.has_journal(self._path):
            refuse_held(self._store.read_fold(self._path), self._store.clock.now())
        refuse_held_above(self._store, self._path)

    def over(self, emit: Callable[[Event], None]) -> None:
        """The run that waited has begun: its log says for whom and how long."""
        if self._who:
            took = round(max(0.001, self._store.clock.elapsed() - self._began), 3)
            emit(LockWaited(str(self._path), self._who, took))
