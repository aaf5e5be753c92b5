from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alchemy.model.text import safe_block, safe_text

anything = st.text(st.characters())  # lone surrogates too
DANGEROUS = [
    *range(0x20),
    *range(0x7F, 0xA0),
    0x2028,
    0x2029,  # line and paragraph separators
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    0x061C,
    0x200E,
    0x200F,  # direction
    0x00AD,
    0x200B,
    0x200C,
    0x200D,
    0x2060,
    0xFEFF,  # invisible
    0xFFF9,
    0xFFFA,
    0xFFFB,  # annotations hide what is between them
    0xD800,
    0xDFFF,
    *range(0xE0000, 0xE0080),  # tags: a whole message that nobody sees
]


@pytest.mark.parametrize("code", DANGEROUS, ids=hex)
def test_no_character_that_a_terminal_acts_on_or_hides_survives(code: int) -> None:
    shown = safe_text(f"a{chr(code)}b")
    assert chr(code) not in shown
    assert len(shown) > 2, "it is made visible, not dropped"
    if code not in (0x09, 0x0A):
        assert chr(code) not in safe_block(f"a{chr(code)}b")


@given(anything)
@example("\x1b]8;;http://evil\x07link\x1b\\")
@example("\u202egnp.exe")
def test_every_text_becomes_one_line_that_can_be_written(text: str) -> None:
    shown = safe_text(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Cf", "Zl", "Zp") for c in shown)
    assert len(shown.splitlines()) <= 1
    shown.encode()
    assert safe_text(shown) == shown


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_what_can_be_printed_is_left_as_it_is(text: str) -> None:
    assert safe_text(text) == text


@given(anything, st.integers(1, 50))
def test_clipping_says_so(text: str, limit: int) -> None:
    shown, whole = safe_text(text, limit), safe_text(text)
    assert len(shown) <= limit
    assert shown == whole or (shown.endswith("…") and whole.startswith(shown[:-1]))


@given(anything)
def test_a_block_keeps_its_lines_and_nothing_else(text: str) -> None:
    shown = safe_block(text)
    assert shown.count("\n") == text.count("\n")
    assert all(safe_text(line) == line for line in shown.split("\n"))


def test_other_things_than_text_are_shown_too() -> None:
    assert safe_text(None) == "None"
    assert safe_text(ValueError("a\x1bb")) == "a␛b"
