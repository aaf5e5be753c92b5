"""The store: the newest View, a version of our own, and what changed since any version a widget has drawn.

Widgets hold no state of the world; they remember a version and ask `since`. `news` says what is worth a toast.
Neighbours: `watch` feeds it, `tree_model` makes rows of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from alchemy.model.runview import RunView
from alchemy.operations.shapes import Health, ResourceNode, RunSummary, ScopeNode, View

KEPT_DELTAS = 64  # a widget that is further behind draws everything


@dataclass(frozen=True, slots=True)
class Delta:
    """What differs between two versions. `structure`: rows appeared, vanished or moved, so the tree is built again."""

    structure: bool = False
    subjects: frozenset[str] = frozenset()  # scope paths and addresses whose row looks different
    owners: frozenset[str] = frozenset()  # applications, stages and tests whose runs moved
    locks: bool = False
    findings: bool = False

    @property
    def empty(self) -> bool:
        return not (self.structure or self.subjects or self.owners or self.locks or self.findings)

    def merged(self, later: Delta) -> Delta:
        return Delta(
            structure=self.structure or later.structure,
            subjects=self.subjects | later.subjects,
            owners=self.owners | later.owners,
            locks=self.locks or later.locks,
            findings=self.findings or later.findings,
        )


EVERYTHING = Delta(structure=True, locks=True, findings=True)


@dataclass(frozen=True, slots=True)
class News:
    """One thing a person would want to be told. `severity`: information, warning, error."""

    title: str
    text: str  # in addition to the counts
    severity: str
    scope: str
    run: str
    counts: Mapping[str, int] = field(default_factory=dict)  # of a run that ended


@dataclass(slots=True)
class Store:
    """One per dashboard, touched by the event loop only. `version` rises with each View that differs."""

    view: View = field(default_factory=lambda: View(version=0, root=""))
    version: int = 0
    loaded: bool = False
    problems: int = 0  # what cannot be read, counted once a view
    _deltas: deque[tuple[int, Delta]] = field(default_factory=lambda: deque(maxlen=KEPT_DELTAS))
    _failing: set[tuple[str, str]] = field(default_factory=set)

    def apply(self, view: View) -> Delta:
        """Takes over `view`; an empty delta (and the old version) when nothing differs."""
        if view is self.view:
            return Delta()
        delta = compare(self.view, view) if self.loaded else EVERYTHING
        self.view = view
        self.loaded = True
        self.problems = count_problems(view)
        if not delta.empty:
            self.version += 1
            self._deltas.append((self.version, delta))
        return delta

    def since(self, version: int) -> Delta:
        """Everything that changed after `version`."""
        if version >= self.version:
            return Delta()
        if not self._deltas or self._deltas[0][0] > version + 1:
            return EVERYTHING
        merged = Delta()
        for number, delta in self._deltas:
            if number > version:
                merged = merged.merged(delta)
        return merged

    def owner_of(self, subject: str) -> str:
        """The application, stage or test whose journal tells about `subject`."""
        node = self.view.scopes.get(subject)
        if node:
            return node.owner
        resource = self.view.resources.get(subject)
        if resource:
            return resource.owner
        scope = subject.rpartition("/")[0]
        return self.owner_of(scope) if scope else subject

    def news(self, before: View) -> list[News]:
        """What happened between `before` and now: a run's first failure, a run's end, a run whose process vanished."""
        out: list[News] = []
        for owner, run in self.view.active.items():
            key = (owner, run.run)
            if run.failures and key not in self._failing:
                self._failing.add(key)
                address, message = run.failures[0]
                title = f"{run.run} {run.purpose} {owner}: first failure"
                out.append(News(title, f"{address}: {message}", "error", owner, run.run))
        for owner, run in before.active.items():
            current = self.view.active.get(owner)
            if current and current.run == run.run:
                continue
            ended = (s for s in self.view.runs.get(owner, ()) if s.run == run.run and s.outcome != "running")
            out += [_ended(summary, run) for summary in ended]
        return out


_ENDINGS = {  # outcome: (what is said, severity)
    "done": ("finished", "information"),
    "failed": ("failed", "error"),
    "interrupted": ("was interrupted", "warning"),
    "lost": ("lost its process", "error"),
}


def _ended(summary: RunSummary, run: RunView) -> News:
    """`run` is what was seen of it: all that is known of one that could not say how it ended."""
    said, severity = _ENDINGS.get(summary.outcome, (summary.outcome, "warning"))
    title = f"{summary.run} {summary.purpose} {summary.scope} {said}"
    then = f"next: {summary.hints[0]}" if summary.hints else ""
    counts = summary.counts
    if summary.outcome == "lost":
        counts = dict(run.counts)
        doubt = f"{run.running} change{'s' * (run.running != 1)} in doubt"
        then = f"{doubt}: the next deploy looks up what became of them" if run.running else "nothing was under way"
    return News(title, then, severity, summary.scope, summary.run, counts)


def count_problems(view: View) -> int:
    """Findings where there are any, else the rows that say themselves what is wrong with them."""
    found = sum(1 for finding in view.findings if finding.severity == "error")
    if found:
        return found
    nodes: list[ScopeNode | ResourceNode] = [*view.scopes.values(), *view.resources.values()]
    return len([node for node in nodes if node.health == Health.CORRUPT and node.problem])


def compare(before: View, after: View) -> Delta:
    """Identity first: the workspace gives the same node object again where nothing changed."""
    subjects: set[str] = set()
    structure = before.applications != after.applications or before.root != after.root
    if before.scopes is not after.scopes:
        structure |= before.scopes.keys() != after.scopes.keys()
        for path, node in after.scopes.items():
            old = before.scopes.get(path)
            if old is node or old == node:
                continue
            subjects.add(path)
            structure |= old is None or old.children != node.children or old.resources != node.resources
    if before.resources is not after.resources:
        structure |= before.resources.keys() != after.resources.keys()
        for address, resource in after.resources.items():
            known = before.resources.get(address)
            if known is not resource and known != resource:
                subjects.add(address)
    owners = _changed_keys(before.runs, after.runs) | _changed_runs(before, after)
    locks = before.locks != after.locks
    if locks:
        subjects |= {lock.path for lock in (*before.locks, *after.locks)}
    return Delta(
        structure=structure,
        subjects=frozenset(subjects),
        owners=frozenset(owners),
        locks=locks,
        findings=before.findings != after.findings,
    )


def _changed_keys(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    if before is after:
        return set()
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def _changed_runs(before: View, after: View) -> set[str]:
    """A run that is going on is folded in place, so equal objects say nothing: wherever one is active, look."""
    return set(before.active) | set(after.active)
