"""Finding a name among many: letters in order, what people mean first."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from alchemy_tui.store.search import places, search
from tests.dashboard import worlds

NAMES = [
    "shop/prod",
    "shop/prod/compute/api",
    "shop/prod/compute/mailer",
    "shop/dev/compute/api",
    "shop/prod/apidocs/x",
]
PAIRS = [(name, name) for name in NAMES]


def test_the_name_itself_comes_before_what_is_around_it() -> None:
    assert search("api", PAIRS, 9)[:3] == ["shop/dev/compute/api", "shop/prod/compute/api", "shop/prod/apidocs/x"]


def test_letters_need_only_be_in_order_and_blanks_do_not_count() -> None:
    assert search("prod mail", PAIRS, 9) == ["shop/prod/compute/mailer"]
    assert search("spdcml", PAIRS, 9) == ["shop/prod/compute/mailer"]
    assert search("liam", PAIRS, 9) == []


def test_nothing_typed_is_everything_as_it_stands() -> None:
    assert search("", PAIRS, 3) == NAMES[:3]


@given(st.text(max_size=6), st.text(max_size=20))
def test_marked_letters_are_the_letters_that_were_typed(query: str, text: str) -> None:
    marked = sorted(places(query, text))
    if marked:
        assert "".join(text[at] for at in marked).lower() == query.lower().replace(" ", "")


def test_ten_thousand_names_are_no_effort() -> None:
    names = [(name.lower(), name) for name in worlds.large(1000).resources]
    for query in ("r", "res05", "bigstage03res", "zz"):
        times = []
        for _ in range(3):
            began = time.perf_counter()
            search(query, names, 200)
            times.append(time.perf_counter() - began)
        assert min(times) < 0.1, query
