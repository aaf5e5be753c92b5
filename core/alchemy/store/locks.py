"""Taking locks on scope paths: alone on the path, together with others on everything above it.

Neighbours: `leases` are what is held, `holders` tells everybody else who holds what, `blockers` tells a waiter who is
in the way, `breaking` opens a lock by force; the journal decides whether a write counts, so a lock only keeps people
from getting in each other's way (docs/state-format.md).
A path has a permanent, empty `<path>.lock`, the kernel's handle on it, and a `<path>.lock.gate`: who waits keeps the
gate, so that a stream of newcomers below a path cannot keep the one who wants all of it waiting for ever.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Collection
from contextlib import suppress

from alchemy.errors import LockHeld, StateInvalid, StorageFailed, UsageError
from alchemy.model.paths import ScopePath
from alchemy.store.blockers import Blocker, Refusal, find_blocker
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.flocks import Flock, take
from alchemy.store.layout import Layout
from alchemy.store.leases import Lease as Lease
from alchemy.store.leases import broken, held_below, held_lease, release_all

SHORTEST_PAUSE = 0.005  # seconds between tries, doubled up to
LONGEST_PAUSE = 0.25
PATIENCE = 0.1  # seconds before a waiter is told: whoever only looks at a lock is gone by then
LOOK_EVERY = 0.5  # seconds between looks at who holds it, and at least
LOOK_SHARE = 200  # times what a look took: below an application there can be thousands of locks
PASSERS = 5  # tries more when nobody who stays is found in the way at the end


class LocalLocks:
    """Locks below one state directory."""

    def __init__(self, layout: Layout, files: Files, clock: Clock) -> None:
        self.layout = layout
        self.files = files
        self._clock = clock
        self.root = os.path.realpath(layout.root)

    async def acquire(
        self,
        path: ScopePath,
        *,
        owner: ScopePath | None = None,
        timeout: float,
        held: Collection[ScopePath] = (),
        waiting: Callable[[str], None] | None = None,
    ) -> Lease:
        """Wait up to `timeout` seconds (0: one try), else LockHeld.

        `owner`: the scope whose journal a nested `path` is in; it is held too. `held`: what this session holds already
        and will hold for longer, so that paths below are free to it. `waiting` is told who is in the way, in words,
        once waiting is worth mentioning and again when that changes.
        UsageError at once when this process holds `path` or one below it: it could only wait for itself.
        """
        request = _Request(self, path, owner, held)
        started = self._clock.elapsed()
        told, look_at, pause, passers = "", started + PATIENCE, SHORTEST_PAUSE, PASSERS
        try:
            while True:
                outcome = request.attempt()
                if isinstance(outcome, Lease):
                    return outcome
                now = self._clock.elapsed()
                left = started + timeout - now
                if left <= 0:
                    blocker = self._blocker(outcome)
                    if not passers or (blocker and not blocker.fleeting):
                        raise _lock_held(path, blocker, timeout)
                    passers -= 1
                elif waiting and now >= look_at:
                    blocker = self._blocker(outcome)
                    look_at = now + max(LOOK_EVERY, LOOK_SHARE * (self._clock.elapsed() - now))
                    if blocker and (text := _while_waiting(blocker, path)) != told:
                        told = text
                        waiting(text)
                rest = pause * random.uniform(0.5, 1.0)
                await self._clock.sleep(min(left, rest) if left > 0 else SHORTEST_PAUSE)
                pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            request.close()

    def acquire_now(
        self, path: ScopePath, *, owner: ScopePath | None = None, held: Collection[ScopePath] = ()
    ) -> Lease | None:
        """One try without waiting; None when somebody is in the way. Otherwise like `acquire`.

        Blocks for some milliseconds at the worst: while it looks as if somebody only looks.
        """
        request = _Request(self, path, owner, held)
        pause = 0.001
        try:
            for _ in range(PASSERS):
                outcome = request.attempt()
                if isinstance(outcome, Lease):
                    return outcome
                blocker = self._blocker(outcome)
                if blocker and not blocker.fleeting:
                    return None
                time.sleep(pause)
                pause *= 2
            return None
        finally:
            request.close()

    def _blocker(self, refusal: Refusal) -> Blocker | None:
        return find_blocker(self.layout, self.files, refusal, self._clock)


class _Request:
    """One acquisition under way: what is wanted, and the gate kept between tries."""

    def __init__(self, locks: LocalLocks, path: ScopePath, owner: ScopePath | None, held: Collection[ScopePath]):
        if owner and not owner.holds(path):
            raise UsageError(f"{owner} cannot own {path}: it is not above it", hint="name the stage it is in")
        self._locks = locks
        self._path = path
        ours: set[ScopePath] = set()
        for other in held:
            if lease := held_lease(locks.root, other):  # what was given back meanwhile protects nothing
                if lease.broken:
                    raise broken(other)
                ours.add(other)
        self._targets = (path,) if owner is None or owner == path or owner in ours else (owner, path)
        # Passing a gate would wait for whoever waits for us: above what we hold there is none to pass.
        self._above = tuple(
            (ancestor, not any(ancestor.holds(other) for other in ours))
            for ancestor in self._targets[0].ancestors
            if ancestor not in ours
        )
        self._gate: Flock | None = None

    def attempt(self) -> Lease | Refusal:
        """From the root down; everything but the own gate is given back at the first refusal."""
        for target in self._targets:
            if mine := held_below(self._locks.root, target):
                raise UsageError(
                    f"this process already holds {mine[0]}: opening {target} would wait for itself",
                    hint=f"finalize {mine[0]} first, or open a scope below it",
                )
        shared: list[Flock] = []
        exclusive: dict[ScopePath, Flock] = {}
        lease: Lease | None = None
        try:
            refusal = self._share(shared) or self._take(exclusive)
            if refusal:
                return refusal
            self.close()
            lease = Lease(self._locks.layout, self._locks.files, self._path, exclusive, shared)
            return lease
        finally:
            if lease is None:
                release_all([*shared, *exclusive.values()])

    def _share(self, taken: list[Flock]) -> Refusal | None:
        layout, files = self._locks.layout, self._locks.files
        for ancestor, gated in self._above:
            gate = take(layout, files, layout.gate(ancestor), alone=False) if gated else None
            if gated and gate is None:
                return Refusal(ancestor, gate=True)
            try:
                lock = take(layout, files, layout.lock(ancestor), alone=False)
                if lock is not None:
                    taken.append(lock)
                passed = gate is None or gate.current
            finally:
                if gate:
                    gate.release()
            if lock is None or not passed:
                return Refusal(ancestor, gate=not passed)
        return None

    def _take(self, taken: dict[ScopePath, Flock]) -> Refusal | None:
        first = self._targets[0]
        if self._gate and not self._gate.current:
            self.close()
        self._gate = self._gate or self._gate_of(first)
        gates: dict[ScopePath, Flock | None] = {first: self._gate}
        try:
            for target in self._targets:
                if target != first:
                    gates[target] = self._gate_of(target)
                if gates[target] is None:
                    return Refusal(target, gate=True)
                lock = take(self._locks.layout, self._locks.files, self._locks.layout.lock(target), alone=True)
                if lock is None:
                    return Refusal(target)
                taken[target] = lock
                self._clear_away(target)
            # Somebody who opens it by force went before us: what we took may be the file that he replaces.
            late = next((target for target, gate in gates.items() if gate and not gate.current), None)
            return Refusal(late, gate=True) if late else None
        finally:
            release_all([gate for target, gate in gates.items() if gate and target != first])

    def _gate_of(self, path: ScopePath) -> Flock | None:
        return take(self._locks.layout, self._locks.files, self._locks.layout.gate(path), alone=True)

    def _clear_away(self, path: ScopePath) -> None:
        """A record that is there before we wrote one is of somebody dead: from here on it would be taken for ours."""
        record = self._locks.layout.holder(path)
        if self._locks.files.exists(record):
            with suppress(StorageFailed, StateInvalid):
                self._locks.files.remove(record)

    def close(self) -> None:
        """Give the gate back."""
        gate, self._gate = self._gate, None
        if gate:
            gate.release()


def _while_waiting(blocker: Blocker, wanted: ScopePath) -> str:
    return blocker.who if blocker.path == wanted else f"{blocker.who}, on {blocker.path}"


def _lock_held(path: ScopePath, blocker: Blocker | None, timeout: float) -> LockHeld:
    cause = blocker.towards(path) if blocker else "it changes hands too fast to be had, by whom is unknown"
    waited = f" (waited {timeout * 1000:.0f} ms)" if timeout > 0 else ""
    longer = max(60_000, int(timeout * 2000))
    return LockHeld(
        f"Failed to acquire lock {path}: {cause}{waited}",
        hint=f"`alchemy scope locks` shows who holds what; ALCHEMY_LOCK_TIMEOUT={longer} waits longer (milliseconds)",
    )
