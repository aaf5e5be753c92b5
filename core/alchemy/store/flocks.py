"""One flock on one file, right across forks and replaced files.

Neighbours: `locks` builds locks on scope paths out of these; `lockfiles` opens the files. A forked child inherits every
descriptor by accident: it closes them and never unlocks, which would take the lock from its parent.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from alchemy.errors import StorageFailed
from alchemy.model.text import safe_text
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.lockfiles import open_lock, same_file

TRIES = 5  # each failed one means that somebody replaced the file or removed its directory in that moment

_mutex = threading.RLock()
_open: set[int] = set()


def mutex() -> threading.RLock:
    """Guards what this process knows of its own locks; never held by another thread when a child is forked."""
    return _mutex


def _before_fork() -> None:
    _mutex.acquire()  # so that no descriptor is open and not yet listed at that moment


def _after_fork() -> None:
    _mutex.release()


def _in_child() -> None:
    global _mutex
    for descriptor in _open:
        with suppress(OSError):  # closed by the program itself: nothing of ours is left in the child
            os.close(descriptor)
    _open.clear()
    _mutex = threading.RLock()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)


class Flock:
    """A lock file, open; `attempt` puts the flock on it."""

    def __init__(self, layout: Layout, files: Files, file: Path) -> None:
        self.file = file
        self._pid = os.getpid()
        for _ in range(TRIES):
            try:
                with _mutex:
                    self._descriptor = open_lock(layout, file, os.O_RDWR | os.O_CREAT)
                    _open.add(self._descriptor)
                return
            except FileNotFoundError:  # its directory: not made yet, or just removed with a test scope
                _make(files, file.parent)
        raise _unusable(file.parent)

    @property
    def current(self) -> bool:
        return os.getpid() == self._pid and same_file(self._descriptor, self.file)

    def attempt(self, alone: bool) -> bool:
        """True when granted. Never from shared to alone: a failed step up loses the shared side too."""
        import portalocker  # late: read-only commands and the dashboard never lock

        side = portalocker.LockFlags.EXCLUSIVE if alone else portalocker.LockFlags.SHARED
        try:
            portalocker.lock(self._descriptor, side | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.AlreadyLocked:
            return False
        except portalocker.LockException as error:
            raise StorageFailed(
                f"cannot lock {safe_text(self.file)}: {safe_text(error)}",
                hint="the file system must support flock: keep the state directory on a local disk",
            ) from error
        return True

    def release(self) -> None:
        """Unlock and close; in a forked child neither, there it is closed already."""
        if os.getpid() != self._pid:
            return
        import portalocker

        try:
            portalocker.unlock(self._descriptor)  # closing alone would leave it with a child forked by foreign code
        finally:
            with _mutex:
                _open.discard(self._descriptor)
                os.close(self._descriptor)


def _make(files: Files, directory: Path) -> None:
    try:
        files.make_directory(directory)
    except FileNotFoundError as error:
        raise _unusable(directory) from error


def _unusable(directory: Path) -> StorageFailed:
    return StorageFailed(
        f"cannot create {safe_text(directory)}: no such directory above it",
        hint="check that the state directory exists and is no dangling link, then run the same command again",
    )


def take(layout: Layout, files: Files, file: Path, *, alone: bool) -> Flock | None:
    """One flock, when it is to be had now."""
    for _ in range(TRIES):
        flock = Flock(layout, files, file)
        granted = False
        try:
            granted = flock.attempt(alone) and flock.current
            if granted:
                return flock
            if flock.current:
                return None
        finally:
            if not granted:
                flock.release()
    return None  # replaced again and again between opening and locking: a lock on the old file locks nothing
