"""What a disk may look like after a power cut, from a recording of every file operation.

Nothing that was not synced is certain: appended bytes may be there, in part, as zeros, as noise or not at all; of new
names, renames and removals any may have reached their directory and any not. `Recorder` records while it works on the
real disk; `Disk` replays a prefix; `every_cut` are the states that the disk may then be in.
"""

from __future__ import annotations

import itertools
import math
import random
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alchemy.store.files import Files

Tail = Callable[[bytes], bytes]  # what is left of bytes that were never synced
Entries = Callable[[int], Collection[int]]  # which of so many unsynced changes of a directory happened

TAILS: dict[str, Tail] = {
    "all": lambda data: data,
    "none": lambda data: b"",
    "one byte": lambda data: data[:1],
    "half": lambda data: data[: len(data) // 2],
    "all but one": lambda data: data[:-1],
    "zeros": lambda data: bytes(len(data)),
    "half and zeros": lambda data: data[: len(data) // 2].ljust(len(data), b"\0"),
    "noise": lambda data: bytes(number * 151 % 251 for number in range(len(data))),
}
FEWEST = 4  # states a moment, also when what is loose decides nothing
MOST = 300  # states a moment that are gone through one by one; of more, so many are drawn


class Killed(BaseException):
    """The process of a recording died here."""


@dataclass(frozen=True)
class Step:
    """One effect: mkdir, create, write, sync, syncdir, rename, unlink, rmdir.

    None on files have: ack, a record is promised to be durable; keep, the file as it is; api, the cloud did something.
    """

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
        self.note(Step("ack", acked=(seq, check)))

    def keep(self, path: Path) -> None:
        """What is in `path` now is promised to be there until something else is promised."""
        self.note(Step("keep", path))

    def note(self, step: Step) -> None:
        """Something else that happened between the operations on files."""
        with self._lock:
            self.steps.append(step)

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
            temporary = path.with_name(f".{path.name}.0.tmp")
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

    def move(self, path: Path, name: str) -> None:
        with self._lock:
            self._step(Step("rename", path, to=path.with_name(name)))
            super().move(path, name)

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

    def now(self, happened: Collection[int] | None = None) -> dict[str, Inode | Directory]:
        seen: dict[str, Inode | Directory | None] = dict(self.entries)
        for number, change in enumerate(self.loose):
            if happened is None or number in happened:
                seen.update(change)
        return {name: item for name, item in seen.items() if item is not None}

    def ever(self) -> Iterator[tuple[str, Inode | Directory]]:
        """What any power cut may leave."""
        yield from self.entries.items()
        for change in self.loose:
            yield from ((name, item) for name, item in change.items() if item is not None)


class Disk:
    """The tree below `root` after some steps. `kept`: what each promised file may hold, promised or put there since."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = Directory()
        self.acked: tuple[int, str] = (0, "")
        self.kept: dict[Path, list[bytes]] = {}

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
        if step.verb == "api":
            return
        if step.verb == "keep":
            file = self._file(step.path)
            self.kept[step.path] = [file.synced + file.loose]
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
            moved = directory.now()[step.path.name]
            directory.loose.append({step.path.name: None, step.to.name: moved})
            if step.to in self.kept and isinstance(moved, Inode):
                self.kept[step.to].append(moved.synced + moved.loose)
        else:
            self._directory(step.path.parent).loose.append({step.path.name: None})

    def walk(self) -> Iterator[tuple[Path, Inode | Directory]]:
        """Everything that may be there."""
        todo: list[tuple[Path, Inode | Directory]] = [(self.root, self.top)]
        while todo:
            path, item = todo.pop()
            yield path, item
            if isinstance(item, Directory):
                todo += [(path / name, below) for name, below in item.ever()]

    def after_cut(self, tail: Callable[[Inode], Tail], entries: Callable[[Directory], Entries]) -> dict[Path, bytes]:
        """Files by path, with what each file and each directory lost."""
        found: dict[Path, bytes] = {}
        todo = [(self.root, self.top)]
        while todo:
            path, directory = todo.pop()
            for name, item in directory.now(entries(directory)(len(directory.loose))).items():
                if isinstance(item, Directory):
                    todo.append((path / name, item))
                else:
                    found[path / name] = item.synced + tail(item)(item.loose)
        return found

    def killed(self) -> dict[Path, bytes]:
        """Everything that was written: the system goes on without the process."""
        return self.after_cut(lambda _: TAILS["all"], lambda _: range)

    def any_cut(self, dice: random.Random) -> dict[Path, bytes]:
        """One of all the ways."""
        tails = list(TAILS.values())
        return self.after_cut(
            lambda _: dice.choice(tails), lambda _: lambda n: dice.sample(range(n), dice.randint(0, n))
        )


def every_cut(
    disk: Disk, dice: random.Random, decides: Callable[[Path], bool]
) -> Iterator[tuple[str, dict[Path, bytes]]]:
    """Every combination of losses of the files and names that decide something; the others lose anything at random.

    A directory may have got any of its unsynced changes, whatever their order; `decides` says which of its names count.
    """
    tails: dict[int, Sequence[Tail]] = {}
    subsets: dict[int, Sequence[Entries]] = {}
    for path, item in disk.walk():
        if isinstance(item, Inode):
            if item.loose and decides(path):
                tails[id(item)] = list(TAILS.values())
        elif counted := [n for n, change in enumerate(item.loose) if any(decides(path / name) for name in change)]:
            subsets[id(item)] = [_some(chosen, counted, dice) for chosen in _subsets(counted)]
    total = math.prod(map(len, (*tails.values(), *subsets.values())))
    for number in range(max(FEWEST, min(total, MOST))):
        drawn = number if number < total <= MOST else dice.randrange(total)
        rest, files, directories = drawn, {}, {}
        for file, some_tails in tails.items():
            rest, index = divmod(rest, len(some_tails))
            files[file] = some_tails[index]
        for directory, some_entries in subsets.items():
            rest, index = divmod(rest, len(some_entries))
            directories[directory] = some_entries[index]
        yield f"loss {drawn} of {total}", _lose(disk, files, directories, dice)


def _lose(
    disk: Disk, files: dict[int, Tail], directories: dict[int, Entries], dice: random.Random
) -> dict[Path, bytes]:
    """As chosen; what is not chosen loses anything."""
    tails = list(TAILS.values())

    def any_of(n: int) -> Collection[int]:
        return dice.sample(range(n), dice.randint(0, n))

    return disk.after_cut(
        lambda file: files.get(id(file)) or dice.choice(tails),
        lambda directory: directories.get(id(directory)) or any_of,
    )


def _subsets(counted: Sequence[int]) -> Iterator[tuple[int, ...]]:
    for size in range(len(counted) + 1):
        yield from itertools.combinations(counted, size)


def _some(chosen: Collection[int], counted: Collection[int], dice: random.Random) -> Entries:
    """`chosen` of the `counted` changes, and any of the others."""
    return lambda n: {each for each in range(n) if each in chosen or (each not in counted and dice.random() < 0.5)}


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
