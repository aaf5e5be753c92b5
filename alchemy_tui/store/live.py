"""A workspace that is looked at for hours: what a reader that goes on from where it was cannot see is noticed here.

A journal file that was read long ago and changes now is read anew, with all others, as a new process would; spills that
wait stand among the findings. Neighbours: `source` is the contract, `watch` asks for looks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from alchemy.errors import AlchemyError
from alchemy.model.events import Entry
from alchemy.operations.shapes import BackupInfo, Finding, SpillInfo, View
from alchemy.operations.workspace import Workspace
from alchemy_tui.store.source import Follow

Mark = tuple[int, int, int]  # size, time of the last change, inode
Marks = dict[str, dict[str, Mark]]  # of journal files, by owner
FEW = 200  # journals: more are compared on full looks only


class Live:
    """Not safe to call from two threads at once, like the workspace in it."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._given: View | None = None  # by the workspace, at the last look
        self._owners: tuple[str, ...] = ()
        self._marks: Marks | None = None
        self._spills: tuple[Finding, ...] = ()
        self._spilled: int = -1  # when the directory of spills changed last
        self._shown: tuple[View, tuple[Finding, ...], View] | None = None

    @property
    def root(self) -> Path:
        return self._workspace.root

    @property
    def pace(self) -> float:
        return self._workspace.pace

    def watch_paths(self) -> Sequence[Path]:
        return self._workspace.watch_paths()

    def entries(self, scope: str, run: str = "", limit: int = 1000) -> list[Entry]:
        return self._workspace.entries(scope, run, limit)

    def backups(self, scope: str) -> Sequence[BackupInfo]:
        return self._workspace.backups(scope)

    def state_text(self, subject: str) -> str:
        return self._workspace.state_text(subject)

    def follow(self, scope: str) -> Follow:
        return self._workspace.follow(scope)

    # -- looking --------------------------------------------------------------------------------------------------

    def refresh(self, *, full: bool = False) -> View:
        view = self._workspace.refresh(full=full)
        if self._doubtful(view, full=full):
            self._workspace = Workspace(self._workspace.store)
            view = self._workspace.refresh(full=True)
        self._given = view
        self._look_for_spills(full=full)
        return self._with_spills(view)

    def _doubtful(self, view: View, *, full: bool) -> bool:
        """A journal file is another than it was, and that is no run going on."""
        if self._workspace.store.remote:
            return False
        if view is not self._given:
            self._owners = tuple(path for path, node in view.scopes.items() if node.owner == path)
        if len(self._owners) > FEW and not full:
            return False
        before, self._marks = self._marks, {owner: _marks(self.root / owner / "journal") for owner in self._owners}
        if before is None:
            return False
        silent = view is self._given
        return any(_changed(before[owner], now, silent) for owner, now in self._marks.items() if owner in before)

    def _look_for_spills(self, *, full: bool) -> None:
        spilled = 0
        with suppress(OSError):
            spilled = (self.root / "spill").stat().st_mtime_ns
        if spilled == self._spilled and not full:
            return
        from alchemy.operations.spills import spills  # late: most states have none, and never had one

        self._spilled = spilled
        try:
            self._spills = tuple(_finding(self.root, one) for one in spills(self._workspace.store))
        except (AlchemyError, OSError):  # the directory itself: `validate` tells about it
            self._spills = ()

    def _with_spills(self, view: View) -> View:
        """The same object as long as nothing differs."""
        known = {one.file for one in view.findings}
        more = tuple(one for one in self._spills if one.file not in known)
        if not more:
            return view
        if self._shown is None or self._shown[0] is not view or self._shown[1] != more:
            self._shown = (view, more, replace(view, findings=(*view.findings, *more)))
        return self._shown[2]


def _marks(directory: Path) -> dict[str, Mark]:
    found: dict[str, Mark] = {}
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):
                stat = entry.stat(follow_symlinks=False)
                found[entry.name] = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    return found


def _changed(before: dict[str, Mark], now: dict[str, Mark], silent: bool) -> bool:
    """Only the newest file grows, and when it does the view says more; a new run's file takes its place."""
    newest = max(before, default="")
    for name, mark in before.items():
        if name not in now or now[name] == mark:
            continue  # a file that went is seen by its name
        if name != newest or silent or now[name][0] < mark[0] or now[name][2] != mark[2]:
            return True
    return False


def _finding(root: Path, one: SpillInfo) -> Finding:
    file = one.file.removeprefix(f"{root}/")
    if one.problem:
        return Finding(file, one.scope, "warning", one.problem, "keep it: it may hold the only copy of an id")
    count = f"{one.changes} change{'s' * (one.changes != 1)}"
    problem = f"a spill waits: {one.run} could not write {count} to the journal ({one.why})"
    return Finding(file, one.scope, "warning", problem, f"alchemy scope recover {one.file}")
