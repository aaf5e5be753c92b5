"""Making hostile text safe to show: the one border between stored or received text and a terminal.

Both front ends pass every string that comes from state, the cloud or the program through here, once.
"""

from __future__ import annotations

# Bidirectional overrides, zero-width characters and line separators can make a name look like another one.
_INVISIBLE = {
    *range(0x200B, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    0x00AD,
    0x061C,
    0x180E,
    0xFEFF,
}
_TABLE: dict[int, str] = {code: chr(0x2400 + code) for code in range(0x20)}
_TABLE[0x7F] = "\u2421"
_TABLE.update({code: f"\\x{code:02x}" for code in range(0x80, 0xA0)})
_TABLE.update({code: f"\\u{code:04x}" for code in _INVISIBLE})
_TABLE.update({code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)})  # lone surrogates cannot be encoded
_BLOCK_TABLE = {code: shown for code, shown in _TABLE.items() if code not in (0x09, 0x0A)}


def safe_text(value: object, limit: int = 0) -> str:
    """One line of `value` with control, bidirectional and invisible characters made visible.

    `limit` > 0 clips to that many characters, the last one an ellipsis.
    """
    text = str(value)
    if not text.isascii() or not text.isprintable():
        text = text.translate(_TABLE)
    if limit and len(text) > limit:
        text = text[: limit - 1] + "…"
    return text


def safe_block(value: object) -> str:
    """Several lines: like `safe_text`, but newlines stay and tabs become spaces."""
    return str(value).expandtabs(4).translate(_BLOCK_TABLE)
