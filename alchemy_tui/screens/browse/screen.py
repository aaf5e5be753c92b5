"""Browse: the tree of everything stored, and the details of the row under the cursor. Reads only.

Keys arrive as (pane, key), the registry says which action that is, `actions` does it. What a pane shows is in
`widgets` and `present`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Input, Static

from alchemy.errors import AlchemyError
from alchemy.operations.shapes import Verdict
from alchemy_tui import proposals, registry
from alchemy_tui.action import ANYWHERE, view_line
from alchemy_tui.app import StoreChanged
from alchemy_tui.present import empty
from alchemy_tui.present.header import header
from alchemy_tui.present.info import peek
from alchemy_tui.present.line import Line, Tone, line
from alchemy_tui.present.lock import nearest
from alchemy_tui.present.scene import RECOVER, Scene
from alchemy_tui.screens.browse.actions import Actions
from alchemy_tui.screens.browse.keys import hints_for
from alchemy_tui.session import Situation
from alchemy_tui.store.filter import parse
from alchemy_tui.store.watch import Mode
from alchemy_tui.widgets.bars import HeaderBar, HintBar
from alchemy_tui.widgets.command_log import CommandLog, Done
from alchemy_tui.widgets.detail import Detail
from alchemy_tui.widgets.lines import Lines
from alchemy_tui.widgets.notice import Notice
from alchemy_tui.widgets.paint import as_content
from alchemy_tui.widgets.scope_tree import ScopeTree
from alchemy_tui.widgets.side import Side

if TYPE_CHECKING:
    from alchemy_tui.app import AlchemyApp

FILTER = "is:orphan  kind:worker  lock:stale  age>7d  or a name"
_KEYS = {key.split(" ")[0] for action in registry.ACTIONS if action.panes & ANYWHERE for key in action.keys}


class Browse(Screen[None]):
    BINDINGS = [Binding(key, f"key('{key}')", show=False, id=f"browse.{key}") for key in sorted(_KEYS)]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._version = 0
        self._prefix = ""  # the first key of two
        self._second = 0  # counts seconds, for what shows ages
        self.actions = Actions(self)

    @property
    def dashboard(self) -> AlchemyApp:
        return cast("AlchemyApp", self.app)

    def compose(self) -> ComposeResult:
        yield HeaderBar()
        with Container(id="body"):
            with Vertical(id="left"):
                with Vertical(id="tree-pane", classes="pane"):
                    yield ScopeTree(self.scene, self._instead)
                    with Horizontal(id="filter-row"):
                        yield Static("/ ", id="filter-sign", markup=False)
                        yield Input(id="filter", compact=True, placeholder=FILTER)
                yield Lines(id="peek")
            yield Detail(self.scene, self.dashboard.source, self.dashboard.deeds, self.dashboard.read)
            yield Side(self.scene, self.dashboard.source, self.dashboard.read)
        yield Notice()
        yield CommandLog()
        yield HintBar()

    def on_mount(self) -> None:
        for selector in ("#peek", "#detail", "#log"):
            self.query_one(selector).add_class("pane")
        self.query_one("#peek").can_focus = False
        self.scopes.focus()
        self.set_interval(1.0, self._every_second)
        self.draw()

    # -- parts ----------------------------------------------------------------------------------------------------

    @property
    def scopes(self) -> ScopeTree:
        return self.query_one(ScopeTree)

    @property
    def detail(self) -> Detail:
        return self.query_one(Detail)

    @property
    def log_pane(self) -> CommandLog:
        return self.query_one(CommandLog)

    @property
    def filter_input(self) -> Input:
        return self.query_one("#filter", Input)

    @property
    def typing_filter(self) -> bool:
        return self.focused is self.filter_input

    @property
    def narrow(self) -> bool:
        return self.has_class("-narrow")

    @property
    def pane(self) -> str:
        """Where keys go: tree, detail or log."""
        focused = self.focused
        if focused is self.log_pane:
            return "log"
        return "detail" if focused is not None and self.detail in focused.ancestors_with_self else "tree"

    def scene(self) -> Scene:
        return self.dashboard.scene()

    def situation(self) -> Situation:
        model, store = self.scopes.model, self.dashboard.store
        subject = model.cursor if model.index >= 0 else ""
        return Situation(
            session=self.dashboard.session,
            pane=self.pane,
            subject=subject.partition("\x00")[0],
            is_scope=subject in store.view.scopes,
            owner=store.owner_of(subject) if subject else "",
            tab=self.detail.tab,
            run=self.detail.run,
            narrow=self.narrow,
            filtered=model.filter.active,
            marked=len(model.marks),
            empty=store.view.empty,
            lock=self._lock_path(subject),
            bare=self.scene().is_bare(subject),
            spill=self.scene().spill(subject).removeprefix(RECOVER),
        )

    def _lock_path(self, subject: str) -> str:
        """The lock that covers the row, or that a row below it has."""
        scene = self.scene()
        found = nearest(scene, subject.partition("\x00")[0])
        below = next((lock.path for lock in scene.view.locks if lock.path.startswith(f"{subject}/")), "")
        return found.path if found else below

    # -- drawing --------------------------------------------------------------------------------------------------

    def on_store_changed(self, message: StoreChanged) -> None:
        store = self.dashboard.store
        delta = store.since(self._version)
        self._version = store.version
        self.set_class(store.view.empty, "-empty")
        first = self.scopes.model.index < 0
        self.scopes.load(structure=delta.structure or first)
        if first and self.dashboard.session.scope:
            self.scopes.go_to(self.dashboard.session.scope)
        self.draw()

    def on_scope_tree_moved(self, message: ScopeTree.Moved) -> None:
        self.draw()

    def on_scope_tree_opened(self, message: ScopeTree.Opened) -> None:
        self.perform("open")

    def on_detail_tab_shown(self, message: Detail.TabShown) -> None:
        self._draw_bars()

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self.draw)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self._draw_bars()

    def turn_spinners(self) -> None:
        if not self.query("#filter"):  # going up or coming down: a tick between two of its widgets
            return
        self.scopes.refresh()
        self._draw_bars()
        if self.dashboard.store.view.active:
            self._draw_peek()
            self.query_one(Side).draw_runs()
            if self.detail.tab in ("info", "runs", "deps"):
                self.detail.draw()

    def _every_second(self) -> None:
        self._second += 1
        if self.dashboard.trouble:
            self._draw_bars()
        if self.dashboard.store.view.locks or self._second % 15 == 0:
            self.scopes.refresh()
            self.draw()

    def draw(self) -> None:
        situation = self.situation()
        self.detail.aim(self.scopes.model.cursor if situation.subject else "", situation.owner)
        self.detail.draw()
        self.query_one(Side).draw(situation.owner)
        self._draw_peek()
        self._draw_bars()
        if self.scene().wanted:
            self.dashboard.count_wanted()

    def _draw_peek(self) -> None:
        box = self.query_one("#peek", Lines)
        if self.narrow and box.size.width:
            subject = self.scopes.model.cursor
            box.show(peek(self.scene(), subject, box.scrollable_content_region.width), keep=False)
            box.border_title = as_content(line(subject.partition("\x00")[0].rpartition("/")[2]))
            box.border_subtitle = "tab: all of it"

    def _draw_bars(self) -> None:
        dashboard, scene, situation = self.dashboard, self.scene(), self.situation()
        session = dashboard.session
        trouble = dashboard.trouble
        bar = self.query_one(HeaderBar)
        subject = self.scopes.model.cursor if situation.subject else ""
        watcher = dashboard.watcher
        age = max(0.0, time.time() - watcher.looked) if watcher.looked else 0.0
        bar.show(
            header(
                scene,
                subject,
                bar.size.width,
                mode=str(dashboard.mode),
                read_only=session.read_only,
                narrow=self.narrow,
                pace=dashboard.source.pace,
                age=age,
                trouble=trouble,
            )
        )
        self.query_one(Notice).trouble(session.glyphs, trouble if dashboard.store.loaded else None)
        self.log_pane.now(view_line(situation))
        self.query_one(HintBar).show(*hints_for(situation, self._prefix, typing=self.typing_filter))
        self._draw_titles(scene)

    def _draw_titles(self, scene: Scene) -> None:
        model = self.scopes.model
        total = len(scene.view.scopes) + len(scene.view.resources)
        count = f"{model.matched:,} of {total:,}" if model.filter.active else f"{total:,}" if total else ""
        wanted = f"  filter: {model.filter.text}" if model.filter.active else ""
        box = self.query_one("#tree-pane")
        box.border_title = as_content(
            line("Scopes", (f"  {count}" if count else "", Tone.FAINT), (wanted, Tone.ACCENT))
        )
        said = model.filter.problem or (f"{len(model.marks)} marked" if model.marks else "")
        box.border_subtitle = as_content(line((said, Tone.WARN if model.filter.problem else Tone.ACCENT)))

    def _instead(self, width: int) -> list[Line]:
        """Where the tree has no rows."""
        dashboard = self.dashboard
        trouble = dashboard.trouble
        if trouble:
            return empty.unreadable(trouble, width)
        if not dashboard.store.loaded:
            return empty.loading(width)
        model = self.scopes.model
        if model.filter.active and not dashboard.store.view.empty:
            return empty.no_match(model.filter, width)
        return empty.no_state(dashboard.store.view.root, width, missing=dashboard.mode == Mode.WAITING)

    # -- actions --------------------------------------------------------------------------------------------------

    def action_key(self, key: str) -> None:
        if self._prefix:
            keys, self._prefix = f"{self._prefix} {key}", ""
        else:
            keys = key
        pane = self.pane
        for action in registry.actions_in(pane):
            if keys in action.keys:
                self.perform(action.id)
                return
        if keys in registry.PREFIXES:
            self._prefix = keys
        self._draw_bars()

    def on_key(self, event: events.Key) -> None:
        """The second of two keys need not be one that means something alone."""
        if self._prefix and event.key not in _KEYS:
            event.stop()
            self.action_key(event.key)

    def perform(self, id: str) -> None:
        """One action, from a key, the palette or the mouse."""
        action, situation = registry.BY_ID[id], self.situation()
        reason = registry.why_not(action, situation)
        if reason:
            self.dashboard.say(f"{action.title}: {reason}", severity="warning")
            return
        kind, _, rest = id.partition(".")
        if kind == "move":
            self.actions.move(rest)
        elif kind == "tab" and rest not in ("next", "previous"):
            self.actions.open_tab(rest)
        elif kind == "line":
            self.actions.copy_line(id)
        else:
            getattr(self.actions, id.replace(".", "_"))()
        self._draw_bars()

    def record(self, label: str, cli: str, note: str = "") -> None:
        at = time.strftime("%H:%M:%S", time.localtime(self.dashboard.session.now()))
        self.log_pane.add(Done(at, label, cli, note))

    @work(group="copy", exclusive=True, exit_on_error=False)
    async def copy_json(self, subject: str) -> None:
        """Reads the document in the source's thread, then copies it."""
        source = self.dashboard.source
        self.actions.copy(await self.dashboard.read(lambda: source.state_text(subject)), "JSON")

    @work(group="explain", exclusive=True, exit_on_error=False)
    async def unlock(self, situation: Situation) -> None:
        """The verdict of this moment, then the dialog about it."""
        dashboard = self.dashboard
        try:
            lock = await dashboard.read(lambda: dashboard.deeds.explain(situation.lock))
        except (AlchemyError, OSError) as error:
            dashboard.say(f"{error}", title="Not unlocked", severity="error")
            return
        if lock.verdict is Verdict.FREE:
            dashboard.say(f"{lock.path} is free: nobody holds it")
            return
        dashboard.propose(proposals.unlock(situation, dashboard.deeds, lock))

    def on_input_changed(self, event: Input.Changed) -> None:
        self.scopes.set_filter(parse(event.value))
        self.draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.actions.close_filter(keep=True)
