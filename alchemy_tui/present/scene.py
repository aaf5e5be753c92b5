"""What every drawing function needs: the view, the time, the glyphs, the tick of the spinner."""

from __future__ import annotations

from dataclasses import dataclass, field

from alchemy.model.runview import RunView
from alchemy.model.values import ScopeKind
from alchemy.operations.shapes import LockView, ResourceNode, RunSummary, ScopeNode, View
from alchemy_tui.present.glyphs import UNICODE, Glyphs
from alchemy_tui.store.tally import Tally, is_due

Run = tuple[str, str]  # owner, R-41
RECOVER = "alchemy scope recover "


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment. `now` is seconds since 1970, `read_at` the same for the moment the view was made."""

    view: View
    now: float
    read_at: float = 0.0
    glyphs: Glyphs = UNICODE
    tick: int = 0
    problems: int = 0  # scopes and files that cannot be read
    locks: dict[str, LockView] = field(default_factory=dict)
    tallies: dict[Run, Tally] = field(default_factory=dict)
    wanted: set[Run] = field(default_factory=set)  # runs that were drawn and are not counted yet

    def tally(self, summary: RunSummary) -> Tally | None:
        """What the run did, where its summary does not say it: known after the next look at what is wanted."""
        key = (summary.scope, summary.run)
        if not is_due(summary):
            return None
        if key not in self.tallies:
            self.wanted.add(key)
        return self.tallies.get(key)

    def is_bare(self, path: str) -> bool:
        """An application that holds nothing itself: its stages and tests do."""
        node = self.view.scopes.get(path)
        if node is None or node.kind is not ScopeKind.APPLICATION or node.problem:
            return False
        return bool(node.children) and not node.resources and not self.view.runs.get(path)

    def unread(self, path: str) -> bool:
        """A journal in `path` and below, or the one it is in, cannot be read: what it holds is unknown."""
        node = self.view.scopes.get(path)
        owner = node.owner if node else path
        return any(
            one.severity == "error"
            and one.file == f"{one.scope}/journal"
            and (one.scope == owner or one.scope.startswith(f"{path}/"))
            for one in self.view.findings
        )

    def spill(self, path: str) -> str:
        """The command that recovers what a run of `path` or below could not write; "" where none waits."""
        return next(
            (
                one.way_out
                for one in self.view.findings
                if one.way_out.startswith(RECOVER) and (one.scope == path or one.scope.startswith(f"{path}/"))
            ),
            "",
        )

    @property
    def spinner(self) -> str:
        return self.glyphs.spinner[self.tick % len(self.glyphs.spinner)]

    def lock_age(self, lock: LockView) -> float:
        return lock.age + (max(0.0, self.now - self.read_at) if self.read_at else 0.0)

    def run_of(self, owner: str) -> RunView | None:
        return self.view.active.get(owner)

    def last_run(self, owner: str) -> RunSummary | None:
        runs = self.view.runs.get(owner, ())
        return runs[0] if runs else None

    def node(self, subject: str) -> ScopeNode | ResourceNode | None:
        return self.view.scopes.get(subject) or self.view.resources.get(subject)


def scene_of(
    view: View,
    now: float,
    *,
    read_at: float = 0.0,
    glyphs: Glyphs = UNICODE,
    tick: int = 0,
    problems: int = 0,
    tallies: dict[Run, Tally] | None = None,
    wanted: set[Run] | None = None,
) -> Scene:
    locks = {lock.path: lock for lock in view.locks}
    counted = {} if tallies is None else tallies
    return Scene(view, now, read_at, glyphs, tick, problems, locks, counted, set() if wanted is None else wanted)
