"""One journal as it stands now: its scopes and resources with their health. Kept between looks, re-read by offset.

Neighbours: `workspace` holds one of these for each journal, `history` knows the runs.
"""

from __future__ import annotations

from pathlib import Path

from alchemy.errors import AlchemyError
from alchemy.model.events import Entry
from alchemy.model.locks import LockView, Verdict
from alchemy.model.records import entries
from alchemy.model.runview import RunView
from alchemy.model.values import Holder, ResourceState, ScopeKind, Status
from alchemy.operations.history import Runs, entries_of, run_records
from alchemy.operations.shapes import Finding, Health, ResourceNode, RunSummary, ScopeNode
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.holders import is_gone, lock_view
from alchemy.store.layout import Layout
from alchemy.store.opening import lost_records
from alchemy.store.reader import JournalReader
from alchemy.store.views import examine, read_view

_WORST = list(Health)  # in the order of the enum: worst first
SMALL = 2000  # rows: below that every view is looked at on each refresh, above on full ones


class Owner:
    """An application, stage or test scope."""

    def __init__(self, files: Files, layout: Layout, clock: Clock, path: str) -> None:
        self.path = path
        self.scopes: dict[str, ScopeNode] = {}
        self.resources: dict[str, ResourceNode] = {}
        self.runs: tuple[RunSummary, ...] = ()
        self.active: RunView | None = None
        self.lock: LockView = LockView(path, Verdict.FREE, None)
        self.problem = ""
        self.findings: tuple[Finding, ...] = ()
        self.has_journal = True
        self._files = files
        self._layout = layout
        self._clock = clock
        self._reader = JournalReader(files, layout, path)
        self._history = Runs(files, layout, path)
        self._seen: dict[Path, tuple[tuple[int, int, int], str]] = {}  # view -> (stat, problem)
        self._view: RunView | None = None
        self._built: object = None
        self._compared: tuple[object, AlchemyError | None] = (
            None,
            None,
        )  # what the journal's end was compared with, and the finding

    @property
    def alive(self) -> bool:
        """There is something to show."""
        return bool(self.scopes) or bool(self.problem)

    def refresh(self, *, full: bool) -> bool:
        """True when anything that is shown changed."""
        self.has_journal = self._files.exists(self._layout.journal(self.path))
        damage: AlchemyError | None
        try:
            grown = self._reader.poll()
            damage = self._lost_records()
        except AlchemyError as error:
            grown, damage = False, error
        problem = f"{damage.message}. {damage.hint}" if damage else ""
        fold = self._reader.fold
        self.lock = lock_view(self._layout, self._files, self.path, clock=self._clock)
        live = not fold.released and self._at_work(fold.holder)
        first = self._view is None
        if (live and first) or (grown and not (first and self._reader.reloaded)):
            self._follow(live)
        looked = self._look_at_views() if full or len(fold.resources) < SMALL else self._built_views()
        state = (fold.seq, fold.prev, live, problem, self.lock.verdict, self.lock.holder, looked, self.has_journal)
        if state == self._built:
            return False
        self._built, self.problem = state, problem
        self.runs = self._history.newest(live=live, now=self._clock.wall())
        self.active = self._view if live else None
        self._build(live, dict(looked))
        self.findings = (*self._of_journal(damage), *(self._of_view(*found) for found in looked))
        return True

    def _of_journal(self, damage: AlchemyError | None) -> tuple[Finding, ...]:
        if damage is None:
            return ()
        file = str(self._layout.journal(self.path).relative_to(self._layout.root))
        return (Finding(file, self.path, "error", damage.message, damage.hint),)

    def _of_view(self, subject: str, problem: str) -> Finding:
        known = subject in self.resources
        file = self._layout.resource_view(subject) if known else self._layout.scope_view(subject)
        way_out = f"alchemy scope validate {self.path} --fix writes it again from the journal"
        scope = subject.rpartition("/")[0] if known else subject
        return Finding(str(file.relative_to(self._layout.root)), scope, "error", problem, way_out)

    def _lost_records(self) -> AlchemyError | None:
        """A journal that is shorter than a view says never shows as an empty scope."""
        fold, path = self._reader.fold, self._layout.scope_view(self.path)
        mark = (fold.seq, self._reader.reloaded, self._files.size(path))
        if mark == self._compared[0] and not self._reader.reloaded:
            return self._compared[1]
        thorough = (self._reader.reloaded and not self._reader.clean) or not fold.seq
        error = lost_records(self._files, self._layout, fold, thorough=thorough)
        if error is not None and self._reader.poll():  # the run that is writing was faster than we
            self._view = None  # its events were in the first poll and in this one: read them again
            error = lost_records(self._files, self._layout, self._reader.fold, thorough=thorough)
        self._compared = (mark, error)
        return self._compared[1]

    def _at_work(self, holder: Holder | None) -> bool:
        """The lock's verdict; where a run takes no lock, its process."""
        if self.lock.verdict in (Verdict.LIVE, Verdict.UNKNOWN):
            return True
        return holder is not None and self.lock.holder is None and not is_gone(holder) and bool(holder.process_start)

    def _follow(self, live: bool) -> None:
        """Keeps the fold of the newest run's events."""
        fresh: list[Entry]
        if self._view is None or self._reader.reloaded or any(r.kind == "open" for r in self._reader.records):
            self._view = RunView(self.path)
            fresh = entries_of(run_records(self._files, self._layout, self.path, ""))
        else:
            fresh = [entry for record in self._reader.records for entry in entries(record)]
        for entry in fresh:
            self._view.apply(entry)

    # -- views on disk ------------------------------------------------------------------------------------------

    def _look_at_views(self) -> tuple[tuple[str, str], ...]:
        """(address or path, problem) of every view that is not as it was written. One stat each when unchanged."""
        found: list[tuple[str, str]] = []
        fold = self._reader.fold
        for row in fold.resources.values():
            path = self._layout.resource_view(row.address, row.generation if row.former else None)
            problem = self._examine(path)
            if problem and not row.former:
                found.append((row.address, problem))
        for scope in fold.scopes:
            problem = self._examine(self._layout.scope_view(scope))
            if problem:
                found.append((scope, problem))
        if not fold.scopes:
            problem = self._examine(self._layout.scope_view(self.path))
            if problem:
                found.append((self.path, problem))
        return tuple(found)

    def _built_views(self) -> tuple[tuple[str, str], ...]:
        return self._built[6] if isinstance(self._built, tuple) else ()

    def _examine(self, path: Path) -> str:
        try:
            stat = path.lstat()
        except OSError:
            self._seen.pop(path, None)
            return ""
        mark = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        known = self._seen.get(path)
        if known and known[0] == mark:
            return known[1]
        try:
            found = read_view(self._files, path)
            problem = ""
            if found and found.problem:
                problem = (
                    f"{path.name}:{found.line}: {found.problem}" if found.line else f"{path.name}: {found.problem}"
                )
        except AlchemyError as error:
            problem = error.message
        self._seen[path] = (mark, problem)
        return problem

    # -- nodes --------------------------------------------------------------------------------------------------

    def _build(self, live: bool, views: dict[str, str]) -> None:
        fold = self._reader.fold
        used: dict[str, list[str]] = {}
        for row in fold.resources.values():
            for needed in row.depends_on:
                used.setdefault(needed, []).append(row.address)
        self.resources = {}
        inside: dict[str, list[str]] = {}
        for row in sorted(fold.resources.values(), key=lambda r: (r.scope, r.seq)):
            if row.former:
                continue
            problem = views.get(row.address, "")
            health = self._health(row, live, problem, fold.orphaned(row.address))
            file = self._layout.resource_view(row.address).relative_to(self._layout.root)
            users = tuple(sorted(used.get(row.address, ())))
            text = problem or row.error
            self.resources[row.address] = ResourceNode(row, self.path, health, text, users, str(file))
            inside.setdefault(row.scope, []).append(row.address)
        children: dict[str, list[str]] = {}
        known = dict.fromkeys([*fold.scopes, *inside])
        if self.problem or (not known and not self.has_journal) or (views and not known):
            known.setdefault(self.path)
        for path in sorted(known, key=lambda p: (p.count("/"), p)):
            if path != self.path:
                children.setdefault(path.rpartition("/")[0], []).append(path)
        self.scopes = {}
        for path in sorted(known, key=lambda p: -p.count("/")):
            self._build_scope(path, children.get(path, []), inside.get(path, []), views.get(path, ""))

    def _build_scope(self, path: str, children: list[str], inside: list[str], problem: str) -> None:
        row = self._reader.fold.scopes.get(path)
        own = Health.OK
        if problem:
            own = Health.EDITED if "edited" in problem else Health.CORRUPT
        if path == self.path and self.problem:
            own, problem = Health.CORRUPT, self.problem
        below = [self.scopes[c].health for c in children if c in self.scopes]
        below += [self.resources[a].health for a in inside]
        total = len(inside) + sum(self.scopes[c].total for c in children if c in self.scopes)
        worst = min([own, *below], key=_WORST.index)
        kind = row.kind if row else self._guess(path)
        self.scopes[path] = ScopeNode(path, kind, self.path, row, tuple(children), tuple(inside), total, worst, problem)

    def _guess(self, path: str) -> ScopeKind:
        if path != self.path:
            return ScopeKind.NESTED
        parts = path.split("/")
        if len(parts) == 1:
            return ScopeKind.APPLICATION
        return ScopeKind.TEST if len(parts) > 2 and parts[1] == "test" else ScopeKind.STAGE

    def _health(self, row: ResourceState, live: bool, problem: str, orphan: bool) -> Health:
        if problem:
            return Health.EDITED if "edited" in problem else Health.CORRUPT
        if row.status is not Status.READY and live and row.run == f"R-{self._reader.fold.epoch}" and not row.error:
            return Health.WORKING
        if row.error:
            return Health.FAILED
        if row.status is not Status.READY:
            return Health.UNFINISHED
        return Health.ORPHAN if orphan else Health.OK

    def text_of(self, subject: str) -> str | None:
        """The document of a scope or resource; None when it is not ours."""
        from alchemy.store.views import render

        fold = self._reader.fold
        node = self.resources.get(subject)
        path = self._layout.resource_view(subject) if node else self._layout.scope_view(subject)
        if node is None and subject not in self.scopes:
            return None
        try:
            return examine(self._files.read(path)).data.decode("utf-8", "replace")
        except FileNotFoundError:
            row = node.state if node else fold.scopes.get(subject)
            key = subject if node else "\x00" + subject
            return render(row, fold.stamps[key]).decode() if row else ""
