from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import portalocker
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alchemy.errors import LockHeld, UsageError
from alchemy.model.locks import Verdict
from alchemy.model.paths import ScopePath
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.holders import lock_views
from alchemy.store.layout import Layout
from alchemy.store.lockfiles import flock_pids, same_file
from alchemy.store.locks import Lease
from tests.store.lock_peer import (
    Peer,
    eventually,
    holder,
    locks_in,
    p,
    peer_in,
    record,
    refused,
    take,
)

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / ".alchemy"


@pytest.fixture
def peer(root: Path) -> Iterator[Peer]:
    with peer_in(root) as peer:
        yield peer


# --- who keeps whom out


def test_prod_and_dev_are_held_side_by_side_and_the_application_waits_for_both(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    dev = take(root, "my-app/dev")
    error = refused(root, "my-app/prod")
    assert error.message.startswith("Failed to acquire lock my-app/prod: it is held by ana@")
    dev.release()
    assert "my-app/prod below it is held by ana@" in refused(root, "my-app").message
    peer.ask("release")
    app = take(root, "my-app")
    for path in ("my-app/prod", "my-app/dev", "my-app"):
        assert peer.ask("acquire", path=path)["error"] == "LockHeld"
    app.release()
    peer.hold("my-app/dev")


def test_a_refusal_names_the_holder_the_blocking_path_and_what_to_do(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    error = refused(root, "my-app/prod/database", timeout=0.15)
    assert error.exit_code == 3
    assert re.fullmatch(
        r"Failed to acquire lock my-app/prod/database: my-app/prod above it is held by "
        rf"ana@\S+, pid {peer.pid}, since \d\d:\d\d, alchemy deploy \(waited 150 ms\)",
        error.message,
    )
    assert "alchemy scope locks" in error.hint
    assert "ALCHEMY_LOCK_TIMEOUT=60000" in error.hint


def test_a_refusal_counts_the_holders_below(root: Path, peer: Peer) -> None:
    peer.hold("my-app/dev")
    peer.hold("my-app/prod")
    assert re.search(r"my-app/dev below it is held by ana@.*, and 1 more$", refused(root, "my-app").message)


@linux_only
def test_a_holder_without_a_record_is_named_by_its_pid(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod", record=False)
    expected = f"it is held by a process that left no record (pid {peer.pid})"
    assert refused(root, "my-app/prod").message.endswith(expected)


def test_a_record_of_somebody_dead_is_not_taken_for_the_holder(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod", record=False)
    gone = holder("my-app/prod", pid=peer.pid, process_start="1")
    Files().replace(Layout(root).holder("my-app/prod"), record(gone))
    message = refused(root, "my-app/prod").message
    assert "left no record" in message
    assert "ana@" not in message


def test_what_a_hostile_record_says_is_shown_without_control_characters(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod", record=False)
    evil = holder(
        "my-app/prod", pid=peer.pid, process_start="", user="\x1b]0;x\x07", host="h\u202e", command="\x9b2J\n"
    )
    Files().replace(Layout(root).holder("my-app/prod"), record(evil))
    message = refused(root, "my-app/prod").message
    assert "␛]0;x" in message
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202e]", message)


def test_a_nested_path_takes_the_stage_that_owns_its_journal_and_shows_under_both_names(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod/database", owner="my-app/prod")
    views = lock_views(Layout(root), Files(), Clock())
    assert [(view.path, view.verdict, view.holder and view.holder.path) for view in views] == [
        ("my-app/prod", Verdict.LIVE, "my-app/prod"),
        ("my-app/prod/database", Verdict.LIVE, "my-app/prod/database"),
    ]
    refused(root, "my-app/prod/compute", owner="my-app/prod")
    refused(root, "my-app/prod")
    refused(root, "my-app/prod/database")
    take(root, "my-app/dev").release()
    peer.ask("release")
    assert lock_views(Layout(root), Files(), Clock()) == []
    take(root, "my-app/prod/compute", owner="my-app/prod").release()


def test_an_owner_that_is_not_above_is_refused(root: Path) -> None:
    with pytest.raises(UsageError, match="my-app/dev cannot own my-app/prod/database"):
        take(root, "my-app/prod/database", owner="my-app/dev")


def test_a_session_opens_what_lies_below_the_path_it_holds(root: Path, peer: Peer) -> None:
    app = take(root, "my-app")
    prod = take(root, "my-app/prod", held=("my-app",))
    database = take(root, "my-app/prod/database", owner="my-app/prod", held=("my-app", "my-app/prod"))
    assert database.exclusive == (p("my-app/prod/database"),)
    for path in ("my-app", "my-app/prod", "my-app/prod/database"):
        assert peer.ask("acquire", path=path)["error"] == "LockHeld"
    for lease in (database, prod, app):
        lease.release()
    peer.hold("my-app/prod")


def test_each_lease_keeps_its_own_share_of_what_is_above(root: Path, peer: Peer) -> None:
    """The first stage may be given back before the second, which was opened while the first was held."""
    dev = take(root, "my-app/dev")
    prod = take(root, "my-app/prod", held=("my-app/dev",))
    dev.release()
    assert peer.ask("acquire", path="my-app")["error"] == "LockHeld"
    prod.release()
    peer.hold("my-app")


def test_a_session_that_waits_below_what_it_holds_is_not_stopped_by_who_waits_for_it(root: Path, peer: Peer) -> None:
    prod = take(root, "my-app/prod")
    peer.send("acquire", path="my-app", timeout=20.0)
    assert eventually(lambda: peer.pid in flock_pids(Layout(root).gate("my-app")))
    assert "process that asked first" in refused(root, "my-app/dev").message
    dev = take(root, "my-app/dev", held=("my-app/prod",))  # passing the gate would wait for the peer, who waits for us
    dev.release()
    prod.release()
    assert peer.reply()["ok"]


def test_a_path_claimed_to_be_held_but_given_back_protects_nothing(root: Path, peer: Peer) -> None:
    app = take(root, "my-app")
    app.release()
    prod = take(root, "my-app/prod", held=("my-app",))
    assert peer.ask("acquire", path="my-app")["error"] == "LockHeld"
    prod.release()


@pytest.mark.parametrize("wanted", ["my-app/prod", "my-app"])
def test_opening_what_this_process_holds_or_something_above_fails_at_once(root: Path, wanted: str) -> None:
    prod = take(root, "my-app/prod")
    started = time.monotonic()
    with pytest.raises(UsageError, match="already holds my-app/prod"):
        take(root, wanted, timeout=30.0, held=("my-app/prod",))
    with pytest.raises(UsageError):
        locks_in(root).acquire_now(p(wanted))
    assert time.monotonic() - started < 1.0
    prod.release()
    take(root, wanted).release()


def test_two_state_directories_have_nothing_to_do_with_each_other(root: Path, tmp_path: Path) -> None:
    first = take(root, "my-app")
    take(tmp_path / "other", "my-app").release()
    (tmp_path / "same").symlink_to(root)
    with pytest.raises(UsageError):
        take(tmp_path / "same", "my-app")
    first.release()


def test_threads_exclude_each_other(root: Path) -> None:
    inside: list[str] = []
    seen: list[list[str]] = []
    refusals: list[str] = []

    def work(number: int) -> None:
        path = ("my-app", "my-app/prod", "my-app/prod/database")[number % 3]
        try:
            lease = take(root, path, timeout=10.0)
        except UsageError:  # another thread holds it or something below it
            refusals.append(path)
            return
        inside.append(path)
        seen.append(list(inside))
        time.sleep(0.03)
        inside.remove(path)
        lease.release()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) + len(refusals) == 6
    assert seen
    assert all(len(together) == 1 for together in seen)


def test_tasks_exclude_each_other_and_the_lower_one_waits(root: Path) -> None:
    async def both() -> list[str]:
        order = []
        app = await locks_in(root).acquire(p("my-app"), timeout=0)

        async def lower() -> None:
            lease = await locks_in(root).acquire(p("my-app/prod"), timeout=10.0)
            order.append("prod")
            lease.release()

        task = asyncio.create_task(lower())
        await asyncio.sleep(0.1)
        order.append("app")
        app.release()
        await task
        return order

    assert asyncio.run(both()) == ["app", "prod"]


def test_a_cancelled_wait_leaves_nothing_behind(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")

    async def give_up() -> None:
        async with asyncio.timeout(0.1):
            await locks_in(root).acquire(p("my-app"), timeout=30.0)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    assert peer.ask("acquire", path="my-app/dev") == {"ok": True}  # the gate of my-app is open again


PATHS = ("my-app", "my-app/prod", "my-app/dev", "my-app/prod/database", "my-app/prod/compute", "other")
OWNERS = {"my-app/prod/database": "my-app/prod", "my-app/prod/compute": "my-app/prod"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Peer]]:
    root = tmp_path_factory.mktemp("pair")
    with peer_in(root) as peer:
        yield root, peer


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(st.booleans(), st.sampled_from((*PATHS, "give back"))), max_size=14))
def test_two_processes_are_granted_what_the_rules_say(pair: tuple[Path, Peer], orders: list[tuple[bool, str]]) -> None:
    """Against the rules in four lines: equal or above one's own is a usage error, related to the other's is refused."""
    root, peer = pair
    locks = locks_in(root)
    leases: list[Lease] = []
    model: dict[bool, list[tuple[str, ...]]] = {True: [], False: []}

    def related(a: str, b: str) -> bool:
        return p(a).holds(p(b)) or p(b).holds(p(a))

    def ask(mine: bool, path: str, owner: str) -> object:
        if not mine:
            answer = peer.ask("now", path=path, owner=owner)
            return answer.get("error") or answer["ok"]
        try:
            held = [ScopePath.parse(other) for lease in model[True] for other in lease]
            lease = locks.acquire_now(p(path), owner=p(owner) if owner else None, held=held)
        except UsageError as error:
            return type(error).__name__
        if lease:
            leases.append(lease)
        return lease is not None

    def give_back(mine: bool) -> None:
        if model[mine]:
            model[mine].pop()
            if mine:
                leases.pop().release()
            else:
                peer.ask("release")

    try:
        for mine, order in orders:
            if order == "give back":
                give_back(mine)
                continue
            ours = [path for lease in model[mine] for path in lease]
            theirs = [path for lease in model[not mine] for path in lease]
            owner = OWNERS.get(order, "")
            targets = (owner, order) if owner and owner not in ours else (order,)
            if any(p(target).holds(p(other)) for target in targets for other in ours):
                expected: object = "UsageError"
            else:
                expected = not any(related(target, other) for target in targets for other in theirs)
            assert ask(mine, order, owner) == expected
            if expected is True:
                model[mine].append(targets)
    finally:
        for mine in (True, False):
            while model[mine]:
                give_back(mine)


def conflicts(log: Path) -> tuple[list[str], int, set[str]]:
    """Overlaps of related paths, the most holders at one time, and the paths that were held."""
    inside: dict[str, ScopePath] = {}
    overlaps, most, seen = [], 0, set()
    for line in log.read_text().splitlines():
        what, number, path = line.split(" ", 2)
        if what == "begin":
            mine = p(path)
            overlaps += [f"{path} with {other}" for other in inside.values() if mine.holds(other) or other.holds(mine)]
            inside[number] = mine
            seen.add(path)
            most = max(most, len(inside))
        elif what == "end":
            del inside[number]
        else:
            overlaps.append(line)
    return overlaps, most, seen


def test_twelve_processes_on_overlapping_paths_never_hold_related_ones_together(root: Path, peer: Peer) -> None:
    log = root.parent / "log"
    root.mkdir()
    paths = ["my-app", "my-app/prod", "my-app/dev", "my-app/prod/database", "my-app/prod/compute", "other/prod"]
    peer.send("hammer", log=str(log), seconds=2.0, paths=[paths] * 12, hold=0.01, pause=0.01)
    assert peer.reply(30.0)["ok"], log.read_text()[-1000:]
    overlaps, most, seen = conflicts(log)
    assert overlaps == []
    assert most >= 2, "unrelated paths were never held side by side"
    assert seen == set(paths)


def test_an_application_is_not_starved_by_stages_that_keep_deploying(root: Path, peer: Peer) -> None:
    log = root.parent / "log"
    root.mkdir()
    stages = [[f"my-app/s{number}"] for number in range(6)]
    peer.send("hammer", log=str(log), seconds=3.0, paths=stages, hold=0.1, pause=0.0)
    assert eventually(lambda: log.exists() and len(log.read_text().splitlines()) > 6)
    take(root, "my-app", timeout=20.0).release()
    before = len(log.read_text().splitlines())
    assert peer.reply(30.0)["ok"]
    after = len(log.read_text().splitlines())
    assert after > before, "the application had to wait until all stages were done"


# --- waiting


def test_a_waiter_is_told_once_who_holds_it_and_again_when_that_changes(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    told: list[str] = []

    async def wait(timeout: float) -> None:
        with contextlib.suppress(LockHeld):
            (await locks_in(root).acquire(p("my-app/prod"), timeout=timeout, waiting=told.append)).release()

    asyncio.run(wait(0.05))
    assert told == [], "a passing look at the lock is not worth a word"
    asyncio.run(wait(0.9))
    assert len(told) == 1
    assert re.fullmatch(rf"ana@\S+, pid {peer.pid}, since \d\d:\d\d, alchemy deploy", told[0])

    told.clear()
    users = iter(("ben", "eve"))

    def change_hands(text: str) -> None:
        told.append(text)
        user = next(users, "")
        if not user:
            raise TimeoutError
        Files().replace(Layout(root).holder("my-app/prod"), record(holder("my-app/prod", user=user)))

    with pytest.raises(TimeoutError):
        asyncio.run(locks_in(root).acquire(p("my-app/prod"), timeout=20.0, waiting=change_hands))
    assert [text.split("@")[0] for text in told] == ["ana", "ben", "eve"]


def test_a_waiter_for_the_application_is_told_which_stage_is_in_the_way(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    told: list[str] = []
    with pytest.raises(LockHeld):
        asyncio.run(locks_in(root).acquire(p("my-app"), timeout=0.3, waiting=told.append))
    assert [text.partition("alchemy deploy")[2] for text in told] == [", on my-app/prod"]


def test_waiting_costs_next_to_nothing(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    refused(root, "my-app/prod")  # imports
    before, started = time.process_time(), time.monotonic()
    refused(root, "my-app/prod", timeout=1.0)
    used, waited = time.process_time() - before, time.monotonic() - started
    assert waited >= 1.0
    assert used < 0.05 * waited


@pytest.mark.parametrize("now", [False, True])
def test_a_passing_look_does_not_fail_a_single_try(root: Path, monkeypatch: pytest.MonkeyPatch, now: bool) -> None:
    """`scope locks` holds the shared side for an instant; here the instant lasts until the next try, twice."""
    real = portalocker.lock
    take(root, "my-app/prod").release()
    looks: list[int] = []

    def lock(descriptor: int, flags: portalocker.LockFlags) -> None:
        if flags & portalocker.LockFlags.EXCLUSIVE and same_file(descriptor, Layout(root).lock("my-app/prod")):
            for look in looks:
                fcntl.flock(look, fcntl.LOCK_UN)
            if len(looks) < 2:
                looks.append(os.open(Layout(root).lock("my-app/prod"), os.O_RDONLY))
                fcntl.flock(looks[-1], fcntl.LOCK_SH)
        real(descriptor, flags)

    monkeypatch.setattr(portalocker, "lock", lock)
    lease = locks_in(root).acquire_now(p("my-app/prod")) if now else take(root, "my-app/prod")
    assert lease
    assert len(looks) == 2
    lease.release()
    for look in looks:
        os.close(look)
