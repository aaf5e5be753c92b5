"""Blocking work in a thread, for stores that are far away: waited for even by whoever is cancelled meanwhile.

A thread cannot be cancelled. Left alone, it would go on to open a scope for somebody who is gone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from alchemy.errors import AlchemyError
from alchemy.model.fold import Fold
from alchemy.store.store import Store

T = TypeVar("T")


class Left(Exception):
    """Whoever wanted the work done is gone: raised by the work itself, where it can still be left undone."""


async def in_thread(
    work: Callable[[], T], *, left: threading.Event | None = None, undo: Callable[[T], None] | None = None
) -> T:
    """What `work` returns. Cancelled, it sets `left`, waits for the end, and undoes what came of it."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if left is not None:
            left.set()
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        with suppress(AlchemyError, Left):
            result = task.result()
            if undo is not None:
                undo(result)
        raise


async def apart(store: Store, work: Callable[[], T]) -> T:
    """`work`, which asks `store`: in a thread when that is far away, so that the loop can tell of a store's silence."""
    return await in_thread(work) if store.remote else work()


async def open_afar(
    opening: Callable[[Callable[[Fold], None]], T],
    refuse: Callable[[Fold], None] | None,
    undo: Callable[[T], None],
) -> T:
    """`opening` takes what looks at the state before anything is claimed, and may refuse it: also because we left."""
    left = threading.Event()

    def look(fold: Fold) -> None:
        if left.is_set():
            raise Left
        if refuse is not None:
            refuse(fold)

    return await in_thread(lambda: opening(look), left=left, undo=undo)
