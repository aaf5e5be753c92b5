"""Step-throughs by real processes on a real terminal, against a server that makes a new id for each POST.

Killed in the middle, two at once, over a state that moved, and Ctrl-C at the prompt.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from alchemy.model.values import Status
from tests.cli.driver import COMMAND, Terminal
from tests.crash.runs import CORE, Bench, chance

N = 6
DRAFT = "cleanup-crash-prod.json"
ALL = ("scope", "cleanup", "crash/prod", "--all")


@pytest.fixture
def shop(bench: Bench) -> Bench:
    """N items, each using the one before: the order of their deletion is one only."""
    bench.n = N
    bench.common = {"chain": "yes", "mode": "sequential"}
    bench.deploy()
    bench.alchemy("--version")  # writes the project file
    return bench


@contextmanager
def stepping(bench: Bench, *arguments: str) -> Iterator[Terminal]:
    settings = {"ITEMS_URL": bench.cloud.url, "ALCHEMY_STATE_DIR": str(bench.root), "PYTHONPATH": str(CORE)}
    shown = Terminal(*COMMAND, *arguments, cwd=bench.root.parent, **settings)
    try:
        yield shown
    finally:
        shown.close()


def decide_all(shown: Terminal) -> None:
    shown.wait_for("step 1 of ")
    shown.wait_for("help: ")
    shown.type("ad\n")
    shown.wait_for("Type prod to destroy crash/prod as decided: ")


def deleted_once(bench: Bench) -> None:
    """Nothing is left on the server or in the state, and nothing was created again."""
    assert bench.cloud.items == {}
    assert set(bench.cloud.created.values()) == {1}
    assert bench.fold().resources == {}


@pytest.mark.slow
def test_killed_in_the_middle_the_draft_goes_on_with_what_is_left(shop: Bench) -> None:
    cloud, at = shop.cloud, chance(0).randint(2, N - 1)
    cloud.fail("DELETE", "slow", times=N, seconds=0.1)
    with stepping(shop, *ALL, "--step") as shown:
        decide_all(shown)
        shown.type("prod\n")
        cloud.wait_for(at, "DELETE")
        shown.send(signal.SIGKILL)
        assert shown.end() == -signal.SIGKILL
    cloud.settle()
    cloud.faults.clear()
    left = shop.fold().resources
    assert 0 < len(left) < N
    assert any(row.status is Status.DELETING for row in left.values())
    with stepping(shop, *ALL, "--step") as shown:
        assert shown.end() == 2, "there is a draft already"
        assert f"--plan {DRAFT} goes on with them" in shown.text
    done = shop.alchemy("scope", "cleanup", "crash/prod", "--plan", DRAFT, "--yes")
    assert done.code == 0, done.err
    deleted_once(shop)


@pytest.mark.slow
def test_killed_in_the_middle_resume_ends_what_was_begun_and_nothing_more(shop: Bench) -> None:
    cloud = shop.cloud
    cloud.fail("DELETE", "drop", times=1)  # it happens, and nobody hears of it
    cloud.fail("DELETE", "slow", times=N, seconds=30.0)
    with stepping(shop, *ALL, "--step") as shown:
        decide_all(shown)
        shown.type("prod\n")
        cloud.wait_for(2, "DELETE")
        shown.send(signal.SIGKILL)
        shown.end()
    cloud.faults.clear()
    begun = [row.address for row in shop.fold().resources.values() if row.status is Status.DELETING]
    assert len(begun) == 1
    shown_only = shop.alchemy("scope", "resume", "crash/prod", "--dry-run", "--json")
    assert [step["address"] for step in json.loads(shown_only.out)["deletions"]] == begun
    done = shop.alchemy("scope", "resume", "crash/prod", "--yes", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["deleted"] == begun
    assert len(shop.fold().resources) == len(cloud.items)
    assert all(row.status is Status.READY for row in shop.fold().resources.values())
    assert shop.alchemy("scope", "cleanup", "crash/prod", "--plan", DRAFT, "--yes").code == 0
    deleted_once(shop)


@pytest.mark.slow
def test_of_two_at_once_the_second_is_refused_by_name_and_nothing_is_deleted_twice(shop: Bench) -> None:
    cloud = shop.cloud
    with stepping(shop, *ALL, "--step") as first, stepping(shop, *ALL, "--step", "--out", "other.json") as second:
        decide_all(first)
        decide_all(second)
        cloud.fail("DELETE", "slow", times=3, seconds=0.3)
        first.type("prod\n")
        cloud.wait_for(1, "DELETE")
        second.type("prod\n")
        assert first.end() == 0, first.text
        assert second.end() in (2, 5), second.text  # by then there is another plan, or no such scope
        assert "is no longer to go" in second.text or "is not in the state" in second.text
    assert cloud.count("DELETE") == N
    deleted_once(shop)


@pytest.mark.slow
def test_what_changed_since_the_draft_is_named_with_exit_5_and_nothing_is_touched(shop: Bench) -> None:
    saved = shop.alchemy(*ALL, "--dry-run", "--out", "draft.json")
    assert saved.code == 0, saved.err
    shop.deploy(n=str(N + 1))
    refused = shop.alchemy("scope", "cleanup", "crash/prod", "--plan", "draft.json", "--yes")
    assert refused.code == 5, refused.err
    assert f"crash/prod/i{N:03d} is to go too" in refused.err
    assert shop.cloud.count("DELETE") == 0
    assert shop.fold().last_release["outcome"] == "done"


@pytest.mark.slow
@pytest.mark.parametrize("where", ["a step", "the name"])
def test_ctrl_c_at_a_prompt_leaves_nothing_half_done(shop: Bench, where: str) -> None:
    before = {path: path.read_bytes() for path in shop.root.rglob("*") if path.is_file()}
    with stepping(shop, *ALL, "--step") as shown:
        shown.wait_for("help: ")
        shown.type("d\n")
        shown.wait_for("step 2 of ")
        if where == "the name":
            shown.type("ad\n")
            shown.wait_for("as decided: ")
        shown.type("\x03")
        assert shown.end() == 130, shown.text
        assert "Traceback" not in shown.text
    assert {path: path.read_bytes() for path in shop.root.rglob("*") if path.is_file()} == before
    assert (shop.root.parent / DRAFT).exists() is (where == "the name")
    assert len(shop.cloud.items) == N


@pytest.mark.slow
def test_ctrl_c_while_it_runs_finishes_the_step_and_leaves_with_130(shop: Bench) -> None:
    shop.cloud.fail("DELETE", "slow", times=N, seconds=0.3)
    with stepping(shop, *ALL, "--step") as shown:
        decide_all(shown)
        shown.type("prod\n")
        shop.cloud.wait_for(2, "DELETE")
        shown.type("\x03")
        assert shown.end() == 130, shown.text
    assert shop.fold().released
    assert {row.outputs["item_id"] for row in shop.fold().resources.values()} == set(shop.cloud.items)
    assert all(row.status is Status.READY for row in shop.fold().resources.values())
    assert shop.alchemy("scope", "cleanup", "crash/prod", "--plan", DRAFT, "--yes").code == 0
    deleted_once(shop)


@pytest.mark.slow
def test_a_run_stops_when_another_process_asks_and_says_who_asked(shop: Bench) -> None:
    shop.cloud.fail("DELETE", "slow", times=N, seconds=0.5)
    running = shop.start_alchemy(*ALL, "--yes")
    shop.cloud.wait_for(2, "DELETE")
    stop = shop.alchemy("scope", "stop", "crash/prod", "--run", "R-2", "--reason", "wrong branch", "--json")
    assert stop.code == 0, stop.err
    assert json.loads(stop.out)["outcome"] == "stopped"
    ended = running.wait()
    assert ended.code == 130, ended.err
    assert "asked to stop by " in ended.err
    assert ": wrong branch: finishing what is in flight" in ended.err
    fold = shop.fold()
    assert (fold.released, fold.last_release["outcome"]) == (True, "interrupted")
    assert {row.outputs["item_id"] for row in fold.resources.values()} == set(shop.cloud.items), "its step was finished"
    log = shop.alchemy("scope", "logs", "crash/prod", "--run", "R-2")
    assert "asked to stop by " in log.out
    assert not list(shop.root.rglob("*.stop"))
    assert shop.alchemy("scope", "validate").code == 0
    free = shop.alchemy("scope", "stop", "crash/prod")
    assert (free.code, free.out) == (0, "crash/prod is free: nobody is at work there\n")


@pytest.mark.slow
def test_a_program_that_is_run_with_python_stops_too(shop: Bench) -> None:
    shop.cloud.fail("PUT", "slow", times=N, seconds=0.4)
    running = shop.start(size="2")
    shop.cloud.wait_for(1, "PUT")
    wrong = shop.alchemy("scope", "stop", "crash/prod", "--run", "R-1")
    assert wrong.code == 5, wrong.err
    assert "is held by run R-2" in wrong.err
    asked = shop.alchemy("scope", "stop", "crash/prod", "--no-wait")
    assert asked.code == 0, asked.err
    ended = running.wait()
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    assert shop.fold().released
    shop.deploy(size="2")
    assert {item["size"] for item in shop.cloud.items.values()} == {2}
    assert len(shop.cloud.items) == N
