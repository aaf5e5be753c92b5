"""kill -9 at random moments: after the same command again nothing is lost, nothing is made twice, nothing is left.

The moment is the arrival of a random request plus up to 25 ms, so that it does not depend on how busy the machine
is. More trials: ALCHEMY_TRIALS=100; the seed is printed, ALCHEMY_SEED repeats it.
"""

from __future__ import annotations

import random
import time

import pytest

from tests.crash.runs import Bench, Ended, Running, chance, trials
from tests.crash.server import Cloud

MODES = ["sequential", "parallel"]


def kill_at_random(running: Running, cloud: Cloud, dice: random.Random, most: int, *methods: str, since: int) -> Ended:
    """After a random one of `most` requests, and some milliseconds more."""
    number = dice.randint(1, most)
    offset = dice.uniform(0.0, 0.025)
    print(f"killed {offset * 1000:.1f} ms after request {number} of {most} {methods}")
    cloud.wait_for(number, *methods, since=since, unless=lambda: not running.alive)
    time.sleep(offset)
    ended = running.kill()
    cloud.settle()
    return ended


def nothing_twice(cloud: Cloud, n: int) -> None:
    twice = {name: times for name, times in cloud.created.items() if times > 1}
    assert not twice, f"created twice: {twice}"
    assert len(cloud.items) == n, f"{len(cloud.items)} on the server, {n} declared"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("trial", trials(4))
@pytest.mark.slow
def test_killed_in_a_deploy(bench: Bench, mode: str, trial: int) -> None:
    running = bench.start(mode=mode)
    killed = kill_at_random(running, bench.cloud, chance(trial), bench.n, "POST", since=0)
    assert killed.code in (-9, 0)
    bench.deploy(mode=mode)
    nothing_twice(bench.cloud, bench.n)
    bench.destroy()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("trial", trials(1))
@pytest.mark.slow
def test_killed_again_and_again(bench: Bench, mode: str, trial: int) -> None:
    """Each resumption is killed too."""
    dice = chance(trial)
    for _ in range(4):
        since = bench.cloud.count()
        running = bench.start(mode=mode)
        kill_at_random(running, bench.cloud, dice, 8, since=since)
    bench.deploy(mode=mode)
    nothing_twice(bench.cloud, bench.n)
    bench.destroy()


@pytest.mark.parametrize("strategy", ["sequential", "batched", "parallel"])
@pytest.mark.parametrize("trial", trials(1))
@pytest.mark.slow
def test_killed_in_a_destroy(bench: Bench, strategy: str, trial: int) -> None:
    bench.n = 30
    bench.deploy()
    since = bench.cloud.count()
    running = bench.start(phase="destroy", strategy=strategy)
    kill_at_random(running, bench.cloud, chance(trial), bench.n, "DELETE", since=since)
    bench.destroy(strategy=strategy)
    assert bench.fold().resources == {}


@pytest.mark.parametrize("trial", trials(2))
@pytest.mark.slow
def test_killed_in_a_collection(bench: Bench, trial: int) -> None:
    bench.n = 40
    bench.deploy()
    since = bench.cloud.count()
    running = bench.start(drop="1", strategy="sequential")
    kill_at_random(running, bench.cloud, chance(trial), 4, "DELETE", since=since)
    bench.deploy(drop="1")
    nothing_twice(bench.cloud, 36)
    bench.destroy()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("trial", trials(1))
@pytest.mark.slow
def test_killed_in_an_update(bench: Bench, mode: str, trial: int) -> None:
    bench.n = 30
    bench.deploy()
    since = bench.cloud.count()
    running = bench.start(mode=mode, size="2")
    kill_at_random(running, bench.cloud, chance(trial), bench.n, "PUT", since=since)
    bench.deploy(mode=mode, size="2")
    nothing_twice(bench.cloud, bench.n)
    assert {item["size"] for item in bench.cloud.items.values()} == {2}
    bench.destroy()


@pytest.mark.parametrize("trial", trials(2))
@pytest.mark.slow
def test_killed_in_an_update_that_is_then_taken_back(bench: Bench, trial: int) -> None:
    """The next run wants what the state says already, the cloud has half of the other."""
    bench.n = 30
    bench.deploy()
    since = bench.cloud.count()
    running = bench.start(size="2")
    kill_at_random(running, bench.cloud, chance(trial), bench.n, "PUT", since=since)
    bench.deploy(size="1")
    nothing_twice(bench.cloud, bench.n)
    assert {item["size"] for item in bench.cloud.items.values()} == {1}
    bench.destroy()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("methods", ["POST", "DELETE"])
@pytest.mark.parametrize("trial", trials(1))
@pytest.mark.slow
def test_killed_in_a_replacement(bench: Bench, mode: str, methods: str, trial: int) -> None:
    """While the new ones are made, or while the old ones go."""
    bench.n = 20
    bench.deploy()
    since = bench.cloud.count()
    running = bench.start(mode=mode, region="us")
    kill_at_random(running, bench.cloud, chance(trial), bench.n, methods, since=since)
    bench.deploy(mode=mode, region="us")
    nothing_twice(bench.cloud, bench.n)
    assert {item["region"] for item in bench.cloud.items.values()} == {"us"}
    bench.destroy()


@pytest.mark.parametrize("trial", trials(2))
@pytest.mark.slow
def test_killed_in_a_deploy_and_then_destroyed_at_once(bench: Bench, trial: int) -> None:
    """Nobody deploys again first: destroy itself finds what was under way."""
    running = bench.start()
    kill_at_random(running, bench.cloud, chance(trial), bench.n, "POST", since=0)
    bench.destroy()
    assert max(bench.cloud.created.values()) == 1


@pytest.mark.parametrize("trial", trials(2))
@pytest.mark.slow
def test_killed_in_a_deploy_whose_wish_changes_before_the_next(bench: Bench, trial: int) -> None:
    """What was half made by the old wish is brought to the new one, in place or by a replacement."""
    bench.n = 30
    running = bench.start()
    kill_at_random(running, bench.cloud, chance(trial), bench.n, "POST", since=0)
    bench.deploy(size="2", region="us")
    nothing_twice(bench.cloud, bench.n)
    found = {(item["size"], item["region"]) for item in bench.cloud.items.values()}
    assert found == {(2, "us")}
    bench.destroy()


@pytest.mark.parametrize("trial", trials(2))
@pytest.mark.slow
def test_killed_in_a_tree_of_blocks(bench: Bench, trial: int) -> None:
    """With half of its blocks gone the next time, and with nothing left in the end: no row, no scope, no view."""
    dice = chance(trial)
    kill_at_random(bench.start(tree="6"), bench.cloud, dice, 60, "POST", since=0)
    kill_at_random(bench.start(tree="3"), bench.cloud, dice, 5, since=bench.cloud.count())
    bench.deploy(tree="3")
    nothing_twice(bench.cloud, 30)
    fold = bench.fold()
    assert sorted(fold.scopes) == ["crash/prod", *(f"crash/prod/g{n}{end}" for n in range(3) for end in ("", "/inner"))]
    bench.destroy()
    fold = bench.fold()
    assert (fold.resources, fold.scopes) == ({}, {})
    assert {path.name for path in (bench.root / "crash" / "prod").iterdir()} <= {"backups", "journal", "snapshots"}


@pytest.mark.slow
def test_killed_and_then_seen_to_by_the_command_line(bench: Bench) -> None:
    """Destroying from what is stored, too: the program is only imported for its kinds."""
    kill_at_random(bench.start(), bench.cloud, chance(0), bench.n, "POST", since=0)
    ended = bench.alchemy("deploy")
    assert ended.code == 0, ended.err
    nothing_twice(bench.cloud, bench.n)
    kill_at_random(bench.start(size="2"), bench.cloud, chance(1), 20, "PUT", since=bench.cloud.count())
    ended = bench.alchemy("destroy", "crash/prod", "--yes")
    assert ended.code == 0, ended.err
    assert bench.cloud.items == {}
