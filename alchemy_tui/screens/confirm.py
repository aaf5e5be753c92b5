"""The dialog that stands before every change: what would happen, what has to be typed, and how it ended.

Enter does nothing until the text matches; when the world moves under the dialog, it says so and takes nothing any more.
Neighbour: `proposal` is what it shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from alchemy.errors import AlchemyError
from alchemy_tui.app import StoreChanged
from alchemy_tui.present.line import BLANK, Line, Tone, line, wrap
from alchemy_tui.proposal import Proposal, Said
from alchemy_tui.widgets.lines import Lines
from alchemy_tui.widgets.paint import as_content

if TYPE_CHECKING:
    from alchemy_tui.app import AlchemyApp

LEAST = 24  # cells for the text whatever the terminal


class Confirm(ModalScreen[Said | None]):
    """Ends with what was said at the end, or None when it was cancelled."""

    BINDINGS = [
        Binding("escape", "cancel", "Cancel", show=False, priority=True),
        Binding("pageup", "move('page_up')", show=False, priority=True),
        Binding("pagedown", "move('page_down')", show=False, priority=True),
        Binding("y", "accept", show=False),
        Binding("enter", "accept_typed", show=False),
    ]

    def __init__(self, proposal: Proposal) -> None:
        super().__init__()
        self.proposal = proposal
        self._before = proposal.mark(cast("AlchemyApp", self.app).scene())
        self._error: list[str] = []
        self.working = False
        self.stale = False

    @property
    def dashboard(self) -> AlchemyApp:
        return cast("AlchemyApp", self.app)

    def compose(self) -> ComposeResult:
        with Vertical(id="confirm"):
            yield Lines(id="confirm-lines")
            if self.proposal.reason:
                with Horizontal(classes="confirm-row"):
                    yield Static("reason  ", markup=False, classes="confirm-label")
                    yield Input(id="confirm-reason", compact=True, placeholder=self.proposal.reason, max_length=200)
            if self.proposal.typed:
                with Horizontal(classes="confirm-row"):
                    yield Static("type it ", markup=False, classes="confirm-label")
                    yield Input(id="confirm-typed", compact=True, placeholder=self.proposal.typed)
            yield Static("", id="confirm-hint", markup=False)

    def on_mount(self) -> None:
        box = self.query_one("#confirm")
        box.border_title = as_content(line((self.proposal.title, Tone.TITLE)))
        self.query_one(Lines).can_focus = not self.query(Input)
        first = self.query(Input).first() if self.query(Input) else self.query_one(Lines)
        first.focus()
        self._draw()

    # -- drawing --------------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._draw)

    def on_store_changed(self, message: StoreChanged) -> None:
        if not self.working and self.proposal.mark(self.dashboard.scene()) != self._before:
            self.stale = True
        self._draw()

    def _draw(self) -> None:
        lines = self.query_one(Lines)
        width = max(LEAST, self.query_one("#confirm").content_size.width - 1)
        out: list[Line] = []
        if self.stale:
            out += wrap(
                "▲ It changed while you read this. esc closes; open it again to see how it is now.", width, Tone.WARN
            )
            out.append(BLANK)
        out += self.proposal.lines(self.dashboard.scene(), width)
        if self._error:
            out.append(BLANK)
            out += wrap(f"✗ {self._error[0]}", width, Tone.BAD)
            for hint in filter(None, self._error[1:]):
                out += wrap(hint, width, Tone.DIM, 2)
        lines.show(out)
        if self._error:
            lines.move("bottom")
        hint, tone = self._hint()
        self.query_one("#confirm-hint", Static).update(as_content(line((hint, tone))))

    def _hint(self) -> tuple[str, Tone]:
        if self.working:
            return f"{self.proposal.verb}: under way…", Tone.BUSY
        if self.stale:
            return "esc closes", Tone.DIM
        if self.proposal.reason_needed and not self.reason:
            return "esc cancels   a reason is needed: it goes into the log", Tone.DIM
        if not self.proposal.typed and not self.proposal.reason:
            return f"y {self.proposal.verb.lower()}   esc cancels", Tone.KEY
        if self._matches:
            return f"↵ {self.proposal.verb.lower()}   esc cancels", Tone.KEY
        return f"esc cancels   ↵ once you have typed: {self.proposal.typed}", Tone.DIM

    # -- what was typed -------------------------------------------------------------------------------------------

    @property
    def reason(self) -> str:
        found = self.query("#confirm-reason")
        return cast(Input, found.first()).value.strip() if found else ""

    @property
    def _matches(self) -> bool:
        found = self.query("#confirm-typed")
        return not found or cast(Input, found.first()).value.strip() == self.proposal.typed

    def on_input_changed(self, event: Input.Changed) -> None:
        self._draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "confirm-reason" and self.query("#confirm-typed") and not self._matches:
            self.query_one("#confirm-typed", Input).focus()
        else:
            self.action_accept_typed()

    def action_move(self, how: str) -> None:
        self.query_one("#confirm-lines", Lines).move(how)

    def action_accept(self) -> None:
        """`y`: only where nothing is typed; in a field it is a letter like any other."""
        if not self.query(Input):
            self._go()

    def action_accept_typed(self) -> None:
        if self.query(Input) and self._matches:
            self._go()

    def action_cancel(self) -> None:
        if not self.working:
            _ = self.dismiss(None)

    def _go(self) -> None:
        if self.working or self.stale or (self.proposal.reason_needed and not self.reason):
            return
        self.working, self._error = True, []
        self._draw()
        self._act(self.reason)

    @work(group="act", exit_on_error=False)
    async def _act(self, reason: str) -> None:
        try:
            said = await self.dashboard.act(lambda: self.proposal.act(reason))
        except AlchemyError as error:
            self._error = [error.message, error.hint]
        except Exception as error:  # a defect of ours must not take the dashboard with it
            self._error = [f"{type(error).__name__}: {error}"]
        else:
            _ = self.dismiss(said)
            return
        self.working = False
        self._draw()
