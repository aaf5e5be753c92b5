"""What a disk may look like after a power cut, from a recording of every file operation.

Nothing that was not synced is certain: appended bytes may be there, in part, as zeros or not at all; a new name, a
rename or a removal may or may not have reached its directory, in the order they were made. `Recorder` records while
it works on the real disk; `Disk` replays a prefix; `Disk.after_cut` is one state that the disk may then be in.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from alchemy.store.files import Files

Tail = Callable[[bytes], bytes]  # what is left of bytes that were never synced
Entries = Callable[[int], int]  # how many of the unsynced changes of a directory happened

TAILS: dict[str, Tail] = {
    "all": lambda data: data,
    "none": lambda data: b"",
    "one byte": lambda data: data[:1],
    "half": lambda data: data[: len(data) // 2],
    "all but one": lambda data: data[:-1],
    "zeros": lambda data: bytes(len(data)),
    "half and zeros": lambda data: data[: len(data) // 2].ljust(len(data), b"\0"),
}
ENTRIES: dict[str, Entries] = {"all": lambda n: n, "none": lambda n: 0, "half": lambda n: n // 2}


class Killed(BaseException):
    """The process of a recording died here."""


@dataclass(frozen=True)
class Step:
    """One effect: mkdir, create, write, sync, syncdir, rename, unlink, rmdir; or ack, which has none."""

    verb: str
    path: Path = Path()
    data: bytes = b""
    to: Path = Path()
    acked: tuple[int, str] = (0, "")  # (sequence, check) of the last record that was promised to be durable


class Recorder(Files):
    """The real files, recorded. `die_at`: the number of the step that no longer happens, a write half."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.die_at = -1
        self.dead = False
        self._main = threading.current_thread()
        self._lock = threading.RLock()

    def ack(self, seq: int, check: str) -> None:
        with self._lock:
            self.steps.append(Step("ack", acked=(seq, check)))

    @property
    def _due(self) -> bool:
        return 0 <= self.die_at <= len(self.steps)

    def _die(self) -> None:
        """Here the process ends, whichever of its threads comes by."""
        self.dead = True
        raise Killed if threading.current_thread() is self._main else SystemExit

    def _step(self, step: Step) -> None:
        if self.dead or self._due:
            self._die()
        self.steps.append(step)

    def make_directory(self, path: Path, *, durable: bool = True) -> None:
        with self._lock:
            missing = []
            while not path.is_dir():
                missing.append(path)
                path = path.parent
            for directory in reversed(missing):
                self._step(Step("mkdir", directory))
                super().make_directory(directory, durable=durable)

    def create(self, path: Path, data: bytes) -> int:
        with self._lock:
            if self.exists(path):
                raise FileExistsError(path)
            self._step(Step("create", path))
            return super().create(path, data)

    def append(self, descriptor: int, data: bytes, path: Path) -> None:
        with self._lock:
            if not self.dead and self._due:
                self.steps.append(Step("write", path, data[: len(data) // 2]))
                super().append(descriptor, data[: len(data) // 2], path)
                self._die()
            self._step(Step("write", path, data))
            super().append(descriptor, data, path)

    def sync(self, descriptor: int, path: Path) -> None:
        with self._lock:
            self._step(Step("sync", path))
            super().sync(descriptor, path)

    def sync_directory(self, directory: Path) -> None:
        with self._lock:
            self._step(Step("syncdir", directory))
            super().sync_directory(directory)

    def exists(self, path: Path) -> bool:
        with self._lock:
            if self.dead:
                self._die()
            return super().exists(path)

    def replace(self, path: Path, data: bytes, *, durable: bool = False) -> None:
        """Spelled out, so that each part is a step of its own."""
        with self._lock:
            temporary = path.with_name(f".{path.name}.tmp")
            self._step(Step("create", temporary))
            temporary.write_bytes(b"")
            self._step(Step("write", temporary, data))
            temporary.write_bytes(data)
            if durable:
                self._step(Step("sync", temporary))
            self._step(Step("rename", temporary, to=path))
            temporary.replace(path)
            if durable:
                self.sync_directory(path.parent)

    def remove(self, path: Path) -> None:
        with self._lock:
            if self.exists(path):
                self._step(Step("unlink", path))
                super().remove(path)

    def remove_empty(self, directory: Path) -> None:
        with self._lock:
            if directory.is_dir() and not any(directory.iterdir()):
                self._step(Step("rmdir", directory))
                super().remove_empty(directory)


@dataclass
class Inode:
    """A file: `synced` bytes are certain, `loose` ones are not."""

    synced: bytes = b""
    loose: bytes = b""


@dataclass
class Directory:
    """`entries` are certain; each of `loose` is one change (a name set, or taken away as None) or a rename's two."""

    entries: dict[str, Inode | Directory] = field(default_factory=dict)
    loose: list[dict[str, Inode | Directory | None]] = field(default_factory=list)

    def now(self, count: int | None = None) -> dict[str, Inode | Directory]:
        seen: dict[str, Inode | Directory | None] = dict(self.entries)
        for change in self.loose if count is None else self.loose[:count]:
            seen.update(change)
        return {name: item for name, item in seen.items() if item is not None}


class Disk:
    """The tree below `root` after some steps."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = Directory()
        self.acked: tuple[int, str] = (0, "")

    def _directory(self, path: Path) -> Directory:
        place = self.top
        for part in path.relative_to(self.root).parts:
            below = place.now()[part]
            assert isinstance(below, Directory)
            place = below
        return place

    def _file(self, path: Path) -> Inode:
        found = self._directory(path.parent).now()[path.name]
        assert isinstance(found, Inode)
        return found

    def do(self, step: Step) -> None:
        if step.verb == "ack":
            self.acked = step.acked
            return
        if self.root not in (step.path, *step.path.parents) or (step.path == self.root and step.verb == "mkdir"):
            return
        if step.verb in ("mkdir", "create"):
            made = Directory() if step.verb == "mkdir" else Inode()
            self._directory(step.path.parent).loose.append({step.path.name: made})
        elif step.verb == "write":
            self._file(step.path).loose += step.data
        elif step.verb == "sync":
            file = self._file(step.path)
            file.synced, file.loose = file.synced + file.loose, b""
        elif step.verb == "syncdir":
            directory = self._directory(step.path)
            directory.entries, directory.loose = directory.now(), []
        elif step.verb == "rename":
            directory = self._directory(step.path.parent)
            directory.loose.append({step.path.name: None, step.to.name: directory.now()[step.path.name]})
        else:
            self._directory(step.path.parent).loose.append({step.path.name: None})

    def after_cut(self, tail: Callable[[], Tail], entries: Callable[[], Entries]) -> dict[Path, bytes]:
        """Files by path. `tail` and `entries` are asked anew for each file and directory."""
        found: dict[Path, bytes] = {}
        todo = [(self.root, self.top)]
        while todo:
            path, directory = todo.pop()
            for name, item in directory.now(entries()(len(directory.loose))).items():
                if isinstance(item, Directory):
                    todo.append((path / name, item))
                else:
                    found[path / name] = item.synced + tail()(item.loose)
        return found


def after_cut(disk: Disk, dice: random.Random, mixed: int) -> Iterator[tuple[str, dict[Path, bytes]]]:
    """Every uniform loss, and `mixed` where each file and directory loses something else."""
    for tail_name, tail in TAILS.items():
        for entries_name, entries in ENTRIES.items():
            said = f"unsynced bytes: {tail_name}, unsynced names: {entries_name}"
            yield said, disk.after_cut(lambda tail=tail: tail, lambda entries=entries: entries)  # type: ignore[misc]
    for number in range(mixed):
        state = disk.after_cut(lambda: dice.choice(list(TAILS.values())), lambda: lambda n: dice.randint(0, n))
        yield f"mixed loss {number}", state


class Remains(Files):
    """Reading a state that is in memory only: what `load` needs."""

    def __init__(self, files: dict[Path, bytes]) -> None:
        self.files = files

    def read(self, path: Path) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]

    def names(self, directory: Path) -> list[str]:
        depth = len(directory.parts)
        return sorted({path.parts[depth] for path in self.files if directory in path.parents})

    def exists(self, path: Path) -> bool:
        return path in self.files

    def size(self, path: Path) -> int:
        return len(self.files[path]) if path in self.files else -1

    def write_out(self, old: Path, new: Path) -> None:
        """Onto the real disk, below another root."""
        for path, data in self.files.items():
            place = new / path.relative_to(old)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
