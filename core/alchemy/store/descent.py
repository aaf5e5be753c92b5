"""From the state directory down to a file, component by component, by descriptor and never through a link.

So a link put anywhere below the state directory is an error that names it. The state directory itself may be one: it is
resolved once. A directory that was reached without a link is remembered by its inode and opened by its path for as long
as that path leads to the same inode; what is made again, or moved and linked, is walked to anew. That makes a read 7 µs
dearer than a plain `open`; walking every time would make it 22 µs dearer, and no descriptor has to be kept.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from alchemy.errors import AlchemyError, StateInvalid, StorageFailed
from alchemy.model.text import safe_text

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
MAX_JOURNAL = 1 << 30  # bytes of an epoch; everything else that is stored ends at MAX_OTHER
MAX_OTHER = 256 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BELOW = _DIRECTORY | os.O_NOFOLLOW
_PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe would wait for its other end
_OTHER_PLACE = "choose another state directory: --state-dir, ALCHEMY_STATE_DIR, or state_dir in [tool.alchemy]"


def not_a_directory(path: Path) -> StorageFailed:
    """Of a path that a state directory cannot be made at."""
    return StorageFailed(f"{safe_text(path)} is not a directory that anything can be made in", hint=_OTHER_PLACE)


def misplaced(path: Path | str, what: str, due: str) -> StateInvalid:
    """Something lies where a plain file or directory is due."""
    shown = safe_text(path)
    return StateInvalid(
        f"{shown} is {what}, where a {due} is due: nothing below the state directory may lead elsewhere",
        hint=f"see who put it there, then remove it (`rm {shown}`) and run `alchemy scope validate`",
    )


class Descent:
    """`root` None: every directory is the caller's business."""

    def __init__(self, root: Path | None) -> None:
        self.warning = ""
        self._root = root
        self._prefix = f"{root}/"
        self._real = ""  # where the root really is
        self._checked = False
        self._known: dict[str, tuple[int, int]] = {}  # directory -> its device and inode, when no link led to it

    def open(self, directory: Path) -> int:
        """A descriptor of `directory`. FileNotFoundError when it or one above it is missing."""
        text = os.fspath(directory)
        if self._root is None or not f"{text}/".startswith(self._prefix):
            try:
                return os.open(text, _DIRECTORY)
            except NotADirectoryError:
                raise not_a_directory(directory) from None
        if ".." in text and ".." in text[len(self._prefix) :].split("/"):
            raise misplaced(text, "a way out of the state directory", "directory")
        above, _, name = text.rpartition("/")
        if len(text) < len(self._prefix):
            return self._open_root()
        return self._step(self._open_known(above), name, text)

    def _open_known(self, text: str) -> int:
        """A directory that others are below: by its path where that leads to where it led before, else step by step."""
        if len(text) < len(self._prefix):
            return self._open_root()
        known = self._known.get(text)
        if known is not None:
            with suppress(OSError):
                descriptor = os.open(self._real + text[len(self._prefix) - 1 :], _BELOW)
                found = os.fstat(descriptor)
                if (found.st_dev, found.st_ino) == known:
                    return descriptor
                os.close(descriptor)
        above, _, name = text.rpartition("/")
        descriptor = self._step(self._open_known(above), name, text)
        found = os.fstat(descriptor)
        self._known[text] = found.st_dev, found.st_ino
        return descriptor

    def _step(self, above: int, name: str, text: str) -> int:
        """Opens `name` in `above`, which it closes; never through a link."""
        try:
            return os.open(name, _BELOW, dir_fd=above)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise misplaced(text, _what_is(name, above), "directory") from error
            raise
        finally:
            os.close(above)

    def make(self, directory: Path) -> None:
        """A new directory, 0700, in one that is there. FileExistsError, FileNotFoundError as of mkdir."""
        above = self.open(directory.parent)
        try:
            os.mkdir(directory.name, DIRECTORY_MODE, dir_fd=above)
            try:
                descriptor = os.open(directory.name, _BELOW, dir_fd=above)
            except PermissionError:  # the umask took even our own right to read it
                os.chmod(directory.name, DIRECTORY_MODE, dir_fd=above)
            else:
                set_mode(descriptor, DIRECTORY_MODE)
                os.close(descriptor)
        finally:
            os.close(above)

    def _open_root(self) -> int:
        if not self._real:
            assert self._root is not None
            self._real = os.path.realpath(self._root)
        try:
            descriptor = os.open(self._real, _DIRECTORY)
        except NotADirectoryError:
            raise not_a_directory(Path(self._real)) from None
        try:
            if not self._checked:
                self._check_root(os.fstat(descriptor))
                self._checked = True
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _check_root(self, found: os.stat_result) -> None:
        """Whoever can write the state can make us delete anything of ours in the cloud."""
        shown = safe_text(self._root)
        if found.st_mode & stat.S_IWOTH:
            raise StateInvalid(
                f"the state directory {shown} can be written by everybody on this machine",
                hint=f"chmod 700 {shown}, then `alchemy scope validate`; or {_OTHER_PLACE}",
            )
        me = os.geteuid()
        if found.st_uid == me:
            return
        whose = f"the state directory {shown} belongs to {_user(found.st_uid)}"
        if me != 0:
            raise StateInvalid(
                f"{whose}, and this process runs as {_user(me)}",
                hint=f"run as its owner, make it yours (`sudo chown -R {me} {shown}`), or {_OTHER_PLACE}",
            )
        self.warning = f"{whose}, and this process runs as root: its owner will not be able to read what is written now"


def _user(number: int) -> str:
    try:
        import pwd

        return safe_text(pwd.getpwuid(number).pw_name, 40)
    except (ImportError, KeyError):
        return f"user {number}"


def _what_is(name: str, directory: int) -> str:
    try:
        return kind_of(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except OSError:
        return "something else"


def kind_of(mode: int) -> str:
    """What lies there, with its article."""
    words = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a directory", stat.S_IFREG: "a file"}
    words |= {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}
    return words.get(stat.S_IFMT(mode), "something unknown")


def open_plain(path: Path, directory: int) -> tuple[int, int]:
    """(descriptor, size) of the plain file `path.name` in `directory`, for reading; StateInvalid for anything else."""
    try:
        descriptor = os.open(path.name, _PLAIN, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV):
            raise misplaced(path, _what_is(path.name, directory), "plain file") from error
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise misplaced(path, kind_of(found.st_mode), "plain file")
    most = MAX_JOURNAL if path.suffix == ".jsonl" else MAX_OTHER
    if found.st_size > most:
        os.close(descriptor)
        raise StateInvalid(
            f"{safe_text(path)} has {found.st_size} bytes: this tool writes no file above {most}",
            hint="see what it is and move it away; `alchemy scope validate` lists what else is affected",
        )
    return descriptor, found.st_size


class BadSector(StateInvalid):
    """The disk has the file and cannot read it: what was in it is as lost as in a torn one."""


def ours(error: OSError, what: str, path: Path) -> AlchemyError:
    """An error of the system as one of ours, with the name."""
    why = f"cannot {what} {safe_text(path)}: {error.strerror or error}"
    if isinstance(error, IsADirectoryError):
        return misplaced(path, "a directory", "plain file")
    if error.errno == errno.EIO and what == "read":
        return BadSector(why, hint="look at the disk, and make a copy of what it still reads before anything else")
    return StorageFailed(why, hint=f"{_way_out(error, path)}, then run the same command again")


def _way_out(error: OSError, path: Path) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        closed = safe_text(closed_at(path))
        return f"see whose it is (`ls -ld {closed}`); its owner opens it with `chmod u+rwX {closed}`"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"free space on the disk of {safe_text(path.parent)}"
    return "check free space and permissions of the state directory"


def closed_at(path: Path) -> Path:
    """The first directory on the way that lets us not through, else the directory of a file that is not there."""
    for above in reversed(path.parents):
        if os.path.isdir(above) and not os.access(above, os.X_OK):
            return above
    return path if os.path.lexists(path) and not os.access(path, os.R_OK | os.W_OK) else path.parent


def is_plain_directory(path: Path) -> bool:
    """A directory, and no link to one; False where that cannot be told."""
    return os.path.isdir(path) and not os.path.islink(path)


def is_open(directory: Path) -> bool:
    """We may look into it."""
    return os.access(directory, os.R_OK | os.X_OK)


def set_mode(descriptor: int, mode: int) -> None:
    """What the umask may have taken is given; nothing else is."""
    if os.fstat(descriptor).st_mode & 0o777 != mode:
        os.fchmod(descriptor, mode)
