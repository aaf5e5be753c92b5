"""Text without secrets, in whichever form they stand in it; and nothing else missing."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemy.model import scrubbing
from alchemy.model.events import Noted, RunEnded
from alchemy.model.text import safe_block, safe_text

VALUE = 'scrub-me "now" 50%/é\\'
FORMS = {
    "as it is": VALUE,
    "JSON": json.dumps({"a": VALUE}),
    "JSON with its own letters": json.dumps([VALUE], ensure_ascii=False),
    "Python": repr({"a": VALUE}),
    "a path": f"https://host/{quote(VALUE)}/x",
    "a query": f"https://host/?{urlencode({'a': VALUE})}",
    "a form": quote_plus(VALUE),
    "hexadecimal": VALUE.encode().hex(),
}


@pytest.fixture(autouse=True)
def known() -> None:
    scrubbing.remember({"deep": [VALUE, "-----BEGIN-----\nfirst-line-of-a-key\nsecond-line\n", 987654321, True, None]})


@pytest.mark.parametrize("form", FORMS)
def test_a_value_is_found_in_every_form(form: str) -> None:
    shown = safe_text(f"before {FORMS[form]} after")
    assert "scrub" not in shown
    assert "•••" in shown
    assert shown.startswith("before")
    assert shown.endswith("after")


@given(st.binary(max_size=9), st.binary(max_size=9), st.booleans())
def test_base64_is_seen_through_wherever_the_value_lies_in_it(before: bytes, after: bytes, urls: bool) -> None:
    encode = base64.urlsafe_b64encode if urls else base64.b64encode
    shown = scrubbing.scrub(encode(before + VALUE.encode() + after).decode())
    assert "•••" in shown
    assert len(shown) < 3 + 8 + (len(before) + len(after)) * 4 // 3 + 8


def test_lines_of_a_key_and_numbers_count_too_and_a_clipped_text_holds_no_part() -> None:
    assert safe_text("said first-line-of-a-key, 987654321, True, None") == "said •••, •••, True, None"
    assert safe_text("x" * 495 + VALUE, 500) == "x" * 495 + "•••"
    assert safe_block(f"one\n{VALUE}\n") == "one\n•••\n"


def test_what_is_too_short_or_is_no_secret_stays() -> None:
    scrubbing.remember(["abc", ""])
    assert safe_text("abc scrub me now") == "abc scrub me now"
    assert not scrubbing.holds_value("abc", 1)
    assert scrubbing.holds_value(f"in {VALUE} it", 8)


def test_events_lose_it_everywhere_but_in_their_subject() -> None:
    event = RunEnded("my-app/prod", "failed", {"create": 1}, [["my-app/prod/a", f"bad {VALUE}"]], 1.0, 2)
    assert event.scrubbed() == RunEnded("my-app/prod", "failed", {"create": 1}, [["my-app/prod/a", "bad •••"]], 1.0, 2)
    assert Noted(VALUE, VALUE).scrubbed() == Noted(VALUE, "•••")
