from __future__ import annotations

import json
from enum import Enum, IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemy.errors import UsageError
from alchemy.model.canonical import MAX_JSON_DEPTH, canonical, digest, normalise


class Colour(StrEnum):
    RED = "red"


class Old(str, Enum):  # noqa: UP042 - programs still have these
    RED = "red"


class Size(IntEnum):
    BIG = 7


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
trees = st.recursive(
    leaves, lambda t: st.lists(t) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), t), max_leaves=20
)


@given(trees)
def test_a_json_tree_comes_back_from_its_bytes(tree: Any) -> None:
    plain = normalise(tree)
    assert json.loads(canonical(plain)) == plain == tree
    assert normalise(plain) == plain


@given(st.dictionaries(st.text("abc", max_size=3), leaves | st.dictionaries(st.text("abc", max_size=2), leaves)))
def test_the_order_of_keys_is_no_difference(tree: dict[str, Any]) -> None:
    assert digest(normalise(tree)) == digest(normalise(dict(reversed(tree.items()))))


@pytest.mark.parametrize(
    ("one", "other"),
    [(2.0, 2), ((1, 2), [1, 2]), (-0.0, 0), (1e15, 10**15), (Colour.RED, "red"), (Old.RED, "red"), (Size.BIG, 7)],
)
def test_two_ways_to_write_one_value_are_one_value(one: object, other: object) -> None:
    for place in (lambda v: v, lambda v: [v], lambda v: {"a": v}):
        assert digest(normalise(place(one))) == digest(normalise(place(other)))


@pytest.mark.parametrize("key", [Colour.RED, Old.RED])
def test_a_key_may_be_a_constant(key: str) -> None:
    assert canonical(normalise({key: 1})) == b'{"red":1}'


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), ("1", 1), (1.5, "1.5"), (None, ""), ([], {})])
def test_two_values_are_two_values(one: object, other: object) -> None:
    assert digest(normalise(one)) != digest(normalise(other))


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), 1 << 63, -(1 << 63) - 1, object(), {1: "a"}, {1, 2}, b"bytes", "\ud800", 1j]
    + [{"\ud800": 1}],
)
def test_what_json_cannot_carry_is_refused_by_its_place(value: object) -> None:
    with pytest.raises(UsageError) as refused:
        normalise({"a": [0, value]}, "my-app/db.settings")
    assert "my-app/db.settings.a[1]" in refused.value.message
    assert refused.value.message.isprintable()


def test_the_largest_integers_pass() -> None:
    assert json.loads(canonical(normalise([(1 << 63) - 1, -(1 << 63)]))) == [(1 << 63) - 1, -(1 << 63)]


def test_too_deep_is_refused_and_never_a_crash() -> None:
    value: Any = 0
    for _ in range(MAX_JSON_DEPTH + 2):
        value = [value]
    with pytest.raises(UsageError, match="deeper than"):
        normalise(value)
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UsageError, match="deeper than"):
        normalise(loop, "props")


def test_a_digest_can_be_clipped() -> None:
    assert digest({"a": 1}, 12) == digest({"a": 1})[:12]
    assert len(digest(None)) == 64
