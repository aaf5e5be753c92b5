"""The application: one store, one thread that reads, one watcher, the themes; screens do the rest.

What takes moments and is one record (unlock, restore) is done by the core in a thread of its own; runs belong to other
processes and go on when the dashboard ends.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from rich.text import Text
from textual import work
from textual.app import App
from textual.message import Message
from textual.notifications import SeverityLevel
from textual.screen import Screen

from alchemy.errors import AlchemyError
from alchemy.model.text import safe_text
from alchemy.operations.shapes import View
from alchemy_tui import theme
from alchemy_tui.action import Danger
from alchemy_tui.present.glyphs import ASCII
from alchemy_tui.present.notice import Trouble
from alchemy_tui.present.run import count_words
from alchemy_tui.present.scene import Run, Scene, scene_of
from alchemy_tui.proposal import Proposal, Said
from alchemy_tui.session import Session
from alchemy_tui.store.deeds import Deeds
from alchemy_tui.store.source import Source
from alchemy_tui.store.store import News, Store
from alchemy_tui.store.tally import Tally, tally
from alchemy_tui.store.watch import Mode, Watcher
from alchemy_tui.widgets.notice import Notice

T = TypeVar("T")
TICK = 0.12  # seconds a spinner's sign stays
HANGING = 4.0  # seconds without an answer after which that is said
RESTART = 2.0  # seconds


class StoreChanged(Message):
    """The store has a newer version. Carries nothing: whoever gets it asks the store what is new to them."""

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, StoreChanged)


class AlchemyApp(App[None]):
    CSS_PATH = ["app.tcss", "screens/browse/screen.tcss", "screens/restore/screen.tcss"]
    TITLE = "alchemy"
    ENABLE_COMMAND_PALETTE = False  # ours knows keys and reasons, and takes no names for markup
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide"), (170, "-huge")]

    def __init__(self, source: Source, session: Session, deeds: Deeds) -> None:
        no_colour = bool(os.environ.get("NO_COLOR"))  # Textual takes the variable away while it starts
        self.session = session
        super().__init__(ansi_color=True if no_colour else None)
        self.source = source
        self.deeds = deeds
        self.store = Store()
        self.mode = Mode.STARTING
        self._failed: tuple[str, str] | None = None  # why the last look failed, and the way out
        self._read_at = 0.0
        self._tick = 0
        self._scene: Scene | None = None
        self._tallies: dict[Run, Tally] = {}
        self._wanted: set[Run] = set()
        self._asked: set[Run] = set()  # once each
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self._actor = ThreadPoolExecutor(1, thread_name_prefix="actor")
        given = (self._on_view, self._on_mode, self._on_error, self._on_well)
        self.watcher = Watcher(source, self._reader, *given)
        for ours in theme.OURS:
            self.register_theme(ours)
        self.theme = theme.NO_COLOUR if no_colour else theme.DUSK.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return theme.defaults(self.current_theme)

    def get_default_screen(self) -> Screen[None]:
        from alchemy_tui.screens.browse.screen import Browse

        return Browse(id="_default")

    def on_mount(self) -> None:
        self.set_class(self.session.glyphs is ASCII, "-ascii")
        self._watch()
        self.set_interval(TICK, self._turn)
        for number in (signal.SIGTERM, signal.SIGHUP):  # textual leaves the terminal as it is when these come
            asyncio.get_running_loop().add_signal_handler(number, self.exit, None, 128 + number)

    # -- the world ------------------------------------------------------------------------------------------------

    @work(group="watch", exit_on_error=False)
    async def _watch(self) -> None:
        while True:
            try:
                await self.watcher.run()
            except Exception as error:  # the dashboard stays; it says that it looks no more, and tries again
                self._on_error(error)
                self._on_mode(Mode.STARTING)
            await asyncio.sleep(RESTART)

    async def _on_view(self, view: View) -> None:
        before = self.store.view
        self._read_at = self.session.now()
        delta = self.store.apply(view)
        for news in self.store.news(before):
            self._tell(news)
        if not delta.empty:
            self._scene = None
            self._announce()

    def _on_mode(self, mode: Mode) -> None:
        self.mode = mode
        self._announce()

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, AlchemyError):
            self._failed = (error.message, error.hint)
        elif isinstance(error, PermissionError) and error.filename:
            self._failed = (f"{error.filename}: permission denied", f"chmod -R u+rwX {shlex.quote(error.filename)}")
        else:
            self._failed = (str(error) or type(error).__name__, "")
        self._announce()

    def _on_well(self) -> None:
        self._failed = None
        self._announce()

    @property
    def trouble(self) -> Trouble | None:
        """Why what is shown may be old, if it may."""
        watcher = self.watcher
        age = max(0.0, time.time() - watcher.looked) if watcher.looked else -1.0
        if self._failed:
            return Trouble(*self._failed, age)
        if watcher.waiting > HANGING:
            hint = "it goes on as soon as there is one; what you see is as it was then" if age >= 0 else ""
            return Trouble(f"no answer from {self.store.view.root or 'the state'}", hint, max(age, watcher.waiting))
        return None

    def _announce(self) -> None:
        if self.is_running:
            self.screen.post_message(StoreChanged())

    def scene(self) -> Scene:
        """The moment to draw. The same object until something moves."""
        now = self.session.now()
        if self._scene is None or int(now) != int(self._scene.now) or self._scene.tick != self._tick:
            self._scene = scene_of(
                self.store.view,
                now,
                read_at=self._read_at,
                glyphs=self.session.glyphs,
                tick=self._tick,
                problems=self.store.problems,
                tallies=self._tallies,
                wanted=self._wanted,
            )
        return self._scene

    async def read(self, work: Callable[[], T]) -> T:
        """Runs `work` in the one thread that may call the source."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, work)

    @work(group="tally", exit_on_error=False)
    async def count_wanted(self) -> None:
        """Counts what the runs on screen did, of those that did not say it themselves."""
        wanted = self._wanted - self._asked
        self._asked |= wanted
        self._wanted.clear()
        for owner, run in sorted(wanted):
            with suppress(AlchemyError, OSError):  # its journal cannot be read, which its row says
                self._tallies[owner, run] = await self.read(partial(tally, self.source, owner, run))
        if wanted:
            self._announce()

    async def act(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Carries out one change with a loop of its own: it may wait for locks and disks. One at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._actor, lambda: asyncio.run(work()))

    def propose(self, proposal: Proposal, ended: Callable[[Said | None], None] | None = None) -> None:
        """Asks, does it, says how it ended and logs the command line that does the same."""
        from alchemy_tui.screens.confirm import Confirm

        if proposal.danger >= Danger.FORBIDDEN and not self.session.allow_force:
            self.say(
                "its run is at work: ask whoever runs it to press Ctrl-C. `alchemy tui --allow-force` can break it.",
                title=proposal.title,
                severity="warning",
            )
            return
        dialog = Confirm(proposal)

        def closed(said: Said | None) -> None:
            if said is not None:
                self.record(proposal.label, proposal.cli(dialog.given), said.title)
                self.say(said.text or said.title, title=said.title if said.text else "", severity=said.severity)
                self.watcher.look_now(full=True)
            if ended is not None:
                ended(said)

        _ = self.push_screen(dialog, closed)

    def record(self, label: str, cli: str, note: str = "") -> None:
        """Into the command log, which lives in the first screen."""
        from alchemy_tui.screens.browse.screen import Browse

        first = self.screen_stack[0]
        if isinstance(first, Browse):
            first.record(label, cli, note)

    def _turn(self) -> None:
        """Spinners turn only while somebody works."""
        if self.session.animate and (self.store.view.active or not self.store.loaded):
            self._tick += 1
            turn = getattr(self.screen, "turn_spinners", None)
            if turn:
                turn()

    # -- telling --------------------------------------------------------------------------------------------------

    def say(self, text: str, *, title: str = "", severity: str = "information") -> None:
        """Above the keys, where nothing is covered; above a dialog as a toast. Texts from state: never markup."""
        text, title = safe_text(text, 400), safe_text(title, 120)
        for notice in self.screen.query("#notice"):
            if isinstance(notice, Notice):
                notice.say(title, text, severity)
                return
        level: SeverityLevel = "information"
        if severity == "warning":
            level = "warning"
        elif severity == "error":
            level = "error"
        self.notify(text, title=title, severity=level, markup=False)

    def _tell(self, news: News) -> None:
        counts = count_words(news.counts) if news.counts or not news.text else ""
        self.say("; ".join(filter(None, [counts, news.text])), title=news.title, severity=news.severity)

    def leave(self) -> None:
        """Ends the dashboard, and says what goes on without it."""
        going = [
            f"{run.run} {run.purpose} {owner} goes on ({run.who}, pid {run.pid}): alchemy scope logs {owner} --follow"
            for owner, run in self.store.view.active.items()
        ]
        self.exit(message=Text("\n".join(safe_text(text) for text in going)) if going else None)

    def on_unmount(self) -> None:
        self._reader.shutdown(wait=False, cancel_futures=True)
        self._actor.shutdown(wait=True)  # a change under way is finished, not torn
