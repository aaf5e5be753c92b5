"""Each way in which a store can misbehave, under each verb: what the port says, and what is stored afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import pytest

from alchemy.errors import StorageFailed
from alchemy.store.objects.bucket import Bucket
from alchemy.store.objects.port import Changed, Taken, Unknown
from alchemy.testing.s3 import KINDS, Server
from tests.objects.buckets import bucket_at

VERBS: dict[str, Callable[[Bucket, str], object]] = {
    "create": lambda bucket, etag: bucket.create("d/new", b"new"),
    "replace": lambda bucket, etag: bucket.replace("d/there", b"newer", etag),
    "get": lambda bucket, etag: bucket.get("d/there"),
    "list": lambda bucket, etag: bucket.list("d/"),
    "folders": lambda bucket, etag: bucket.folders("d/"),
    "delete": lambda bucket, etag: bucket.delete("d/there"),
}
WROTE: dict[str, dict[str, bytes]] = {
    "create": {"d/there": b"old", "d/new": b"new"},
    "replace": {"d/there": b"newer"},
    "delete": {},
}
UNTOUCHED = {"d/there": b"old"}
WRITES, READS = ("create", "replace"), ("get", "list", "folders")


class Outcome(NamedTuple):
    raised: type[Exception] | None
    wrote: bool


DONE = Outcome(None, True)
REFUSED = Outcome(StorageFailed, False)


def for_verbs(writes: Outcome, reads: Outcome, delete: Outcome) -> dict[str, Outcome]:
    return {**dict.fromkeys(WRITES, writes), **dict.fromkeys(READS, reads), "delete": delete}


FINAL = for_verbs(REFUSED, REFUSED, REFUSED)
UNCLEAR = for_verbs(Outcome(Unknown, False), REFUSED, REFUSED)
AFTER_ALL = for_verbs(Outcome(Unknown, True), DONE, Outcome(StorageFailed, True))
HARMLESS = for_verbs(DONE, DONE, DONE)

# What lasts for every request of the test. Delays are within the patience of the client, hangs are not.
EXPECTED: dict[str, dict[str, Outcome]] = {
    "301": FINAL,
    "400": FINAL,
    "401": FINAL,
    "403": FINAL,
    "404": {**FINAL},
    "409": for_verbs(Outcome(Unknown, False), DONE, DONE),
    "429": UNCLEAR,
    "500": UNCLEAR,
    "501": FINAL,
    "503": UNCLEAR,
    "delay": HARMLESS,
    "drop": UNCLEAR,
    "hang": UNCLEAR,
    "late": for_verbs(Outcome(Unknown, True), DONE, Outcome(StorageFailed, True)),
    "throttle": HARMLESS,
    "commit-then-500": AFTER_ALL,
    "commit-then-drop": AFTER_ALL,
    "commit-then-hang": AFTER_ALL,
    # Lies that no client can see through: this is what the probe is for.
    "commit-then-412": {**HARMLESS, "create": Outcome(Taken, True), "replace": Outcome(Changed, True)},
    "ignore-conditions": HARMLESS,
    "ignore-if-none-match": HARMLESS,
    "ignore-if-match": HARMLESS,
    "refuse-quoted": {**HARMLESS, "replace": Outcome(Changed, False)},
    "refuse-unquoted": HARMLESS,
    "missing-is-404": HARMLESS,
    "stale-list": HARMLESS,
    "stale-get": HARMLESS,
}
TIMES = {"delay": 20, "late": 150, "hang": 900, "commit-then-hang": 900}


def test_every_switch_of_the_server_has_its_line() -> None:
    assert EXPECTED.keys() == KINDS.keys()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", EXPECTED)
def test_under_a_fault_the_port_says_what_is_known(server: Server, kind: str, verb: str) -> None:
    bucket = bucket_at(server.endpoint, timeout=0.3)
    etag = bucket.create("d/there", b"old")
    server.fault(kind, milliseconds=TIMES.get(kind, 0))
    expected = EXPECTED[kind][verb]
    if expected.raised is None:
        VERBS[verb](bucket, etag)
    else:
        with pytest.raises(expected.raised) as caught:
            VERBS[verb](bucket, etag)
        if isinstance(caught.value, StorageFailed):
            assert caught.value.message.startswith(f"{bucket.place}: ")
            assert caught.value.hint
            assert "loopback" not in caught.value.message + caught.value.hint
    wanted = WROTE.get(verb, UNTOUCHED) if expected.wrote else UNTOUCHED
    patience = time.monotonic() + 5
    while server.bodies() != wanted and time.monotonic() < patience:
        time.sleep(0.02)  # what is late comes later
    assert server.bodies() == wanted


@pytest.mark.parametrize("verb", [*READS, "delete"])
@pytest.mark.parametrize("kind", ["500", "503", "429", "drop", "hang", "commit-then-500", "commit-then-drop"])
def test_a_fault_that_passes_is_not_seen_by_who_may_ask_again(server: Server, kind: str, verb: str) -> None:
    bucket = bucket_at(server.endpoint, timeout=0.3)
    etag = bucket.create("d/there", b"old")
    server.fault(kind, times=1, milliseconds=900)
    VERBS[verb](bucket, etag)
    assert server.bodies() == WROTE.get(verb, UNTOUCHED)


def test_a_store_that_is_silent_is_asked_twice_not_for_minutes(server: Server) -> None:
    bucket = bucket_at(server.endpoint, timeout=0.4, retries=9)
    server.fault("hang", milliseconds=1500)
    begun = time.monotonic()
    with pytest.raises(StorageFailed, match="no answer in time"):
        bucket.get("key")
    assert time.monotonic() - begun < 2
    assert bucket.settings.retries == 9


@pytest.mark.parametrize("verb", WRITES)
@pytest.mark.parametrize("kind", ["500", "503", "429", "409", "drop", "commit-then-500", "commit-then-drop"])
def test_a_write_is_sent_once(server: Server, kind: str, verb: str) -> None:
    """Also on a connection that was used before, where HTTP libraries like to try again by themselves."""
    bucket = bucket_at(server.endpoint, retries=4)
    etag = bucket.create("d/there", b"old")
    sent = server.counts()["PUT"]
    server.fault(kind)
    with pytest.raises(Unknown):
        VERBS[verb](bucket, etag)
    assert server.counts()["PUT"] == sent + 1


def test_a_second_write_to_a_key_within_a_second_is_unclear(server: Server) -> None:
    bucket = bucket_at(server.endpoint)
    server.fault("throttle")
    etag = bucket.create("key", b"first")
    with pytest.raises(Unknown, match="429 TooManyRequests"):
        bucket.replace("key", b"second", etag)
    time.sleep(1.05)
    bucket.replace("key", b"second", etag)
    assert server.bodies() == {"key": b"second"}


def test_a_write_that_times_out_may_be_done_later(server: Server) -> None:
    bucket = bucket_at(server.endpoint, timeout=0.2)
    server.fault("delay", times=1, milliseconds=500, verb="PUT")
    with pytest.raises(Unknown, match="no answer in time"):
        bucket.create("key", b"body")
    assert bucket.get("key") is None
    time.sleep(0.6)
    with pytest.raises(Taken):
        bucket.create("key", b"other")


def test_ignored_conditions_overwrite(server: Server) -> None:
    bucket = bucket_at(server.endpoint)
    bucket.create("key", b"first")
    server.fault("ignore-conditions")
    bucket.create("key", b"second")
    bucket.replace("nothing", b"third", "wrong")
    assert server.bodies() == {"key": b"second", "nothing": b"third"}


def test_a_store_may_say_404_for_replacing_nothing(server: Server) -> None:
    bucket = bucket_at(server.endpoint)
    etag = bucket.create("key", b"body")
    server.fault("missing-is-404")
    with pytest.raises(Changed):
        bucket.replace("nothing", b"body", etag)


def test_bare_etags_are_refused_by_who_wants_quotes(server: Server) -> None:
    bucket = bucket_at(server.endpoint, quoted_etags=False)
    etag = bucket.create("key", b"body")
    server.fault("refuse-unquoted")
    with pytest.raises(Unknown):
        bucket.replace("key", b"other", etag)


def test_stale_answers_are_what_they_look_like(server: Server) -> None:
    bucket = bucket_at(server.endpoint)
    etag = bucket.create("a", b"first")
    bucket.create("b", b"")
    bucket.replace("a", b"second", etag)
    server.fault("stale-list")
    server.fault("stale-get")
    assert [item.key for item in bucket.list("")] == ["b"]
    found = bucket.get("a")
    assert found is not None
    assert found.body == b"first"
