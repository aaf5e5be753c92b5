"""Making hostile text safe to show: the one border between stored or received text and a terminal.

Both front ends pass every string that comes from state, the cloud or the program through here, once. Secret values that
this process knows end here too: dots stand for them.
"""

from __future__ import annotations

import unicodedata

from alchemy.model import scrubbing

_HIDDEN = frozenset(["Cc", "Cf", "Cs", "Zl", "Zp"])  # controls, directions and joiners, lone surrogates, separators
_BLANK = frozenset(
    [0x115F, 0x1160, 0x3164, 0xFFA0, *range(0xE0000, 0xE1000)]
)  # nothing to see, whatever they are called


class _Table(dict[int, str]):
    """What each character is shown as; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        shown = character = chr(code)
        if code < 0x20:
            shown = chr(0x2400 + code)
        elif code == 0x7F:
            shown = "\u2421"
        elif unicodedata.category(character) in _HIDDEN or code in _BLANK:
            shown = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
        self[code] = shown
        return shown


_TABLE = _Table()
_BLOCK_TABLE = _Table({0x0A: "\n"})


def safe_text(value: object, limit: int = 0) -> str:
    """One line of `value` with control, bidirectional and invisible characters made visible.

    `limit` > 0 clips to that many characters, the last one an ellipsis.
    """
    text = scrubbing.scrub(str(value))
    if not text.isascii() or not text.isprintable():
        text = text.translate(_TABLE)
    if limit and len(text) > limit:
        text = text[: limit - 1] + "…"
    return text


def safe_block(value: object) -> str:
    """Several lines: like `safe_text`, but newlines stay and tabs become spaces."""
    return scrubbing.scrub(str(value)).expandtabs(4).translate(_BLOCK_TABLE)
