"""Two and ten deploys of one stage at once, for minutes; a holder that is stopped, unlocked and goes on.

ALCHEMY_SECONDS says how long each goes on.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.opening import epoch_numbers
from tests.crash.runs import PROD, Bench, Ended, Running, chance, eventually
from tests.crash.test_kill import nothing_twice
from tests.torture.conftest import Tally

SECONDS = float(os.environ.get("ALCHEMY_SECONDS", "60"))
ROUNDS = range(max(1, int(SECONDS / 6)))


@pytest.mark.parametrize("locking", ["yes", "no"])
@pytest.mark.parametrize("count", [2, 10])
def test_deploys_at_once_for_a_while(bench: Bench, tally: Tally, count: int, locking: str) -> None:
    """With locks all of them go well, one after the other; without, those that are overtaken stop and say so."""
    dice = chance(count)
    bench.n = 10
    until = time.monotonic() + SECONDS
    codes: set[int] = set()
    running: list[Running] = []
    while time.monotonic() < until or running:
        while len(running) < count and time.monotonic() < until:
            running.append(bench.start(size=str(dice.randint(1, 9)), locking=locking, ALCHEMY_LOCK_TIMEOUT="300000"))
        for each in [each for each in running if not each.alive]:
            running.remove(each)
            ended = each.wait()
            assert "Traceback" not in ended.err, ended.err
            assert ended.code in ((0, -9) if locking == "yes" else (0, 3, -9)), ended.err
            codes.add(ended.code)
            tally(f"deploys among {count} at once, {'with' if locking == 'yes' else 'without'} locks", 1)
        if running and dice.random() < 0.02:
            dice.choice(running).send(signal.SIGKILL)
        time.sleep(0.02)
    bench.cloud.settle()
    assert 0 in codes
    bench.deploy(size="1")
    nothing_twice(bench.cloud, bench.n)
    assert {item["size"] for item in bench.cloud.items.values()} == {1}
    numbers = epoch_numbers(Files(bench.root), Layout(bench.root), PROD)
    assert numbers == list(range(1, len(numbers) + 1))
    bench.destroy()


def known(bench: Bench, ended: Ended) -> set[str]:
    """Ids that the state holds, and those in the spill that the message names."""
    ids = {str(row.outputs["item_id"]) for row in bench.fold().resources.values() if row.outputs}
    named = re.search(r"alchemy scope recover (\S+?)`", ended.err)
    if named:
        ops = json.loads(Path(named[1]).read_text())["ops"]
        ids |= {op["row"]["outputs"]["item_id"] for op in ops if op.get("row", {}).get("type") == "resource"}
    return ids


@pytest.mark.parametrize("trial", ROUNDS)
def test_a_stopped_holder_is_unlocked_and_goes_on(bench: Bench, tally: Tally, trial: int) -> None:
    """It finds out at its next write, stops, says so, and what it knew is not lost."""
    dice = chance(trial)
    bench.n = 20
    first = bench.start(mode=dice.choice(["sequential", "parallel"]))
    bench.cloud.wait_for(dice.randint(1, 15), "POST", unless=lambda: not first.alive)
    time.sleep(dice.uniform(0, 0.03))
    first.send(signal.SIGSTOP)
    try:
        bench.cloud.settle()
        seen = json.loads(bench.alchemy("scope", "locks", "--json").out)
        token = next((each["token"] for each in seen["locks"] if each["path"] == str(PROD)), "")
        if not token:
            pytest.skip("it was done already")
        unlocked = bench.alchemy("scope", "unlock", str(PROD), "--force", "--yes", "--token", token)
        assert unlocked.code == 0, unlocked.err + unlocked.out
        bench.deploy(ALCHEMY_LOCK_TIMEOUT="0")
        counted = bench.fold().seq
    finally:
        first.send(signal.SIGCONT)
    ended = first.wait()
    bench.cloud.settle()
    assert ended.code == 3, f"exit {ended.code}\n{ended.err}"
    assert "Traceback" not in ended.err
    assert bench.fold().seq == counted, "the old holder wrote after all"
    assert set(bench.cloud.items) <= known(bench, ended), "an object that nobody knows of"
    tally("stopped holders that were unlocked", 1)
    tally("objects that one of them made after it was unlocked, in its spill", len(bench.cloud.items) - bench.n)
    if len(bench.cloud.items) == bench.n:
        bench.destroy()


@pytest.mark.parametrize("trial", ROUNDS)
def test_a_stopped_run_without_locks_is_overtaken_and_goes_on(bench: Bench, tally: Tally, trial: int) -> None:
    dice = chance(trial)
    bench.n = 20
    first = bench.start(mode="parallel", locking="no")
    bench.cloud.wait_for(dice.randint(1, 15), "POST", unless=lambda: not first.alive)
    first.send(signal.SIGSTOP)
    try:
        bench.cloud.settle()
        released = bench.fold().released
        bench.deploy(locking="no")
    finally:
        first.send(signal.SIGCONT)
    ended = first.wait()
    bench.cloud.settle()
    assert ended.code == (0 if released else 3), f"exit {ended.code}\n{ended.err}"
    assert "Traceback" not in ended.err
    assert set(bench.cloud.items) <= known(bench, ended), "an object that nobody knows of"
    eventually(lambda: bench.fold().released, "the later run stands")
    tally("stopped runs that were overtaken", 1)
