from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemy.model.changes import Difference, as_former, compare, decide
from alchemy.model.values import Action, ResourceState, Status
from tests.model.rows import row, wish

ADDRESS = "my-app/prod/topic"
SAME: dict[str, Any] = {"props": {"partitions": 1}}
CHANGED: dict[str, Any] = {"props": {"partitions": 2}}
FIXED: dict[str, Any] = {**CHANGED, "fixed": frozenset(["partitions"])}
OTHER_KIND: dict[str, Any] = {**SAME, "kind": "acme:Queue"}
NO_UPDATE: dict[str, Any] = {**CHANGED, "updatable": False}
SAME_NO_UPDATE: dict[str, Any] = {**SAME, "updatable": False}
KEEP, UPDATE, REPLACE, CREATE = Action.KEEP, Action.UPDATE, Action.REPLACE, Action.CREATE
R, C, U, P, D = Status.READY, Status.CREATING, Status.UPDATING, Status.REPLACING, Status.DELETING


def stored(status: Status = R, **changed: Any) -> ResourceState:
    return row(ADDRESS, status=status, **{**SAME, **changed})


TABLE = [
    # stored status, wish, action, resume
    (R, SAME, KEEP, False),
    (R, CHANGED, UPDATE, False),
    (R, FIXED, REPLACE, False),
    (R, OTHER_KIND, REPLACE, False),
    (R, NO_UPDATE, REPLACE, False),
    (R, SAME_NO_UPDATE, KEEP, False),
    # an announced create is created again whatever the wish is now: the lookup tells what is there
    (C, SAME, CREATE, True),
    (C, CHANGED, CREATE, True),
    (C, FIXED, CREATE, True),
    (C, OTHER_KIND, REPLACE, True),
    (C, NO_UPDATE, CREATE, True),
    # half an update is never kept
    (U, SAME, UPDATE, True),
    (U, CHANGED, UPDATE, True),
    (U, FIXED, REPLACE, False),
    (U, OTHER_KIND, REPLACE, False),
    (U, NO_UPDATE, REPLACE, False),
    (U, SAME_NO_UPDATE, REPLACE, True),
    # a replacement goes on
    (P, SAME, REPLACE, True),
    (P, CHANGED, REPLACE, True),
    (P, FIXED, REPLACE, True),
    (P, OTHER_KIND, REPLACE, False),
    (P, NO_UPDATE, REPLACE, True),
    # half deleted: it may be there or not, a new incarnation is certain
    (D, SAME, REPLACE, True),
    (D, CHANGED, REPLACE, True),
    (D, FIXED, REPLACE, True),
    (D, OTHER_KIND, REPLACE, True),
    (D, NO_UPDATE, REPLACE, True),
]


@pytest.mark.parametrize(("status", "wanted", "action", "resume"), TABLE)
def test_what_is_stored_and_what_is_wanted_decide(
    status: Status, wanted: dict[str, Any], action: Action, resume: bool
) -> None:
    change = decide(stored(status), wish(ADDRESS, **wanted))
    assert (change.action, change.resume) == (action, resume)
    assert change.reason
    assert change.before == stored(status)


def test_the_table_names_every_status_with_every_wish() -> None:
    assert len(TABLE) == len({(status, str(wanted)) for status, wanted, *_ in TABLE})
    for status in Status:
        assert len([line for line in TABLE if line[0] is status]) >= 5


def test_what_is_not_stored_is_created() -> None:
    change = decide(None, wish(ADDRESS, **SAME))
    assert (change.action, change.before, change.resume) == (CREATE, None, False)
    assert change.diff == (Difference("partitions", None, 1, was=False),)


def test_with_adopt_it_is_looked_for_first_and_only_when_it_is_not_ours_yet() -> None:
    assert decide(None, wish(ADDRESS, adopt=True)).action is Action.ADOPT
    assert decide(stored(C), wish(ADDRESS, adopt=True, **SAME)).action is Action.ADOPT
    assert decide(stored(), wish(ADDRESS, adopt=True, **SAME)).action is KEEP


@pytest.mark.parametrize(
    "flag",
    [{"depends_on": ("my-app/prod/db",)}, {"protect": True}, {"retain": True}, {"on_destroy": "delete"}]
    + [{"timeout": 5.0}, {"module": "elsewhere"}],
)
def test_flags_and_edges_are_saved_when_nothing_else_changed(flag: dict[str, Any]) -> None:
    assert not decide(stored(), wish(ADDRESS, **SAME)).save
    change = decide(stored(), wish(ADDRESS, **SAME, **flag))
    assert (change.action, change.save) == (KEEP, True)
    assert decide(stored(**flag), wish(ADDRESS, **SAME, **flag)).save is False


def test_a_prop_that_is_not_known_yet_is_a_change() -> None:
    change = decide(stored(), wish(ADDRESS, **SAME, unknown=frozenset(["partitions"])))
    assert change.action is UPDATE
    assert change.diff == (Difference("partitions", 1, None, unknown=True),)
    fixed = wish(ADDRESS, **SAME, unknown=frozenset(["partitions"]), fixed=frozenset(["partitions"]))
    assert decide(stored(), fixed).action is REPLACE


def test_a_prop_that_came_or_went_is_a_change() -> None:
    came = decide(stored(props={}), wish(ADDRESS, **SAME))
    went = decide(stored(), wish(ADDRESS, props={}))
    assert came.diff == (Difference("partitions", None, 1, was=False),)
    assert went.diff == (Difference("partitions", 1, None, will=False),)
    assert came.action is went.action is UPDATE


def test_a_fixed_prop_counts_wherever_inside_it_the_change_is() -> None:
    before = stored(props={"network": {"hosts": [{"ip": "a"}, {"ip": "b"}]}, "size": 1})
    after = {"network": {"hosts": [{"ip": "a"}, {"ip": "c"}]}, "size": 1}
    change = decide(before, wish(ADDRESS, props=after, fixed=frozenset(["network"])))
    assert change.action is REPLACE
    assert "network" in change.reason
    assert [d.path for d in change.diff] == ["network.hosts[1].ip"]
    assert decide(before, wish(ADDRESS, props=after, fixed=frozenset(["size"]))).action is UPDATE


def test_a_reason_names_what_changed() -> None:
    change = decide(stored(props={"a": 1, "b": 1, "c": 1}), wish(ADDRESS, props={"a": 2, "b": 1, "c": 2}))
    assert change.reason == "changed: a, c"


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (0, False), ("1", 1), (None, 0), ([1], [1, 2]), ([True], [1]), ({}, []), ("", None)]
)
def test_values_that_python_takes_for_equal_are_told_apart(one: object, other: object) -> None:
    assert list(compare({"a": one}, {"a": other}))
    assert list(compare({"a": other}, {"a": one}))


json_trees = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda t: st.lists(t, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=2), t, max_size=3),
    max_leaves=8,
)


@given(json_trees, json_trees)
def test_a_comparison_finds_something_exactly_when_there_is_something(one: Any, other: Any) -> None:
    from alchemy.model.canonical import canonical

    found = list(compare(one, other))
    assert bool(found) == (canonical(one) != canonical(other))
    assert len({d.path for d in found}) == len(found)
    assert [d.path for d in found] == [d.path for d in compare(other, one)]


def test_an_old_incarnation_is_stored_beside_the_new_one() -> None:
    old = as_former(stored(generation=3))
    assert old.former
    assert old.key == f"{ADDRESS}\x003"
    assert old.key != stored(generation=4).key


# -- what is no change ------------------------------------------------------------------------------------------------


def kept(before: ResourceState, **wanted: Any) -> bool:
    """The row takes over the other words; nothing is called."""
    change = decide(before, wish(ADDRESS, **wanted))
    assert (change.action is KEEP) == change.save
    return change.action is KEEP


def test_the_name_that_it_has_already_is_no_change() -> None:
    before = stored(props={"name": None, "size": 1})
    fixed = frozenset(["name"])
    assert kept(before, props={"name": before.physical_name, "size": 1}, fixed=fixed)
    assert kept(stored(props={"size": 1}), props={"name": before.physical_name, "size": 1}, fixed=fixed)
    assert decide(before, wish(ADDRESS, props={"name": "other", "size": 1}, fixed=fixed)).action is REPLACE
    renamed = stored(props={"name": "other", "size": 1})
    assert (
        decide(renamed, wish(ADDRESS, props={"name": before.physical_name, "size": 1}, fixed=fixed)).action is REPLACE
    )


def test_its_own_name_beside_a_real_change_is_not_what_replaces_it() -> None:
    before = stored(props={"name": None, "size": 1})
    change = decide(before, wish(ADDRESS, props={"name": before.physical_name, "size": 2}, fixed=frozenset(["name"])))
    assert (change.action, change.reason, [d.path for d in change.diff]) == (UPDATE, "changed: size", ["size"])


@pytest.mark.parametrize("default", [None, 7, "x", [], {"a": {"b": [1.0]}}, False], ids=str)
def test_a_prop_that_is_newer_than_the_row_is_a_change_only_with_another_value_than_its_default(default: Any) -> None:
    before = stored(props={"size": 1})
    wanted = {"defaults": {"size": 1, "new": default}, "fixed": frozenset(["new"])}
    assert kept(before, props={"size": 1, "new": default}, **wanted)
    assert decide(before, wish(ADDRESS, props={"size": 1, "new": "else"}, **wanted)).action is REPLACE


def test_a_default_says_nothing_about_a_value_that_stands_in_the_row() -> None:
    before = stored(props={"size": 1})
    change = decide(before, wish(ADDRESS, props={"size": 2}, defaults={"size": 2}))
    assert (change.action, change.reason) == (UPDATE, "changed: size")


def test_a_prop_without_value_that_the_kind_dropped_is_no_change() -> None:
    assert kept(stored(props={"size": 1, "old": None}), props={"size": 1})
    assert decide(stored(props={"size": 1, "old": 0}), wish(ADDRESS, props={"size": 1})).action is UPDATE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        ([1, 2.0], [1.0, 2]),
        ({"a": {"b": 3.0}}, {"a": {"b": 3}}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (0, -0.0),
    ],
)
def test_equal_numbers_and_another_order_of_keys_are_no_change(one: Any, other: Any) -> None:
    fixed = {"fixed": frozenset(["value"]), "updatable": False}
    for before, after in ((one, other), (other, one)):
        change = decide(stored(props={"value": before}), wish(ADDRESS, props={"value": after}, **fixed))
        assert change.action is KEEP


def test_a_row_of_unknown_props_is_brought_to_the_wish() -> None:
    """Rebuilt from the cloud: what it was made with nobody knows."""
    change = decide(stored(props_hash=""), wish(ADDRESS, **SAME))
    assert (change.action, change.reason) == (UPDATE, "its definition changed")


numbers = st.integers(-(10**6), 10**6)
props = st.dictionaries(st.sampled_from("abcd"), st.lists(numbers, max_size=3) | numbers | st.none(), max_size=4)


def _shuffled(value: Any, floats: bool) -> Any:
    if isinstance(value, dict):
        return {key: _shuffled(value[key], floats) for key in reversed(value)}
    if isinstance(value, list):
        return [_shuffled(item, floats) for item in value]
    return float(value) if floats and isinstance(value, int) else value


@given(props, props, st.booleans())
def test_the_decision_does_not_depend_on_how_a_wish_is_written(before: Any, after: Any, floats: bool) -> None:
    one = decide(stored(props=before), wish(ADDRESS, props=after, fixed=frozenset("a")))
    other = decide(
        stored(props=_shuffled(before, floats)), wish(ADDRESS, props=_shuffled(after, floats), fixed=frozenset("a"))
    )
    assert (one.action, one.reason, [d.path for d in one.diff]) == (
        other.action,
        other.reason,
        [d.path for d in other.diff],
    )
