"""Restore: the timeline of a scope's backups, what going back to the one under the cursor would do, and doing it.

Neighbours: `actions` does what keys ask for; `present.timeline` and `present.comparison` draw; the core answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Vertical
from textual.screen import Screen

from alchemy.errors import AlchemyError
from alchemy.operations.shapes import BackupInfo, Comparison, ScopeNode
from alchemy_tui import registry
from alchemy_tui.app import StoreChanged
from alchemy_tui.present.comparison import comparison, consequences, headline
from alchemy_tui.present.hints import Hint
from alchemy_tui.present.line import Line, Tone, line, spread, wrap
from alchemy_tui.present.timeline import about, nothing_yet, timeline
from alchemy_tui.screens.restore.actions import RestoreActions
from alchemy_tui.session import Situation
from alchemy_tui.widgets.bars import HeaderBar, HintBar
from alchemy_tui.widgets.lines import Lines
from alchemy_tui.widgets.notice import Notice
from alchemy_tui.widgets.paint import as_content

if TYPE_CHECKING:
    from alchemy_tui.app import AlchemyApp

PANE = "timeline"
_KEYS = {key.split(" ")[0] for action in registry.actions_in(PANE) for key in action.keys}


class Restore(Screen[None]):
    BINDINGS = [Binding(key, f"key('{key}')", show=False, id=f"restore.{key}") for key in sorted(_KEYS)]

    def __init__(self, scope: str) -> None:
        super().__init__()
        self.scope = scope
        self.found: Sequence[BackupInfo] = ()
        self.compared: dict[tuple[str, str], Comparison | AlchemyError] = {}
        self.loaded = False
        self._problem = ""
        self.actions = RestoreActions(self)

    @property
    def dashboard(self) -> AlchemyApp:
        return cast("AlchemyApp", self.app)

    def compose(self) -> ComposeResult:
        yield HeaderBar()
        with Container(id="restore-body"):
            with Vertical(id="timeline-pane", classes="pane"):
                yield Lines(id="timeline", selectable=True)
                yield Lines(id="backup-about")
            yield Lines(id="compare")
        yield Lines(id="consequences")
        yield Notice()
        yield HintBar()

    def on_mount(self) -> None:
        self.query_one("#compare").add_class("pane")
        self.query_one("#consequences").add_class("pane")
        for quiet in ("#backup-about", "#consequences"):
            self.query_one(quiet).can_focus = False
        self.query_one("#timeline-pane").border_title = as_content(line(("Backups", Tone.TITLE)))
        self.query_one("#consequences").border_title = as_content(line(("If restored", Tone.TITLE)))
        self.timeline.focus()
        self.read()

    # -- where we are ---------------------------------------------------------------------------------------------

    @property
    def timeline(self) -> Lines:
        return self.query_one("#timeline", Lines)

    @property
    def narrow(self) -> bool:
        return self.has_class("-narrow")

    @property
    def chosen(self) -> BackupInfo | None:
        at = self.timeline.chosen
        return self.found[at] if at < len(self.found) else None

    @property
    def owner(self) -> str:
        return self.dashboard.store.owner_of(self.scope) or self.scope

    def situation(self) -> Situation:
        return Situation(
            session=self.dashboard.session,
            pane=PANE,
            subject=self.scope,
            owner=self.owner,
            narrow=self.narrow,
            backup=self.chosen.file if self.chosen else "",
        )

    # -- reading --------------------------------------------------------------------------------------------------

    @work(group="timeline", exclusive=True, exit_on_error=False)
    async def read(self, verify: bool = False) -> None:
        """The list, then what each differs by: with a bucket or many backups only when asked."""
        deeds = self.dashboard.deeds
        try:
            self.found = await self.dashboard.read(lambda: deeds.timeline(self.scope, verify=verify))
            self._problem = ""
        except (AlchemyError, OSError) as error:
            self.found, self._problem = (), f"{error} {getattr(error, 'hint', '')}".strip()
        self.loaded = True
        self.draw()
        if verify:
            bad = sum(1 for one in self.found if one.problem)
            said = f"{len(self.found) - bad} of {len(self.found)} backups are whole"
            self.dashboard.say(said, title="Verified", severity="warning" if bad else "information")

    @work(group="compare", exclusive=True, exit_on_error=False)
    async def _compare(self, file: str, moment: str) -> None:
        deeds = self.dashboard.deeds
        found: Comparison | AlchemyError
        try:
            found = await self.dashboard.read(lambda: deeds.compare(self.scope, file))
        except AlchemyError as error:
            found = error
        except OSError as error:
            found = AlchemyError(str(error))
        self.compared[file, moment] = found
        self.draw()

    @property
    def _moment(self) -> str:
        """Differs when the state may have moved: a comparison is of one moment."""
        last = self.dashboard.scene().last_run(self.owner)
        return f"{last.run} {last.outcome}" if last else ""

    def comparison_of(self, backup: BackupInfo | None) -> Comparison | AlchemyError | None:
        return self.compared.get((backup.file, self._moment)) if backup else None

    def on_store_changed(self, message: StoreChanged) -> None:
        known = {moment for _, moment in self.compared}
        if known and self._moment not in known:
            self.compared.clear()
            self.read()
        self.draw()

    # -- drawing --------------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self.draw)

    def draw(self) -> None:
        scene, backup = self.dashboard.scene(), self.chosen
        width = max(20, self.timeline.scrollable_content_region.width)
        rows = timeline(scene, self.found, width)
        self.timeline.show(rows or self._instead(width), keys=[one.file for one in self.found])
        self.timeline.selectable = bool(rows)
        self.query_one("#backup-about", Lines).show(about(scene, backup, width) if backup else [])
        found = self.comparison_of(backup)
        if backup and found is None:
            self._compare(backup.file, self._moment)
        self._draw_comparison(found, backup)
        bar = self.query_one(HeaderBar)
        bar.show(self._header(bar.size.width))
        self.query_one(Notice).trouble(self.dashboard.session.glyphs, self.dashboard.trouble)
        self.query_one(HintBar).show(self._hints())

    def _instead(self, width: int) -> list[Line]:
        if self._problem:
            return wrap(self._problem, width, Tone.BAD)
        if not self.loaded:
            return [line(("Reading…", Tone.DIM))]
        return nothing_yet(width)

    def _draw_comparison(self, found: Comparison | AlchemyError | None, backup: BackupInfo | None) -> None:
        scene = self.dashboard.scene()
        pane, below = self.query_one("#compare", Lines), self.query_one("#consequences", Lines)
        width = max(20, pane.scrollable_content_region.width)
        title: Line = line((f"Now {scene.glyphs.arrow} then", Tone.TITLE))
        if isinstance(found, AlchemyError):
            pane.show([*wrap(found.message, width, Tone.BAD), *wrap(found.hint, width, Tone.DIM)])
            below.show([])
        elif found is None:
            pane.show([line(("Comparing…" if backup else "", Tone.DIM))])
            below.show([])
        else:
            serials = f"  serial {found.serial_now} {scene.glyphs.arrow} {found.serial_then}   "
            title = (*title, *line((serials, Tone.FAINT)), *headline(scene, found))
            pane.show(comparison(scene, found, width))
            room = max(20, below.scrollable_content_region.width)
            below.show(consequences(scene, found, room))
        pane.border_title = as_content(title)
        self.call_after_refresh(self._tell_hidden)

    def _tell_hidden(self) -> None:
        """Consequences that have no room here are in the dialog, which is said."""
        below = self.query_one("#consequences", Lines)
        hidden = below.line_count() - below.scrollable_content_region.height
        said = f"{hidden} more line{'s' * (hidden != 1)}: R shows all" if hidden > 0 else ""
        below.border_subtitle = as_content(line((said, Tone.WARN)))

    def _header(self, width: int) -> Line:
        glyphs = self.dashboard.session.glyphs
        crumb = f" {glyphs.crumb} "
        parts: list[tuple[str, Tone]] = [(" Restore", Tone.DIM), (crumb, Tone.FAINT), (self.scope, Tone.TITLE)]
        bad = sum(1 for one in self.found if one.problem)
        right: list[tuple[str, Tone]] = [(f"{len(self.found)} backup{'s' * (len(self.found) != 1)} ", Tone.DIM)]
        if bad:
            right.insert(0, (f"{glyphs.failed} {bad} damaged  ", Tone.BAD))
        if self.dashboard.session.read_only:
            right.append((" READ-ONLY ", Tone.BADGE))
        return spread(line(*parts), line(*right), width)

    def _hints(self) -> tuple[Hint, ...]:
        situation = self.situation()
        hidden = {"pane.next", *(() if self.timeline.has_focus else ("backup.compare",))}
        return tuple(
            Hint(registry.key_name(action.keys[0], situation.session.glyphs), action.label, action.hint)
            for action in registry.actions_in(PANE)
            if action.hint and action.id not in hidden and not registry.why_not(action, situation)
        )

    # -- actions --------------------------------------------------------------------------------------------------

    def action_key(self, key: str) -> None:
        for action in registry.actions_in(PANE):
            if key in action.keys:
                self.perform(action.id)
                return

    def perform(self, id: str) -> None:
        action, situation = registry.BY_ID[id], self.situation()
        reason = registry.why_not(action, situation)
        kind, _, rest = id.partition(".")
        if reason:
            self.dashboard.say(f"{action.title}: {reason}", severity="warning")
        elif kind == "move":
            self._move(rest)
        else:
            getattr(self.actions, id.replace(".", "_"))()

    def _move(self, how: str) -> None:
        focused = self.focused
        lines = focused if isinstance(focused, Lines) else self.timeline
        lines.move(how)
        if lines is self.timeline:
            self.draw()

    def on_lines_picked(self, message: Lines.Picked) -> None:
        message.stop()
        self.actions.backup_compare()

    def on_click(self, event: events.Click) -> None:
        self.call_after_refresh(self.draw)

    @property
    def protected(self) -> bool:
        """Something below the scope is protected: going back asks for more than a key."""
        view = self.dashboard.store.view
        node = view.scopes.get(self.scope)
        inside = f"{self.scope}/"
        return isinstance(node, ScopeNode) and any(
            each.state.protect for address, each in view.resources.items() if address.startswith(inside)
        )
