"""A deploy that hangs, is unlocked by force, and wakes up: nothing it writes counts, nothing is made twice, and what
it learned meanwhile is in a file that can be pushed."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from alchemy.model.locks import LockView, Verdict
from alchemy.model.values import Status
from alchemy.operations.verdicts import explain
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from tests.crash.runs import PROD, Bench, Running, chance, eventually, trials
from tests.crash.test_kill import nothing_twice

AT_ONCE = 10  # calls: the default of max_concurrency


def lock_of(bench: Bench) -> LockView:
    return explain(LocalStore(Layout(bench.root)), PROD)


def stopped_in_a_call(bench: Bench, **settings: str) -> Running:
    """A deploy that was stopped while its server worked on a request."""
    bench.cloud.fail("POST", "slow", seconds=0.4)
    running = bench.start(**settings)
    bench.cloud.wait_for(1, "POST")
    running.send(signal.SIGSTOP)
    bench.cloud.settle()
    return running


def unlock(bench: Bench, *arguments: str) -> None:
    ended = bench.alchemy("scope", "unlock", str(PROD), "--token", lock_of(bench).token, *arguments)
    assert ended.code == 0, ended.err
    assert "crash/prod is free" in ended.out
    assert "next: `alchemy deploy --stage prod`" in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("trial", trials(1))
def test_a_stopped_deploy_that_is_unlocked_and_wakes_after_another_one(bench: Bench, trial: int) -> None:
    """It is stopped while all that it announced is with the server. Between its last look at the fence and the first
    byte of a request nothing can stop it: there only a server that knows names or tokens tells the second one."""
    bench.n = 20 + chance(trial).randint(0, 5)
    bench.cloud.fail("POST", "slow", times=AT_ONCE, seconds=0.5)
    old = bench.start(mode="parallel")
    bench.cloud.wait_for(AT_ONCE, "POST")
    old.send(signal.SIGSTOP)
    bench.cloud.settle()
    view = lock_of(bench)
    assert view.verdict is Verdict.LIVE
    assert any("is stopped, and holds it all the same" in evidence for evidence in view.evidence)
    refused = bench.alchemy("scope", "unlock", str(PROD), "--token", view.token)
    assert refused.code == 5
    assert "which is alive" in refused.err
    unlock(bench, "--force", "--reason", "it hangs")
    bench.deploy(mode="parallel")
    counted = bench.fold()
    old.send(signal.SIGCONT)
    ended = old.wait()
    bench.cloud.settle()
    assert ended.code == 3, ended.err
    assert "Traceback" not in ended.err
    assert re.search(r"a later run took over \(R-2\): unlocked by \S+ at [\d :-]+: it hangs", ended.err)
    assert "lost the lock of crash/prod" in ended.err
    assert bench.fold().seq == counted.seq, "what it wrote counts"
    nothing_twice(bench.cloud, bench.n)
    recovered = recover_from(bench, ended.err)
    assert recovered, "calls were in flight, and their answers are kept"
    nothing_twice(bench.cloud, bench.n)
    bench.deploy(mode="parallel")
    bench.destroy()


def recover_from(bench: Bench, said: str) -> list[str]:
    """Pushes the spill that a message names; the ids in it, each of which the server knows."""
    file = re.search(r"`alchemy scope recover (\S+)` writes it", said)
    assert file, said
    rows = [op["row"] for op in json.loads(Path(file[1]).read_text())["ops"] if op["row"]["type"] == "resource"]
    ids = [row["outputs"]["item_id"] for row in rows]
    assert set(ids) <= bench.cloud.items.keys()
    ended = bench.alchemy("scope", "recover", file[1])
    assert ended.code == 0, ended.err
    assert not Path(file[1]).exists()
    return ids


@pytest.mark.slow
def test_what_a_fenced_run_learned_completes_the_rows_it_announced(bench: Bench) -> None:
    """Nobody else has deployed since: the spill has the only copy of the id."""
    bench.n = 3
    old = stopped_in_a_call(bench, mode="sequential")
    unlock(bench, "--force")
    old.send(signal.SIGCONT)
    ended = old.wait()
    assert ended.code == 3, ended.err
    (item,) = bench.fold().resources.values()
    assert (item.status, item.outputs) == (Status.CREATING, {})
    (file,) = Layout(bench.root).spill.glob("*.json")
    shown = bench.alchemy("scope", "recover", "--dry-run", str(file))
    assert "1 change would be written" in shown.out
    assert bench.fold().resources == {item.address: item}
    (known,) = recover_from(bench, ended.err)
    (item,) = bench.fold().resources.values()
    assert (item.status, item.outputs["item_id"], item.verify) == (Status.READY, known, True)
    bench.deploy(mode="sequential")
    nothing_twice(bench.cloud, bench.n)
    assert not any(row.verify for row in bench.fold().resources.values())
    bench.destroy()


@pytest.mark.slow
def test_a_deploy_that_waits_gets_the_lock_after_the_unlock(bench: Bench) -> None:
    bench.n = 3
    old = stopped_in_a_call(bench)
    waiter = bench.start()
    eventually(lambda: "waiting for the lock of crash/prod" in waiter.said, "the other one waits")
    unlock(bench, "--force")
    ended = waiter.wait()
    assert ended.code == 0, ended.err
    old.send(signal.SIGCONT)
    assert old.wait().code == 3
    logs = bench.alchemy("scope", "logs", str(PROD))
    assert re.search(r"waited +crash/prod  [\d.]+s for \S+@\S+, pid \d+", logs.out)
    nothing_twice(bench.cloud, bench.n)
    bench.destroy()


@pytest.mark.slow
def test_a_holder_that_is_asked_ends_what_it_is_at_and_gives_the_lock_back(bench: Bench) -> None:
    bench.n = 30
    running = bench.start(mode="sequential")
    bench.cloud.wait_for(2, "POST")
    ended = bench.alchemy("scope", "unlock", str(PROD), "--token", lock_of(bench).token, "--signal")
    assert ended.code == 0, ended.err
    assert "stopped by itself" in ended.out
    assert running.wait().code == 130
    assert bench.fold().last_release["outcome"] == "interrupted"
    bench.destroy()


@pytest.mark.slow
def test_an_application_waits_for_a_zombie_and_names_its_pid(bench: Bench) -> None:
    bench.n = 3
    old = stopped_in_a_call(bench)
    unlock(bench, "--force")
    ended = bench.alchemy("destroy", "crash", "--yes", "--lock-timeout", "300")
    assert ended.code == 3
    assert f"pid {old.process.pid}" in ended.err
    assert "opened by force" in ended.err
    old.kill()
    bench.destroy()
