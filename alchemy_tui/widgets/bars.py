"""One-line widgets: the header, the hint bar, the tabs of a pane."""

from __future__ import annotations

from textual import events
from textual.message import Message
from textual.strip import Strip

from alchemy_tui.present.hints import Hint, hint_bar
from alchemy_tui.present.line import BLANK, Line, Piece, Tone, cells, line
from alchemy_tui.widgets.paint import Drawn


class HeaderBar(Drawn):
    """`draw` gets the line for a width from whoever knows the world."""

    def __init__(self) -> None:
        super().__init__(id="header")
        self._line: Line = BLANK

    def show(self, content: Line) -> None:
        if content != self._line:
            self._line = content
            self.refresh()

    def render_line(self, y: int) -> Strip:
        return self.paint(self._line, self.size.width)


class HintBar(Drawn):
    """The keys that matter now. It is told what could be shown, and shows what fits."""

    def __init__(self) -> None:
        super().__init__(id="hints")
        self._hints: tuple[Hint, ...] = ()
        self._lead: Line = BLANK

    def show(self, hints: tuple[Hint, ...], lead: Line = BLANK) -> None:
        if (hints, lead) != (self._hints, self._lead):
            self._hints, self._lead = hints, lead
            self.refresh()

    def render_line(self, y: int) -> Strip:
        return self.paint(hint_bar(self._hints, self.size.width, self._lead), self.size.width)


class TabBar(Drawn):
    """Names in a row, one of them chosen. Names that do not fit scroll; the chosen one is always seen."""

    class Chosen(Message):
        def __init__(self, tab: str) -> None:
            super().__init__()
            self.tab = tab

    def __init__(self, tabs: tuple[str, ...]) -> None:
        super().__init__()
        self.tabs = tabs
        self._active = tabs[0]
        self._note = ""

    def show(self, active: str, note: str = "") -> None:
        if (active, note) != (self._active, self._note):
            self._active, self._note = active, note
            self.refresh()

    def _visible(self) -> list[str]:
        tabs = list(self.tabs)
        while len(tabs) > 1 and sum(len(tab) + 3 for tab in tabs) - 3 > self.size.width:
            tabs.pop(0 if tabs[0] != self._active and tabs.index(self._active) > len(tabs) // 2 else -1)
        return tabs

    def render_line(self, y: int) -> Strip:
        out: list[Piece] = []
        for tab in self._visible():
            chosen = tab == self._active
            if out:
                out.append(Piece(" │ " if not self.plain_glyphs else " | ", Tone.FAINT))
            out += line((tab.capitalize(), Tone.TAB if chosen else Tone.DIM))
        width = self.size.width
        note = line((self._note, Tone.FAINT))
        room = width - cells(tuple(out)) - 2
        if self._note and cells(note) <= room:
            out += [Piece(" " * (room + 2 - cells(note))), *note]
        return self.paint(tuple(out), width)

    def on_click(self, event: events.Click) -> None:
        at = 0
        for tab in self._visible():
            if at <= event.x < at + len(tab):
                self.post_message(self.Chosen(tab))
                return
            at += len(tab) + 3
