"""Somebody has to be told when a store does not answer, while it is still being asked: not only when all is over.

A thread of its own looks, since the one that asks is blocked. Neighbours: `bucket` says what it asks and what it hears.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from alchemy.store.objects.limits import Limits

_IDLE = 12  # looks at nothing, after which the thread ends


@dataclass(slots=True)
class Silence:
    """Of one store, from any thread. `tell` hears of each silence once, from another thread."""

    limits: Limits = field(default_factory=Limits)
    tell: Callable[[str], None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _since: dict[bool, float] = field(default_factory=dict)  # writing -> when what has no answer yet was asked first
    _under_way: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})
    _told: bool = False
    _thread: threading.Thread | None = None

    @contextmanager
    def asking(self, *, writing: bool) -> Iterator[Callable[[], None]]:
        """Around each request; what it gives is called when the answer was clear."""
        if self.tell is None:
            yield lambda: None
            return
        with self._lock:
            self._since.setdefault(writing, time.monotonic())
            self._under_way[writing] += 1
            self._watch()
        heard = False

        def hear() -> None:
            nonlocal heard
            heard = True

        try:
            yield hear
        finally:
            with self._lock:
                self._under_way[writing] -= 1
                if heard:
                    self._told = False
                    self._since.pop(writing, None)
                    if self._under_way[writing]:  # others are asked still: they may be the ones that do not answer
                        self._since[writing] = time.monotonic()

    def _watch(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._look, name="silence", daemon=True)
            with suppress(RuntimeError):  # the interpreter ends: nobody is there to be told
                thread.start()
                self._thread = thread

    def _look(self) -> None:
        idle = 0
        while True:
            time.sleep(self.limits.quiet / 4)
            with self._lock:
                idle = 0 if self._since else idle + 1
                if idle > _IDLE:
                    self._thread = None
                    return
                # Of what failed, nobody may be asking any more.
                since = [at for writing, at in self._since.items() if time.monotonic() - at < self.limits.patience]
                late = [at for at in since if time.monotonic() - at >= self.limits.quiet]
                if not late:
                    if not since:
                        self._since.clear()
                    continue
                if self._told:
                    continue
                self._told = True
                until = time.time() + self.limits.patience - (time.monotonic() - min(late))
                tell = self.tell
            if tell is not None:
                clock = time.strftime("%H:%M:%S", time.localtime(until))
                tell(f"it does not answer; trying until {clock} at most")
