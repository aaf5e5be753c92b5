"""The store: versions, what differs between them, what is worth telling; and the feed of one run's events."""

from __future__ import annotations

from dataclasses import replace

from alchemy.model.events import Entry, Noted
from alchemy.operations.shapes import Health
from alchemy_tui.store.feed import Feed
from alchemy_tui.store.store import EVERYTHING, KEPT_DELTAS, Store
from tests.dashboard import worlds
from tests.dashboard.worlds import HandMade, ago


def test_the_same_view_again_is_no_change() -> None:
    store, view = Store(), worlds.demo().view()
    store.apply(view)
    assert store.apply(view).empty
    assert store.version == 1


def test_an_equal_view_is_no_change_either_when_nobody_works() -> None:
    world = worlds.demo(live=False)
    store = Store()
    store.apply(world.view())
    assert store.apply(world.view(2)).empty
    assert store.version == 1


def test_a_delta_names_the_rows_that_look_different() -> None:
    world = worlds.demo(live=False)
    store = Store()
    store.apply(world.view())
    address = "shop/dev/compute/api"
    world.resources[address] = replace(world.resources[address], health=Health.OK)
    delta = store.apply(world.view(2))
    assert delta.subjects == {address}
    assert not delta.structure


def test_a_new_row_is_a_change_of_structure() -> None:
    world = worlds.demo(live=False)
    store = Store()
    store.apply(world.view())
    world.resource("shop/dev/compute/more", "cloudflare:Worker")
    assert store.apply(world.view(2)).structure


def test_whoever_is_behind_gets_all_that_happened_since() -> None:
    world = worlds.demo(live=False)
    store = Store()
    store.apply(world.view())
    seen = store.version
    for address in ("shop/dev/compute/api", "shop/dev/compute/worker-new"):
        world.resources[address] = replace(world.resources[address], health=Health.ORPHAN)
        store.apply(world.view(2))
    assert store.since(seen).subjects == {"shop/dev/compute/api", "shop/dev/compute/worker-new"}
    assert store.since(store.version).empty


def test_whoever_is_too_far_behind_draws_everything() -> None:
    world = worlds.demo(live=False)
    store = Store()
    store.apply(world.view())
    for number in range(KEPT_DELTAS + 3):
        world.root = f"/{number}"
        store.apply(world.view(2))
    assert store.since(1) == EVERYTHING


def test_problems_are_counted_from_findings_or_else_from_the_rows() -> None:
    world = worlds.demo()
    store = Store()
    store.apply(world.view())
    assert store.problems == 1
    world.findings.clear()
    world.scope("shop/prod/torn", Health.CORRUPT, "cannot be read")
    store.apply(world.view(2))
    assert store.problems == 2


def test_a_first_failure_is_told_once() -> None:
    world = worlds.demo()
    store = Store()
    store.apply(world.view())
    assert store.news(store.view) == []
    world.active["shop/prod"].failures.append(("shop/prod/compute/api", "boom"))
    before = store.view
    store.apply(world.view(2))
    told = store.news(before)
    assert [(news.severity, news.text) for news in told] == [("error", "shop/prod/compute/api: boom")]
    assert store.news(before) == []


def test_the_end_of_a_run_is_told_with_its_outcome() -> None:
    world = worlds.demo()
    store = Store()
    store.apply(world.view())
    before = store.view
    world.active.clear()
    running = world.runs["shop/prod"][0]
    world.runs["shop/prod"] = (replace(running, outcome="lost"), *world.runs["shop/prod"][1:])
    store.apply(world.view(2))
    assert [(news.title, news.severity) for news in store.news(before)] == [
        ("R-17 deploy shop/prod lost its process", "error")
    ]


def test_the_owner_of_anything_is_the_journal_that_tells_about_it() -> None:
    store = Store()
    store.apply(worlds.demo().view())
    assert store.owner_of("shop/prod/compute/api") == "shop/prod"
    assert store.owner_of("shop/prod/compute") == "shop/prod"
    assert store.owner_of("shop/prod/compute/not-there-yet") == "shop/prod"
    assert store.owner_of("shop") == "shop"


def test_a_feed_gives_each_entry_once_however_often_it_is_polled() -> None:
    world = worlds.demo()
    source = HandMade(world)
    feed = Feed(source, "shop/prod")
    first = feed.poll()
    assert [entry.seq for entry in first] == list(range(1, 14))
    log = world.logs[("shop/prod", "R-17")]
    batch = [Entry("R-17", 14, ago(), Noted("shop/prod", text)) for text in ("one", "two")]  # one record, one number
    log.extend(batch)
    assert feed.poll()[13:] == batch
    assert feed.poll()[13:] == batch


def test_a_feed_of_the_newest_run_goes_over_to_a_newer_one() -> None:
    world = worlds.demo()
    source = HandMade(world)
    feed = Feed(source, "shop/prod")
    feed.poll()
    world.logs[("shop/prod", "R-17")].append(Entry("R-18", 20, ago(), Noted("shop/prod", "new")))
    assert [entry.run for entry in feed.poll()] == ["R-18"]


def test_a_feed_of_an_old_run_stays_with_it() -> None:
    world = worlds.demo()
    world.log("shop/prod", "R-16", (9, Noted("shop/prod", "old")))
    source = HandMade(world)
    feed = Feed(source, "shop/prod", "R-16")
    assert len(feed.poll()) == 1
    world.logs[("shop/prod", "R-17")].append(Entry("R-17", 20, ago(), Noted("shop/prod", "new")))
    assert len(feed.poll()) == 1


class Overlapping(HandMade):
    """Its follower tells again what was written between its first poll and the reading of the log."""

    def follow(self, scope: str) -> Twice:  # type: ignore[override]
        return Twice(self.entries(scope)[-3:])


class Twice:
    def __init__(self, again: list[Entry]) -> None:
        self.again = again
        self.polls = 0

    def poll(self) -> list[Entry]:
        self.polls += 1
        return self.again if self.polls == 2 else []


def test_a_feed_drops_what_log_and_follower_both_tell() -> None:
    feed = Feed(Overlapping(worlds.demo()), "shop/prod")
    first = feed.poll()
    assert feed.poll() == first
