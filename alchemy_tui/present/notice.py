"""What stands above the keys while it matters: why the state cannot be read, since when, and what just happened.

It takes lines of its own: nothing that somebody reads is ever covered by it.
"""

from __future__ import annotations

from dataclasses import dataclass

from alchemy_tui.present import times
from alchemy_tui.present.glyphs import Glyphs
from alchemy_tui.present.line import Line, Tone, clip, line, wrap

LINES = 4  # of trouble
SAID = 2  # lines of one message
TONES = {"error": Tone.BAD, "warning": Tone.WARN}


@dataclass(frozen=True, slots=True)
class Trouble:
    """The state could not be looked at. `age`: seconds since it last could, below zero when it never was."""

    why: str
    hint: str
    age: float


def badge(glyphs: Glyphs, trouble: Trouble) -> tuple[str, Tone]:
    """For the edge of the header."""
    if trouble.age < 0:
        return f"{glyphs.corrupt} unreadable", Tone.BAD
    return f"{glyphs.waiting} stale {times.age(trouble.age)}", Tone.WARN


def trouble_lines(glyphs: Glyphs, trouble: Trouble, width: int) -> list[Line]:
    since = f"not read for {times.age(trouble.age)}" if trouble.age >= 0 else "not read yet"
    out = wrap(f"{glyphs.waiting} {since}: {trouble.why}", width, Tone.WARN)
    out += wrap(f"{glyphs.arrow} {trouble.hint}", width, Tone.TEXT, 2) if trouble.hint else []
    return _cut(out, LINES, width)


def message_lines(title: str, text: str, severity: str, width: int) -> list[Line]:
    """One thing that happened, in at most two lines."""
    tone = TONES.get(severity, Tone.OK)
    if not title:
        return _cut(wrap(text, width, tone), SAID, width)
    if text and len(title) + len(text) + 2 <= width:
        return [line((title, tone), "  ", (text, Tone.TEXT))]
    out = [line((clip(title, width), tone))]
    return [*out, *_cut(wrap(text, width, Tone.TEXT), SAID - 1, width)] if text else out


def _cut(lines: list[Line], count: int, width: int) -> list[Line]:
    if len(lines) <= count:
        return lines
    text, tone = lines[count - 1][0]
    return [*lines[: count - 1], line((f"{clip(text, width - 2).removesuffix('…')} …", tone))]
