"""One journal as it stands now: its scopes and resources with their health. Kept between looks, re-read by offset.

Neighbours: `workspace` holds one of these for each journal, `history` knows the runs.
"""

from __future__ import annotations

from alchemy.errors import AlchemyError, StateInvalid, StorageFailed
from alchemy.model.events import Entry
from alchemy.model.fold import Fold
from alchemy.model.locks import LockView, Verdict
from alchemy.model.records import entries
from alchemy.model.runview import RunView
from alchemy.model.values import Holder, ResourceState, ScopeKind, Status
from alchemy.operations.history import Runs, entries_of, run_records
from alchemy.operations.shapes import Finding, Health, ResourceNode, RunSummary, ScopeNode
from alchemy.operations.verdicts import as_in_journal, with_hold
from alchemy.store.holders import is_gone
from alchemy.store.store import Store
from alchemy.store.viewfile import render

_WORST = list(Health)  # in the order of the enum: worst first
SMALL = 2000  # rows: below that every view is looked at on each refresh, above on full ones


class Owner:
    """An application, stage or test scope."""

    def __init__(self, store: Store, path: str) -> None:
        self.path = path
        self.scopes: dict[str, ScopeNode] = {}
        self.resources: dict[str, ResourceNode] = {}
        self.runs: tuple[RunSummary, ...] = ()
        self.active: RunView | None = None
        self.lock: LockView = LockView(path, Verdict.FREE, None)
        self.problem = ""
        self.findings: tuple[Finding, ...] = ()
        self.has_journal = True
        self._store = store
        self._reader = store.reader(path)
        self._history = Runs(store, path)
        self._watch = store.view_watch(path)
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

    @property
    def restless(self) -> bool:
        """It changes by itself, or was never looked at."""
        return self._built is None or bool(self.problem) or self.active is not None or self.lock.hold is not None

    def refresh(self, *, full: bool) -> bool:
        """True when anything that is shown changed."""
        self.has_journal = self._store.has_journal(self.path)
        damage: AlchemyError | None
        try:
            grown = self._reader.poll()
            damage = self._lost_records()
        except AlchemyError as error:
            grown, damage = False, error
        problem = f"{damage.message}. {damage.hint}" if damage else ""
        fold = self._reader.fold
        taken = self._store.lock_view(self.path)
        live = not fold.released and self._at_work(fold.holder, taken)
        self.lock = with_hold(as_in_journal(taken, fold), fold, self._store)
        first = self._view is None
        if (live and first) or (grown and not (first and self._reader.reloaded)):
            self._follow(live)
        looked = self._look_at_views(fold) if full or len(fold.resources) < SMALL else self._built_views()
        lock = (self.lock.verdict, self.lock.holder, self.lock.hold)
        state = (fold.seq, fold.prev, live, problem, lock, self.has_journal, looked)
        if state == self._built:
            return False
        self._built, self.problem = state, problem
        self.runs = self._newest_runs(live)
        self.active = self._view if live else None
        self._build(live, dict(looked))
        self.findings = (*self._of_journal(damage), *(self._of_view(*found) for found in looked))
        return True

    def _newest_runs(self, live: bool) -> tuple[RunSummary, ...]:
        """As far as they can be read: what keeps us from it stands as the problem of the scope."""
        try:
            return self._history.newest(live=live, now=self._store.clock.wall())
        except StateInvalid:
            return ()
        except StorageFailed:
            if self._store.remote:  # it does not answer: that is told of the place, not of one scope
                raise
            return ()

    def _of_journal(self, damage: AlchemyError | None) -> tuple[Finding, ...]:
        if damage is None:
            return ()
        return (Finding(f"{self.path}/journal", self.path, "error", damage.message, damage.hint),)

    def _of_view(self, subject: str, problem: str) -> Finding:
        known = subject in self.resources
        file = self._watch.file(subject, resource=known) if self._watch else subject
        way_out = f"alchemy scope validate {self.path} --fix writes it again from the journal"
        scope = subject.rpartition("/")[0] if known else subject
        return Finding(file, scope, "error", problem, way_out)

    def _lost_records(self) -> AlchemyError | None:
        """A journal that is shorter than a view says never shows as an empty scope."""
        fold = self._reader.fold
        mark = (fold.seq, self._reader.reloaded, self._watch.mark() if self._watch else 0)
        if mark == self._compared[0] and not self._reader.reloaded:
            return self._compared[1]
        thorough = (self._reader.reloaded and not self._reader.clean) or not fold.seq
        error = self._store.lost_records(fold, thorough=thorough)
        if error is not None and self._reader.poll():  # the run that is writing was faster than we
            self._view = None  # its events were in the first poll and in this one: read them again
            error = self._store.lost_records(self._reader.fold, thorough=thorough)
        self._compared = (mark, error)
        return self._compared[1]

    def _at_work(self, holder: Holder | None, lock: LockView) -> bool:
        """The lock's verdict; where a run takes no lock, its process."""
        if lock.verdict in (Verdict.LIVE, Verdict.UNKNOWN):
            return True
        return holder is not None and lock.holder is None and not is_gone(holder) and bool(holder.process_start)

    def _follow(self, live: bool) -> None:
        """Keeps the fold of the newest run's events."""
        fresh: list[Entry]
        if self._view is None or self._reader.reloaded or any(r.kind == "open" for r in self._reader.records):
            self._view = RunView(self.path)
            fresh = entries_of(run_records(self._store, self.path, ""))
        else:
            fresh = [entry for record in self._reader.records for entry in entries(record)]
        for entry in fresh:
            self._view.apply(entry)

    def _look_at_views(self, fold: Fold) -> tuple[tuple[str, str], ...]:
        return self._watch.problems(fold) if self._watch else ()

    def _built_views(self) -> tuple[tuple[str, str], ...]:
        return self._built[6] if isinstance(self._built, tuple) else ()

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
            file = self._watch.file(row.address, resource=True) if self._watch else ""
            users = tuple(sorted(used.get(row.address, ())))
            text = problem or row.error
            self.resources[row.address] = ResourceNode(row, self.path, health, text, users, file)
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
        fold = self._reader.fold
        node = self.resources.get(subject)
        if node is None and subject not in self.scopes:
            return None
        text = self._watch.text(subject, resource=node is not None) if self._watch else None
        if text is not None:
            return text
        row = node.state if node else fold.scopes.get(subject)
        key = subject if node else "\x00" + subject
        return render(row, fold.stamps[key]).decode() if row else ""
