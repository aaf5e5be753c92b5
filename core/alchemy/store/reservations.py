"""Scopes that a person keeps runs out of, as whoever opens one meets it; and what is remembered of waiting for a lock.

Neighbours: `ledger` opens scopes; `operations.holding` reserves them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from alchemy.errors import AlchemyError, LockHeld, StateInvalid
from alchemy.model.events import Event, LockWaited
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.model.values import Hold
from alchemy.store.store import Lease, Store


def until(hold: Hold) -> str:
    """` until 2026-03-01 14:00` in local time, or nothing: it stays until somebody unlocks."""
    if not hold.until:
        return ""
    try:
        at = datetime.fromisoformat(hold.until).astimezone()
    except (ValueError, OverflowError):
        return f" until {safe_text(hold.until, 40)}"
    return f" until {at:%Y-%m-%d %H:%M}"


def refuse_held(fold: Fold, now: str, wanted: ScopePath | None = None) -> None:
    """LockHeld while a person keeps runs out of the scope, or, with `wanted`, of what is below it."""
    hold = fold.hold
    if hold is None or not hold.active(now):
        return
    who, why = safe_text(hold.by, 80), safe_text(hold.reason, 300)
    what = "it" if wanted is None or str(wanted) == fold.path else f"{fold.path} above it"
    raise LockHeld(
        f"Failed to acquire lock {wanted or fold.path}: {what} is reserved by {who}{until(hold)}: {why}",
        hint=f"`alchemy scope unlock {fold.path}` gives it free",
    )


def refuse_held_above(store: Store, path: ScopePath) -> None:
    """What is reserved as an application keeps runs out of its stages and tests too."""
    if path.parent is None:
        return
    app = path.ancestors[0]
    if not store.has_journal(app):
        return
    try:
        fold = store.read_fold(app)
    except StateInvalid:  # its own damage is its own: the stages of an application stand by themselves
        return
    refuse_held(fold, store.clock.now(), path)


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
