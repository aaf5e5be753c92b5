"""Whether a directory can hold state: its place, owner and rights, locks that lock, room, and the kernel's watches.

Neighbour: `doctor` puts this beside the bucket and the account.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alchemy.errors import AlchemyError
from alchemy.model.text import safe_text
from alchemy.store.files import Files

AREA = "state directory"
ROOM = 64_000_000  # bytes: a run of a large project with its backup
_LIMITS = Path("/proc/sys/fs/inotify")
_ELSEWHERE = "choose another place: --state-dir, ALCHEMY_STATE_DIR, or state_dir in [tool.alchemy]"


@dataclass(frozen=True, slots=True)
class Examined:
    """One line of `alchemy doctor`. `detail` is what was found; `way_out` is empty when it passed."""

    area: str
    name: str
    passed: bool
    detail: str = ""
    way_out: str = ""


def examine_directory(root: Path) -> Iterator[Examined]:
    """Everything about the state directory, which may not be there yet: then the one it would be made in."""
    place = _existing(root)
    if not place.is_dir():
        yield Examined(AREA, "place", False, f"{safe_text(place)} is not a directory", _ELSEWHERE)
        return
    made = "" if place == root else ", made by the first run"
    yield Examined(AREA, "place", True, f"{safe_text(root)}{made}")
    if place == root:
        yield from _owner(root)
    yield _writing(place)
    yield _room(place)
    yield _watches(place)


def _existing(root: Path) -> Path:
    """The directory, or the nearest above it that is there."""
    return next((path for path in (root, *root.parents) if os.path.lexists(path)), root)


def _owner(root: Path) -> Iterator[Examined]:
    """As every command looks at it before it reads anything."""
    files = Files(root)
    try:
        files.names(root)
    except AlchemyError as error:
        yield Examined(AREA, "owner and rights", False, error.message, error.hint)
        return
    mode = stat.S_IMODE(root.stat().st_mode)
    open_to = "others may look into it" if mode & 0o077 else ""
    if files.warning:
        yield Examined(AREA, "owner and rights", False, files.warning, f"run as its owner; or {_ELSEWHERE}")
    else:
        way_out = f"chmod 700 {safe_text(root)}" if open_to else ""
        yield Examined(AREA, "owner and rights", not open_to, open_to or f"yours alone ({mode:o})", way_out)


def _writing(place: Path) -> Examined:
    """A file written and synced, then locked twice: the second lock must be refused, as that of another process is."""
    name = "writing and locking"
    try:
        with tempfile.NamedTemporaryFile(prefix=".alchemy-doctor-", dir=place) as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
            fcntl.flock(file, fcntl.LOCK_EX)
            with open(file.name, "rb") as other:
                try:
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return Examined(AREA, name, True, "works")
    except OSError as error:
        cause = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return Examined(AREA, name, False, f"{safe_text(place)}: {cause}", "make room on that disk")
        advice = f"check the rights of {safe_text(place)}, and that its file system takes locks; or {_ELSEWHERE}"
        return Examined(AREA, name, False, f"{safe_text(place)}: {cause}", advice)
    return Examined(AREA, name, False, "a file was locked twice: this file system only pretends to lock", _ELSEWHERE)


def _room(place: Path) -> Examined:
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    if found.f_files and not found.f_favail:
        return Examined(AREA, "free space", False, "no file can be made: out of inodes", "remove files on that disk")
    passed = free >= ROOM
    return Examined(
        AREA,
        "free space",
        passed,
        f"{free / 1e6:,.0f} MB",
        "" if passed else f"a run needs {ROOM / 1e6:.0f} MB: make room",
    )


def _watches(place: Path) -> Examined:
    """What the dashboard and `--follow` need; without it they look every two seconds."""
    name = "watch limits"
    if not sys.platform.startswith("linux"):
        return Examined(AREA, name, True, "this system has none")
    limits = {}
    for limit in ("max_user_watches", "max_user_instances"):
        with contextlib.suppress(OSError):
            limits[limit] = (_LIMITS / limit).read_text().strip()
    shown = ", ".join(f"{limit} {value}" for limit, value in limits.items())
    failed = _watch(place)
    if not failed:
        return Examined(AREA, name, True, shown)
    used_up = {errno.EMFILE: "max_user_instances", errno.ENOSPC: "max_user_watches"}.get(failed)
    if used_up is None:
        return Examined(AREA, name, False, os.strerror(failed), "without watches the dashboard looks every 2 seconds")
    advice = f"sudo sysctl fs.inotify.{used_up}={max(2 * _number(limits.get(used_up)), 512)}"
    return Examined(AREA, name, False, f"used up by other programs ({shown})", advice)


def _watch(place: Path) -> int:
    """Takes one watch and gives it back. The error's number, or 0."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    watcher = library.inotify_init1(os.O_CLOEXEC)
    if watcher < 0:
        return ctypes.get_errno()
    try:
        in_create = 0x100
        if library.inotify_add_watch(watcher, os.fsencode(place), in_create) < 0:
            return ctypes.get_errno()
    finally:
        os.close(watcher)
    return 0


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
