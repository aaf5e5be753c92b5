"""The hint bar: the most useful keys that fit, and always `? help` at the right edge. It never overflows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from alchemy_tui.present.line import Line, Piece, Tone, cells, line, pad, spread

_HELP = line(("? ", Tone.KEY), ("help ", Tone.DIM))


class Hint(NamedTuple):
    key: str
    label: str
    rank: int  # small ranks stay longest


def hint_bar(hints: Sequence[Hint], width: int, lead: Line = ()) -> Line:
    """Exactly `width` cells. Hints that do not fit are left out, highest rank first; order on screen is by rank."""
    room = width - cells(_HELP) - cells(lead) - 2
    chosen: list[Line] = []
    for hint in sorted(hints, key=lambda one: one.rank):
        shown = line((hint.key, Tone.KEY), (f" {hint.label}", Tone.DIM))
        size = cells(shown) + 2
        if size <= room:
            chosen.append(shown)
            room -= size
    left: list[Piece] = [Piece(" "), *lead]
    for shown in chosen:
        left += [*shown, Piece("  ")]
    return pad(spread(tuple(left), _HELP, width, 0), width)
