"""The measure that others were held to: kill -9 and Ctrl-C at random moments, ALCHEMY_TRIALS of them.

The cloud gives every POST a new id. Each life of a stage has five accidents, one in each of create, update, replace,
remove and destroy; after each the same command runs to its end.
"""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from tests.crash.runs import Bench, Ended, Running, chance
from tests.crash.server import Cloud
from tests.crash.test_kill import nothing_twice
from tests.torture.conftest import Tally

ACCIDENTS = 5
LIVES = range(-(-int(os.environ.get("ALCHEMY_TRIALS", "300")) // ACCIDENTS))
N = 20


def interrupted(running: Running, dice: random.Random, cloud: Cloud, since: int, most: int) -> int:
    """At a random request and some milliseconds more; one in six before there is any. The exit code."""
    how = dice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
    if dice.random() < 0.16:
        time.sleep(dice.uniform(0.05, 0.6))
    else:
        number = dice.randint(1, most)
        cloud.wait_for(number, since=since, unless=lambda: not running.alive)
        time.sleep(dice.uniform(0, 0.04))
    print(f"{how.name} after {cloud.count() - since} requests")
    running.send(how)
    if how is not signal.SIGKILL and dice.random() < 0.4:
        time.sleep(dice.uniform(0, 0.02))
        running.send(how)  # the second one does not wait for what is in flight
    ended = running.wait()
    cloud.settle()
    assert "Traceback" not in ended.err or ended.code < 0 or not_ours_yet(ended), ended.err
    return ended.code


def not_ours_yet(ended: Ended) -> bool:
    """Python itself was interrupted, before it ran a line of ours or after the last: it says so in its own way."""
    before = ended.err.startswith(("Could not import runpy module", "'import warnings' failed"))
    after = "Exception ignored in: <module 'threading' from" in ended.err and ended.err.count("Traceback") == 1
    return before or after


@pytest.mark.parametrize("life", LIVES)
def test_a_life_of_accidents_leaks_nothing_and_doubles_nothing(bench: Bench, tally: Tally, life: int) -> None:
    dice = chance(life)
    bench.n = N
    mode = dice.choice(["sequential", "parallel"])
    by_hand = dice.random() < 0.25  # `alchemy deploy` instead of `python program.py`
    steps: list[tuple[dict[str, str], int, int]] = [
        ({}, N, N),
        ({"size": "2"}, N, N),
        ({"size": "2", "region": "us"}, N, 2 * N),
        ({"size": "2", "region": "us", "drop": "1"}, N - N // 10, N // 10),
        ({"size": "2", "region": "us", "drop": "1", "phase": "destroy"}, 0, N),
    ]
    for settings, count, requests in steps:
        given = {"mode": mode, **settings}
        since = bench.cloud.count()
        running = bench.start_alchemy("deploy", **given) if by_hand and count else bench.start(**given)
        code = interrupted(running, dice, bench.cloud, since, requests)
        tally(f"accidents, {'killed' if code == -9 else 'interrupted' if code else 'that came too late'}", 1)
        bench.deploy(**given)
        nothing_twice(bench.cloud, count)
    assert bench.fold().resources == {}
