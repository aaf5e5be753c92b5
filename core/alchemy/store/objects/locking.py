"""Taking a scope path alone over claims: flag, then look. Of two who are in each other's way one sees the other.

First the own claim, then those above: is one of them taken, the own is given back (below yields). Then those below:
while one of them is taken, the own stays and waits (above waits, and newcomers below it see it and yield). A claim that
nobody renewed for a lease, as we watched and by our own clock, is broken. Neighbours: `claims`, `leases` keeps them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from alchemy.errors import InvalidName
from alchemy.model.paths import ScopePath
from alchemy.store.objects.claims import Claim, Own, decode_claim, encode_free, is_free
from alchemy.store.objects.keys import Keys
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.port import Changed, Found, Listed, Unknown
from alchemy.store.objects.requests import Fetch, Get, List, Pause, Replace, Steps, Stopped


@dataclass(frozen=True, slots=True)
class InTheWay:
    """Who has `path`, or waits for it; `others` more do."""

    path: ScopePath
    claim: Claim
    others: int = 0


@dataclass(slots=True)
class Watch:
    """What was seen of a claim: unchanged since `since`; `moved` is when a change was last seen, None for never.

    `looked`: the last time. A watcher that slept meanwhile saw nothing of what slept with it.
    """

    etag: str
    tail: str  # key of the newest record of the path's own journal
    since: float
    moved: float | None
    looked: float


class Watcher:
    """Tells dead claims from live ones, by watching them.

    `alive` may know at once, of a process of this machine; None when it cannot be seen from here.
    """

    def __init__(self, keys: Keys, limits: Limits, alive: Callable[[Claim], bool | None]) -> None:
        self.watches: dict[ScopePath, Watch] = {}
        self._keys = keys
        self._limits = limits
        self._alive = alive

    def is_dead(self, path: ScopePath, found: Found, asked: float) -> Steps[bool]:
        """`found` is the answer to a question of the time `asked`. A journal that goes on is life, too."""
        alive = self._alive(decode_claim(str(path), found.body))
        if alive is not None:
            return not alive
        watch = self.watches.get(path)
        watched = watch is not None and asked - watch.looked <= self._limits.lease / 4
        if watch is not None:
            watch.looked = asked
            if watched and watch.etag == found.etag and asked - watch.since < self._limits.lease:
                return False
        tail = yield from self._tail(path, watch.tail if watch else "")
        moved = watch is not None and (watch.etag, watch.tail) != (found.etag, tail)
        if watched and not moved:
            return True
        now: float = yield Pause()
        before = watch.moved if watch else None
        self.watches[path] = Watch(found.etag, tail, now, now if moved else before, now)
        return False

    def _tail(self, path: ScopePath, after: str) -> Steps[str]:
        listed: Sequence[Listed] = yield List(self._keys.journal(path), after)
        return listed[-1].key if listed else after


class Acquisition:
    """One path wanted. `ours` are paths this session holds for longer: what lies below them is free to us."""

    def __init__(self, keys: Keys, claim: Claim, limits: Limits, watcher: Watcher, ours: Collection[ScopePath]) -> None:
        self.own = Own(keys, claim, limits)
        self.path = self.own.path
        self.broken: set[str] = set()  # sessions that were held for dead: their epochs need no more waiting
        self._keys = keys
        self._limits = limits
        self._watcher = watcher
        # Whoever wants a path above what we hold waits for us: to yield to him would be to wait for each other.
        self._above = [up for up in self.path.ancestors if not any(up.holds(other) for other in ours)]

    def acquire(self, timeout: float, waiting: Callable[[InTheWay], None]) -> Steps[InTheWay | None]:
        """None: the path is ours alone. Otherwise who was in the way when the time was up; then nothing is claimed."""
        began: float = yield Pause()
        pause = self._limits.poll
        try:
            while True:
                blocker = yield from self.attempt()
                if blocker is None:
                    return None
                now: float = yield Pause()
                left = began + timeout - now
                if left <= 0:
                    break
                waiting(blocker)
                yield Pause(min(left, pause * random.uniform(0.7, 1.0)))
                pause = min(pause * 1.5, self._limits.longest_poll)
        except Stopped:
            yield from self.own.free()
            raise
        yield from self.own.free()
        return blocker

    def attempt(self) -> Steps[InTheWay | None]:
        """One try; who is in the way, or None."""
        if not self.own.stands:
            blocker = (yield from self.look_up()) or (yield from self.claim_own())  # looking first spares writes
            if blocker:
                return blocker
            blocker = yield from self.look_up()
            if blocker:
                yield from self.own.free(staying=True)
                return blocker
        asked: float = yield Pause()
        if asked - self.own.alive >= self._limits.heartbeat and not (yield from self.own.beat()):
            return InTheWay(self.path, Claim(str(self.path), "", ""))  # we were held for dead: from the beginning
        blocker = yield from self.look_down()
        if blocker:
            return blocker
        now: float = yield Pause()
        if now - self.own.alive >= self._limits.give_up and not (yield from self.own.beat()):
            return InTheWay(self.path, Claim(str(self.path), "", ""))
        return None

    def claim_own(self) -> Steps[InTheWay | None]:
        asked: float = yield Pause()
        found: Found | None = yield Get(self.own.key)
        if found is not None and not is_free(found) and not self.own.is_ours(found):
            if not (yield from self._watcher.is_dead(self.path, found, asked)):
                return self._busy(self.path, found)
            self._remember(self.path, found)
        if (yield from self.own.take(found)):
            return None
        found = yield Get(self.own.key)
        return self._busy(self.path, found)

    def look_up(self) -> Steps[InTheWay | None]:
        """Who has or wants a path above ours."""
        for path in self._above:
            asked: float = yield Pause()
            found: Found | None = yield Get(self._keys.lock(path))
            if found is not None and self.counts(found) and not (yield from self._clear(path, found, asked)):
                return self._busy(path, found)
        return None

    def look_down(self) -> Steps[InTheWay | None]:
        """Who has or wants a path below ours."""
        asked: float = yield Pause()
        listed: Sequence[Listed] = yield List(self._keys.below_lock(self.path))
        keys = tuple(item.key for item in listed if self._path_of(item.key) and not is_free(item))
        founds: Sequence[Found | None] = (yield Fetch(keys)) if keys else ()
        busy: list[InTheWay] = []
        for key, found in zip(keys, founds, strict=True):
            path = self._path_of(key)
            assert path is not None
            if found is not None and self.counts(found) and not (yield from self._clear(path, found, asked)):
                busy.append(self._busy(path, found))
        if not busy:
            return None
        first = min(busy, key=lambda each: (len(each.path.parts), each.path))
        return InTheWay(first.path, first.claim, len(busy) - 1)

    def _path_of(self, key: str) -> ScopePath | None:
        try:
            return ScopePath.parse(self._keys.locked(key))
        except InvalidName:  # nobody can take that
            return None

    def counts(self, found: Found) -> bool:
        """Somebody has it or asks for it: both are in the way."""
        return not is_free(found)

    def _clear(self, path: ScopePath, found: Found, asked: float) -> Steps[bool]:
        """A dead one's claim is made free; False when it is alive, or was faster."""
        if not (yield from self._watcher.is_dead(path, found, asked)):
            return False
        try:
            yield Replace(self._keys.lock(path), encode_free(), found.etag)
        except (Changed, Unknown):
            return False  # the next look tells
        self._remember(path, found)
        return True

    def _remember(self, path: ScopePath, found: Found) -> None:
        self.broken.add(decode_claim(str(path), found.body).session)

    def _busy(self, path: ScopePath, found: Found | None) -> InTheWay:
        return InTheWay(path, decode_claim(str(path), found.body if found else b""))
