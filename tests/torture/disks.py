"""File systems for accidents: an ext4 whose power can be cut, a tmpfs that can be full. Linux only.

The power cut is the file system's own `shutdown` without a flush of its log, which the kernel's tests use: at once
nothing reaches the disk any more, and after the next mount what was never synced is gone as far as the journal of the
file system lets it. It needs root and loop devices; everything else works inside `unshare -Urm` too.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import subprocess
import sys
import uuid
from pathlib import Path

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, the same number as XFS_IOC_GOINGDOWN
_NO_LOG_FLUSH = 2
_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class NotHere(Exception):
    """This system cannot do that; says why."""


def do(*command: str | Path) -> None:
    """NotHere with what the command said when it fails."""
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise NotHere(f"{command[0]} is not installed") from None
    if done.returncode:
        raise NotHere(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.returncode}")


def own_mounts() -> None:
    """From now on this thread and its children see mounts that nobody else sees, gone when the last of them ends."""
    if sys.platform != "linux":
        raise NotHere("file systems of their own are made on Linux only")
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_NEW_MOUNTS) != 0:
        why = os.strerror(ctypes.get_errno())
        raise NotHere(f"no mounts of their own without root or `unshare -Urm`: {why}")
    do("mount", "--make-rprivate", "/")


class Ext4:
    """An image in a loop device, mounted at `place`."""

    def __init__(self, directory: Path) -> None:
        self.place = directory / "disk"
        self._image = directory / "disk.img"
        self._boot = directory / "boot-id"
        self.place.mkdir()
        with open(self._image, "wb") as image:
            image.truncate(64 << 20)
        do("mkfs.ext4", "-q", "-F", self._image)
        self._boot.write_text(f"{uuid.uuid4()}\n")
        do("mount", "--bind", self._boot, _BOOT_ID)
        self._mount()

    def _mount(self) -> None:
        do("mount", "-o", "loop", self._image, self.place)

    def sync(self) -> None:
        """What was made so far survives every cut."""
        descriptor = os.open(self.place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def cut(self) -> None:
        """The power is gone: what is not on the disk now never will be."""
        descriptor = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def boot(self) -> None:
        """The power is back, and nobody who had a file open is alive."""
        do("umount", self.place)
        self._mount()
        self._boot.write_text(f"{uuid.uuid4()}\n")

    def close(self) -> None:
        do("umount", "--lazy", self.place)
        do("umount", "--lazy", _BOOT_ID)
        self._image.unlink()


class Tmpfs:
    """Mounted at `place`, full when its size says so."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        do("mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", place)

    def resize(self, kilobytes: int) -> None:
        do("mount", "-o", f"remount,size={kilobytes}k", self.place)

    @property
    def used(self) -> int:
        """Kilobytes."""
        known = os.statvfs(self.place)
        return (known.f_blocks - known.f_bfree) * known.f_frsize // 1024

    def close(self) -> None:
        do("umount", "--lazy", self.place)
