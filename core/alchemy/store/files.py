"""Every file operation of the store, in one small class, so that tests can record, replay and cut them short.

Errors of the disk become StorageFailed with the file's name; a missing file stays FileNotFoundError.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alchemy.errors import StorageFailed
from alchemy.model.text import safe_text

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
TEMPORARY = re.compile(r"\..+\.[0-9a-f]+\.tmp")  # names that `replace` gives a file until it is whole
_full_sync: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: there fsync leaves data in the drive's cache


@contextmanager
def _named(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        raise StorageFailed(
            f"cannot {what} {safe_text(path)}: {error.strerror or error}",
            hint="check free space and permissions of the state directory, then run the same command again",
        ) from error


def _not_a_directory(path: Path) -> StorageFailed:
    return StorageFailed(
        f"{safe_text(path)} is not a directory that anything can be made in",
        hint="choose another state directory: --state-dir, ALCHEMY_STATE_DIR, or state_dir in [tool.alchemy]",
    )


class Files:
    """The real file system. Paths are absolute; files 0600, directories 0700."""

    def read(self, path: Path) -> bytes:
        with _named(path, "read"), open(path, "rb", opener=_no_follow) as file:
            return file.read()

    def read_from(self, path: Path, offset: int) -> bytes:
        """The bytes from `offset` to the end."""
        with _named(path, "read"), open(path, "rb", opener=_no_follow) as file:
            file.seek(offset)
            return file.read()

    def names(self, directory: Path) -> list[str]:
        """Sorted names in a directory; empty when there is none."""
        try:
            with _named(directory, "list"):
                return sorted(os.listdir(directory))
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
        if os.path.isdir(path):
            return
        missing = [path]
        while not os.path.isdir(missing[-1].parent):
            missing.append(missing[-1].parent)
        for directory in reversed(missing):
            with _named(directory, "create"):
                try:
                    os.mkdir(directory, DIRECTORY_MODE)
                except FileExistsError:
                    if os.path.isdir(directory):
                        continue
                    raise _not_a_directory(directory) from None
                except FileNotFoundError:
                    raise _not_a_directory(directory.parent) from None
            if durable:
                self.sync_directory(directory.parent)

    def create(self, path: Path, data: bytes) -> int:
        """A new file, synced with its directory; FileExistsError when it is there. Returns an append descriptor."""
        with _named(path, "create"):
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW, FILE_MODE)
        try:
            if data:
                self.append(descriptor, data, path)
            self.sync(descriptor, path)
            self.sync_directory(path.parent)
        except BaseException:
            os.close(descriptor)
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
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                self.sync(descriptor, path)
            finally:
                os.close(descriptor)

    def sync_directory(self, directory: Path) -> None:
        with _named(directory, "sync"):
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def replace(self, path: Path, data: bytes, *, durable: bool = False) -> None:
        """Old bytes or new bytes, never a mixture: a temporary file beside it, then a rename."""
        temporary = path.with_name(f".{path.name}.{os.getpid():x}.tmp")
        with _named(path, "write"):
            flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW
            descriptor = os.open(temporary, flags, FILE_MODE)
            try:
                self.append(descriptor, data, temporary)
                if durable:
                    self.sync(descriptor, temporary)
            except BaseException:
                os.close(descriptor)
                os.unlink(temporary)
                raise
            os.close(descriptor)
            os.replace(temporary, path)
        if durable:
            self.sync_directory(path.parent)

    def remove(self, path: Path) -> None:
        """A file; not there is fine."""
        with _named(path, "remove"):
            try:
                os.unlink(path)
            except FileNotFoundError:
                return

    def remove_empty(self, directory: Path) -> None:
        """A directory, when it is empty; not there or not empty is fine."""
        try:
            os.rmdir(directory)
        except OSError:
            return


def _no_follow(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)
