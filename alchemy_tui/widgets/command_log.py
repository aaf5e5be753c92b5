"""The command log (`@`): the command line of what is on screen now, then of what was done, newest last."""

from __future__ import annotations

from typing import NamedTuple

from alchemy_tui.present.line import Line, Tone, line
from alchemy_tui.widgets.lines import Lines

KEPT = 500


class Done(NamedTuple):
    at: str  # 08:56:02
    label: str
    cli: str
    note: str = ""


class CommandLog(Lines):
    """Hidden until asked for; it remembers either way."""

    def __init__(self) -> None:
        super().__init__(id="log", follow=True)
        self.history: list[Done] = []
        self._now = ""

    def on_mount(self) -> None:
        self.border_title = "@ Commands"
        self.border_subtitle = "y c copies"

    def now(self, cli: str) -> None:
        """The command line of the current view."""
        if cli != self._now:
            self._now = cli
            self._draw()

    def add(self, done: Done) -> None:
        if self.history and self.history[-1][1:] == done[1:]:
            self.history.pop()  # the same again: only the time is new
        self.history.append(done)
        del self.history[:-KEPT]
        self._draw()

    def _draw(self) -> None:
        out: list[Line] = [
            line((f"{done.at}  ", Tone.FAINT), (f"{done.label:<10} ", Tone.DIM), done.cli, (f"  {done.note}", Tone.DIM))
            for done in self.history
        ]
        out.append(line(("this view ", Tone.DIM), ("$ ", Tone.FAINT), (self._now, Tone.STRONG)))
        self.show(out)
