"""The dialog that stands before every change: what would happen, what has to be typed, and how it ended.

What is agreed to and the keys stay in sight; only the list above them scrolls, and `y` waits until the rest was seen.
Enter does nothing until the text matches; when the world moves under the dialog, it says so and takes nothing any more.
Neighbour: `proposal` is what it shows.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from alchemy_tui.proposal import Answers, Proposal, Said
from alchemy_tui.widgets.lines import Lines
from alchemy_tui.widgets.paint import as_content

if TYPE_CHECKING:
    from alchemy_tui.app import AlchemyApp

LEAST = 24  # cells for the text whatever the terminal
LIST = 5  # lines that the list keeps where the warnings are long
ROOMY = 22  # lines of a terminal from which there are blank lines between the parts


class Confirm(ModalScreen[Said | None]):
    """Ends with what was said at the end, or None when it was cancelled."""

    BINDINGS = [
        Binding("escape", "cancel", "Cancel", show=False, priority=True),
        Binding("pageup", "move('page_up')", show=False, priority=True),
        Binding("pagedown", "move('page_down')", show=False, priority=True),
        Binding("up", "move('up')", show=False, priority=True),
        Binding("down", "move('down')", show=False, priority=True),
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
        self.given = Answers()  # what was confirmed
        self._seen = 0  # lines of the warnings that were on screen

    @property
    def dashboard(self) -> AlchemyApp:
        return cast("AlchemyApp", self.app)

    @property
    def listed(self) -> Lines:
        return self.query_one("#confirm-lines", Lines)

    @property
    def warned(self) -> Lines:
        return self.query_one("#confirm-warnings", Lines)

    def compose(self) -> ComposeResult:
        with Vertical(id="confirm"):
            yield Lines(id="confirm-lines")
            yield Static("", id="confirm-more", markup=False)
            yield Lines(id="confirm-warnings")
            for name, label, wanted in self._fields():
                with Horizontal(classes="confirm-row"):
                    yield Static(label, markup=False, classes="confirm-label")
                    yield Input(id=f"confirm-{name}", compact=True, placeholder=wanted, max_length=200)
            yield Static("", id="confirm-hint", markup=False)

    def _fields(self) -> Iterator[tuple[str, str, str]]:
        proposal = self.proposal
        wanted = (
            ("reason", "reason", proposal.reason),
            ("lasting", "for", proposal.lasting),
            ("typed", "type it", proposal.typed),
        )
        return (field for field in wanted if field[2])

    def on_mount(self) -> None:
        box = self.query_one("#confirm")
        box.border_title = as_content(line((self.proposal.title, Tone.TITLE)))
        self.listed.can_focus = self.warned.can_focus = False
        self.watch(self.warned, "scroll_y", self._look_on, init=False)
        self.watch(self.listed, "scroll_y", self._look_on, init=False)
        if self.query(Input):
            self.query(Input).first().focus()
        self._draw()

    # -- drawing --------------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        self._seen = 0
        self.call_after_refresh(self._draw)

    def on_store_changed(self, message: StoreChanged) -> None:
        if not self.working and self.proposal.mark(self.dashboard.scene()) != self._before:
            self.stale = True
        self._draw()

    def _draw(self) -> None:
        width = max(LEAST, self.query_one("#confirm").content_size.width - 1)
        scene = self.dashboard.scene()
        out: list[Line] = []
        if self.stale:
            out += wrap(
                "▲ It changed while you read this. esc closes; open it again to see how it is now.", width, Tone.WARN
            )
        if self._error:
            out += wrap(f"✗ {self._error[0]}", width, Tone.BAD)
            for hint in filter(None, self._error[1:]):
                out += wrap(hint, width, Tone.DIM, 2)
        if out:
            out.append(BLANK)
        out += self.proposal.warnings(scene, width)
        listed = self.proposal.lines(scene, width)
        self._share(len(listed), len(out))
        self.listed.show(listed)
        self.warned.show(out)
        if self._error or self.stale:
            self.warned.move("top")
        self._look_on()

    def _share(self, listed: int, warned: int) -> None:
        """How many lines each part gets: the fields and the keys first, then the warnings, then the list."""
        gap = int(self.size.height >= ROOMY)
        self.set_class(not gap, "-tight")
        room = self.size.height - 4 - (1 + gap) * (1 + len(self.query(Input)))  # the frame, and a line around it
        kept = min(listed, LIST) + 1 if listed else 0
        below = max(0, min(warned, max(room - kept, room // 2)))
        above = max(0, min(listed, room - below - 1)) if listed else 0
        self.listed.styles.height, self.warned.styles.height = above, below
        self.query_one("#confirm-more").display = bool(above)

    def _look_on(self) -> None:
        """Notes what is in sight, and says what is not."""
        height = int(self.warned.styles.height.value) if self.warned.styles.height else 0
        self._seen = max(self._seen, int(self.warned.scroll_y) + height)
        shown = int(self.listed.styles.height.value) if self.listed.styles.height else 0
        left = self.listed.line_count() - int(self.listed.scroll_y) - shown
        more = f"{self.dashboard.session.glyphs.ellipsis} {left} more line{'s' * (left != 1)}: pgdn" if left > 0 else ""
        self.query_one("#confirm-more", Static).update(as_content(line((more, Tone.FAINT))))
        hint, tone = self._hint()
        self.query_one("#confirm-hint", Static).update(as_content(line((hint, tone))))

    @property
    def covered(self) -> bool:
        """What is agreed to was in sight, all of it."""
        hint = self.query_one("#confirm-hint").region
        return self._seen >= self.warned.line_count() and 0 < hint.bottom <= self.size.height

    def _hint(self) -> tuple[str, Tone]:
        if self.working:
            return f"{self.proposal.verb}: under way…", Tone.BUSY
        if self.stale:
            return "esc closes", Tone.DIM
        if self._seen < self.warned.line_count():
            return "pgdn: read on, then it can be confirmed   esc cancels", Tone.WARN
        if self.proposal.reason_needed and not self.answers.reason:
            return "esc cancels   a reason is needed: others are told it", Tone.DIM
        if not self.query(Input):
            return f"y {self.proposal.verb.lower()}   esc cancels", Tone.KEY
        if self._matches:
            return f"↵ {self.proposal.verb.lower()}   esc cancels", Tone.KEY
        return f'↵ once you have typed "{self.proposal.typed}"   esc cancels', Tone.DIM

    # -- what was typed -------------------------------------------------------------------------------------------

    def _typed(self, name: str) -> str:
        found = self.query(f"#confirm-{name}")
        return cast(Input, found.first()).value.strip() if found else ""

    @property
    def answers(self) -> Answers:
        return Answers(self._typed("reason"), self._typed("lasting"))

    @property
    def _matches(self) -> bool:
        return self._typed("typed") == self.proposal.typed

    def on_input_changed(self, event: Input.Changed) -> None:
        self._look_on()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes on to the next field; in the last one it confirms, and where all that is needed is there."""
        fields = list(self.query(Input))
        if event.input is fields[-1] or (self.proposal.typed and self._matches):
            self.action_accept_typed()
        else:
            fields[fields.index(event.input) + 1].focus()

    def action_move(self, how: str) -> None:
        """Through the list, then through the warnings; and back the same way."""
        onward = how in ("down", "page_down")
        first, second = (self.listed, self.warned) if onward else (self.warned, self.listed)
        over = first.at_end if onward else first.scroll_offset.y == 0
        (second if over else first).move(how)

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
        if self.working or self.stale or (self.proposal.reason_needed and not self.answers.reason):
            return
        if not self.covered:
            self.action_move("page_down")  # whoever confirms is shown first what they have not seen
            return
        self.working, self._error, self.given = True, [], self.answers
        self._draw()
        self._act(self.given)

    @work(group="act", exit_on_error=False)
    async def _act(self, answers: Answers) -> None:
        try:
            said = await self.dashboard.act(lambda: self.proposal.act(answers))
        except AlchemyError as error:
            self._error = [error.message, error.hint]
        except Exception as error:  # a defect of ours must not take the dashboard with it
            self._error = [f"{type(error).__name__}: {error}"]
        else:
            _ = self.dismiss(said)
            return
        self.working = False
        self._draw()
