"""Taking locks in a bucket, without blocking the event loop; who is in the way, in words.

Neighbours: `locking` is the protocol, `holding` what comes out of it. The same process never waits for itself.
"""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache

from alchemy.errors import LockHeld, StorageFailed, UsageError
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.model.values import Holder
from alchemy.store import identity
from alchemy.store.clock import Clock
from alchemy.store.holders import in_words, is_gone
from alchemy.store.objects.claims import Claim, Own
from alchemy.store.objects.holding import ObjectLease
from alchemy.store.objects.keys import Keys
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.locking import Acquisition, InTheWay, Watcher
from alchemy.store.objects.port import Objects
from alchemy.store.objects.requests import perform

# Paths this process holds, by place. Only for the UsageError.
_held: dict[tuple[str, ScopePath], ObjectLease] = {}


@cache
def birthplace() -> str:
    """Where process numbers mean the same: this boot, this namespace; "" where the system does not say."""
    try:
        return f"{identity.boot_id()} {os.readlink('/proc/self/ns/pid')}" if identity.boot_id() else ""
    except OSError:
        return ""


def this_process(path: ScopePath, session: str, clock: Clock) -> Holder:
    """As others see us before the epoch is open."""
    return identity.make_holder(path, session, clock.now(), 0, "")


def holder_of(claim: Claim) -> Holder | None:
    """None when the claim does not say it as we do."""
    try:
        holder = Holder.from_json(claim.holder)
    except KeyError:
        return None
    texts = all(isinstance(value, str) for name, value in claim.holder.items() if name not in ("epoch", "pid"))
    return holder if texts and type(holder.epoch) is int and type(holder.pid) is int else None


def death_of(claim: Claim) -> str:
    """Why its process cannot be running, when it could be seen from here; "" otherwise."""
    holder = holder_of(claim)
    return is_gone(holder) if holder and claim.place and claim.place == birthplace() else ""


def seen_alive(claim: Claim) -> bool | None:
    """Whether its process runs; None when it cannot be seen from here.

    One that runs may be stopped, or without a network, and go on at any moment: only force takes its lock.
    """
    holder = holder_of(claim)
    if holder is None or not claim.place or claim.place != birthplace():
        return None
    if is_gone(holder):
        return False
    return True if holder.process_start and holder.process_start == identity.process_start(holder.pid) else None


@dataclass(slots=True)
class ObjectLocks:
    """Locks of one place. `beats` is the client of heartbeats.

    `lost` is told of each claim that was taken from us, `changed` of each lock that we took or gave back.
    """

    objects: Objects
    beats: Objects
    keys: Keys
    clock: Clock
    limits: Limits
    session: str
    lost: Callable[[ScopePath], None]
    changed: Callable[[], None]
    _leases: dict[ScopePath, ObjectLease] = field(default_factory=dict)  # of this session

    def check(self, path: ScopePath, fold: Fold | None = None) -> None:
        """Right before something is written that would push others out: is the lock on `path` still ours?

        Whoever slept since he took it was held for dead, and the run that `fold` shows may be his heir's. Fenced then.
        The store is asked only when there is reason for doubt; without a lock the later one wins.
        """
        lease = self._leases.get(path)
        if lease is None:
            return
        session = fold.holder.session if fold and fold.holder else ""
        known = fold is not None and (fold.released or session in (self.session, *lease.broken))
        if not known or self.clock.elapsed() - lease.alive > self.limits.give_up:
            lease.confirm()

    async def acquire(
        self,
        path: ScopePath,
        *,
        owner: ScopePath | None,
        timeout: float,
        held: Collection[ScopePath],
        waiting: Callable[[str], None] | None,
    ) -> ObjectLease:
        """As `Store.acquire`. Requests run in a thread; a cancelled wait gives back what it claimed."""
        if owner and not owner.holds(path):
            raise UsageError(f"{owner} cannot own {path}: it is not above it", hint="name the stage it is in")
        ours = [other for other in held if (lease := _held.get((self.objects.place, other))) and lease.mine]
        targets = (path,) if owner is None or owner == path or owner in ours else (owner, path)
        for target in targets:
            self._refuse_own(target)
        loop, stop = asyncio.get_running_loop(), threading.Event()

        def tell(text: str) -> None:
            if waiting and not stop.is_set():
                waiting(text)

        def tell_from_thread(text: str) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody is there to be told
                loop.call_soon_threadsafe(tell, text)

        work = asyncio.ensure_future(
            asyncio.to_thread(self._take, path, targets, ours, timeout, tell_from_thread, stop)
        )
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            stop.set()
            work.add_done_callback(_give_back)
            with suppress(Exception):
                await work
            raise
        finally:
            stop.set()

    def _refuse_own(self, target: ScopePath) -> None:
        mine = sorted(p for (place, p), lease in list(_held.items()) if place == self.objects.place and lease.mine)
        for other in mine:
            if target.holds(other):
                raise UsageError(
                    f"this process already holds {other}: opening {target} would wait for itself",
                    hint=f"finalize {other} first, or open a scope below it",
                )

    def _take(
        self,
        path: ScopePath,
        targets: Sequence[ScopePath],
        ours: Sequence[ScopePath],
        timeout: float,
        tell: Callable[[str], None],
        stop: threading.Event,
    ) -> ObjectLease:
        began = self.clock.elapsed()
        owns: list[Own] = []
        broken: set[str] = set()
        watcher = Watcher(self.keys, self.limits, seen_alive)
        words = _Waiting(path, self.clock, tell)
        try:
            for target in targets:
                holder = this_process(target, self.session, self.clock).to_json()
                claim = Claim(str(target), uuid.uuid4().hex, self.session, holder, birthplace())
                above = [*ours, *(own.path for own in owns)]
                wanted = Acquisition(self.keys, claim, self.limits, watcher, above)
                left = began + timeout - self.clock.elapsed()
                owns.append(wanted.own)
                blocker = perform(self.objects, self.clock, wanted.acquire(max(left, 0.0), words.see), stop)
                broken |= wanted.broken
                if blocker:
                    raise _lock_held(path, blocker, timeout, self.clock)
        except BaseException:
            for own in reversed(owns):
                with suppress(StorageFailed):
                    perform(self.objects, self.clock, own.free())
            raise
        lease = ObjectLease(owns, self.beats, self.clock, self.limits, self.lost, self._forget, broken)
        for target in lease.exclusive:
            _held[self.objects.place, target] = self._leases[target] = lease
        self.changed()
        return lease

    def _forget(self, lease: ObjectLease) -> None:
        for target in lease.exclusive:
            if _held.get((self.objects.place, target)) is lease:
                del _held[self.objects.place, target]
            if self._leases.get(target) is lease:
                del self._leases[target]
        self.changed()


def _give_back(work: asyncio.Future[ObjectLease]) -> None:
    """It was taken after all, at the moment the wait for it was cancelled."""
    if not work.cancelled() and work.exception() is None:
        work.result().release()


class _Waiting:
    """Tells once who is in the way, and again when that changes; not what is gone at the next look."""

    def __init__(self, wanted: ScopePath, clock: Clock, tell: Callable[[str], None]) -> None:
        self._wanted = wanted
        self._clock = clock
        self._tell = tell
        self._seen = self._told = ""

    def see(self, blocker: InTheWay) -> None:
        text = in_the_way(blocker, self._clock)
        if blocker.path != self._wanted:
            text += f", on {blocker.path}"
        if text == self._seen != self._told:
            self._told = text
            self._tell(text)
        self._seen = text


def in_the_way(blocker: InTheWay, clock: Clock) -> str:
    """Who, in words that are safe to show."""
    holder = holder_of(blocker.claim)
    session = safe_text(blocker.claim.session, 8)
    who = in_words(holder, clock) if holder else f"session {session}" if session else "a run that left no record"
    return f"{who}, and {blocker.others} more" if blocker.others else who


def _lock_held(wanted: ScopePath, blocker: InTheWay, timeout: float, clock: Clock) -> LockHeld:
    who, claim = in_the_way(blocker, clock), blocker.claim
    verb = "is awaited by" if claim.beat and not claim.held else "is held by"
    if blocker.path == wanted:
        cause = f"it {verb} {who}"
    else:
        side = "above" if blocker.path.holds(wanted) else "below"
        cause = f"{blocker.path} {side} it {verb} {who}"
    waited = f" (waited {timeout * 1000:.0f} ms)" if timeout > 0 else ""
    longer = max(120_000, int(timeout * 2000))  # a holder that died is known to be dead after a minute
    return LockHeld(
        f"Failed to acquire lock {wanted}: {cause}{waited}",
        hint=f"`alchemy scope locks` shows who holds what; ALCHEMY_LOCK_TIMEOUT={longer} waits longer (milliseconds)",
    )
