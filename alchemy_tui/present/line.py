"""A line on screen as a value: pieces of text, each with a tone. The one place where text becomes safe to draw.

`widgets.paint` gives tones their colours; the functions here only measure, clip and align, in terminal cells.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from alchemy.model.text import safe_text


class Tone(StrEnum):
    """What a piece of text means; themes decide how it looks. Never the only sign: a word says it too."""

    TEXT = "text"
    DIM = "dim"
    FAINT = "faint"
    STRONG = "strong"
    TITLE = "title"
    ACCENT = "accent"
    KEY = "key"
    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    BUSY = "busy"
    MATCH = "match"
    BADGE = "badge"
    TAB = "tab"


class Piece(NamedTuple):
    text: str
    tone: Tone = Tone.TEXT


Line = tuple[Piece, ...]
BLANK: Line = ()


def piece(text: object, tone: Tone = Tone.TEXT, limit: int = 0) -> Piece:
    """`text` made safe. `limit` > 0 clips to that many cells."""
    shown = safe_text(text)
    return Piece(clip(shown, limit) if limit else shown, tone)


def line(*parts: Piece | str | tuple[object, Tone]) -> Line:
    """Plain strings are ordinary text; pairs are (text, tone)."""
    out = []
    for part in parts:
        if isinstance(part, Piece):
            out.append(Piece(safe_text(part.text), part.tone))
        elif isinstance(part, str):
            out.append(piece(part))
        else:
            out.append(piece(*part))
    return tuple(out)


def cells(pieces: Line) -> int:
    return sum(cell_len(text) for text, _ in pieces)


def plain(pieces: Line) -> str:
    return "".join(text for text, _ in pieces)


def clip(text: str, width: int) -> str:
    """At most `width` cells, the last one an ellipsis when something is missing."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip(" ") + "…"


def clip_left(text: str, width: int) -> str:
    """Like `clip`, for paths: the end is what tells them apart."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text
    kept = text[-(width - 1) :] if width > 1 else ""
    while cell_len(kept) > width - 1:
        kept = kept[1:]
    return "…" + kept


def fit(pieces: Line, width: int) -> Line:
    """Exactly the pieces that fit into `width` cells; the one at the edge is clipped."""
    out: list[Piece] = []
    left = width
    for text, tone in pieces:
        size = cell_len(text)
        if size <= left:
            out.append(Piece(text, tone))
            left -= size
            continue
        out.append(Piece(clip(text, left), tone))
        break
    return tuple(out)


def pad(pieces: Line, width: int) -> Line:
    """Exactly `width` cells: clipped, or filled with blanks."""
    fitted = fit(pieces, width)
    missing = width - cells(fitted)
    return (*fitted, Piece(" " * missing)) if missing > 0 else fitted


def spread(left: Line, right: Line, width: int, gap: int = 1) -> Line:
    """`left` at the left edge, `right` at the right edge. The right side stays whole as long as it fits."""
    size = cells(right)
    if size + gap > width:
        return fit(left, width)
    return (*pad(fit(left, width - size - gap), width - size), *right)


def columns(parts: list[tuple[Line, int]], gap: int = 2) -> Line:
    """Left-aligned columns of given widths; a negative width aligns to the right."""
    out: list[Piece] = []
    for number, (part, width) in enumerate(parts):
        if number:
            out.append(Piece(" " * gap))
        if width < 0:
            fitted = fit(part, -width)
            out.append(Piece(" " * (-width - cells(fitted))))
            out.extend(fitted)
        else:
            out.extend(pad(part, width))
    return tuple(out)


def wrap(text: str, width: int, tone: Tone = Tone.TEXT, indent: int = 0) -> list[Line]:
    """A sentence over several lines, broken at blanks; a word longer than the line is broken where it must be."""
    room = max(8, width - indent)
    out: list[Line] = []
    current = ""
    for word in safe_text(text).split(" "):
        while cell_len(word) > room:
            if current:
                out.append((Piece(" " * indent + current, tone),))
                current = ""
            head = set_cell_size(word, room).rstrip(" ")
            out.append((Piece(" " * indent + head, tone),))
            word = word[len(head) :]
        candidate = f"{current} {word}" if current else word
        if cell_len(candidate) > room:
            out.append((Piece(" " * indent + current, tone),))
            current = word
        else:
            current = candidate
    if current or not out:
        out.append((Piece(" " * indent + current, tone),))
    return out
