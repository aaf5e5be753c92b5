"""What a secret value looks like wherever it could come out again, and text without it: the border to everything shown.

One register for the process: whatever was declared or opened in it. `text.safe_text` asks here, so that errors of an
API that echoes what it was sent, notes and tracebacks pass through once. Neighbours: `secrets` are the values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MASKED = "•••"
SHORTEST = 4  # characters: dots in place of less would hide ordinary words and protect nothing
_SHORTEST_LINE = 8  # of a value of several lines, a key in PEM for example, whose lines may be quoted one by one
_forms: list[str] = []  # longest first: one may hold another
_values: dict[str, None] = {}


def remember(value: Any) -> None:
    """Every text and number in `value` is hidden from here on."""
    for text in texts_in(value):
        if len(text) >= SHORTEST and text not in _values:
            _values[text] = None
            _forms.extend(form for form in set(_appearances(text)) if form not in _forms)
            _forms.sort(key=len, reverse=True)


def scrub(text: str) -> str:
    """`text` with dots in the place of every value that was remembered, in whichever form it stands there."""
    for form in _forms:
        if form in text:
            text = text.replace(form, MASKED)
    return text


def knows_any() -> bool:
    """A secret was met in this process."""
    return bool(_values)


def holds_value(text: str, shortest: int) -> bool:
    """Whether a remembered value of at least this many characters stands in `text` as it is."""
    return any(len(value) >= shortest and value in text for value in _values)


def texts_in(value: Any) -> Iterator[str]:
    """Every text in it, line by line too, and every number."""
    if isinstance(value, str):
        text = str.__str__(value)
        yield text
        lines = text.splitlines()
        if len(lines) > 1:
            yield from (line for line in map(str.strip, lines) if len(line) >= _SHORTEST_LINE)
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def _appearances(text: str) -> Iterator[str]:
    """As it is, and as JSON, an address, Python, hex and base64 have it, the last also in the midst of more."""
    import base64
    import json
    from urllib.parse import quote, quote_plus

    yield text
    raw = text.encode("utf-8", "surrogatepass")
    yield raw.hex()
    yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1])
    yield from (quote(raw), quote(raw, safe=""), quote_plus(raw))
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw).decode()
        inside = encoded[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6]
        if len(inside) >= SHORTEST:
            yield inside
            yield inside.replace("+", "-").replace("/", "_")
