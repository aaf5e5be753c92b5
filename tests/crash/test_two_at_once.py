"""Two and more deploys of one program at the same time: one goes, the others wait and then have nothing to do."""

from __future__ import annotations

import signal
import time

import pytest

from alchemy.model.locks import LockView, Verdict
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.holders import lock_view
from alchemy.store.layout import Layout
from tests.crash.runs import PROD, Bench, eventually
from tests.crash.test_kill import nothing_twice


def seen(bench: Bench) -> LockView:
    return lock_view(Layout(bench.root), Files(), PROD, clock=Clock())


@pytest.mark.slow
def test_a_second_deploy_waits_for_the_first_and_then_changes_nothing(bench: Bench) -> None:
    bench.cloud.fail("POST", "slow", seconds=2)
    first = bench.start()
    bench.cloud.wait_for(10, "POST")
    second = bench.start()
    eventually(lambda: "waiting for the lock" in second.said, "the second says that it waits")
    assert first.alive
    assert f"pid {first.process.pid}" in second.said
    one, two = first.wait(), second.wait()
    assert (one.code, two.code) == (0, 0), one.err + two.err
    nothing_twice(bench.cloud, bench.n)
    assert bench.cloud.count() == bench.n, "the second asked the server for something"
    assert bench.fold().last_release["counts"] == {"keep": bench.n}
    bench.destroy()


@pytest.mark.slow
def test_five_deploys_at_once(bench: Bench) -> None:
    started = [bench.start() for _ in range(5)]
    ended = [each.wait() for each in started]
    assert [each.code for each in ended] == [0] * 5, "\n".join(each.err for each in ended)
    nothing_twice(bench.cloud, bench.n)
    assert bench.fold().epoch == 5
    bench.destroy()


@pytest.mark.slow
def test_a_deploy_and_a_destroy_at_once_come_one_after_the_other(bench: Bench) -> None:
    bench.n = 20
    started = [bench.start(), bench.start(phase="destroy")]
    assert [each.wait().code for each in started] == [0, 0]
    assert len(bench.cloud.items) in (0, bench.n)
    assert {row.outputs["item_id"] for row in bench.fold().resources.values()} == set(bench.cloud.items)
    bench.destroy()


@pytest.mark.slow
def test_different_stages_run_side_by_side(bench: Bench) -> None:
    bench.n = 5
    bench.cloud.fail("POST", "slow", seconds=4)
    prod = bench.start()
    bench.cloud.wait_for(5, "POST")
    assert bench.run(stage="dev").code == 0
    assert prod.alive, "dev waited for prod"
    assert prod.wait().code == 0
    assert len(bench.cloud.items) == 10
    bench.deploy(phase="destroy")
    assert bench.cloud.names == [name for name in bench.cloud.names if "-dev-" in name]
    bench.destroy(stage="dev")


@pytest.mark.slow
def test_a_stopped_deploy_is_alive_to_everybody_and_can_go_on(bench: Bench) -> None:
    bench.n = 20
    first = bench.start(mode="sequential")
    bench.cloud.wait_for(3, "POST")
    first.send(signal.SIGSTOP)
    try:
        eventually(lambda: any("stopped" in said for said in seen(bench).evidence), "it is seen to be stopped")
        assert seen(bench).verdict is Verdict.LIVE
        asked = time.monotonic()
        second = bench.run(ALCHEMY_LOCK_TIMEOUT="700")
        assert second.code == 3
        assert 0.7 <= time.monotonic() - asked < 20
        assert "Failed to acquire lock crash/prod" in second.err
        assert f"pid {first.process.pid}" in second.err
        assert "Traceback" not in second.err
    finally:
        first.send(signal.SIGCONT)
    ended = first.wait()
    assert ended.code == 0, ended.err
    assert seen(bench).verdict is Verdict.FREE
    nothing_twice(bench.cloud, bench.n)
    bench.destroy()


@pytest.mark.slow
def test_a_killed_deploy_is_stale_and_in_nobodys_way(bench: Bench) -> None:
    bench.n = 20
    first = bench.start(mode="sequential")
    bench.cloud.wait_for(3, "POST")
    first.kill()
    assert seen(bench).verdict is Verdict.STALE
    ended = bench.deploy(ALCHEMY_LOCK_TIMEOUT="0")
    assert "waiting" not in ended.err
    nothing_twice(bench.cloud, bench.n)
    bench.destroy()
