"""The journal's rows as files that people read: `state.json` for each scope and resource.

Written after the journal said yes, never synced, never read by the engine. Neighbours: `viewfile` is one of these
files, `viewwatch` looks at them again and again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import orjson

from alchemy.errors import AlchemyError
from alchemy.model.fold import Fold, Stamp
from alchemy.model.values import ResourceState, ScopeKind, ScopeState
from alchemy.store.descent import is_open, is_plain_directory
from alchemy.store.files import TEMPORARY, Files
from alchemy.store.layout import RESOURCES, VIEW, Layout
from alchemy.store.viewfile import ViewFile, place_of, read_view, render


class Views:
    """Keeps the files of one journal's rows up to date. One thread uses it: the journal's writer."""

    def __init__(self, files: Files, layout: Layout, fold: Fold) -> None:
        self._files = files
        self._layout = layout
        self._fold = fold
        self._rows: dict[str, None] = {}  # ordered sets of what is behind
        self._scopes: dict[str, None] = {}
        self._made: set[Path] = set()
        self._owner_behind = False

    def touch(self, rows: Iterable[str], scopes: Iterable[str]) -> None:
        self._rows.update(dict.fromkeys(rows))
        self._scopes.update(dict.fromkeys(scopes))

    def begin(self) -> None:
        """The first row of a run is durable: the owner's view says so before anything is done on the strength of it,
        so that a journal which loses this run is found out, also when the run is killed at once.
        """
        self._owner_behind = True
        with suppress(AlchemyError, OSError):  # a view is a copy: it stops no run
            self.write_one()

    @property
    def behind(self) -> bool:
        return bool(self._rows or self._scopes or self._owner_behind)

    def write_one(self) -> None:
        """Brings one view up to date; the owner's last, so that it also tells that the others are."""
        owner = self._fold.path
        if self._owner_behind:
            self._owner_behind = False
            self._write(self._layout.scope_view(owner), self._fold.scopes.get(owner), "\x00" + owner)
        elif self._rows:
            key = next(iter(self._rows))
            del self._rows[key]
            self._write(place_of(self._layout, key), self._fold.resources.get(key), key)
        elif self._scopes:
            scope = next((each for each in self._scopes if each != owner), owner)
            del self._scopes[scope]
            self._write(self._layout.scope_view(scope), self._fold.scopes.get(scope), "\x00" + scope)

    def _write(self, path: Path, row: ResourceState | ScopeState | None, key: str) -> None:
        if row is None:
            self._remove(path)
            return
        if path.parent not in self._made:
            self._files.make_directory(path.parent, durable=False)
            self._made.add(path.parent)
        stamp = self._fold.stamps[key]
        if isinstance(row, ScopeState) and row.path == self._fold.path:
            # The owner's view carries the journal's end: a shorter journal than that has lost records.
            stamp = Stamp(self._fold.epoch, self._fold.seq, self._fold.serial)
        self._keep_edits(path)
        data = render(row, stamp)
        try:
            self._files.replace(path, data)
        except FileNotFoundError:  # somebody removed the directory under us
            self._files.make_directory(path.parent, durable=False)
            self._files.replace(path, data)

    def _keep_edits(self, path: Path) -> None:
        """What somebody wrote into a view by hand is put beside it, not lost."""
        found = read_view(self._files, path)
        if found and found.problem and not found.blank:
            self._files.replace(path.with_name(f"{path.name}.edited"), found.data)

    def _remove(self, path: Path) -> None:
        self._keep_edits(path)
        self._files.remove(path)
        self._prune(path.parent)

    def _prune(self, directory: Path) -> None:
        """Directories that nothing is left in, up to the owner's own."""
        while directory != self._layout.scope(self._fold.path) and directory != self._layout.root:
            self._made.discard(directory)
            self._files.remove_empty(directory)
            directory = directory.parent

    @property
    def complete(self) -> bool:
        """The run that last wrote the owner's row got to the end of its views."""
        found = read_view(self._files, self._layout.scope_view(self._fold.path), "\x00" + self._fold.path)
        stamp = self._fold.stamps.get("\x00" + self._fold.path)
        return stamp is None or (found is not None and found.stamp is not None and found.stamp.seq >= stamp.seq)

    def check_all(self, *, also_damaged: bool = False) -> None:
        """After a crash: every row whose file is missing or from another record is written again.

        Damaged and edited files are left for people to see, unless `also_damaged`; empty ones tell them nothing.
        """
        for key in self._fold.resources:
            found = read_view(self._files, place_of(self._layout, key), key)
            if _outdated(found, self._fold.stamps[key], also_damaged):
                self._rows[key] = None
        for scope in self._fold.scopes:
            found = read_view(self._files, self._layout.scope_view(scope), "\x00" + scope)
            if _outdated(found, self._fold.stamps["\x00" + scope], also_damaged):
                self._scopes[scope] = None
        for path in stray_views(self._files, self._layout, self._fold):
            self._remove(path)
        for directory, names in list(_directories(self._files, self._layout, self._fold)):
            for name in filter(TEMPORARY.fullmatch, names):  # of a process that died while it wrote
                self._files.remove(directory / name)
            self._prune(directory)
        snapshots = self._layout.snapshots(self._fold.path)
        for name in filter(TEMPORARY.fullmatch, self._files.names(snapshots)):
            self._files.remove(snapshots / name)


def _outdated(found: ViewFile | None, stamp: Stamp, also_damaged: bool) -> bool:
    if found is None or found.blank:
        return True
    return also_damaged if found.problem else found.stamp != stamp


def stray_views(files: Files, layout: Layout, fold: Fold) -> list[Path]:
    """Whole views, not ahead of the journal, of rows and nested scopes the journal no longer has."""
    known = {place_of(layout, key) for key in fold.stamps}
    strays = []
    for path in view_files(files, layout, fold):
        found = read_view(files, path) if path not in known else None
        if not found or not found.stamp or found.stamp.seq > fold.seq or place_of(layout, found.key) != path:
            continue
        if not found.key.startswith("\x00") or _is_nested(found.data):
            strays.append(path)
    return strays


def _is_nested(data: bytes) -> bool:
    """What an application or a stage left without its journal is evidence, not litter."""
    kind: object = orjson.loads(data).get("kind")
    return kind == ScopeKind.NESTED


def view_files(files: Files, layout: Layout, fold: Fold, *, widely: bool = False) -> list[Path]:
    """Every view of the journal's subtree that lies on disk: its own scope, its nested ones, their resources.

    `widely`: also what may be of a stage of which nothing else is left.
    """
    return [
        directory / name
        for directory, names in _directories(files, layout, fold, widely=widely)
        for name in names
        if name == VIEW or (directory.parent.name == RESOURCES and name.endswith(".json") and name[0] != ".")
    ]


def _directories(files: Files, layout: Layout, fold: Fold, *, widely: bool = False) -> Iterator[tuple[Path, list[str]]]:
    """Those that hold views of this journal, with the names in them; symbolic links are never followed."""
    queue = [layout.scope(fold.path)]
    while queue:
        directory = queue.pop()
        names = files.names(directory)
        yield directory, names
        for name in names:
            path = directory / name
            if name == RESOURCES:
                ids = [path / id for id in files.names(path) if is_plain_directory(path / id)]
                yield from ((id, files.names(id)) for id in ids)
            elif name not in _OWNERS and _is_ours(path) and (widely or not _stands_alone(files, layout, fold, path)):
                queue.append(path)


_OWNERS = ("journal", "snapshots", "backups")  # what only a scope with a journal has, also when that was lost


def _is_ours(path: Path) -> bool:
    """A directory that is not another owner's subtree; one that is closed to us is told of by `scope validate`."""
    return is_plain_directory(path) and is_open(path) and not any(os.path.exists(path / name) for name in _OWNERS)


def _stands_alone(files: Files, layout: Layout, fold: Fold, directory: Path) -> bool:
    """A stage below an application, as far as can be told: one that lost its journal and copies is evidence, not ours.

    Below a stage every scope is nested, and so is what this journal, or the scope's own view, says is.
    """
    scope = f"{fold.path}/{directory.name}"
    if "/" in fold.path or directory.parent != layout.scope(fold.path) or scope in fold.scopes:
        return False
    found = read_view(files, directory / VIEW, "\x00" + scope)
    return not (found and found.stamp and _is_nested(found.data))


def lost_owner(files: Files, layout: Layout, fold: Fold, view: Path) -> str:
    """The stage or test below the application of `fold` of which views like this one are all that is left; or ""."""
    inside = view.relative_to(layout.scope(fold.path)).parts
    if len(inside) < 2 or inside[0] == RESOURCES:
        return ""
    alone = _stands_alone(files, layout, fold, layout.scope(fold.path) / inside[0])
    return "/".join((fold.path, *inside[: 2 if inside[0] == "test" else 1])) if alone else ""


def newest_stamp(files: Files, layout: Layout, fold: Fold, *, thorough: bool) -> tuple[Stamp, Path] | None:
    """The newest record any whole view was written from: the journal must reach at least that far.

    All of them are read when `thorough`, or when the owner's own, which tells it alone, is torn or gone.
    """
    own = layout.scope_view(fold.path)
    found = read_view(files, own, "\x00" + fold.path)
    if not thorough and found and found.stamp:
        return found.stamp, own
    newest: tuple[Stamp, Path] | None = None
    for path in view_files(files, layout, fold):
        found = read_view(files, path)
        if not found or not found.stamp or place_of(layout, found.key) != path:
            continue  # one of another scope tells of another journal
        if newest is None or found.stamp.seq > newest[0].seq:
            newest = (found.stamp, path)
    return newest
