"""From lines with tones to strips with colours: the only place where text meets a terminal style.

Text arrives safe (`present.line` saw to it) and never passes through markup.
"""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.content import Content, Span
from textual.strip import Strip
from textual.widget import Widget

from alchemy_tui.present.glyphs import ASCII
from alchemy_tui.present.line import Line, Piece, Tone, pad

TONE_CLASSES = frozenset(f"tone--{tone}" for tone in Tone)
SELECTED = "drawn--selected"
_PLAIN = str.maketrans({"…": "~", "·": ".", "−": "-", "✗": "x", "▲": "!", "→": ">", "×": "x", "○": "o", "›": ">"})


class Drawn(Widget):
    """A widget whose content is lines. Colours come from `app.tcss` through one component class a tone."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*TONE_CLASSES, SELECTED}

    _styles: dict[tuple[Tone, bool], Style] | None = None

    def notify_style_update(self) -> None:
        """Focus, theme or layout changed: colours are looked up again."""
        self._styles = None
        super().notify_style_update()

    def _style(self, tone: Tone, selected: bool) -> Style:
        """Looked up once: a lookup walks up the tree of widgets, and there is one for each piece of each line."""
        if self._styles is None:
            ground = self.rich_style
            under = ground + self.get_component_rich_style(SELECTED, partial=True)
            self._styles = {
                (each, chosen): (under if chosen else ground)
                + self.get_component_rich_style(f"tone--{each}", partial=True)
                for each in Tone
                for chosen in (False, True)
            }
        return self._styles[tone, selected]

    @property
    def plain_glyphs(self) -> bool:
        session = getattr(self.app, "session", None)
        return session is not None and session.glyphs is ASCII

    def paint(self, content: Line, width: int, *, selected: bool = False) -> Strip:
        """Exactly `width` cells."""
        shown = pad(content, width)
        if self.plain_glyphs:
            shown = tuple(Piece(text.translate(_PLAIN), tone) for text, tone in shown)
        return Strip([Segment(text, self._style(tone, selected)) for text, tone in shown], width)


def as_content(line: Line) -> Content:
    """For border titles and toasts, which take no strips."""
    text, spans = "", []
    for part, tone in line:
        spans.append(Span(len(text), len(text) + len(part), _SPANS.get(tone, "")))
        text += part
    return Content(text, spans=[span for span in spans if span.style])


_SPANS = {
    Tone.TITLE: "bold $tone-title",
    Tone.STRONG: "$tone-text",
    Tone.DIM: "$tone-dim",
    Tone.FAINT: "$tone-faint",
    Tone.ACCENT: "$accent",
    Tone.KEY: "bold $accent",
    Tone.OK: "$success",
    Tone.WARN: "$warning",
    Tone.BAD: "$error",
    Tone.BUSY: "$secondary",
}
