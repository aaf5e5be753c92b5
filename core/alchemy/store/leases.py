"""Locks that this process holds on local disk: shown under each path, given back once, never through a broken one.

Neighbours: `locks` takes them, `breaking` opens somebody else's by force.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from dataclasses import replace

import orjson

from alchemy.errors import Fenced, StateInvalid, StorageFailed, UsageError
from alchemy.model.paths import ScopePath
from alchemy.model.values import Holder
from alchemy.store.files import Files
from alchemy.store.flocks import Flock, mutex
from alchemy.store.layout import Layout

# Paths this process holds, by state directory. Only to refuse what could only wait for itself, and what was broken:
# the kernel keeps threads apart by itself.
_held: dict[tuple[str, ScopePath], Lease] = {}


class Lease:
    """A lock that is held: `path` alone, with `exclusive` listing every path it holds so (the owner's too)."""

    def __init__(
        self, layout: Layout, files: Files, path: ScopePath, exclusive: dict[ScopePath, Flock], shared: list[Flock]
    ) -> None:
        self.path = path
        self.exclusive = tuple(exclusive)
        self._layout = layout
        self._files = files
        self._root = os.path.realpath(layout.root)
        self._own = exclusive
        self._shared = shared
        self._pid = os.getpid()
        self._released = False
        self._published = False
        with mutex():
            _held.update(((self._root, each), self) for each in exclusive)

    @property
    def mine(self) -> bool:
        """False in a child forked by the process that took it, and once it was opened by force."""
        return os.getpid() == self._pid and not self.broken

    @property
    def broken(self) -> bool:
        """Somebody opened it by force: others may hold what it was for."""
        return not self._released and any(not flock.current for flock in self._own.values())

    def publish(self, holder: Holder) -> None:
        """Show who holds it, under each path it holds; readers see the old record or the new one.

        Fenced when the lock was opened by force meanwhile: the record belongs to somebody else then.
        """
        if self._released or os.getpid() != self._pid:
            raise UsageError(f"lock {self.path} is not held here", hint="publish between acquire and release")
        self._published = True
        for path, flock in self._own.items():
            if not flock.current:
                raise broken(path)
            record = replace(holder, path=str(path)).to_json()
            self._files.replace(self._layout.holder(path), orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")

    def release(self) -> None:
        """Give it back; the second time, or in a forked child, nothing happens. Release what lies below it first.

        The record goes while the lock is still held: killed before that, it is a leftover; between the two, and
        after, nobody holds the path and no record says otherwise.
        """
        with mutex():
            if self._released:
                return
            self._released = True
        try:
            self._withdraw()
        finally:
            with mutex():
                for path in self.exclusive:
                    if _held.get((self._root, path)) is self:
                        del _held[self._root, path]
            release_all([*self._shared, *self._own.values()])

    def _withdraw(self) -> None:
        for path, flock in self._own.items():
            if self._published and flock.current:  # else the record belongs to whoever opened the lock by force
                with suppress(
                    StorageFailed, StateInvalid
                ):  # it stays as a leftover, which everybody can tell from a holder
                    self._files.remove(self._layout.holder(path))


def broken(path: ScopePath) -> Fenced:
    """For a holder whose lock is not its own any more."""
    return Fenced(
        f"lock {path} was opened by force; another run may hold it",
        hint="`alchemy scope locks` shows who; `alchemy scope logs` and the audit log say who opened it and why",
    )


def release_all(flocks: list[Flock]) -> None:
    """Last taken first; all of them even when one fails."""
    with ExitStack() as stack:
        for flock in flocks:
            stack.callback(flock.release)


def held_lease(root: str, path: ScopePath) -> Lease | None:
    """By which this process (not its parent) holds `path` itself, also when it was broken."""
    lease = _held.get((root, path))
    return lease if lease is not None and lease._pid == os.getpid() else None


def held_below(root: str, path: ScopePath) -> list[ScopePath]:
    """What this process holds at `path` and below it, and nobody has broken."""
    with mutex():
        held = [other for (where, other), lease in _held.items() if where == root and lease.mine]
    return sorted(other for other in held if path.holds(other))
