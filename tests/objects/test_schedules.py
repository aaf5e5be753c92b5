"""The proof of the remote journal and its locks: thousands of schedules, and mutants that must be found.

`SCHEDULES=200000 pytest tests/objects/test_schedules.py` looks further; `SEED=123` runs the one that failed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from alchemy.store.objects.epochs import Writer
from alchemy.store.objects.locking import Acquisition
from tests.objects import mutants
from tests.objects.claimants import explore_claims
from tests.objects.explorer import DROWSY, Network, Violation
from tests.objects.histories import explore

SCHEDULES = int(os.environ.get("SCHEDULES", "10000"))
SEED = os.environ.get("SEED")
PARTS = 10


def run_all(one: Callable[[int], Any], first: int, count: int) -> list[Any]:
    """Every schedule from `first`; the one that breaks an invariant is named."""
    results = []
    for seed in [int(SEED)] if SEED else range(first, first + count):
        try:
            results.append(one(seed))
        except Violation as violation:
            pytest.fail(f"seed {seed}: {violation} (run this schedule alone with SEED={seed})")
    return results


def found_within(schedules: int, one: Callable[[int], Any], invariant: str) -> bool:
    """A mutant breaks `invariant` in one of the first schedules."""
    for seed in range(schedules):
        try:
            one(seed)
        except Violation as violation:
            if str(violation).startswith(invariant):
                return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_no_schedule_breaks_the_journal(part: int) -> None:
    count = SCHEDULES // PARTS
    truths = run_all(explore, part * count, count)
    if not SEED:  # they were no idle ones
        assert sum(truth.fenced for truth in truths) > count // 2
        assert sum(len(truth.records) for truth in truths) > count * 10


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_no_schedule_lets_two_in_or_keeps_one_out(part: int) -> None:
    count = SCHEDULES // 10
    scenes = run_all(explore_claims, part * count, count)
    if not SEED:
        assert sum(len(scene.entered) for scene in scenes) > count * 3


@pytest.mark.parametrize(
    ("mutant", "invariant", "within"),
    [
        (mutants.TakesUnknownForSuccess, "I2", 50),
        (mutants.TakesTheNextNumber, "I3", 50),
        (mutants.TakesItsOwnForAStranger, "L2", 50),
        (mutants.CompactsBlindly, "L", 300),
    ],
)
def test_a_writer_with_one_thing_wrong_is_found(mutant: type[Writer], invariant: str, within: int) -> None:
    assert found_within(within, lambda seed: explore(seed, mutant), invariant)


@pytest.mark.parametrize(
    ("mutant", "within"),
    [(mutants.DeletesOpeners, 100), (mutants.BelievesItsOpener, 600), (mutants.DeletesDoubtfulOpeners, 800)],
)
def test_a_writer_that_sleepers_can_hurt_is_found(mutant: type[Writer], within: int) -> None:
    assert found_within(within, lambda seed: explore(seed, mutant, network=DROWSY), "I2")


def test_a_store_that_ignores_conditions_is_found() -> None:
    assert found_within(20, lambda seed: explore(seed, network=Network(overwrites=True)), "I1")


def test_an_effect_without_an_intent_is_found() -> None:
    assert found_within(20, lambda seed: explore(seed, intents=False), "I6")


@pytest.mark.parametrize(
    ("mutant", "complaint"),
    [(mutants.DoesNotLook, "while"), (mutants.IgnoresMereClaims, "while"), (mutants.DoesNotYield, "never gets")],
)
def test_an_acquisition_with_one_thing_wrong_is_found(mutant: type[Acquisition], complaint: str) -> None:
    complaints = []
    for seed in range(100):
        try:
            explore_claims(seed, mutant)
        except Violation as violation:
            complaints.append(str(violation))
            if complaint in complaints[-1]:
                return
    pytest.fail(f"not found in 100 schedules: {complaints}")
