"""The third column of wide terminals: all locks, all runs, and the events of the run that goes on (or was last)."""

from __future__ import annotations

from collections.abc import Callable

from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical

from alchemy.errors import AlchemyError
from alchemy.operations.shapes import RunSummary
from alchemy_tui.present import lock as lock_words
from alchemy_tui.present.event import entry_lines
from alchemy_tui.present.line import BLANK, Line, Tone, line
from alchemy_tui.present.run import card, summary_line
from alchemy_tui.present.scene import Scene
from alchemy_tui.store.feed import Feed
from alchemy_tui.store.source import Source
from alchemy_tui.widgets.detail import Reader
from alchemy_tui.widgets.lines import Lines
from alchemy_tui.widgets.paint import as_content

RUNS = 30  # the newest, over all applications, stages and tests


class Side(Vertical):
    """Hidden, it draws nothing."""

    def __init__(self, scene: Callable[[], Scene], source: Source, read: Reader[list[Line]]) -> None:
        super().__init__(id="side")
        self._scene = scene
        self._source = source
        self._read = read
        self._feed: Feed | None = None

    def compose(self) -> ComposeResult:
        yield Lines(id="side-locks")
        yield Lines(id="side-runs")
        yield Lines(id="side-events", follow=True)

    def on_mount(self) -> None:
        for pane in self.query(Lines):
            pane.add_class("pane")
            pane.can_focus = False

    def draw(self, owner: str) -> None:
        if not self.display or not self.size.width:
            return
        scene = self._scene()
        box = self.query_one("#side-locks", Lines)
        box.border_title = as_content(line("Locks", (f"  {len(scene.view.locks) or ''}", Tone.FAINT)))
        box.show(lock_words.section(scene, _width(box)))
        self.draw_runs()
        self._draw_events(scene, _newest(scene, owner))

    def draw_runs(self) -> None:
        if not self.display or not self.size.width:
            return
        scene = self._scene()
        box = self.query_one("#side-runs", Lines)
        width = _width(box)
        active = list(scene.view.active.values())
        out: list[Line] = []
        for run in active:
            out += [*card(scene, run, width), BLANK]
        ended = [run for runs in scene.view.runs.values() for run in runs if run.outcome != "running"]
        ended.sort(key=lambda run: run.started_at, reverse=True)
        out += [summary_line(scene, run, width, owner=True) for run in ended[:RUNS]]
        going = f"  {len(active)} going on" if active else ""
        box.border_title = as_content(line("Runs", (going, Tone.FAINT)))
        box.show(out or [line(("No runs yet.", Tone.DIM))])

    @work(group="side", exclusive=True, exit_on_error=False)
    async def _draw_events(self, scene: Scene, run: RunSummary | None) -> None:
        box = self.query_one("#side-events", Lines)
        if run is None:
            box.border_title = "Events"
            box.show([line(("No events yet.", Tone.DIM))])
            return
        if self._feed is None or self._feed.scope != run.scope:
            self._feed = Feed(self._source, run.scope)
        feed, width = self._feed, _width(box)

        def read() -> list[Line]:
            return entry_lines(scene, feed.poll(), run.scope, width)

        try:
            box.show(await self._read(read))
        except (AlchemyError, OSError) as error:
            box.show([line((str(error), Tone.BAD))])
        box.border_title = as_content(line("Events", (f"  {run.run} {run.scope}", Tone.FAINT)))


def _width(box: Lines) -> int:
    return max(10, box.scrollable_content_region.width)


def _newest(scene: Scene, owner: str) -> RunSummary | None:
    """A run that goes on, first of the selected owner; else the newest of the selected owner."""
    for candidate in (owner, *scene.view.active):
        if candidate in scene.view.active and scene.view.runs.get(candidate):
            return scene.view.runs[candidate][0]
    return scene.last_run(owner)
