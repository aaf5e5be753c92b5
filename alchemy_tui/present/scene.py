"""What every drawing function needs: the view, the time, the glyphs, the tick of the spinner."""

from __future__ import annotations

from dataclasses import dataclass, field

from alchemy.model.runview import RunView
from alchemy.operations.shapes import LockView, ResourceNode, RunSummary, ScopeNode, View
from alchemy_tui.present.glyphs import UNICODE, Glyphs


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
    view: View, now: float, *, read_at: float = 0.0, glyphs: Glyphs = UNICODE, tick: int = 0, problems: int = 0
) -> Scene:
    return Scene(view, now, read_at, glyphs, tick, problems, {lock.path: lock for lock in view.locks})
