"""Ctrl-C and SIGTERM: what is in flight finishes, the program's own `finally` runs, exit 130, nothing to mend after."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.crash.runs import PROD, Bench, chance, eventually, trials
from tests.crash.test_kill import MODES, nothing_twice

BOTH = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", BOTH)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("trial", trials(1))
@pytest.mark.slow
def test_a_signal_at_a_random_moment_of_a_deploy(
    bench: Bench, tmp_path: Path, number: signal.Signals, mode: str, trial: int
) -> None:
    dice = chance(trial)
    after = tmp_path / "finally"
    running = bench.start(mode=mode, ITEMS_FINALLY=str(after))
    bench.cloud.wait_for(dice.randint(1, bench.n), "POST")
    time.sleep(dice.uniform(0, 0.025))
    running.send(number)
    ended = running.wait()
    bench.cloud.settle()
    fold = bench.fold()
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    assert after.exists()
    assert fold.released
    assert fold.last_release["outcome"] in ("interrupted", "done")
    # nothing was cut off: every item on the server is known by its id
    known = {row.outputs["item_id"] for row in fold.resources.values() if row.outputs}
    assert known == set(bench.cloud.items)
    posts = bench.cloud.count("POST")
    bench.deploy(mode=mode)
    assert bench.cloud.count("POST") == bench.n, f"{posts} before the signal"
    nothing_twice(bench.cloud, bench.n)
    bench.destroy()


@pytest.mark.parametrize("number", BOTH)
@pytest.mark.slow
def test_a_signal_to_the_command_line(bench: Bench, tmp_path: Path, number: signal.Signals) -> None:
    after = tmp_path / "finally"
    running = bench.start_alchemy("deploy", mode="sequential", ITEMS_FINALLY=str(after))
    bench.cloud.wait_for(chance(0).randint(1, bench.n - 1), "POST")
    running.send(number)
    ended = running.wait()
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    assert after.exists()
    assert bench.fold().released
    assert bench.alchemy("deploy").code == 0
    nothing_twice(bench.cloud, bench.n)


@pytest.mark.parametrize("number", BOTH)
@pytest.mark.slow
def test_a_signal_to_a_program_without_a_context_manager(bench: Bench, number: signal.Signals) -> None:
    running = bench.start(mode="sequential", form="awaited")
    bench.cloud.wait_for(chance(0).randint(1, bench.n - 1), "POST")
    running.send(number)
    ended = running.wait()
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    assert bench.fold().released
    bench.deploy(form="awaited")
    nothing_twice(bench.cloud, bench.n)
    bench.destroy()


@pytest.mark.slow
def test_a_signal_in_a_tree_of_blocks(bench: Bench) -> None:
    """Also between two blocks, where the next one is about to open."""
    dice = chance(0)
    for _ in range(3):
        since = bench.cloud.count()
        running = bench.start(tree="4")
        bench.cloud.wait_for(dice.randint(1, 8), "POST", since=since)
        time.sleep(dice.uniform(0, 0.03))
        running.send(dice.choice(BOTH))
        ended = running.wait()
        assert ended.code == 130, ended.err
        assert "Traceback" not in ended.err
        bench.cloud.settle()
        known = {row.outputs["item_id"] for row in bench.fold().resources.values() if row.outputs}
        assert known == set(bench.cloud.items), "an interrupted block was cleaned up, or a call was cut off"
    bench.deploy(tree="4")
    nothing_twice(bench.cloud, 40)
    bench.destroy()


@pytest.mark.parametrize("trial", trials(2))
@pytest.mark.slow
def test_a_signal_in_a_destroy(bench: Bench, trial: int) -> None:
    bench.n = 30
    bench.deploy()
    dice = chance(trial)
    running = bench.start(phase="destroy", strategy="sequential")
    bench.cloud.wait_for(dice.randint(1, bench.n - 1), "DELETE")
    running.send(dice.choice(BOTH))
    ended = running.wait()
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    left = {row.outputs["item_id"] for row in bench.fold().resources.values()}
    assert left == set(bench.cloud.items)
    bench.destroy()


@pytest.mark.slow
def test_a_second_signal_leaves_at_once_and_loses_nothing(bench: Bench) -> None:
    """A call hangs for five seconds; nobody who presses Ctrl-C twice waits for it."""
    bench.n = 5
    bench.cloud.fail("POST", "slow", seconds=5)
    running = bench.start()
    bench.cloud.wait_for(bench.n, "POST")
    time.sleep(0.1)
    running.send(signal.SIGINT)
    time.sleep(0.3)
    assert running.alive
    asked = time.monotonic()
    running.send(signal.SIGINT)
    ended = running.wait()
    assert ended.code == 130
    assert time.monotonic() - asked < 1.0
    assert "Traceback" not in ended.err
    assert "left at once: the next run looks up what was under way\n" in ended.err
    bench.deploy()
    nothing_twice(bench.cloud, bench.n)
    bench.destroy()


@pytest.mark.slow
def test_a_call_that_never_answers_is_left_after_six_seconds(bench: Bench) -> None:
    bench.n = 3
    bench.cloud.fail("POST", "slow", seconds=9)
    running = bench.start()
    bench.cloud.wait_for(bench.n, "POST")
    asked = time.monotonic()
    running.send(signal.SIGTERM)
    ended = running.wait()
    assert ended.code == 130, ended.err
    assert 5.0 < time.monotonic() - asked < 9.0
    assert "Traceback" not in ended.err
    assert bench.fold().released
    bench.deploy()
    nothing_twice(bench.cloud, bench.n)
    bench.destroy()


@pytest.mark.parametrize("number", BOTH)
@pytest.mark.slow
def test_a_signal_while_waiting_for_the_lock(bench: Bench, number: signal.Signals) -> None:
    """Nothing is open yet, and nothing stays behind."""
    bench.n = 3
    bench.cloud.fail("POST", "slow", seconds=3)
    first = bench.start()
    bench.cloud.wait_for(1, "POST")
    second = bench.start()
    eventually(lambda: "waiting for the lock" in second.said, "the second one waits")
    second.send(number)
    ended = second.wait()
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    assert first.wait().code == 0
    assert bench.fold().epoch == 1
    assert str(PROD) in bench.fold().scopes


@pytest.mark.slow
def test_a_signal_while_a_retry_pauses(bench: Bench) -> None:
    bench.n = 2
    bench.cloud.fail("POST", "throttle", times=50, seconds=30)
    running = bench.start()
    bench.cloud.wait_for(2, "POST")
    time.sleep(0.3)
    asked = time.monotonic()
    running.send(signal.SIGINT)
    ended = running.wait()
    assert ended.code == 130, ended.err
    assert time.monotonic() - asked < 2.0
    assert "Traceback" not in ended.err
    bench.cloud.faults.clear()
    bench.deploy()
    bench.destroy()
