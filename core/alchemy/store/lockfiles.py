"""The files below `locks/`: finding and opening them without being led elsewhere, and who the kernel has down for one.

Neighbours: `flocks` locks them, `holders` probes them. Standard library only: read-only commands load this.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from alchemy.errors import InvalidName, StateInvalid, StorageFailed
from alchemy.model.paths import MAX_DEPTH, ScopePath
from alchemy.model.text import safe_text
from alchemy.store.descent import FILE_MODE
from alchemy.store.files import Files
from alchemy.store.layout import Layout

LOCK = ".lock"
RECORD = ".lock.holder.json"


def open_lock(layout: Layout, file: Path, flags: int) -> int:
    """A descriptor of a lock file or gate, closed on exec.

    FileNotFoundError when it (or its directory) is missing; StateInvalid for a link or anything but a plain file.
    """
    name = os.fspath(file)
    end = name.find("/", len(os.fspath(layout.root)) + 1)
    while end > 0:  # each directory below the root, in plain text: thousands of locks are looked at in one go
        if os.path.islink(name[:end]):
            raise _misplaced(Path(name[:end]), "a symbolic link")
        end = name.find("/", end + 1)
    try:
        # O_NONBLOCK: a pipe put there would make the opening wait for its other end
        descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, FILE_MODE)
    except FileNotFoundError:
        raise
    except OSError as error:
        wrong = {errno.ELOOP: "a symbolic link", errno.EISDIR: "a directory", errno.ENOTDIR: "below a plain file"}
        if error.errno in wrong:
            raise _misplaced(file, wrong[error.errno]) from error
        raise StorageFailed(
            f"cannot open the lock file {safe_text(file)}: {error.strerror}",
            hint=f"check owner and permissions of {safe_text(layout.root)}, then run the same command again",
        ) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _misplaced(file, "not a plain file")
    if flags & os.O_CREAT and mode & FILE_MODE != FILE_MODE:  # taken by a strange umask: nobody could open it again
        os.fchmod(descriptor, FILE_MODE)
    return descriptor


def _misplaced(file: Path, what: str) -> StateInvalid:
    return StateInvalid(
        f"{safe_text(file)} is {what}; locks are plain files that nothing may redirect",
        hint="see who put it there, remove it, then run the same command again",
    )


def same_file(descriptor: int, file: Path) -> bool:
    """The descriptor is what the name means now: an unlock by force puts a new file in place of a held one."""
    try:
        named = os.lstat(file)
    except OSError:
        return False
    opened = os.fstat(descriptor)
    return (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino)


def flock_pids(file: Path) -> tuple[int, ...]:
    """Processes that hold `file` on either side, as far as the kernel tells (Linux, this pid namespace)."""
    try:
        named = os.lstat(file)
        table = Path("/proc/locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ()
    key = f"{os.major(named.st_dev):02x}:{os.minor(named.st_dev):02x}:{named.st_ino}"
    pids = {
        int(words[4])
        for words in map(str.split, table.splitlines())
        if len(words) >= 6 and words[1] == "FLOCK" and words[5] == key and words[4].isdecimal()
    }
    return tuple(sorted(pids - {0}))


def stored(layout: Layout, files: Files, top: ScopePath | None = None) -> Iterator[ScopePath]:
    """Paths with a lock file or a record, all or those below `top`; links and names no scope can have are left out."""
    todo: list[tuple[str, ...]] = [top.parts if top else ()]
    while todo:
        parts = todo.pop()
        directory = layout.root.joinpath("locks", *parts)
        try:
            names = files.names(directory)
        except (StorageFailed, StateInvalid):  # a file or link where a directory is due: no locks in it
            continue
        seen = set()
        for name in names:
            ending = next((ending for ending in (RECORD, LOCK) if name.endswith(ending)), "")
            if ending:
                seen.add(name.removesuffix(ending))
            elif _may_be_scope(name) and len(parts) + 1 < MAX_DEPTH and stat.S_ISDIR(_mode(directory / name)):
                todo.append((*parts, name))
        for name in sorted(seen):
            try:
                yield ScopePath.parse("/".join((*parts, name)))
            except InvalidName:
                continue


def _mode(path: Path) -> int:
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0


def _may_be_scope(name: str) -> bool:
    return name[0] != "." and not name.endswith((".gate", ".stop", ".json"))
