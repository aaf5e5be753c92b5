"""The filter language: what words mean, and what is said about words it does not know."""

from __future__ import annotations

import pytest

from alchemy.operations.shapes import Verdict
from alchemy_tui.store.filter import parse
from alchemy_tui.store.tree_model import TreeModel
from tests.dashboard import worlds
from tests.dashboard.worlds import NOW


def matching(text: str) -> set[str]:
    model = TreeModel()
    model.load(worlds.demo().view(), now=NOW.timestamp())
    model.set_filter(parse(text))
    return {row.identity for row in model.rows if model.matches(row)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mailer", {"shop/prod/compute/mailer"}),
        ("MAILER", {"shop/prod/compute/mailer"}),
        ("dev/compute", {"shop/dev/compute", "shop/dev/compute/api", "shop/dev/compute/worker-new"}),
        ("is:failed is:resource", {"shop/dev/compute/api"}),
        ("kind:queue", {"shop/prod/storage/outbox"}),
        ("kind:stage", {"shop/prod", "shop/dev"}),
        ("is:adopted|is:kept", {"shop/prod/storage/outbox", "shop/prod/storage/reports"}),
        ("api -is:failed", {"shop/prod/compute/api"}),
        ("api !is:failed", {"shop/prod/compute/api"}),
        ("lock:stale", {"shop/dev"}),
        ("lock:", {"shop/prod", "shop/dev"}),
        ("is:protected", {"shop/prod/storage/uploads"}),
        ("is:corrupt", {"shop", "shop/prod", "shop/prod/edge"}),
        ("age>30d", set()),
    ],
)
def test_a_filter_finds(text: str, expected: set[str]) -> None:
    assert matching(text) == expected


def test_age_counts_from_creation() -> None:
    assert "shop/prod/compute/api" in matching("age>7d is:resource")
    assert matching("age<1h is:resource") == set()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("is:orphn", "try is:orphan"),
        ("lock:deadd", "known: free live stale unknown held"),
        ("age>soon", "age>7d"),
    ],
)
def test_an_unknown_word_is_named_with_what_to_type_and_hides_nothing(text: str, said: str) -> None:
    parsed = parse(text)
    assert said in parsed.problem
    assert not parsed.active


def test_a_word_still_being_typed_is_no_mistake() -> None:
    for length in range(len("is:orphan")):
        assert parse("is:orphan"[: length + 1]).problem == ""


def test_every_verdict_can_be_asked_for() -> None:
    for verdict in Verdict:
        assert parse(f"lock:{verdict}").active


@pytest.mark.parametrize("text", ["[", "a[b", "\x1b[2J", "|", "||", "-", "!", ":", "is:", "a:b:c", "  "])
def test_odd_input_is_a_filter_too(text: str) -> None:
    matching(text)
