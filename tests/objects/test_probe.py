from __future__ import annotations

import json
import threading

import pytest

from alchemy.errors import Refused, StorageFailed
from alchemy.store.objects.probe import FOLDER, admit, examine, examine_anew, probe, remembered_key
from alchemy.testing.objects import MemoryObjects
from alchemy.testing.s3 import Server
from tests.objects.buckets import bucket_at

LINES = [
    "create an object",
    "create it only once",
    "refuse a wrong ETag",
    "replace it",
    "refuse an old ETag",
    "refuse to replace nothing",
    "list it at once",
    "read what was written last",
    "delete it",
]


def no_time(seconds: float) -> None:
    """Nothing here becomes true by waiting."""


def failed(server: Server, *, quoted: bool = True) -> dict[str, str]:
    checks = probe(bucket_at(server.endpoint, quoted_etags=quoted), sleep=no_time)
    return {check.name: check.detail for check in checks if not check.passed}


def test_a_store_that_keeps_its_word_passes_and_keeps_no_trace(server: Server) -> None:
    checks = probe(bucket_at(server.endpoint, prefix="team/"), "team/", sleep=no_time)
    assert [(check.name, check.passed, check.detail) for check in checks] == [(name, True, "") for name in LINES]
    assert server.bodies() == {}


def test_the_probe_is_for_every_implementation_of_the_port() -> None:
    objects = MemoryObjects()
    assert [check.name for check in probe(objects, sleep=no_time) if check.passed] == LINES
    assert objects.bodies() == {}


@pytest.mark.parametrize(
    ("kind", "line", "says"),
    [
        ("ignore-conditions", "create it only once", "it answered 200 to a write that must only create"),
        ("ignore-if-none-match", "create it only once", "it answered 200 to a write that must only create"),
        ("ignore-if-match", "refuse a wrong ETag", "it answered 200 to a write with a wrong ETag"),
        ("commit-then-412", "create an object", "it answered 412 to the creation of an object"),
        ("refuse-quoted", "replace it", "it answered 412 to a write with the right ETag"),
        ("stale-list", "list it at once", "a listing does not show what was written before it"),
        ("stale-get", "refuse an old ETag", "reading gives something else than what was written last"),
        (
            "409",
            "create an object",
            "it has no clear answer (409 ConditionalRequestConflict) to the creation of an object",
        ),
        ("500", "create an object", "500"),
        ("drop", "create an object", "the connection broke off"),
    ],
)
def test_a_store_that_breaks_its_word_is_caught_on_that_line(server: Server, kind: str, line: str, says: str) -> None:
    server.fault(kind, verb="PUT" if kind in ("500", "drop") else "")
    found = failed(server)
    assert line in found
    assert says in found[line]
    server.faults.clear()
    assert list(server.bodies()) == []


@pytest.mark.parametrize("kind", ["delay", "throttle", "missing-is-404", "refuse-unquoted"])
def test_what_is_only_slow_or_spelled_otherwise_passes(server: Server, kind: str) -> None:
    server.fault(kind, milliseconds=5)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        threading.Event().wait(seconds)

    checks = probe(bucket_at(server.endpoint), sleep=wait)
    assert [check.name for check in checks if check.passed] == LINES
    assert len(waited) == (4 if kind == "throttle" else 0)  # five writes to one key, of which R2 takes one a second


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("kind", ["commit-then-drop", "drop", "429"])
def test_an_unclear_answer_to_any_of_the_writes_is_no_verdict(server: Server, kind: str, place: int) -> None:
    """It has to find its own write when that was done, not a stranger's."""
    server.fault(kind, times=1, after=place, verb="PUT")
    checks = probe(bucket_at(server.endpoint), sleep=no_time)
    assert [check.name for check in checks if check.passed] == LINES
    assert server.bodies() == {}


@pytest.mark.parametrize(
    ("place", "line", "says"),
    [
        (1, "create it only once", "it said no to a write that must only create, and wrote it all the same"),
        (2, "refuse a wrong ETag", "it said no to a write with a wrong ETag, and wrote it all the same"),
        (4, "refuse an old ETag", "it said no to a write with an old ETag, and wrote it all the same"),
    ],
)
def test_a_refused_write_that_was_done_is_caught(server: Server, place: int, line: str, says: str) -> None:
    server.fault("commit-then-412", times=1, after=place)
    assert failed(server)[line] == says


def test_admission_costs_one_reading_when_it_was_given_before(server: Server) -> None:
    bucket = bucket_at(server.endpoint, prefix="team/")
    first = admit(bucket, sleep=no_time)
    assert first.settings.quoted_etags
    assert list(server.bodies()) == [remembered_key(bucket)]
    remembered = json.loads(server.bodies()[remembered_key(bucket)])
    assert remembered["endpoint"] == bucket.settings.host
    assert remembered_key(bucket).startswith(f"team/{FOLDER}")
    server.log.clear()
    admit(bucket_at(server.endpoint, prefix="team/"))
    assert server.counts() == {"GET": 1}


def test_bare_etags_are_found_out_and_remembered(server: Server) -> None:
    server.fault("refuse-quoted")
    bucket = bucket_at(server.endpoint)
    assert not admit(bucket, sleep=no_time).settings.quoted_etags
    again = admit(bucket)
    assert not again.settings.quoted_etags
    etag = again.create("key", b"first")
    again.replace("key", b"second", etag)
    assert server.bodies()["key"] == b"second"


def test_a_refusal_names_the_line_and_the_way_out_and_is_not_remembered(server: Server) -> None:
    server.fault("ignore-if-none-match")
    bucket = bucket_at(server.endpoint)
    with pytest.raises(Refused) as caught:
        admit(bucket, sleep=no_time)
    assert caught.value.message == (
        f"{bucket.place} cannot hold state: it answered 200 to a write that must only create (create it only once)"
    )
    assert 'state_store = "file"' in caught.value.hint
    assert server.bodies() == {}
    server.faults.clear()
    admit(bucket, sleep=no_time)
    assert list(server.bodies()) == [remembered_key(bucket)]


@pytest.mark.parametrize("after", [0, 2, 3])
@pytest.mark.parametrize("kind", ["503", "500", "429", "409", "drop"])
def test_an_outage_at_first_use_is_no_verdict_on_the_store(server: Server, kind: str, after: int) -> None:
    server.fault(kind, verb="PUT", after=after)
    bucket = bucket_at(server.endpoint)
    with pytest.raises(StorageFailed, match="could not be tried") as caught:
        admit(bucket, sleep=no_time)
    assert "no clear answer" in caught.value.message
    assert caught.value.hint.startswith("try again")
    server.faults.clear()
    assert remembered_key(bucket) not in server.bodies()
    admit(bucket, sleep=no_time)
    assert remembered_key(bucket) in server.bodies()


def test_a_failure_in_the_middle_tells_what_to_do_about_it(server: Server) -> None:
    server.fault("403", verb="DELETE")
    with pytest.raises(StorageFailed, match="denies it") as caught:
        admit(bucket_at(server.endpoint), sleep=no_time)
    assert "give the token" in caught.value.hint


def test_what_is_remembered_stays_when_the_store_does_not_answer(server: Server) -> None:
    bucket = bucket_at(server.endpoint)
    admit(bucket, sleep=no_time)
    server.fault("503", verb="PUT")
    assert not all(check.passed for check in examine_anew(bucket, sleep=no_time))
    assert list(server.bodies()) == [remembered_key(bucket)]
    server.faults.clear()
    server.fault("ignore-conditions")
    assert not all(check.passed for check in examine_anew(bucket, sleep=no_time))
    assert server.bodies() == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"format": 2, "endpoint": "?", "quoted_etags": true}',
        b'{"format": 1, "endpoint": "elsewhere", "quoted_etags": true}',
        b'{"format": 1, "endpoint": "?", "quoted_etags": "yes"}',
    ],
)
def test_what_cannot_be_believed_is_found_out_again(server: Server, body: bytes) -> None:
    bucket = bucket_at(server.endpoint)
    server.put(remembered_key(bucket), body.replace(b"?", bucket.settings.host.encode()))
    admit(bucket, sleep=no_time)
    assert json.loads(server.bodies()[remembered_key(bucket)])["quoted_etags"] is True
    server.log.clear()
    admit(bucket)
    assert server.counts() == {"GET": 1}


def test_another_endpoint_is_another_store(server: Server) -> None:
    with Server() as other:
        bucket, copy = bucket_at(server.endpoint), bucket_at(other.endpoint)
        assert remembered_key(bucket) != remembered_key(copy)


def test_wrong_credentials_are_not_a_broken_store(server: Server) -> None:
    with pytest.raises(StorageFailed, match="does not accept the signature"):
        admit(bucket_at(server.endpoint, secret_access_key="wrong"), sleep=no_time)
    server.fault("403", verb="PUT")
    with pytest.raises(StorageFailed, match="denies it"):
        admit(bucket_at(server.endpoint), sleep=no_time)


def test_a_token_that_may_not_delete_fails_that_line_only(server: Server) -> None:
    server.fault("403", verb="DELETE")
    found = failed(server)
    assert list(found) == ["delete it"]
    assert "denies it" in found["delete it"]


def test_probes_at_the_same_time_do_not_meet(server: Server) -> None:
    results: list[list[str]] = []

    def go() -> None:
        trusted, checks = examine(bucket_at(server.endpoint), sleep=no_time)
        admit(trusted, sleep=no_time)
        results.append([check.name for check in checks if check.passed])

    threads = [threading.Thread(target=go) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [LINES] * 12
    assert list(server.bodies()) == [remembered_key(bucket_at(server.endpoint))]


def test_what_a_killed_probe_left_goes_a_day_later(server: Server) -> None:
    server.put(f"{FOLDER}run-65a50000-aa", b"old")  # in January 2024
    server.put(f"{FOLDER}run-7fffffff-bb", b"at work")
    server.put(f"{FOLDER}run-what-is-this", b"?")
    probe(bucket_at(server.endpoint), sleep=no_time)
    assert sorted(server.bodies()) == [f"{FOLDER}run-7fffffff-bb", f"{FOLDER}run-what-is-this"]
