"""Every order in which a few take overlapping paths. `SCHEDULES=100000` also tries the larger casts."""

from __future__ import annotations

import os

import pytest

from alchemy.store.objects.locking import Acquisition
from tests.objects import mutants
from tests.objects.exhaustive import explore_all

LARGE = int(os.environ.get("SCHEDULES", "10000")) >= 100_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("paths", "crashes", "states"),
    [
        (("a", "a"), 1, 100),
        (("a", "a/p"), 1, 150),
        (("a", "a/p", "a/p/x"), 0, 4000),
    ],
)
def test_in_every_order_one_at_a_time_gets_in_and_everybody_does(
    paths: tuple[str, ...], crashes: int, states: int
) -> None:
    outcome = explore_all(paths, crashes=crashes)
    assert not outcome.overlaps
    assert not outcome.stuck
    assert outcome.states > states, "it has looked at less than it used to: it does not look where it should"


@pytest.mark.slow
@pytest.mark.skipif(not LARGE, reason="takes minutes: SCHEDULES=100000 runs it")
@pytest.mark.parametrize(
    "paths", [("a", "a/p", "a/d"), ("a", "a/p", "a/p/x"), ("a", "a/p", "a/p"), ("a", "a", "a/p/x")]
)
def test_in_every_order_with_one_who_dies_anywhere(paths: tuple[str, ...]) -> None:
    outcome = explore_all(paths, crashes=1)
    assert not outcome.overlaps
    assert not outcome.stuck


@pytest.mark.parametrize("mutant", [mutants.DoesNotLook, mutants.IgnoresMereClaims])
def test_who_does_not_look_properly_is_found(mutant: type[Acquisition]) -> None:
    assert explore_all(("a", "a/p"), crashes=0, maker=mutant).overlaps


def test_who_does_not_yield_is_found_waiting_for_ever() -> None:
    outcome = explore_all(("a", "a/p"), crashes=0, maker=mutants.DoesNotYield)
    assert not outcome.overlaps
    assert outcome.stuck > 10
