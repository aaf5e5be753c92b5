"""When to look again: file events as hints, a look every two seconds, a full reconcile now and then.

Events say *when*, never *what*: the source finds out itself. They get lost (new directories in a burst), stop for good
(the root deleted and made again), or never come (network mounts, the system's limit of watches), so none is needed for
correctness, only for speed. Neighbours: `source` is asked, the app's `on_view` gets what came out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from alchemy.operations.shapes import View
from alchemy_tui.store.source import Source

if TYPE_CHECKING:
    from watchfiles import Change

RECONCILE = 30.0  # seconds between full looks; longer where one takes more than 2% of that
LOOKS = 15  # and not before so many others
ROOT = 0.2  # seconds between two looks at whether the root exists and is the same directory
AFTER = 0.35  # seconds after an event to look once more: what a burst wrote before its directory was watched
GAP = 0.2  # seconds between two looks, at least: a storm of writes costs five repaints a second
DEBOUNCE, STEP = 200, 50  # milliseconds; watchfiles' own 1,600 would be felt


class Mode(StrEnum):
    STARTING = "starting"
    LIVE = "live"  # events
    POLLING = "polling"  # no events: looking every two seconds
    WAITING = "waiting"  # the root does not exist


@dataclass(slots=True)
class Watcher:
    """`run` until cancelled. `on_view` is awaited in the loop, after each look that brought something new."""

    source: Source
    executor: Executor  # one thread: the source is never called twice at once
    on_view: Callable[[View], Awaitable[None]]
    on_mode: Callable[[Mode], None]
    on_error: Callable[[Exception], None]
    on_well: Callable[[], None] = lambda: None  # a look came back after those that did not
    mode: Mode = Mode.STARTING
    looks: int = 0
    looked: float = 0.0  # seconds since 1970: when the source last answered
    _dirty: asyncio.Event = field(default_factory=asyncio.Event)
    _rearm: asyncio.Event = field(default_factory=asyncio.Event)
    _full: bool = True
    _paths: tuple[Path, ...] = ()
    _broken: str = ""  # why the last look raised: said once, not every two seconds
    _asked: float = 0.0  # monotonic: when the look began that has not come back yet

    @property
    def waiting(self) -> float:
        """Seconds since a look began that has not come back: a bucket may hang for minutes."""
        return time.monotonic() - self._asked if self._asked else 0.0

    def look_now(self, *, full: bool = False) -> None:
        self._full |= full
        self._dirty.set()

    async def run(self) -> None:
        tasks = [asyncio.create_task(step()) for step in (self._look_forever, self._watch_forever, self._guard_root)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # -- looking --------------------------------------------------------------------------------------------------

    async def _look_forever(self) -> None:
        loop = asyncio.get_running_loop()
        seen: View | None = None
        next_full = 0.0
        while True:
            self._dirty.clear()
            full = self._full or time.monotonic() >= next_full
            self._full = False
            began = time.monotonic()
            self._asked = began
            view, paths = seen, self._paths
            try:
                view, paths = await loop.run_in_executor(self.executor, self._look, full)
                self.looked = time.time()
                if self._broken:
                    self._broken = ""
                    self.on_well()
            except Exception as error:  # a state directory in any condition must not end the dashboard: it is said
                said = f"{type(error).__name__} {error}"
                if self._broken != said:
                    self._broken = said
                    self.on_error(error)
            self._asked = 0.0
            if full:
                next_full = began + max(RECONCILE, LOOKS * self.source.pace, 50 * (time.monotonic() - began))
            self.looks += 1
            if paths != self._paths:
                self._paths = paths
                self._rearm.set()
            if view is not None and view is not seen:
                seen = view
                await self.on_view(view)
            await asyncio.sleep(GAP)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._dirty.wait(), self.source.pace)

    def _look(self, full: bool) -> tuple[View, tuple[Path, ...]]:
        """In the source's thread."""
        return self.source.refresh(full=full), tuple(self.source.watch_paths())

    # -- hints ----------------------------------------------------------------------------------------------------

    async def _watch_forever(self) -> None:
        backoff = 1.0
        while True:
            self._rearm.clear()
            paths = [path for path in self._paths if path.is_dir()]
            if not paths:
                files = bool(self._paths) or not self.looks  # a bucket has nothing to watch
                self._set_mode(Mode.WAITING if files and not self.source.root.is_dir() else Mode.POLLING)
                # Not for ever: a directory made again between two looks can have the number of the one before.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._rearm.wait(), ROOT)
                continue
            try:
                await self._watch(paths)
                backoff = 1.0
            except (OSError, RuntimeError):  # gone meanwhile, too many watches, or a file system without events
                self._set_mode(Mode.POLLING)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._rearm.wait(), backoff)
                backoff = min(60.0, backoff * 2)

    async def _watch(self, paths: list[Path]) -> None:
        """Until the paths to watch change, or one of them is deleted."""
        from watchfiles import Change, awatch  # late: a tenth of a second that the first picture need not wait for

        roots = {str(path) for path in paths}
        stop = asyncio.Event()
        waiter = asyncio.create_task(self._stop_on_rearm(stop))
        try:
            events = awatch(
                *paths, watch_filter=self._wanted, debounce=DEBOUNCE, step=STEP, stop_event=stop, rust_timeout=1000
            )
            self._set_mode(Mode.LIVE)
            self._dirty.set()  # whatever happened while nobody watched
            async for changes in events:
                self._dirty.set()
                asyncio.get_running_loop().call_later(AFTER, self._dirty.set)
                if any(change == Change.deleted and path in roots for change, path in changes):
                    self._rearm.set()
        finally:
            waiter.cancel()
            stop.set()

    async def _stop_on_rearm(self, stop: asyncio.Event) -> None:
        await self._rearm.wait()
        stop.set()

    def _wanted(self, change: Change, path: str) -> bool:
        """Everything but our own temporary files and the local cloud's database, which writes all the time.

        watchfiles' own filter would be deaf below any folder called `.venv` or `node_modules`.
        """
        if path.endswith(".tmp"):
            return False
        below = os.path.relpath(path, self.source.root).split(os.sep, 1)[0]
        return below != "local-cloud"

    async def _guard_root(self) -> None:
        """A root that is deleted and made again is a new directory: the old watch never speaks again."""
        known = self._identity()
        while True:
            await asyncio.sleep(ROOT)
            current = self._identity()
            if current != known:
                known = current
                self._rearm.set()
                self.look_now(full=True)

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self.source.root.stat()
        except OSError:
            return None
        return (found.st_dev, found.st_ino)

    def _set_mode(self, mode: Mode) -> None:
        if mode != self.mode:
            self.mode = mode
            self.on_mode(mode)
