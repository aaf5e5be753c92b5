"""Claims in simulated time: how long the dead are waited for, who goes first, and what an answer that is lost means."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from alchemy.errors import StorageFailed
from alchemy.model.paths import ScopePath
from alchemy.store.objects.claims import Claim, Own, break_claim, decode_claim, encode_claim, encode_free, is_free
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.locking import Acquisition, Watcher
from alchemy.store.objects.patience import Patience
from alchemy.store.objects.port import Found, Unknown
from alchemy.store.objects.requests import Create, Get, Pause, Replace, Stopped
from tests.objects.claimants import KEYS, LIMITS, Scene, Visitor, claimed
from tests.objects.explorer import CALM, Client, Network, World


def scene(network: Network = CALM) -> Scene:
    return Scene(World(random.Random(1), network))


def visitor(scene: Scene, name: str, path: str, stay: float, at: float) -> Visitor:
    visitor = Visitor(scene, name, path, stay)
    scene.visitors.append(visitor)
    visitor.start(at)
    return visitor


def test_a_dead_holder_is_replaced_within_a_lease_and_a_look() -> None:
    here = scene()
    dead = visitor(here, "dead", "a/p", 1000.0, 0.0)
    heir = visitor(here, "heir", "a/p", 1.0, 5.0)
    assert dead.client
    here.world.after(34.0, lambda: here.world.crash(dead.client))  # type: ignore[arg-type]
    here.world.run(500.0)
    assert heir.got_at is not None
    last_beat = 30.0
    assert last_beat + LIMITS.lease <= heir.got_at <= last_beat + LIMITS.lease + 2 * LIMITS.longest_poll + 2.0


def test_whoever_watches_from_the_middle_of_a_silence_waits_a_whole_lease() -> None:
    here = scene()
    dead = visitor(here, "dead", "a/p", 1000.0, 0.0)
    assert dead.client
    here.world.after(1.0, lambda: here.world.crash(dead.client))  # type: ignore[arg-type]
    heir = visitor(here, "heir", "a/p", 1.0, 50.0)
    here.world.run(500.0)
    assert heir.got_at is not None
    assert heir.got_at >= 50.0 + LIMITS.lease, "how old it was before we came is nothing we saw"


def test_a_release_is_noticed_within_a_look() -> None:
    here = scene()
    visitor(here, "first", "a/p", 30.0, 0.0)
    second = visitor(here, "second", "a/p", 1.0, 5.0)
    here.world.run(500.0)
    assert second.got_at is not None
    assert 30.0 <= second.got_at <= 30.0 + LIMITS.longest_poll + 3.0


def test_stages_run_side_by_side_and_their_application_waits_for_both() -> None:
    here = scene()
    prod, dev = visitor(here, "prod", "a/p", 20.0, 0.0), visitor(here, "dev", "a/d", 30.0, 0.0)
    whole = visitor(here, "whole", "a", 5.0, 3.0)
    here.world.run(500.0)
    assert prod.got_at is not None
    assert dev.got_at is not None
    assert whole.got_at is not None
    assert max(prod.got_at, dev.got_at) < 5.0
    assert whole.got_at >= 30.0


def test_a_stream_of_newcomers_does_not_starve_who_wants_all() -> None:
    here = scene()
    for number in range(40):
        visitor(here, f"v{number}", "a/p" if number % 2 else "a/d", 8.0, number * 3.0)
    whole = visitor(here, "whole", "a", 5.0, 10.0)
    here.world.run(2000.0)
    assert whole.got_at is not None
    assert whole.got_at < 10.0 + 2 * 8.0 + 2 * LIMITS.longest_poll + 5.0
    assert all(each.got_at is not None for each in here.visitors)


def test_who_waits_writes_nothing_while_somebody_above_is_in_the_way() -> None:
    here = scene()
    visitor(here, "whole", "a", 100.0, 0.0)
    visitor(here, "prod", "a/p", 1.0, 5.0)
    here.world.run(90.0)
    assert KEYS.lock("a/p") not in here.world.objects


class Timed(World):
    """Notes when each write of a claim arrives."""

    def apply(self, request: Any) -> Any:
        if isinstance(request, Create | Replace):
            self.arrivals.setdefault(request.key, []).append((self.now, request.body))
        return super().apply(request)

    arrivals: dict[str, list[tuple[float, bytes]]]


def test_a_key_is_written_once_a_second_at_most_by_one_process() -> None:
    world = Timed(random.Random(1), Network(faults=0.0, silence=0.0, delays=(0.0,)))
    world.arrivals = {}
    here = Scene(world)
    visitor(here, "short", "a/p", 0.1, 0.0)
    visitor(here, "long", "a/d", 45.0, 0.0)
    world.run(500.0)
    for key, arrivals in world.arrivals.items():
        times = [at for at, _ in arrivals]
        assert len(times) >= 2, "claimed and freed"
        assert all(after - before >= 1.0 for before, after in itertools.pairwise(times)), (key, times)
    assert len(world.arrivals[KEYS.lock("a/d")]) == 6, "claimed, four heartbeats, freed"


def test_a_claim_answered_by_nothing_is_found_to_be_ours() -> None:
    world = World(random.Random(1), Network(faults=1.0, silence=0.0, delays=(0.1,)))
    own = Own(KEYS, Claim("a/p", "c1", "s1"), Limits())
    client = world.start("one", own.take(None))
    world.run(300.0)
    assert client.value is True
    assert claimed(world, "a/p") == "s1"


def test_a_claim_of_which_nobody_knows_whether_it_was_written_is_given_back_too() -> None:
    world = World(random.Random(1), CALM)
    own = Own(KEYS, Claim("a/p", "c1", "s1"), Limits())
    steps = own.take(None)
    request = next(steps)
    while not isinstance(request, Create):
        request = steps.send(0.0)
    world.apply(request)
    request = steps.throw(Unknown("reset"))
    while not isinstance(request, Get):
        assert isinstance(request, Pause)
        request = steps.send(0.0)
    with pytest.raises(StorageFailed):
        steps.throw(StorageFailed("no answer"))
    assert claimed(world, "a/p") == "s1"
    world.start("free", own.free())
    world.run()
    assert claimed(world, "a/p") == ""


def test_a_broken_claim_tells_its_holder_at_the_next_beat() -> None:
    world = World(random.Random(1), CALM)
    own = Own(KEYS, Claim("a/p", "c1", "s1"), Limits())
    world.start("take", own.take(None))
    world.run()
    world.start("break", break_claim(KEYS, ScopePath.parse("a/p"), "s1", LIMITS))
    world.run()
    assert claimed(world, "a/p") == ""
    beat = world.start("beat", own.beat())
    world.run()
    assert beat.value is False
    world.start("free", own.free())
    world.run()
    assert not own.stands


def test_breaking_by_force_leaves_a_newer_holder_alone() -> None:
    world = World(random.Random(1), CALM)
    world.start("take", Own(KEYS, Claim("a/p", "c2", "newer"), Limits()).take(None))
    world.run()
    world.start("break", break_claim(KEYS, ScopePath.parse("a/p"), "older", LIMITS))
    world.run()
    assert claimed(world, "a/p") == "newer"


def test_breaking_by_force_gives_up_and_says_what_is_done_and_what_is_not() -> None:
    world = World(random.Random(1), CALM)
    world.start("take", Own(KEYS, Claim("a/p", "c1", "s1"), Limits()).take(None))
    world.run()
    began, steps = world.now, break_claim(KEYS, ScopePath.parse("a/p"), "s1", LIMITS)

    def refuse_all_writes() -> None:
        request = next(steps)
        while world.now < began + LIMITS.patience + 5.0:
            world.now += request.seconds if isinstance(request, Pause) else 0.5
            if isinstance(request, Replace):
                request = steps.throw(Unknown("503"))
            else:
                request = steps.send(world.now if isinstance(request, Pause) else world.apply(request))

    with pytest.raises(StorageFailed, match="holder can write nothing there any more") as failed:
        refuse_all_writes()
    assert "503" in failed.value.message
    assert "again when the store answers" in failed.value.hint


def test_a_stopped_wait_gives_its_claim_back() -> None:
    world = World(random.Random(1), CALM)
    visitor_below = Own(KEYS, Claim("a/p", "c1", "below"), Limits())
    world.start("below", visitor_below.take(None))
    world.run()
    watcher = Watcher(KEYS, LIMITS, lambda claim: None)
    waiting = Acquisition(KEYS, Claim("a", "c2", "whole"), LIMITS, watcher, ())
    steps = waiting.acquire(1000.0, lambda blocker: None)
    request = next(steps)
    while not (isinstance(request, Pause) and request.seconds and claimed(world, "a")):
        answer = world.now if isinstance(request, Pause) else world.apply(request)
        request = steps.send(answer)
    request = steps.throw(Stopped())

    def go_on(request: Any) -> None:
        while True:
            world.now += request.seconds if isinstance(request, Pause) else 0.0
            request = steps.send(world.now if isinstance(request, Pause) else world.apply(request))

    with pytest.raises(Stopped):
        go_on(request)
    assert claimed(world, "a") == ""


def test_patience_ends_before_a_try_that_could_not_end_in_time_and_sleep_is_not_counted() -> None:
    limits = Limits(patience=40.0, longest_request=12.0)
    silent = Patience(limits, 0.0)
    silent.look(10.0)
    assert silent.over(30.0), "a write and a reading were silent: one more of them would end behind 40"
    slow = Patience(limits, 0.0)
    assert not slow.over(10.0)
    assert not slow.over(20.0)
    assert slow.over(31.0), "one more would end behind 40"
    refused = Patience(limits, 0.0)
    assert len(list(itertools.takewhile(lambda now: not refused.over(float(now)), range(1, 100)))) == 39
    asleep = Patience(limits, 0.0)
    assert not asleep.over(30_000.0), "the lid was closed while the first answer was on its way"
    assert not asleep.over(30_001.0)


def test_a_write_during_which_the_machine_slept_is_tried_again() -> None:
    own = Own(KEYS, Claim("a/p", "c1", "s1"), Limits())
    steps = own.take(None)
    request, now = next(steps), 0.0
    while not isinstance(request, Create):
        request = steps.send(now)
    now = 30_000.0
    request = steps.throw(Unknown("reset"))
    while not isinstance(request, Create):
        now += request.seconds if isinstance(request, Pause) else 0.0
        request = steps.send(now if isinstance(request, Pause) else None)
    with pytest.raises(StopIteration) as end:
        steps.send("etag")
    assert end.value.value is True


class Deaf(World):
    deaf = False

    def _write(self, client: Client, request: Any) -> None:
        if self.deaf:
            self._answer(client, None, Unknown("503"))
        else:
            super()._write(client, request)


def test_giving_back_is_tried_for_some_seconds_and_again_by_whoever_asks_again() -> None:
    world = Deaf(random.Random(1), CALM)
    own = Own(KEYS, Claim("a/p", "c1", "s1"), Limits())
    world.start("take", own.take(None))
    world.run()
    world.deaf, began = True, world.now
    free = world.start("free", own.free())
    world.run()
    assert isinstance(free.error, StorageFailed)
    assert world.now - began < LIMITS.farewell + 3.0
    world.deaf = False
    world.start("free", own.free())
    world.run()
    assert claimed(world, "a/p") == ""


def test_a_key_that_cannot_be_written_is_given_up_within_patience() -> None:
    world = Deaf(random.Random(1), CALM)
    world.deaf = True
    take = world.start("take", Own(KEYS, Claim("a/p", "c1", "s1"), Limits()).take(None))
    world.run()
    assert isinstance(take.error, StorageFailed)
    assert 0.5 * LIMITS.patience < world.now <= LIMITS.patience + 1.0


def test_every_write_of_a_claim_differs_and_a_free_one_is_told_by_its_size() -> None:
    claim = Claim("a", "", "")
    assert encode_claim(claim) != encode_claim(claim)
    assert encode_free() != encode_free()
    assert is_free(Found(encode_free(), ""))
    assert not is_free(Found(encode_claim(claim), ""))


@pytest.mark.parametrize("body", [b"", b"x" * 200, b"[]" + b" " * 200, b'{"id":3}' + b" " * 200, b"{" * 20_000])
def test_what_cannot_be_read_is_somebodys_without_a_name(body: bytes) -> None:
    assert decode_claim("a", body) == Claim("a", "", "")


def test_a_claim_of_another_path_is_nobodys_word() -> None:
    assert decode_claim("b", encode_claim(Claim("a", "id", "session"))).session == ""
