"""The details of the selected row, in tabs. What needs the disk is read in the source's thread, never in the loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from textual import events, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message

from alchemy.errors import AlchemyError
from alchemy.operations.shapes import BackupInfo, Finding, ResourceNode, RunSummary
from alchemy_tui.present import lock as lock_words
from alchemy_tui.present.document import document
from alchemy_tui.present.event import entry_lines
from alchemy_tui.present.health import health
from alchemy_tui.present.info import info
from alchemy_tui.present.line import Line, Tone, line, wrap
from alchemy_tui.present.links import links
from alchemy_tui.present.run import summary_line
from alchemy_tui.present.scene import Scene
from alchemy_tui.present.timeline import below, nothing_yet, timeline
from alchemy_tui.store.deeds import Deeds
from alchemy_tui.store.feed import Feed
from alchemy_tui.store.source import Source
from alchemy_tui.widgets.bars import TabBar
from alchemy_tui.widgets.lines import Lines

T = TypeVar("T")
Reader = Callable[[Callable[[], T]], Awaitable[T]]
TABS = ("info", "state", "runs", "events", "deps", "locks", "backups", "health")
_READING: list[Line] = [line(("Reading…", Tone.DIM))]


class Detail(Vertical):
    """`aim` says what to show; `draw` shows it as it is now."""

    class TabShown(Message):
        """Another tab is open."""

    def __init__(self, scene: Callable[[], Scene], source: Source, deeds: Deeds, read: Reader[list[Line]]) -> None:
        super().__init__(id="detail")
        self._deeds = deeds
        self._checked: tuple[str, int, Sequence[Finding]] = ("", -1, ())  # of a scope, in a version of the view
        self._scene = scene
        self._source = source
        self._read = read
        self.tab = "info"
        self.subject = ""
        self.owner = ""
        self.run = ""  # pinned in the Runs tab; "" is the newest
        self._feed: Feed | None = None
        self._document: tuple[str, object, list[Line]] = ("", None, [])

    def compose(self) -> ComposeResult:
        yield TabBar(TABS)
        yield Lines(id="detail-lines")

    @property
    def lines(self) -> Lines:
        return self.query_one(Lines)

    # -- what to show ---------------------------------------------------------------------------------------------

    def aim(self, subject: str, owner: str) -> None:
        if (subject, owner) == (self.subject, self.owner):
            return
        if owner != self.owner:
            self.run, self._feed = "", None
        self.subject, self.owner = subject, owner
        self.draw(keep=False)

    def show_tab(self, tab: str, run: str = "") -> None:
        if tab == "events" and run != self.run:
            self._feed = None
            self.run = run
        if tab != self.tab:
            self.tab = tab
            self.post_message(self.TabShown())
        self.draw(keep=False)

    def step_tab(self, step: int) -> None:
        self.show_tab(TABS[(TABS.index(self.tab) + step) % len(TABS)], self.run)

    def picked(self) -> bool:
        """Opens the chosen run; False when this tab has nothing to open."""
        runs = self._runs()
        if self.tab != "runs" or not runs:
            return False
        chosen = runs[min(self.lines.chosen, len(runs) - 1)]
        newest = chosen.run == runs[0].run
        self.show_tab("events", "" if newest else chosen.run)
        return True

    # -- drawing --------------------------------------------------------------------------------------------------

    def draw(self, *, keep: bool = True) -> None:
        """As it is now. `keep` leaves the scroll position alone."""
        if not self.is_mounted or not self.size.width:
            return
        lines, scene = self.lines, self._scene()
        width = max(10, lines.scrollable_content_region.width)
        lines.selectable = self.tab == "runs"
        lines.follow = self.tab == "events"
        self.query_one(TabBar).show(self.tab, self._note(scene))
        if self.tab == "info":
            lines.show(info(scene, self.subject, width), keep=keep)
        elif self.tab == "runs":
            runs = self._runs()
            shown = [summary_line(scene, run, width) for run in runs]
            lines.selectable = bool(shown)
            keys = [run.run for run in runs]
            lines.show(shown or [line(("No runs yet.", Tone.DIM))], keep=keep, keys=keys)
        elif self.tab == "deps":
            lines.show(links(scene, self.subject, width), keep=keep)
        elif self.tab == "locks":
            lines.show(lock_words.section(scene, width, self.subject), keep=keep)
        else:
            if not keep:
                lines.show(_READING, keep=False)
            self._load(scene, width, keep)

    @work(group="detail", exclusive=True, exit_on_error=False)
    async def _load(self, scene: Scene, width: int, keep: bool) -> None:
        asked = (self.tab, self.subject, self.run)
        work = {"state": self._state, "events": self._events, "backups": self._backups, "health": self._health}[
            self.tab
        ]
        try:
            loaded = await self._read(work(scene, width))
        except (AlchemyError, OSError) as error:
            loaded = [*wrap(str(error), width, Tone.BAD), *wrap(getattr(error, "hint", ""), width, Tone.DIM)]
        if asked == (self.tab, self.subject, self.run):
            self.lines.show(loaded, keep=keep)

    def _state(self, scene: Scene, width: int) -> Callable[[], list[Line]]:
        subject, node = self.subject, scene.node(self.subject)
        known, seen, lines = self._document

        def read() -> list[Line]:
            if known == subject and seen is node and lines:
                return lines
            drawn = document(self._source.state_text(subject)) if subject else [line("Nothing selected.")]
            self._document = (subject, node, drawn)
            return drawn

        return read

    def _events(self, scene: Scene, width: int) -> Callable[[], list[Line]]:
        if self._feed is None or (self._feed.scope, self._feed.run) != (self.owner, self.run):
            self._feed = Feed(self._source, self.owner, self.run)
        feed, owner, subject = self._feed, self.owner, self.subject

        def read() -> list[Line]:
            shown = entry_lines(scene, feed.poll(), owner, width, subject=subject)
            return shown or [line(("No events.", Tone.DIM))]

        return read

    def _backups(self, scene: Scene, width: int) -> Callable[[], list[Line]]:
        owner = self.owner

        stages = sorted({node.owner for path, node in scene.view.scopes.items() if path.startswith(f"{owner}/")})

        def read() -> list[Line]:
            found: Sequence[BackupInfo] = self._source.backups(owner) if owner else ()
            if found:
                return timeline(scene, sorted(found, key=lambda one: one.taken, reverse=True), width)
            if stages and stages != [owner]:
                return below(scene, [(stage, self._source.backups(stage)) for stage in stages], width)
            return nothing_yet(width)

        return read

    def _health(self, scene: Scene, width: int) -> Callable[[], list[Line]]:
        """Everything is read, so once for each version of what is stored."""
        node, subject = scene.node(self.subject), self.subject
        where = node.state.scope if isinstance(node, ResourceNode) else subject
        scope, version, found = self._checked

        def read() -> list[Line]:
            known = found if (scope, version) == (where, scene.view.version) else self._deeds.validate(where)
            self._checked = (where, scene.view.version, known)
            return health(scene, known, where, width)

        return read

    def _runs(self) -> Sequence[RunSummary]:
        return self._scene().view.runs.get(self.owner, ())

    def _note(self, scene: Scene) -> str:
        """At the right of the tabs: which run, of whom."""
        if self.tab == "events":
            last = scene.last_run(self.owner)
            return self.run or (last.run if last else "")
        return self.owner.rpartition("/")[2] if self.tab in ("runs", "backups") else ""

    # -- messages -------------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self.draw)

    def on_tab_bar_chosen(self, message: TabBar.Chosen) -> None:
        self.show_tab(message.tab, self.run)

    def on_lines_picked(self, message: Lines.Picked) -> None:
        message.stop()
        self.picked()
