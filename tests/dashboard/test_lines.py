"""Lines measure, clip and align in terminal cells, and every text in them is safe to draw."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from alchemy_tui.present import glyphs, times
from alchemy_tui.present.hints import Hint, hint_bar
from alchemy_tui.present.line import Line, Tone, cells, clip, clip_left, fit, line, pad, plain, spread, wrap
from tests.dashboard.worlds import HOSTILE, NOW, ago

texts = st.one_of(st.text(max_size=40), st.sampled_from(HOSTILE))
lines = st.lists(st.tuples(texts, st.sampled_from(Tone)), max_size=6).map(lambda parts: line(*parts))
widths = st.integers(0, 90)


def printable(text: str) -> bool:
    return not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u200b\u2066" for c in text)


@given(lines, widths)
def test_a_fitted_line_never_exceeds_its_width(content: Line, width: int) -> None:
    assert cells(fit(content, width)) <= width
    assert cells(pad(content, width)) == width


@given(lines, lines, widths)
def test_two_sides_spread_over_a_line_never_exceed_it(left: Line, right: Line, width: int) -> None:
    shown = spread(left, right, width)
    assert cells(shown) <= width
    if cells(right) and cells(right) + 1 <= width:
        assert plain(shown).endswith(plain(right))
        assert cells(shown) == width


@given(texts, widths)
def test_clipped_text_fits_and_keeps_its_beginning_or_its_end(text: str, width: int) -> None:
    for clipped in (clip(text, width), clip_left(text, width)):
        assert cell_len(clipped) <= width
    if cell_len(text) <= width and width:
        assert clip(text, width) == clip_left(text, width) == text


@given(texts, st.integers(8, 60))
def test_a_wrapped_sentence_loses_nothing_but_blanks(text: str, width: int) -> None:
    wrapped = wrap(text, width)
    assert all(cells(one) <= width for one in wrapped)
    whole = plain(line(text))
    assert "".join(plain(one) for one in wrapped).replace(" ", "") == whole.replace(" ", "")


@given(lines)
def test_no_text_in_a_line_can_move_the_terminal(content: Line) -> None:
    assert printable(plain(content))


def test_clean_names_come_through_untouched() -> None:
    for name in ("aws[prod]", "x[/", "x[$primary]y", "a\\[b]", "[@click=app.quit]click me[/]", "naïve-日本語-🧪"):
        assert plain(line(name)) == name


HINTS = tuple(Hint(key, f"does something {key}", rank) for rank, key in enumerate("abcdefghijklm"))


@pytest.mark.parametrize("width", range(60, 201))
def test_the_hint_bar_fits_every_width_and_ends_with_help(width: int) -> None:
    bar = hint_bar(HINTS, width)
    assert cells(bar) == width
    assert plain(bar).rstrip().endswith("? help")
    assert plain(bar).startswith(" a does something a")


def test_narrow_hint_bars_keep_the_hints_of_low_rank() -> None:
    shown = plain(hint_bar((Hint("z", "last", 9), Hint("y", "first", 1)), 24))
    assert "y first" in shown
    assert "last" not in shown


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.42, "0.4s"), (12, "12s"), (101, "1m41s"), (3600 * 3 + 125, "3h02m"), (86400 * 12, "12d")],
)
def test_durations_are_short(seconds: float, said: str) -> None:
    assert times.duration(seconds) == said


def test_times_that_are_no_times_are_shown_as_they_are() -> None:
    now = NOW.timestamp()
    assert times.ago(ago(hours=2), now) == "2h ago"
    assert times.ago("yesterday-ish", now) == "yesterday-ish"
    assert times.ago("", now) == ""


@pytest.mark.parametrize(
    ("encoding", "term", "chosen"),
    [
        ("utf-8", "xterm-256color", glyphs.UNICODE),
        ("UTF8", "tmux", glyphs.UNICODE),
        ("utf-8", "linux", glyphs.ASCII),
        ("utf-8", "dumb", glyphs.ASCII),
        ("ANSI_X3.4-1968", "xterm", glyphs.ASCII),
        (None, "xterm", glyphs.ASCII),
    ],
)
def test_signs_follow_the_terminal(encoding: str | None, term: str, chosen: object) -> None:
    assert glyphs.choose(encoding, term) is chosen


def test_the_ascii_set_is_ascii_and_every_sign_is_one_cell() -> None:
    plain_signs, signs = (
        [
            sign
            for name, sign in asdict(one).items()
            if name not in ("spinner", "return_key", "ellipsis", "run", "arrow")
        ]
        for one in (glyphs.ASCII, glyphs.UNICODE)
    )
    assert all(sign.isascii() and len(sign) == 1 for sign in plain_signs)
    assert all(cell_len(sign) == 1 for sign in signs)
    assert all(cell_len(sign) == 1 for sign in glyphs.UNICODE.spinner + glyphs.ASCII.spinner)
