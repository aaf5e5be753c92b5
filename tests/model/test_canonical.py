from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from enum import Enum, IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemy.errors import UsageError
from alchemy.model.canonical import MAX_JSON_DEPTH, canonical, digest, normalise
from alchemy.model.changes import compare
from alchemy.model.masking import EQUAL, SECRET, hash_props


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
    [(2.0, 2), ((1, 2), [1, 2]), (-0.0, 0), (1e15, 10**15), (Colour.RED, "red"), (Old.RED, "red"), (Size.BIG, 7)]
    + [(1e18, 10**18), (float(1 << 53), 1 << 53), (-float(1 << 63), -(1 << 63)), (-1.0, -1)],
)
def test_two_ways_to_write_one_value_are_one_value(one: object, other: object) -> None:
    for place in (lambda v: v, lambda v: [v], lambda v: {"a": v}):
        assert digest(normalise(place(one))) == digest(normalise(place(other)))


@pytest.mark.parametrize("key", [Colour.RED, Old.RED])
def test_a_key_may_be_a_constant(key: str) -> None:
    assert canonical(normalise({key: 1})) == b'{"red":1}'


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (0, False), ("1", 1), (1.5, "1.5"), (None, ""), ([], {}), ([], None), ([[]], []), ({"a": None}, {})]
    + [((1 << 53) + 1, float(1 << 53)), (1e22, 1.0000000000000002e22), (5e-324, 0), ("a", "a "), ("é", "e\u0301")],
)
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


# -- one meaning, one digest, no difference -------------------------------------------------------------------------

near = st.sampled_from(
    [None, True, False, 0, 1, -1, 0.0, -0.0, 1.0, 0.5, 1e22, 2.0**53, 2**53, 2**53 + 1, 1e18, 10**18, 2.0**63, 5e-324]
    + ["", "0", "1", "é", "e\u0301", "true"]
)
nearby = st.recursive(
    near,
    lambda t: st.lists(t, max_size=3) | st.dictionaries(st.sampled_from(["", "a", "a.b", "é"]), t, max_size=3),
    max_leaves=6,
)


def written_otherwise(tree: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    """The same value: other order of keys, floats for whole numbers and the other way, tuples for lists."""
    if isinstance(tree, dict):
        keys = draw(st.permutations(list(tree)))
        return {key: written_otherwise(tree[key], draw) for key in keys}
    if isinstance(tree, list):
        items = [written_otherwise(item, draw) for item in tree]
        return tuple(items) if draw(st.booleans()) else items
    if type(tree) is int and draw(st.booleans()) and int(float(tree)) == tree:
        return float(tree)
    if type(tree) is float and tree.is_integer() and abs(tree) < 1 << 63 and draw(st.booleans()):
        return int(tree)
    return tree


@given(trees, st.data())
def test_what_means_the_same_has_one_digest_and_no_difference(tree: Any, data: st.DataObject) -> None:
    one, other = normalise(tree), normalise(written_otherwise(tree, data.draw))
    assert canonical(one) == canonical(other)
    assert list(compare(one, other)) == list(compare(other, one)) == []


@given(nearby, nearby, st.data())
def test_two_values_have_one_digest_exactly_when_nothing_differs(one: Any, other: Any, data: st.DataObject) -> None:
    if data.draw(st.booleans()):
        other = written_otherwise(one, data.draw)
    same = digest(normalise(one)) == digest(normalise(other))
    assert same == (not list(compare(normalise(one), normalise(other))))
    assert same == (hash_props(normalise(one)) == hash_props(normalise(other)))


@given(nearby, nearby)
def test_what_an_older_version_stored_as_it_was_written_is_compared_by_meaning(one: Any, other: Any) -> None:
    """Rows of imports and backups are not brought to one form when they are read."""
    assert (not list(compare(one, other))) == (digest(normalise(one)) == digest(normalise(other)))


@given(st.dictionaries(st.text("abc", min_size=1, max_size=2), nearby, min_size=1), st.data())
def test_one_changed_leaf_is_the_one_difference(tree: dict[str, Any], data: st.DataObject) -> None:
    changed = json.loads(json.dumps(tree))
    place, path = changed, data.draw(st.sampled_from(sorted(tree)))
    key: Any = path
    while isinstance(place[key], dict | list) and place[key]:
        place = place[key]
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(list(keys)))
        path += f".{key}" if isinstance(place, dict) else f"[{key}]"
    place[key] = "changed"
    before, after = normalise(tree), normalise(changed)
    assert [(found.path, found.after) for found in compare(before, after)] == [(path, "changed")]
    assert digest(before) != digest(after)


marks = st.sampled_from(["m1", "m2"])
sealed = st.builds(lambda noise, mark: {SECRET: f"v1.{noise}", EQUAL: mark}, st.integers(0, 3), marks)


@given(st.dictionaries(st.sampled_from("ab"), sealed | marks), st.dictionaries(st.sampled_from("ab"), sealed | marks))
def test_secrets_are_the_same_by_their_keyed_hash_whatever_their_ciphertext(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert (hash_props(one) == hash_props(other)) == (not list(compare(one, other)))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=5))
def test_texts_are_the_same_by_their_code_points(text: str) -> None:
    for form in ("NFC", "NFD", "NFKC"):
        other = unicodedata.normalize(form, text)
        assert (digest(normalise(text)) == digest(normalise(other))) == (text == other)
        assert bool(list(compare(normalise(text), normalise(other)))) == (text != other)


@pytest.mark.parametrize("around", [lambda v: [v], lambda v: {"a": v}, lambda v: (v,)], ids=["list", "dict", "tuple"])
def test_as_deep_as_allowed_is_compared_and_one_deeper_is_refused(around: Any) -> None:
    one: Any = 1
    other: Any = 2
    for _ in range(MAX_JSON_DEPTH + 1):
        one, other = around(one), around(other)
    assert digest(normalise(one)) != digest(normalise(other))
    assert len(list(compare(normalise(one), normalise(other)))) == 1
    assert list(compare(normalise(one), normalise(one))) == []
    with pytest.raises(UsageError, match="deeper than 64"):
        normalise(around(one))
