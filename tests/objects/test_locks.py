"""Locks in a bucket as runs take them: threads, heartbeats, words, and what force and death do to them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alchemy.errors import Fenced, LockHeld, UsageError
from alchemy.model.fold import Fold
from alchemy.model.locks import LockView, Verdict
from alchemy.model.paths import ScopePath
from alchemy.model.records import Put
from alchemy.settings import Options
from alchemy.store.beginnings import Beginning
from alchemy.store.objects.claims import Claim, decode_claim, encode_claim, is_free
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.locks import birthplace, this_process
from alchemy.store.objects.port import Found
from alchemy.store.objects.requests import Get, Pause, Steps, Stopped, perform
from alchemy.store.objects.store import ObjectStore
from alchemy.store.store import Lease
from alchemy.testing import ManualClock
from alchemy.testing.objects import MemoryObjects
from tests.objects.gated import Gated
from tests.store.lock_peer import eventually, holder
from tests.store.places import PATH, InObjects, row, write

QUICK = Limits(heartbeat=0.05, lease=1.0, give_up=0.8, gap=0.0, pause=0.001, poll=0.01, longest_poll=0.02)
DROWSY = replace(QUICK, heartbeat=60.0)  # nothing is shown but what is asked for
PROD = ScopePath.parse("my-app/prod")
APP = ScopePath.parse("my-app")
NESTED = ScopePath.parse("my-app/prod/database")


class Team:
    """Stores of several processes at one place."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.objects = MemoryObjects(f"memory://{root.name}")
        self.count = 0

    def store(self, limits: Limits = QUICK, **given: Any) -> ObjectStore:
        self.count += 1
        gated = Gated(self.objects, f"{self.objects.place}#{self.count}")
        return ObjectStore(gated, self.root, f"{self.count:032x}", limits=limits, **given)

    def claim(self, path: ScopePath) -> Claim | None:
        found = self.objects.get(f"locks/{path}.lock")
        return None if found is None or is_free(found) else decode_claim(str(path), found.body)

    def leave(self, path: ScopePath, **changed: Any) -> None:
        """A claim as somebody elsewhere, or somebody dead, would have left it."""
        known: dict[str, Any] = {"holder": holder(str(path), 3, host="elsewhere", user="ben").to_json(), "beat": 4}
        known["session"] = "feed" * 8
        self.objects.create(f"locks/{path}.lock", encode_claim(Claim(str(path), "c9", **known | changed)))


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path)


def take(store: ObjectStore, path: ScopePath = PROD, timeout: float | None = 0.0, **given: Any) -> Lease:
    return asyncio.run(store.acquire(path, timeout=timeout, **given))


def test_one_at_a_time_and_the_refusal_names_the_holder(team: Team) -> None:
    lease = take(team.store())
    lease.publish(holder(str(PROD), 7, user="ana", host="laptop"))
    assert eventually(lambda: (claim := team.claim(PROD)) is not None and claim.epoch == 7 and claim.held)
    with pytest.raises(
        LockHeld, match=r"Failed to acquire lock my-app/prod: it is held by ana@laptop, pid \d+"
    ) as held:
        take(team.store(), timeout=0.05)
    assert "waited 50 ms" in held.value.message
    assert "alchemy scope locks" in held.value.hint
    lease.release()
    lease.release()
    take(team.store()).release()


def test_before_the_first_heartbeat_the_journal_says_who_a_holder_is(team: Team) -> None:
    place, store, onlooker = InObjects(team.root, team.objects), team.store(DROWSY), team.store()
    place.end(place.open(team.store()))
    lease = take(store, NESTED, owner=PROD)
    assert onlooker.lock_view(PROD).token == f"0-{store.session[:4]}"
    journal = place.open(store)
    lease.publish(holder(str(PROD), journal.epoch, session=store.session))
    write(journal, Put(row("a")))
    claim = team.claim(PROD)
    assert claim is not None
    assert claim.epoch == 0, "nothing was written for it"
    for path in (PROD, NESTED):
        view = onlooker.lock_view(path)
        assert view.holder is not None
        assert (view.token, view.holder.path) == (f"2-{store.session[:4]}", str(path))
    assert {view.token for view in onlooker.lock_views()} == {f"2-{store.session[:4]}"}
    place.end(journal)
    lease.release()


def test_the_journal_of_another_run_says_nothing_of_who_holds_the_lock_now(team: Team) -> None:
    place, store = InObjects(team.root, team.objects), team.store(DROWSY)
    place.die(place.open(team.store()))
    lease = take(store)
    assert team.store().lock_view(PROD).token == f"0-{store.session[:4]}"
    lease.release()


def test_a_lock_without_a_journal_is_published_at_once(team: Team) -> None:
    lease = take(team.store(DROWSY))
    lease.publish(holder(str(PROD), 0, user="ana"))
    assert eventually(lambda: (claim := team.claim(PROD)) is not None and claim.held)
    lease.release()


def test_a_lock_that_was_taken_keeps_its_process_out_of_nothing(team: Team) -> None:
    store = team.store()
    lease = take(store)
    team.store().free(PROD, store.session)
    assert eventually(lambda: not lease.mine)
    again = take(store)
    lease.release()
    assert again.mine
    assert team.claim(PROD) is not None, "giving back what was lost touches nobody"
    again.release()


def test_above_and_below_exclude_each_other_and_siblings_do_not(team: Team) -> None:
    lease = take(team.store(), PROD)
    other = take(team.store(), ScopePath.parse("my-app/dev"))
    with pytest.raises(LockHeld, match=r"my-app/dev below it is held by .*, and 1 more"):
        take(team.store(), APP)
    other.release()
    lease.release()
    whole = take(team.store(), APP)
    with pytest.raises(LockHeld, match="my-app above it is held by"):
        take(team.store(), PROD)
    assert team.claim(PROD) is None, "who is refused leaves nothing behind"
    whole.release()


def test_a_nested_path_takes_its_owner_too_and_shows_under_both_names(team: Team) -> None:
    lease = take(team.store(), NESTED, owner=PROD)
    assert lease.exclusive == (PROD, NESTED)
    assert team.claim(NESTED) is not None
    with pytest.raises(LockHeld):
        take(team.store(), PROD)
    lease.release()
    assert team.claim(NESTED) is None
    take(team.store(), PROD).release()


def test_below_what_a_session_holds_it_needs_nobodys_leave(team: Team) -> None:
    store = team.store()
    whole = take(store, APP)
    waiter = threading.Thread(target=lambda: take(team.store(), APP, timeout=10.0).release())
    waiter.start()
    part = take(store, PROD, held=[APP])
    with pytest.raises(UsageError, match="already holds my-app/prod"):
        take(store, PROD)
    with pytest.raises(UsageError, match="would wait for itself"):
        take(store, APP)
    part.release()
    whole.release()
    waiter.join(10)
    assert not waiter.is_alive()


def test_who_waits_is_told_once_by_whom_and_does_not_block_the_loop(team: Team) -> None:
    lease = take(team.store())
    told: list[str] = []
    ticks = 0

    async def wait() -> Lease:
        nonlocal ticks
        taken = asyncio.ensure_future(team.store().acquire(PROD, timeout=10.0, waiting=told.append))
        while not told:
            await asyncio.sleep(0.005)
            ticks += 1
        await asyncio.sleep(0.1)
        await asyncio.to_thread(lease.release)
        return await taken

    asyncio.run(wait()).release()
    assert ticks > 1
    assert len(told) == 1
    assert f"pid {os.getpid()}" in told[0]


def test_a_cancelled_wait_leaves_no_claim_and_no_thread(team: Team) -> None:
    below = take(team.store(), PROD)

    async def give_up() -> None:
        waiting = asyncio.ensure_future(team.store().acquire(APP, timeout=60.0))
        assert await asyncio.to_thread(eventually, lambda: team.claim(APP) is not None)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    began = time.monotonic()
    asyncio.run(give_up())
    assert time.monotonic() - began < 10.0
    assert team.claim(APP) is None
    below.release()


@pytest.mark.slow
def test_heartbeats_keep_a_lock_while_the_program_blocks(team: Team) -> None:
    lease = take(team.store())
    with pytest.raises(LockHeld):
        take(team.store(), timeout=2 * QUICK.lease)
    lease.release()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("heartbeat")]


def test_a_lock_that_nobody_renews_is_taken_over_after_a_lease(team: Team) -> None:
    team.leave(PROD)
    began = time.monotonic()
    with pytest.raises(LockHeld, match="ben@elsewhere"):
        take(team.store(), timeout=0.1)
    take(team.store(), timeout=10.0).release()
    assert time.monotonic() - began >= QUICK.lease


def test_a_lock_whose_process_is_seen_to_be_gone_needs_no_waiting(team: Team) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    dead = replace(this_process(PROD, "feed" * 8, team.store().clock), pid=child.pid, process_start="1")
    team.leave(PROD, holder=dead.to_json(), place=birthplace())
    view = team.store().lock_view(PROD)
    assert view.verdict is Verdict.STALE
    assert view.evidence[0] == f"pid {child.pid} is gone"
    take(team.store()).release()


def test_of_another_namespace_of_processes_nothing_is_seen(team: Team) -> None:
    dead = replace(this_process(PROD, "feed" * 8, team.store().clock), pid=2**30, process_start="1")
    team.leave(PROD, holder=dead.to_json(), place=f"{birthplace()}0")
    with pytest.raises(LockHeld):
        take(team.store())


def watch(store: ObjectStore, clock: ManualClock, seconds: float) -> LockView:
    """Somebody looks every ten seconds."""
    for _ in range(int(seconds // 10)):
        clock.move(10.0)
        store.lock_view(PROD)
    clock.move(seconds % 10)
    return store.lock_view(PROD)


def test_a_watcher_that_slept_saw_nothing_of_what_slept_with_it(team: Team) -> None:
    clock = ManualClock()
    team.leave(PROD)
    store = team.store(Limits(), clock=clock)
    assert watch(store, clock, 50.0).verdict is Verdict.UNKNOWN
    clock.move(8 * 3600.0)
    view = store.lock_view(PROD)
    assert view.verdict is Verdict.UNKNOWN
    assert "watched for 0 s" in view.evidence[0]
    assert watch(store, clock, 55.0).verdict is Verdict.UNKNOWN
    assert watch(store, clock, 6.0).verdict is Verdict.STALE


def test_who_waits_and_sleeps_breaks_nobody_who_was_alive_while_it_was_awake(team: Team) -> None:
    clock = ManualClock()
    team.leave(PROD)
    lid = threading.Event()

    class Dozing(Gated):
        """Sleeps before one look, for longer than a lease."""

        def get(self, key: str) -> Found | None:
            if lid.is_set() and key == f"locks/{PROD}.lock":
                lid.clear()
                clock.move(3600.0)
            return super().get(key)

    limits = replace(QUICK, lease=60.0, give_up=50.0, heartbeat=10.0)
    store = ObjectStore(Dozing(team.objects), team.root, "d" * 32, limits=limits, clock=clock)
    outcome: list[str] = []

    def wait() -> None:
        try:
            take(store, timeout=3700.0).release()
        except LockHeld:
            outcome.append("held")
        else:
            outcome.append("taken")

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert eventually(lambda: len(store.objects.reads) > 20)  # type: ignore[attr-defined]
    lid.set()
    assert eventually(lambda: not lid.is_set())
    time.sleep(0.1)
    assert team.claim(PROD) is not None, "nobody watched while the lid was closed"
    clock.move(200.0)
    waiter.join(10)
    assert outcome == ["held"]


def test_a_process_of_this_machine_that_runs_is_broken_by_force_only(team: Team) -> None:
    stopped = this_process(PROD, "feed" * 8, team.store().clock)
    team.leave(PROD, holder=stopped.to_json(), place=birthplace())
    with pytest.raises(LockHeld):
        take(team.store(replace(QUICK, lease=0.1, give_up=0.08)), timeout=0.4)
    team.store().free(PROD, "feed" * 8)
    take(team.store()).release()


def test_a_verdict_is_unknown_at_first_and_live_or_stale_after_watching(team: Team) -> None:
    clock = ManualClock()
    team.leave(PROD)
    store = team.store(Limits(), clock=clock)
    assert store.lock_view(PROD).verdict is Verdict.UNKNOWN
    assert store.lock_view("my-app/dev").verdict is Verdict.FREE
    view = watch(store, clock, 30.0)
    assert view.verdict is Verdict.UNKNOWN
    assert view.holder is not None
    assert (view.holder.user, view.holder.token) == ("ben", "3-" + view.holder.session[:4])
    assert "watched for 30 s" in view.evidence[0]
    found = team.objects.get("locks/my-app/prod.lock")
    assert found is not None
    claim = decode_claim(str(PROD), found.body)
    team.objects.replace("locks/my-app/prod.lock", encode_claim(replace(claim, beat=5)), found.etag)
    clock.move(5.0)
    assert store.lock_view(PROD).verdict is Verdict.LIVE
    watch(store, clock, 61.0)
    assert [(view.path, view.verdict) for view in store.lock_views()] == [("my-app/prod", Verdict.STALE)]


def test_a_journal_that_goes_on_is_life_too(team: Team) -> None:
    clock = ManualClock()
    team.leave(PROD)
    store = team.store(Limits(), clock=clock)
    store.lock_view(PROD)
    clock.move(61.0)
    team.objects.create("my-app/prod/journal/0000000000000001.json", b"")
    assert store.lock_view(PROD).verdict is Verdict.LIVE
    assert watch(store, clock, 61.0).verdict is Verdict.STALE


def test_a_sleeper_that_was_held_for_dead_fences_nobody_when_it_wakes(team: Team) -> None:
    place = InObjects(team.root, team.objects)
    sleeper, heir = team.store(DROWSY), team.store()
    place.end(place.open(team.store()))
    take(sleeper)
    team.store().free(PROD, sleeper.session)
    taken = take(heir)
    journal = place.open(heir)
    before = team.objects.bodies()
    with pytest.raises(Fenced, match="the lock of this run on my-app/prod is gone"):
        place.open(sleeper)
    assert {key: body for key, body in team.objects.bodies().items() if "/journal/" in key} == {
        key: body for key, body in before.items() if "/journal/" in key
    }
    write(journal, Put(row("a")))
    place.end(journal)
    taken.release()


def test_who_names_no_time_waits_longer_than_a_dead_run_elsewhere_is_in_the_way(team: Team) -> None:
    usual, quick = Limits(), replace(QUICK, lease=0.4)
    assert team.store(usual).lock_timeout == 90.0 > usual.lease + 2 * usual.longest_poll
    team.leave(PROD)
    waited = Options().lock_timeout
    take(team.store(quick), timeout=waited).release()
    living = take(team.store(quick))
    began = time.monotonic()
    with pytest.raises(LockHeld, match="waited 600 ms"):
        take(team.store(quick), timeout=waited)
    assert time.monotonic() - began < 5.0
    living.release()


def test_a_sleeper_opens_nothing_after_its_heir_has_gone(team: Team) -> None:
    place = InObjects(team.root, team.objects)
    sleeper, heir = team.store(replace(DROWSY, give_up=0.05)), team.store()
    take(sleeper)
    team.store().free(PROD, sleeper.session)
    taken = take(heir)
    place.end(place.open(heir))
    taken.release()
    time.sleep(0.06)
    with pytest.raises(Fenced):
        place.open(sleeper)
    assert team.store().epochs(PROD) == [1]


def test_whoever_was_beaten_to_the_number_asks_for_its_lock_before_the_next_one(team: Team) -> None:
    place = InObjects(team.root, team.objects)
    sleeper, heir = team.store(DROWSY), team.store()
    take(sleeper)

    def overtake(fold: Fold) -> None:
        """Between reading the journal and writing the opener; only the first time."""
        if not fold.epoch:
            team.store().free(PROD, sleeper.session)
            taken = take(heir)
            place.end(place.open(heir))
            taken.release()

    with pytest.raises(Fenced):
        place.open(sleeper, refuse=overtake)
    assert team.store().epochs(PROD) == [1]


def test_a_dead_run_without_a_lock_is_opened_over_by_whoever_still_holds_his(team: Team) -> None:
    place = InObjects(team.root, team.objects)
    place.die(place.open(team.store()))
    store = team.store(DROWSY)
    lease = take(store)
    place.end(place.open(store))
    claim = team.claim(PROD)
    assert claim is not None
    assert claim.beat == 1, "the store was asked"
    lease.release()


def test_after_a_holder_that_was_held_for_dead_nothing_more_is_asked(team: Team) -> None:
    place = InObjects(team.root, team.objects)
    dead = team.store(DROWSY)
    take(dead)
    place.die(place.open(dead))
    team.objects.delete("locks/my-app/prod.lock")
    team.leave(PROD, session=dead.session)
    store = team.store(DROWSY)
    lease = take(store, timeout=5.0)
    place.end(place.open(store))
    claim = team.claim(PROD)
    assert claim is not None
    assert claim.beat == 0
    lease.release()


def test_a_journal_begins_anew_only_under_a_lock_that_stands(team: Team) -> None:
    place = InObjects(team.root, team.objects)
    place.end(place.open(team.store()))
    sleeper = team.store(DROWSY)
    take(sleeper)
    beginning = Beginning(1, 10, 1, 1, "")
    team.store().free(PROD, sleeper.session)
    before = team.objects.bodies()
    with pytest.raises(Fenced):
        sleeper.begin_journal(PROD, holder=lambda epoch: holder(str(PROD), epoch), beginning=beginning, body={})
    assert team.objects.bodies().keys() == before.keys()


def test_a_run_that_is_held_for_dead_stops_at_its_next_heartbeat(team: Team) -> None:
    place = InObjects(team.root, team.objects)
    store = team.store()
    lease = take(store)
    journal = place.open(store)
    write(journal, Put(row("a")))
    team.store().free(PROD, store.session)
    assert eventually(lambda: journal.failure is not None)
    assert isinstance(journal.failure, Fenced)
    with pytest.raises(Fenced, match="the lock of this run on my-app/prod is gone"):
        write(journal, Put(row("b")))
    with pytest.raises(Fenced):
        place.end(journal)
    with pytest.raises(Fenced):
        lease.publish(holder(str(PROD)))
    lease.release()
    other = team.store()
    taken = take(other)
    assert list(place.store().read_fold(PATH).resources) == [f"{PATH}/a"]
    taken.release()


@pytest.mark.parametrize("how", ["refuses", "hangs"])
def test_a_store_that_does_not_answer_is_not_waited_for_at_the_end(team: Team, how: str) -> None:
    store = team.store(replace(QUICK, farewell=0.1))
    lease = take(store)
    objects = store.objects
    assert isinstance(objects, Gated)
    if how == "refuses":
        objects.fail = "unplugged"
    else:
        objects.open.clear()
    began = time.monotonic()
    lease.release()
    assert time.monotonic() - began < 1.0
    assert team.claim(PROD) is not None
    objects.fail = ""
    objects.open.set()
    assert eventually(lambda: team.claim(PROD) is None), "this process lives, so nobody else may end it"
    take(team.store()).release()


def test_a_wait_that_is_stopped_sends_nothing_more_but_what_gives_its_claim_back(team: Team) -> None:
    below = take(team.store(), PROD)
    store = team.store(replace(QUICK, gap=0.3, poll=5.0, longest_poll=5.0))

    async def give_up() -> None:
        waiting = asyncio.ensure_future(store.acquire(APP, timeout=60.0))
        assert await asyncio.to_thread(eventually, lambda: team.claim(APP) is not None)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(give_up())
    assert team.claim(APP) is None, "also when it has to wait until the key may be written again"
    below.release()


def test_steps_are_told_to_stop_before_their_next_request_and_then_left_to_tidy_up(team: Team) -> None:
    stop = threading.Event()
    objects = Gated(team.objects)

    def steps() -> Steps[str]:
        try:
            yield Get("one")
            stop.set()
            yield Get("two")
        except Stopped:
            yield Pause(0.01)
            yield Get("tidy")
        return "done"

    assert perform(objects, team.store().clock, steps(), stop) == "done"
    assert objects.reads == ["get one", "get tidy"]


def test_answers_that_are_lost_lock_nobody_out(team: Team) -> None:
    store = team.store()
    assert isinstance(store.objects, Gated)
    store.objects.lose = 1
    lease = take(store)
    store.objects.lose = 1
    lease.release()
    assert team.claim(PROD) is None


def test_names_in_the_bucket_that_are_nobodys_locks_are_passed_over(team: Team) -> None:
    for name in ("my-app/..lock", "my-app/x y.lock", "my-app/prod.lock.stop", ".lock"):
        team.objects.create(f"locks/{name}", b"x" * 200)
    take(team.store(), APP).release()
    assert team.store().lock_views() == []
