"""Two dialogs with one face: all commands (`:`), and jumping to a scope or resource (`f`).

Not Textual's palette: that one reads candidates as markup, and shows neither keys nor why something cannot be done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from alchemy_tui.present.line import Line, Piece, Tone, line, piece, spread
from alchemy_tui.store.search import places, search
from alchemy_tui.widgets.lines import Lines

SHOWN = 200


@dataclass(frozen=True, slots=True)
class Choice:
    """`reason` is why it cannot be chosen now. `key` stands at the right edge."""

    id: str
    text: str
    key: str = ""
    help: str = ""
    reason: str = ""


class Palette(ModalScreen[str]):
    """Ends with the id of the choice, or an empty string."""

    BINDINGS = [
        Binding("escape", "close", "Close", show=False),
        Binding("up", "move('up')", show=False, priority=True),
        Binding("down", "move('down')", show=False, priority=True),
        Binding("pageup", "move('page_up')", show=False, priority=True),
        Binding("pagedown", "move('page_down')", show=False, priority=True),
    ]

    def __init__(self, title: str, choices: Sequence[Choice]) -> None:
        super().__init__()
        self._title = title
        self._names = [(choice.text.lower(), choice) for choice in choices]
        self._found: list[tuple[Choice, frozenset[int]]] = [(choice, frozenset()) for choice in choices[:SHOWN]]

    def compose(self) -> ComposeResult:
        with Vertical(id="palette"):
            yield Input(placeholder=self._title, compact=True, id="palette-input")
            yield Lines(id="palette-lines", selectable=True)

    def on_mount(self) -> None:
        self.query_one(Lines).can_focus = False
        self.query_one(Input).focus()
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._draw)

    def on_input_changed(self, event: Input.Changed) -> None:
        found = search(event.value, self._names, SHOWN)
        self._found = [(choice, places(event.value, choice.text)) for choice in found]
        self.query_one(Lines).chosen = 0
        self._draw()

    def _draw(self) -> None:
        lines = self.query_one(Lines)
        width = max(10, lines.scrollable_content_region.width)
        shown = [_row(choice, marks, width) for choice, marks in self._found]
        lines.show(shown or [line(("  nothing matches", Tone.DIM))])

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._choose()

    def on_lines_picked(self, message: Lines.Picked) -> None:
        self._choose()

    def _choose(self) -> None:
        if not self._found:
            return
        choice, _ = self._found[min(self.query_one(Lines).chosen, len(self._found) - 1)]
        if choice.reason:
            self.notify(f"{choice.text}: {choice.reason}", severity="warning", markup=False)
            return
        _ = self.dismiss(choice.id)

    def action_move(self, how: str) -> None:
        self.query_one(Lines).move(how)

    def action_close(self) -> None:
        _ = self.dismiss("")


def _row(choice: Choice, marks: frozenset[int], width: int) -> Line:
    tone = Tone.FAINT if choice.reason else Tone.TEXT
    name: list[Piece] = [Piece(" ")]
    for marked, letters in groupby(enumerate(choice.text), lambda one: one[0] in marks):
        name.append(piece("".join(letter for _, letter in letters), Tone.MATCH if marked else tone))
    aside = choice.reason or choice.help
    if aside:
        name += line((f"  {aside}", Tone.WARN if choice.reason else Tone.FAINT))
    return spread(tuple(name), line((f"{choice.key} ", Tone.KEY)), width, 2)
