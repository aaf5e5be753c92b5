"""The lines between the panes and the keys: trouble as long as it lasts, messages for some seconds.

Nothing is covered: the panes give way. Neighbour: `present.notice` says it in words.
"""

from __future__ import annotations

from alchemy_tui.present.glyphs import Glyphs
from alchemy_tui.present.line import Line
from alchemy_tui.present.notice import Trouble, message_lines, trouble_lines
from alchemy_tui.widgets.lines import Lines

SECONDS = {"error": 12.0, "warning": 8.0}
USUAL = 5.0
KEPT = 2  # messages at once


class Notice(Lines):
    """No lines, no room taken."""

    can_focus = False

    def __init__(self) -> None:
        super().__init__(id="notice")
        self._trouble: list[Line] = []
        self._said: list[tuple[str, str, str]] = []  # title, text, severity

    def on_mount(self) -> None:
        self._draw()

    def say(self, title: str, text: str, severity: str) -> None:
        said = (title, text, severity)
        self._said = [*(one for one in self._said if one != said), said][-KEPT:]
        self.set_timer(SECONDS.get(severity, USUAL), lambda: self._forget(said))
        self._draw()

    def _forget(self, said: tuple[str, str, str]) -> None:
        if said in self._said:
            self._said.remove(said)
            self._draw()

    def trouble(self, glyphs: Glyphs, found: Trouble | None) -> None:
        lines = trouble_lines(glyphs, found, self._room) if found else []
        if lines != self._trouble:
            self._trouble = lines
            self._draw()

    @property
    def _room(self) -> int:
        return max(20, self.app.size.width - 3)

    def _draw(self) -> None:
        out = list(self._trouble)
        for title, text, severity in self._said:
            out += message_lines(title, text, severity, self._room)
        self.display = bool(out)
        self.styles.height = len(out)
        self.show(out, keep=False)
