"""A server that misbehaves: lost answers, errors after the deed, throttling, refusals, a call that never returns."""

from __future__ import annotations

import pytest

from tests.crash.runs import Bench
from tests.crash.test_kill import nothing_twice


@pytest.mark.parametrize("fault", ["error", "drop"])
@pytest.mark.slow
def test_a_create_whose_answer_was_lost_is_looked_up_and_not_repeated(bench: Bench, fault: str) -> None:
    bench.n = 10
    bench.cloud.fail("POST", fault, times=4)
    bench.deploy()
    nothing_twice(bench.cloud, bench.n)
    assert bench.cloud.count("POST") == bench.n
    bench.destroy()


@pytest.mark.parametrize("fault", ["error", "drop"])
@pytest.mark.slow
def test_a_delete_whose_answer_was_lost_is_done(bench: Bench, fault: str) -> None:
    bench.n = 6
    bench.deploy()
    bench.cloud.fail("DELETE", fault, times=3)
    bench.destroy()
    assert bench.fold().resources == {}


@pytest.mark.slow
def test_a_server_that_stays_broken_fails_what_it_broke_and_the_next_deploy_mends_it(bench: Bench) -> None:
    bench.n = 5
    bench.cloud.fail("POST", "error", times=1)
    bench.cloud.fail("GET", "error", times=100)
    ended = bench.run()
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err
    assert ended.err.count("500") >= 1
    bench.cloud.faults.clear()
    bench.deploy()
    nothing_twice(bench.cloud, bench.n)
    assert bench.cloud.count("POST") == bench.n
    bench.destroy()


@pytest.mark.slow
def test_a_throttled_create_waits_as_long_as_it_was_asked_to(bench: Bench) -> None:
    bench.n = 1
    bench.cloud.fail("POST", "throttle", seconds=1)
    bench.deploy(retry_delay="0.01")
    first, second = (call.at for call in bench.cloud.calls if call.method == "POST")
    assert second - first >= 1.0
    nothing_twice(bench.cloud, 1)
    bench.destroy()


@pytest.mark.slow
def test_a_refused_delete_keeps_its_row_and_what_it_uses_and_the_rest_goes(bench: Bench) -> None:
    bench.n = 5
    bench.deploy()
    bench.cloud.fail("DELETE", "refuse", times=4)  # one delete with its three tries more
    ended = bench.run(phase="destroy", strategy="sequential")
    assert ended.code == 1, ended.err
    assert "403" in ended.err
    assert "Traceback" not in ended.err
    assert len(bench.cloud.items) == 1
    (row,) = bench.fold().resources.values()
    assert row.outputs["item_id"] in bench.cloud.items
    bench.destroy()


@pytest.mark.slow
def test_a_refused_delete_at_the_top_of_a_chain_leaves_the_chain_whole(bench: Bench) -> None:
    bench.n = 4
    bench.deploy(chain="1")
    bench.cloud.fail("DELETE", "refuse", times=4)
    ended = bench.run(phase="destroy", chain="1")
    assert ended.code == 1, ended.err
    assert len(bench.cloud.items) == 4, "something that is still used was deleted"
    bench.destroy(chain="1")


@pytest.mark.slow
def test_a_create_that_takes_longer_than_its_timeout_is_found_and_not_repeated(bench: Bench) -> None:
    bench.n = 2
    bench.cloud.fail("POST", "slow", seconds=5)
    assert bench.deploy(timeout="1").took < 4.5
    nothing_twice(bench.cloud, bench.n)
    assert bench.cloud.count("POST") == bench.n
    bench.destroy()
