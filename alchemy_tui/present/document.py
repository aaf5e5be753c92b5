"""The stored JSON of a scope or resource, with line numbers and quiet colours; a torn file as the raw text it is."""

from __future__ import annotations

import json
import re

from alchemy.model.text import safe_block
from alchemy_tui.present.line import BLANK, Line, Piece, Tone, line, piece

LIMIT = 20_000  # lines
_TOKEN = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=\s*:)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<word>-?\d[\d.eE+-]*|true|false|null)'
)
_TONES = {"key": Tone.ACCENT, "text": Tone.TEXT, "word": Tone.BUSY}


def document(text: str) -> list[Line]:
    """Stored documents are on one line or many; both come out indented. What is no JSON is shown as it is."""
    problem = ""
    try:
        shown = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError as error:
        shown, problem = text, str(error)
    lines = safe_block(shown).split("\n")
    digits = len(str(min(len(lines), LIMIT)))
    out: list[Line] = []
    if problem:
        out += [line(("▲ This file is not valid JSON: ", Tone.BAD), (problem, Tone.TEXT)), BLANK]
    for number, content in enumerate(lines[:LIMIT], 1):
        out.append((piece(f"{number:>{digits}}  ", Tone.FAINT), *(_plain(content) if problem else _coloured(content))))
    if len(lines) > LIMIT:
        out.append(line((f"… {len(lines) - LIMIT:,} more lines; alchemy scope state prints all of them", Tone.WARN)))
    return out


def _plain(content: str) -> Line:
    return (piece(content),)


def _coloured(content: str) -> Line:
    out: list[Piece] = []
    at = 0
    for match in _TOKEN.finditer(content):
        if match.start() > at:
            out.append(piece(content[at : match.start()], Tone.DIM))
        out.append(piece(match[0], _TONES[match.lastgroup or "word"]))
        at = match.end()
    if at < len(content):
        out.append(piece(content[at:], Tone.DIM))
    return tuple(out)
