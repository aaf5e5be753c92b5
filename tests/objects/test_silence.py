"""Whoever waits for a store that does not answer is told so while he waits."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from alchemy import alchemy
from alchemy.engine.session import Session
from alchemy.errors import StorageFailed
from alchemy.model.events import Entry, Noted
from alchemy.settings import Options
from alchemy.store.objects.bucket import Bucket
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.port import Unknown
from alchemy.store.objects.silence import Silence
from alchemy.store.objects.store import ObjectStore
from alchemy.testing.objects import MemoryObjects
from alchemy.testing.s3 import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server
from tests.crash.moments import no_cloud
from tests.objects.buckets import bucket_at
from tests.store.lock_peer import eventually


def listening(server: Server, **given: float) -> tuple[Bucket, list[str]]:
    told: list[str] = []
    silence = Silence(Limits(quiet=0.15, patience=5.0), told.append)
    return Bucket(bucket_at(server.endpoint, **given).settings, silence), told


@pytest.mark.parametrize("verb", ["PUT", "GET"])
def test_an_answer_that_does_not_come_is_told_before_it_is_given_up(server: Server, verb: str) -> None:
    bucket, told = listening(server, timeout=1.0, retries=0)
    server.fault("hang", verb=verb, milliseconds=2000)

    def ask() -> None:
        with pytest.raises((Unknown, StorageFailed)):
            bucket.create("key", b"body") if verb == "PUT" else bucket.get("key")

    asking = threading.Thread(target=ask)
    asking.start()
    assert eventually(lambda: bool(told))
    assert asking.is_alive()
    asking.join()
    assert len(told) == 1
    assert told[0].startswith("it does not answer; trying until ")


def test_a_write_that_fails_again_and_again_is_told_also_when_readings_are_answered(server: Server) -> None:
    bucket, told = listening(server)
    server.fault("503", verb="PUT")
    end = time.monotonic() + 5.0
    while not told and time.monotonic() < end:
        with pytest.raises(Unknown):
            bucket.create("key", b"body")
        assert bucket.get("key") is None
    assert len(told) == 1
    server.faults.clear()
    bucket.create("key", b"body")
    server.fault("503", verb="PUT")
    while len(told) < 2 and time.monotonic() < end:
        with pytest.raises(Unknown):
            bucket.create("other", b"body")
    assert len(told) == 2, "it had answered in between"


def test_of_a_store_that_answers_nothing_is_told(server: Server) -> None:
    bucket, told = listening(server)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        bucket.get("key")
    time.sleep(0.3)
    assert told == []


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["up", "plan"])
def test_while_a_scope_is_opened_far_away_everything_else_goes_on(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"R2_ACCESS_KEY_ID": ACCESS_KEY_ID, "R2_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY}
    given |= {"R2_BUCKET_NAME": "state", "R2_ENDPOINT": server.endpoint}
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    async def deploy(phase: str) -> float:
        longest, ended = 0.0, asyncio.Event()

        async def watch() -> None:
            nonlocal longest
            while not ended.is_set():
                began = time.monotonic()
                await asyncio.sleep(0.01)
                longest = max(longest, time.monotonic() - began)

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0)
        async with alchemy("shop", stage="prod", phase=phase, quiet=True):
            pass
        ended.set()
        await watching
        return longest

    asyncio.run(deploy("up"))
    for key in ("moved.json", "shop/*", ".alchemy-probe/*"):
        server.fault("delay", key=key, verb="GET", milliseconds=900, times=1)
    server.fault("delay", key="shop/*", verb="LIST", milliseconds=900, times=1)
    began = time.monotonic()
    assert asyncio.run(deploy(phase)) < 0.6
    assert time.monotonic() - began > 1.5, "it did wait"


def test_a_session_tells_it_to_its_listeners_on_its_own_loop(tmp_path: Path) -> None:
    entries: list[Entry] = []
    threads: list[int] = []

    def listener(entry: Entry) -> None:
        entries.append(entry)
        threads.append(threading.get_ident())

    async def work() -> None:
        store = ObjectStore(MemoryObjects(), tmp_path, "a" * 32)
        Session(store, "up", Options(), no_cloud, listener, "no cloud")
        await asyncio.to_thread(store.tell_trouble, "it does not answer")
        await asyncio.sleep(0.01)

    asyncio.run(work())
    assert [entry.event for entry in entries] == [Noted("memory://objects", "it does not answer", "warning")]
    assert threads == [threading.get_ident()]
