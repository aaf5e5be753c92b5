"""Pieces of text with a tone, and the two ways they reach a stream: plain, or coloured on a terminal.

Only `NO_COLOR`, the terminal and `--plain` decide. Text in pieces is data: it is never parsed as markup.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TextIO

from alchemy.cli.terminal import is_terminal
from alchemy.model.text import safe_text

Piece = tuple[str, str]  # (text, tone)
Line = tuple[Piece, ...]

STYLES = {  # rich's names; `_CODES` says the same for lines that are not worth loading rich
    "": "",
    "title": "bold",
    "dim": "dim",
    "good": "green",
    "warn": "yellow",
    "bad": "red",
    "busy": "cyan",
}
_CODES = {"title": "1", "dim": "2", "good": "32", "warn": "33", "bad": "31", "busy": "36"}


def line(*parts: str | Piece) -> Line:
    """Plain strings have no tone; every text passes `safe_text` here."""
    pieces = ((part, "") if isinstance(part, str) else part for part in parts)
    return tuple((safe_text(text), tone) for text, tone in pieces)


def coloured(stream: TextIO, *, plain: bool = False) -> bool:
    return not plain and is_terminal(stream) and not os.environ.get("NO_COLOR")


def joined(pieces: Iterable[Piece], *, colour: bool) -> str:
    if not colour:
        return "".join(text for text, _ in pieces).rstrip()
    return "".join(f"\x1b[{_CODES[tone]}m{text}\x1b[0m" if tone else text for text, tone in pieces)
