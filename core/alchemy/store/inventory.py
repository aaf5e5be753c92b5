"""Everything that lies below the state directory, each name told by what it is; links are never followed.

For `scope validate`, which has an opinion on each. Neighbours: `layout` says where things are put, this what is there.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from alchemy.errors import AlchemyError, InvalidName
from alchemy.model.paths import MAX_DEPTH, ScopePath
from alchemy.store.backups import BACKUP
from alchemy.store.copies import SNAPSHOT
from alchemy.store.files import TEMPORARY, Files
from alchemy.store.layout import RESOURCES, VIEW, Layout
from alchemy.store.opening import EPOCH


class What(StrEnum):
    """Of a name; all but a directory and what is unknown ought to be plain files."""

    VIEW = "a view"
    EDITED = "an edit that was kept"
    TEMPORARY = "a temporary file"
    EPOCH = "a journal file"
    SNAPSHOT = "a snapshot"
    BACKUP = "a backup"
    KEYS = "a key ring"
    LOCK = "a lock"
    HOLDER = "a holder's record"
    SPILL = "a spill"
    AUDIT = "an audit entry"
    FLAT = "the state of another tool"
    MOVING = "the mark of a move"
    BELONGS = "a mark"
    DIRECTORY = "a directory"
    STRANGE = "unknown"


@dataclass(frozen=True, slots=True)
class Item:
    """`scope`: the path it belongs to, "" for nobody's. `found` is of the name itself, never of a link's end."""

    path: Path
    what: What
    scope: str
    found: os.stat_result


_MARK = re.compile(r"state-[0-9TZ-]+\.json\.[a-z]+")
_FORMER = re.compile(r"former-(0|[1-9][0-9]*)\.json")
_ASIDE = re.compile(r"journal\.damaged-[1-9][0-9]*")
_LOCK_ENDINGS = ((".lock.holder.json", What.HOLDER), (".lock.gate", What.LOCK), (".lock.stop", What.BELONGS))
_AT_THE_ROOT = {VIEW: What.FLAT, "moved.json": What.MOVING}
_OF_APPLICATIONS = {"keys.json": What.KEYS, "arriving.json": What.MOVING, "bucket.json": What.BELONGS}
_IGNORED = frozenset([".DS_Store", ".gitignore", ".gitkeep"])


class Inventory:
    """`problems` are directories that cannot be listed, with the reason; filled while it is walked."""

    def __init__(self, files: Files, layout: Layout) -> None:
        self.problems: list[tuple[Path, str, AlchemyError]] = []  # with the scope
        self._files = files
        self._layout = layout

    def everything(self) -> Iterator[Item]:
        for path, found in self._entries(self._layout.root, ""):
            name = path.name
            if name == "locks":
                yield from self._directory(path, found, "", self._locks(path, ()))
            elif name in ("spill", "audit"):
                what = What.SPILL if name == "spill" else What.AUDIT
                yield from self._directory(path, found, "", self._flat(path, what))
            elif name == "local-cloud":
                yield Item(path, What.DIRECTORY, "", found)
            elif name in _AT_THE_ROOT:
                yield Item(path, _AT_THE_ROOT[name], "", found)
            else:
                yield from self._child(path, found, ())

    def scope(self, path: str) -> Iterator[Item]:
        """Of one scope and what is below it."""
        directory = self._layout.scope(path)
        try:
            found = directory.lstat()
        except OSError:
            return
        yield from self._child(directory, found, tuple(path.split("/")[:-1]))

    def _entries(self, directory: Path, scope: str) -> Iterator[tuple[Path, os.stat_result]]:
        try:
            names = self._files.names(directory)
        except AlchemyError as error:
            self.problems.append((directory, scope, error))
            return
        for name in names:
            if name not in _IGNORED:
                try:
                    yield directory / name, (directory / name).lstat()
                except OSError:  # gone meanwhile
                    continue

    def _directory(self, path: Path, found: os.stat_result, scope: str, inside: Iterator[Item]) -> Iterator[Item]:
        yield Item(path, What.DIRECTORY, scope, found)
        if stat.S_ISDIR(found.st_mode):
            yield from inside

    def _child(self, path: Path, found: os.stat_result, above: tuple[str, ...]) -> Iterator[Item]:
        """A name that a scope could have, or none that is known."""
        parts = (*above, path.name)
        if len(parts) == 2 and path.name == "test":
            yield from self._directory(path, found, above[0], self._tests(path, parts))
        elif _is_path(parts) and not stat.S_ISREG(found.st_mode):
            yield from self._directory(path, found, "/".join(parts), self._inside(path, parts))
        else:
            yield Item(path, What.STRANGE, "/".join(above), found)

    def _tests(self, directory: Path, parts: tuple[str, ...]) -> Iterator[Item]:
        for path, found in self._entries(directory, parts[0]):
            yield from self._child(path, found, parts)

    def _inside(self, directory: Path, parts: tuple[str, ...]) -> Iterator[Item]:
        scope = "/".join(parts)
        for path, found in self._entries(directory, scope):
            name = path.name
            if name == "journal" or _ASIDE.fullmatch(name):
                yield from self._directory(path, found, scope, self._named(path, scope, EPOCH, What.EPOCH))
            elif name == "snapshots":
                yield from self._directory(path, found, scope, self._named(path, scope, SNAPSHOT, What.SNAPSHOT))
            elif name == "backups":
                yield from self._directory(path, found, scope, self._named(path, scope, BACKUP, What.BACKUP))
            elif name == RESOURCES:
                yield from self._directory(path, found, scope, self._resources(path, scope))
            elif name in _OF_APPLICATIONS and len(parts) == 1:
                yield Item(path, _OF_APPLICATIONS[name], scope, found)
            elif what := _of_views(name, scope=True):
                yield Item(path, what, scope, found)
            else:
                yield from self._child(path, found, parts)

    def _named(self, directory: Path, scope: str, form: re.Pattern[str], what: What) -> Iterator[Item]:
        for path, found in self._entries(directory, scope):
            if form.fullmatch(path.name):
                yield Item(path, what, scope, found)
            elif TEMPORARY.fullmatch(path.name):
                yield Item(path, What.TEMPORARY, scope, found)
            else:
                mark = what is What.BACKUP and _MARK.fullmatch(path.name)
                yield Item(path, What.BELONGS if mark else What.STRANGE, scope, found)

    def _resources(self, directory: Path, scope: str) -> Iterator[Item]:
        for path, found in self._entries(directory, scope):
            if stat.S_ISREG(found.st_mode):
                yield Item(path, What.STRANGE, scope, found)
            else:
                yield from self._directory(path, found, scope, self._resource(path, scope))

    def _resource(self, directory: Path, scope: str) -> Iterator[Item]:
        for path, found in self._entries(directory, scope):
            yield Item(path, _of_views(path.name, scope=False) or What.STRANGE, scope, found)

    def _flat(self, directory: Path, what: What) -> Iterator[Item]:
        for path, found in self._entries(directory, ""):
            name = path.name
            if name.endswith(".json") and not TEMPORARY.fullmatch(name):
                yield Item(path, what, "", found)
            elif what is What.SPILL and name == "done":
                yield from self._directory(path, found, "", iter(()))
            else:
                yield Item(path, What.TEMPORARY if TEMPORARY.fullmatch(name) else What.STRANGE, "", found)

    def _locks(self, directory: Path, parts: tuple[str, ...]) -> Iterator[Item]:
        for path, found in self._entries(directory, ""):
            name = path.name
            known = next((what for ending, what in _LOCK_ENDINGS if name.endswith(ending)), None)
            stem = name.partition(".lock")[0] if ".lock" in name else name
            if TEMPORARY.fullmatch(name):
                yield Item(path, What.TEMPORARY, "", found)
            elif name == ".unlocking" and not parts:
                yield Item(path, What.LOCK, "", found)
            elif known or name.endswith(".lock"):
                fits = _is_path((*parts, stem))
                yield Item(path, (known or What.LOCK) if fits else What.STRANGE, "/".join((*parts, stem)), found)
            elif (_is_path((*parts, name)) or (*parts[1:], name) == ("test",)) and not stat.S_ISREG(found.st_mode):
                yield from self._directory(path, found, "", self._locks(path, (*parts, name)))
            else:
                yield Item(path, What.STRANGE, "", found)


def _of_views(name: str, *, scope: bool) -> What | None:
    stem = name.removesuffix(".edited")
    if stem == VIEW or (not scope and _FORMER.fullmatch(stem)):
        return What.VIEW if stem == name else What.EDITED
    return What.TEMPORARY if TEMPORARY.fullmatch(name) else None


def _is_path(parts: tuple[str, ...]) -> bool:
    if len(parts) > MAX_DEPTH:
        return False
    try:
        ScopePath.parse("/".join(parts))
    except InvalidName:
        return False
    return True
