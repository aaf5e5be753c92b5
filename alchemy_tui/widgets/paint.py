"""From lines with tones to strips with colours: the only place where text meets a terminal style.

Text arrives safe (`present.line` saw to it) and never passes through markup.
"""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual.content import Content, Span
from textual.strip import Strip
from textual.widget import Widget

from alchemy_tui.present.glyphs import ASCII
from alchemy_tui.present.line import Line, Tone, cells, fit

TONE_CLASSES = frozenset(f"tone--{tone}" for tone in Tone)
SELECTED = "drawn--selected"
_PLAIN = str.maketrans({"…": "~", "·": ".", "−": "-", "✗": "x", "▲": "!", "→": ">", "×": "x", "○": "o", "›": ">"})


class Drawn(Widget):
    """A widget whose content is lines. Colours come from `app.tcss` through one component class a tone."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*TONE_CLASSES, SELECTED}

    @property
    def plain_glyphs(self) -> bool:
        session = getattr(self.app, "session", None)
        return session is not None and session.glyphs is ASCII

    def paint(self, content: Line, width: int, *, selected: bool = False) -> Strip:
        """Exactly `width` cells."""
        ground = self.rich_style
        if selected:
            ground += self.get_component_rich_style(SELECTED, partial=True)
        segments = []
        for text, tone in fit(content, width):
            style = ground + self.get_component_rich_style(f"tone--{tone}", partial=True)
            segments.append(Segment(text.translate(_PLAIN) if self.plain_glyphs else text, style))
        missing = width - cells(fit(content, width))
        if missing > 0:
            segments.append(Segment(" " * missing, ground))
        return Strip(segments, width)


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
