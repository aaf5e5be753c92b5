"""A lock in a bucket that is held: its claims, and the thread that shows every few seconds that we live.

The thread has a client of its own, because user code may block the event loop, and a large snapshot the other client,
for minutes. Neighbours: `locks` makes these, `claims` writes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace

from alchemy.errors import AlchemyError, Fenced, UsageError
from alchemy.model.paths import ScopePath
from alchemy.model.values import Holder
from alchemy.store.clock import Clock
from alchemy.store.objects.claims import Own
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.port import Objects
from alchemy.store.objects.requests import Stopped, perform


def fenced(path: ScopePath) -> Fenced:
    return Fenced(
        f"the lock of this run on {path} is gone: it was not heard of for too long, or the lock was opened by force",
        hint=f"`alchemy scope locks` shows who has it; `alchemy scope logs {path}` shows what was done",
    )


class ObjectLease:
    """`exclusive` lists every path held alone, the owner's too. `lost` is told of a claim that was taken from us.

    `broken`: sessions that were held for dead on the way to it.
    """

    def __init__(
        self,
        owns: Sequence[Own],
        objects: Objects,
        clock: Clock,
        limits: Limits,
        lost: Callable[[ScopePath], None],
        forget: Callable[[ObjectLease], None],
        broken: Collection[str] = (),
    ) -> None:
        self.path = owns[-1].path
        self.exclusive = tuple(own.path for own in owns)
        self.broken = frozenset(broken)
        self._owns = list(owns)
        self._writing = threading.Lock()  # an `Own` is for one thread at a time
        self._objects = objects
        self._clock = clock
        self._limits = limits
        self._lost = lost
        self._forget = forget
        self._pid = os.getpid()
        self._holder: Holder | None = None
        self._released = False
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._left = threading.Event()  # and whoever released it need not wait any longer
        self._thread = threading.Thread(target=self._live, name=f"heartbeat {self.path}", daemon=True)
        self._thread.start()

    @property
    def mine(self) -> bool:
        """False in a child forked by the process that took it, and once it is found to be somebody else's."""
        return os.getpid() == self._pid and not any(own.lost for own in self._owns)

    @property
    def alive(self) -> float:
        """When we were last seen to hold all of it, by the own clock."""
        return min(own.alive for own in self._owns)

    def confirm(self) -> None:
        """Asks the store whether it is still held: after a sleep nobody knows. Fenced when it is not."""
        for own in self._owns:
            if not self._beaten(own):
                raise fenced(own.path)

    def publish(self, holder: Holder) -> None:
        """Fenced when somebody broke the lock meanwhile.

        Shown with the next heartbeat, not by a write of its own, after which giving the lock back would have to wait.
        Until then everybody reads it in the journal; what has none shows it at once.
        """
        if self._released or os.getpid() != self._pid:
            raise UsageError(f"lock {self.path} is not held here", hint="publish between acquire and release")
        for own in self._owns:
            if not own.stands:
                raise fenced(own.path)
        self._holder = holder
        if not holder.epoch:
            self._wake.set()

    def release(self) -> None:
        """Gives it back; the second time, or in a forked child, nothing happens.

        A store that does not answer now is not waited for: the thread goes on trying while this process lives.
        """
        if self._released or os.getpid() != self._pid:
            return
        self._released = True
        self._stop.set()
        self._wake.set()
        self._left.wait(self._limits.farewell + self._limits.gap)
        self._forget(self)

    def _live(self) -> None:
        """Until it is given back, which may take longer than anybody waits for it."""
        self._beat()
        left = list(reversed(self._owns))
        while left := [own for own in left if not self._freed(own)]:
            self._left.set()
            time.sleep(self._limits.heartbeat)
        self._left.set()

    def _freed(self, own: Own) -> bool:
        with self._writing:
            try:
                perform(self._objects, self._clock, own.free())
            except AlchemyError:
                return False
            return True

    def _beat(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(self._limits.heartbeat)
            self._wake.clear()
            for own in self._owns:
                if self._stop.is_set():
                    return
                if own.stands:
                    self._renew(own)

    def _renew(self, own: Own) -> None:
        with suppress(Stopped, AlchemyError):  # not reached: the next beat tries again, and others wait for a lease
            if not self._beaten(own):
                self._lost(own.path)

    def _beaten(self, own: Own) -> bool:
        with self._writing:
            claim = replace(own.claim, held=True)
            if self._holder is not None:
                claim = replace(claim, holder=replace(self._holder, path=str(own.path)).to_json())
            return perform(self._objects, self._clock, own.beat(claim), self._stop)
