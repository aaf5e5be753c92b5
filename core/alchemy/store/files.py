"""Every file operation of the store, in one small class, so that tests can record, replay and cut them short.

Below the state directory every component is opened by descriptor and never through a link: what lies elsewhere is
neither read nor written. Errors of the disk become StorageFailed, a link or a pipe where a file is due StateInvalid,
with the name; a missing file stays FileNotFoundError. Neighbours: `descent` opens directories, `layout` has the names.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
from contextlib import suppress
from pathlib import Path

from alchemy.errors import StorageFailed
from alchemy.store.descent import FILE_MODE, Descent, not_a_directory, open_plain, ours, set_mode

TEMPORARY = re.compile(r"\..+\.[0-9a-f]+\.tmp")  # names that `replace` gives a file until it is whole
_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
_TRIES = 5  # after somebody cleared away under us, as runs without locks may
_full_sync: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: there fsync leaves data in the drive's cache
_number = itertools.count()  # of temporary files of this process


class _named:
    """Errors of the system become ours; a missing file and a taken name stay as they are. Hot, hence no generator."""

    __slots__ = ("path", "what")

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self.what = what

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError | FileExistsError):
            raise ours(error, self.what, self.path) from error


class Files:
    """The real file system. Paths are absolute; files 0600, directories 0700, whatever the umask.

    `root` is the state directory, which may be a link itself; outside of it only the last component is guarded.
    """

    _descent = Descent(None)  # also for those below that make nothing of their own

    def __init__(self, root: Path | None = None) -> None:
        if root is not None:
            self._descent = Descent(root)

    @property
    def warning(self) -> str:
        """What is doubtful about the state directory and no reason to stop; "" also before anything was opened."""
        return self._descent.warning

    def read(self, path: Path) -> bytes:
        with _named(path, "read"):
            return self._read(path, 0, -1)

    def read_head(self, path: Path, most: int) -> bytes:
        """The first `most` bytes, or all there are."""
        with _named(path, "read"):
            return self._read(path, 0, most)

    def read_from(self, path: Path, offset: int) -> bytes:
        """The bytes from `offset` to the end."""
        with _named(path, "read"):
            return self._read(path, offset, -1)

    def _read(self, path: Path, offset: int, most: int) -> bytes:
        directory = self._descent.open(path.parent)
        try:
            descriptor, size = open_plain(path, directory)
        finally:
            os.close(directory)
        try:
            if offset:
                os.lseek(descriptor, offset, os.SEEK_SET)
            wanted = most if most >= 0 else max(size - offset, 0) + 1  # one more, so that the end is seen at once
            parts = [os.read(descriptor, wanted)]
            if most < 0 and len(parts[0]) == wanted:  # it has grown meanwhile
                parts += iter(lambda: os.read(descriptor, _CHUNK), b"")
            return b"".join(parts)
        finally:
            os.close(descriptor)

    def names(self, directory: Path) -> list[str]:
        """Sorted names in a directory; empty when there is none."""
        try:
            with _named(directory, "list"):
                descriptor = self._descent.open(directory)
                try:
                    return sorted(os.listdir(descriptor))
                finally:
                    os.close(descriptor)
        except FileNotFoundError:
            return []

    def size(self, path: Path) -> int:
        """Bytes; -1 when it is not there."""
        try:
            return os.lstat(path).st_size
        except OSError:
            return -1

    def exists(self, path: Path) -> bool:
        return os.path.lexists(path)

    def make_directory(self, path: Path, *, durable: bool = True) -> None:
        """With its parents; when `durable`, each new one is synced into its parent."""
        for left in reversed(range(_TRIES)):
            try:
                self._make_all(path, durable)
                return
            except FileNotFoundError as error:  # one was removed again, being empty
                if not left:
                    raise not_a_directory(path) from error

    def _make_all(self, path: Path, durable: bool) -> None:
        missing: list[Path] = []
        directory = path
        while True:
            try:
                with _named(directory, "open"):
                    os.close(self._descent.open(directory))
                break
            except FileNotFoundError:
                missing.append(directory)
                directory = directory.parent
                if directory == missing[-1]:
                    raise
        for directory in reversed(missing):
            with _named(directory, "create"):
                try:
                    self._descent.make(directory)
                except FileExistsError:  # made by somebody else meanwhile, or a link to nowhere
                    try:
                        os.close(self._descent.open(directory))
                    except FileNotFoundError:
                        raise not_a_directory(directory) from None
                    continue
            if durable:
                self.sync_directory(directory.parent)

    def create(self, path: Path, data: bytes) -> int:
        """A new file, synced with its directory; FileExistsError when it is there. Returns an append descriptor.

        What cannot be written to its end is taken away again; only a process that dies leaves a part of it.
        """
        with _named(path, "create"):
            directory = self._descent.open(path.parent)
            try:
                descriptor = os.open(path.name, _NEW | os.O_APPEND, FILE_MODE, dir_fd=directory)
            finally:
                os.close(directory)
        try:
            set_mode(descriptor, FILE_MODE)
            if data:
                self.append(descriptor, data, path)
            self.sync(descriptor, path)
            self.sync_directory(path.parent)
        except BaseException:
            os.close(descriptor)
            if data:  # an empty one is a claim, which others may have seen
                with suppress(StorageFailed):
                    self.remove(path)
            raise
        return descriptor

    def append(self, descriptor: int, data: bytes, path: Path) -> None:
        """All of `data`: a full disk makes a write short and only the next one fails."""
        with _named(path, "write to"):
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]

    def sync(self, descriptor: int, path: Path) -> None:
        """Durable, or StorageFailed; a failed sync is final for the file."""
        with _named(path, "sync"):
            if _full_sync is not None:
                fcntl.fcntl(descriptor, _full_sync)
            else:
                os.fdatasync(descriptor)

    def sync_file(self, path: Path) -> None:
        """What another process wrote and perhaps never synced."""
        with _named(path, "sync"):
            directory = self._descent.open(path.parent)
            try:
                descriptor, _ = open_plain(path, directory)
            finally:
                os.close(directory)
            try:
                self.sync(descriptor, path)
            finally:
                os.close(descriptor)

    def sync_directory(self, directory: Path) -> None:
        with _named(directory, "sync"):
            descriptor = self._descent.open(directory)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def replace(self, path: Path, data: bytes, *, durable: bool = False) -> None:
        """Old bytes or new bytes, never a mixture: a temporary file beside it, then a rename."""
        with _named(path, "write"):
            for left in reversed(range(_TRIES)):
                directory = self._descent.open(path.parent)
                try:
                    self._replace(directory, path, data, durable)
                    break
                except FileNotFoundError:  # the temporary file was taken for that of a process that died
                    if not left:
                        raise
                finally:
                    os.close(directory)
        if durable:
            self.sync_directory(path.parent)

    def _replace(self, directory: int, path: Path, data: bytes, durable: bool) -> None:
        descriptor, name = _temporary(directory, path.name)
        try:
            try:
                set_mode(descriptor, FILE_MODE)
                self.append(descriptor, data, path)
                if durable:
                    self.sync(descriptor, path)
            finally:
                os.close(descriptor)
            os.replace(name, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with suppress(OSError):
                os.unlink(name, dir_fd=directory)
            raise

    def move(self, path: Path, name: str) -> None:
        """Gives a directory another name beside it, in one step; FileExistsError when something has it."""
        with _named(path, "rename"):
            directory = self._descent.open(path.parent)
            try:
                if os.path.lexists(path.parent / name):
                    raise FileExistsError(path.parent / name)
                os.rename(path.name, name, src_dir_fd=directory, dst_dir_fd=directory)
            finally:
                os.close(directory)
        self.sync_directory(path.parent)

    def remove(self, path: Path) -> None:
        """A file; not there is fine."""
        with _named(path, "remove"):
            try:
                directory = self._descent.open(path.parent)
                try:
                    os.unlink(path.name, dir_fd=directory)
                finally:
                    os.close(directory)
            except FileNotFoundError:
                return

    def remove_empty(self, directory: Path) -> None:
        """A directory, when it is empty; not there or not empty is fine."""
        try:
            parent = self._descent.open(directory.parent)
        except FileNotFoundError:
            return
        try:
            os.rmdir(directory.name, dir_fd=parent)
        except OSError:
            return
        finally:
            os.close(parent)


def _temporary(directory: int, name: str) -> tuple[int, str]:
    """A new file that nobody else has: one of that name is from a process of the same number that died."""
    while True:
        made = f".{name}.{os.getpid():x}{next(_number):04x}.tmp"
        try:
            return os.open(made, _NEW, FILE_MODE, dir_fd=directory), made
        except FileExistsError:
            continue
