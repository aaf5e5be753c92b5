from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alchemy.model.retention import Kept, Retention, plan_pruning

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
DEFAULT = Retention()

rules = st.builds(Retention, st.integers(1, 12), st.integers(0, 8), st.integers(0, 5), st.integers(0, 7))


def at(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def copy(seq: int, moment: datetime = START, **more: object) -> Kept:
    return Kept(f"state-{seq:04d}.json", seq, at(moment), **more)  # type: ignore[arg-type]


def names(*seqs: int) -> set[str]:
    return {f"state-{seq:04d}.json" for seq in seqs}


@st.composite
def histories(draw: st.DrawFn) -> list[Kept]:
    """Any times in any order: clocks go back, people copy files; numbers only rise."""
    hours = draw(st.lists(st.integers(-24 * 400, 24 * 400), max_size=40))
    flags = st.tuples(st.integers(0, 9).map(lambda n: n == 0), st.integers(0, 9).map(lambda n: n > 1))
    found = []
    for seq, hour in enumerate(hours, 1):
        pinned, valid = draw(flags)
        found.append(copy(seq, START + timedelta(hours=hour), pinned=pinned, valid=valid))
    return draw(st.permutations(found))


def test_the_last_ten_stay() -> None:
    plan = plan_pruning([copy(n) for n in range(1, 31)], Retention(daily=0, weekly=0, monthly=0))
    assert set(plan.keep) == names(*range(21, 31))
    assert plan.remove == tuple(sorted(names(*range(1, 21))))


def test_a_year_of_backups_three_times_a_day_comes_down_to_what_the_four_rules_keep() -> None:
    made = [copy(n, START + timedelta(hours=8 * n)) for n in range(1, 3 * 365)]
    plan = plan_pruning(made, DEFAULT)
    rules_of = [rule for why in plan.keep.values() for rule in why]
    assert {rule: rules_of.count(rule) for rule in set(rules_of)} == {"last": 10, "daily": 7, "weekly": 4, "monthly": 6}
    assert len(plan.keep) < 27
    newest_of_the_day = {copy.taken[:10]: copy.name for copy in made}
    assert {name for name, why in plan.keep.items() if "daily" in why} == set(list(newest_of_the_day.values())[-7:])


def test_days_without_a_backup_are_not_counted() -> None:
    made = [copy(n, START + timedelta(days=30 * n)) for n in range(1, 10)]
    plan = plan_pruning(made, Retention(last=1, daily=3, weekly=0, monthly=0))
    assert set(plan.keep) == names(7, 8, 9)


def test_numbers_decide_what_is_new_when_the_clock_went_back() -> None:
    made = [copy(1, START + timedelta(days=900)), copy(2, START), copy(3, START - timedelta(days=2000))]
    assert set(plan_pruning(made, Retention(last=1, daily=0, weekly=0, monthly=0)).keep) == names(3)


def test_names_decide_nothing() -> None:
    made = [Kept("state-zzz.json", 1, at(START)), Kept("state-aaa.json", 2, at(START))]
    assert plan_pruning(made, Retention(1, 0, 0, 0)).remove == ("state-zzz.json",)


def test_another_history_is_thinned_out_by_itself() -> None:
    """After a reset numbers may begin again: the backups of before are not taken for the newer ones."""
    old = [copy(n, lineage="old") for n in range(100, 105)]
    new = [copy(n, lineage="new") for n in range(1, 4)]
    plan = plan_pruning([*old, *new], Retention(2, 0, 0, 0))
    assert set(plan.keep) == names(103, 104, 2, 3)


@pytest.mark.parametrize("taken", ["", "yesterday", "9999-99-99", "0001-01-01T00:00:00+23:59"])
def test_a_time_that_is_none_is_kept_by_the_last_ones_only(taken: str) -> None:
    odd = Kept("odd", 5, taken)
    assert plan_pruning([odd], Retention(1, 7, 4, 6)).keep == {"odd": ("last",)}
    assert plan_pruning([odd, copy(6)], Retention(1, 7, 4, 6)).remove == ("odd",)


@settings(max_examples=60)
@given(histories(), rules)
def test_pinned_ones_stay_and_each_valid_one_is_decided_once(found: list[Kept], by: Retention) -> None:
    plan = plan_pruning(found, by)
    valid = {copy.name for copy in found if copy.valid}
    assert {copy.name for copy in found if copy.pinned and copy.valid} <= set(plan.keep)
    assert sorted([*plan.keep, *plan.remove]) == sorted(valid)


@settings(max_examples=60)
@given(histories(), rules)
def test_the_newest_valid_one_is_never_removed(found: list[Kept], by: Retention) -> None:
    plan = plan_pruning(found, by)
    newest = max((copy for copy in found if copy.valid), key=lambda copy: copy.seq, default=None)
    assert newest is None or newest.name in plan.keep


@settings(max_examples=60)
@given(histories(), rules)
def test_pruning_twice_removes_nothing_more(found: list[Kept], by: Retention) -> None:
    plan = plan_pruning(found, by)
    left = [copy for copy in found if copy.name not in plan.remove]
    assert plan_pruning(left, by).remove == ()


@settings(max_examples=60)
@given(histories(), rules)
def test_no_rule_keeps_more_than_it_says(found: list[Kept], by: Retention) -> None:
    plan = plan_pruning(found, by)
    for rule, most in (("last", by.last), ("daily", by.daily), ("weekly", by.weekly), ("monthly", by.monthly)):
        assert sum(rule in why for why in plan.keep.values()) <= most


@settings(max_examples=60)
@given(histories(), rules)
def test_one_backup_more_never_brings_a_rule_to_keep_fewer(found: list[Kept], by: Retention) -> None:
    before = plan_pruning(found, by).keep
    after = plan_pruning([*found, copy(1000, START)], by).keep
    for rule in ("last", "daily", "weekly", "monthly"):
        assert sum(rule in why for why in after.values()) >= sum(rule in why for why in before.values())
