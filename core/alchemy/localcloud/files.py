"""Files of the local cloud: private, whole, and on the disk before anybody is told about them.

Neighbours: `account`, `store`, `d1` and `blobs` make their files through this module; no name from a request ever
reaches it, only ids made here.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from alchemy.errors import StateInvalid

START_AGAIN = "`alchemy cloud reset` starts an empty local cloud"
ABANDONED = 3600.0  # seconds; an unreferenced file this old belongs to a process that died, not to one at work


def damaged(path: Path, reason: str) -> StateInvalid:
    """A file of the local cloud is not what this program writes."""
    return StateInvalid(f"the local cloud's {path} {reason}", hint=START_AGAIN)


def make_directory(path: Path) -> None:
    """Make it and its missing parents (0700), with their names on the disk."""
    if path.is_dir():
        return
    make_directory(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(path: Path, content: bytes) -> None:
    """Create `path` (0600, must not exist) with `content`, durable when this returns."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(path.parent)


@contextlib.contextmanager
def complete_or_absent(path: Path) -> Iterator[Path]:
    """Yield a temporary file (0600) to fill; it then appears under `path`, unless somebody was faster.

    A hard link is the portable way to create a name only if it is absent and with its content already in it.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        yield temporary
        descriptor = os.open(temporary, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def remove_abandoned(directory: Path, wanted: Callable[[str], bool]) -> None:
    """Delete files of `directory` that are older than an hour and not `wanted` (asked with the name)."""
    horizon = time.time() - ABANDONED
    try:
        entries = list(os.scandir(directory))
    except FileNotFoundError:
        return
    for entry in entries:
        with contextlib.suppress(FileNotFoundError):
            if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < horizon and not wanted(entry.name):
                os.unlink(entry.path)
