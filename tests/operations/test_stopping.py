"""Asking a run to stop from somewhere else: on files and in a bucket; one run is meant, never the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from alchemy.engine.entering import open_owner
from alchemy.engine.scope import Scope
from alchemy.engine.session import Session
from alchemy.errors import Refused
from alchemy.model.events import Entry, Noted
from alchemy.model.paths import ScopePath
from alchemy.model.stops import StopRequest, decode, place_of
from alchemy.model.values import ScopeKind
from alchemy.operations.auditing import audit_log
from alchemy.operations.destroying import stored_session
from alchemy.operations.stopping import request_stop, wait_stopped
from alchemy.settings import Options, Project
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from alchemy.store.shelf import shelf_of
from alchemy.store.store import Store
from alchemy.testing.objects import MemoryObjects
from tests.store.places import InObjects

PROD = "my-app/prod"


@pytest.fixture(params=["files", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Makes one more store of the same place, as another process would."""
    objects = MemoryObjects()

    def make() -> Store:
        root = tmp_path / ".alchemy"
        made: Store
        if request.param == "files":
            make.count += 1  # type: ignore[attr-defined]
            made = LocalStore(Layout(root), f"{make.count:032x}")  # type: ignore[attr-defined]
        else:
            made = InObjects(root, objects).store()
        made.look_every = 0.02
        return made

    make.count = 0  # type: ignore[attr-defined]
    return make


@asynccontextmanager
async def run(store: Store, said: list[Entry], path: str = PROD) -> AsyncIterator[tuple[Session, Scope]]:
    options = Options(lock_timeout=1.0)
    session = stored_session(store, options, Project(Path(store.root), {}), "destroy", said.append)
    scope = await open_owner(session, ScopePath.parse(path), ScopeKind.STAGE, options)
    try:
        yield session, scope
    finally:
        await scope.leave("interrupted" if scope.interrupted else "done")


def notes(said: list[Entry]) -> list[str]:
    return [entry.event.text for entry in said if isinstance(entry.event, Noted)]


@asynccontextmanager
async def working(store: Store, said: list[Entry]) -> AsyncIterator[None]:
    """A run in a task of its own, for being asked cancels the task that opened it; it works until it is asked."""
    begun = asyncio.Event()

    async def work() -> None:
        async with run(store, said) as (session, _):
            begun.set()
            await session.calls.stopping.wait()

    task = asyncio.create_task(work())
    await begun.wait()
    yield
    await asyncio.wait({task}, timeout=10.0)
    assert task.done(), "it was never asked"


def test_a_run_that_is_asked_stops_and_says_by_whom_and_why(store: Callable[[], Store]) -> None:
    said: list[Entry] = []

    async def scene() -> None:
        other = store()
        async with working(store(), said):
            asked = await asyncio.to_thread(lambda: request_stop(other, PROD, run="R-1", reason="not this branch"))
            assert (asked.outcome, asked.path) == ("asked", PROD)
            again = await asyncio.to_thread(lambda: request_stop(other, PROD, reason="me too"))
            assert again.request in (asked.request, None), "it was asked already"
            ended = await wait_stopped(other, asked, 10.0)
            assert ended.outcome == "stopped"
        assert shelf_of(other).read(place_of(PROD)) is None
        assert [entry.act for entry in audit_log(other)] == ["stop"]
        assert other.read_fold(PROD).last_release["outcome"] == "interrupted"

    asyncio.run(scene())
    told = [text for text in notes(said) if "asked to stop by" in text and ": not this branch: finishing" in text]
    assert told, notes(said)


def test_a_request_to_an_earlier_run_is_no_request_to_this_one(store: Callable[[], Store]) -> None:
    said: list[Entry] = []

    async def scene() -> None:
        other = store()
        async with run(store(), said):
            pass
        old = StopRequest(PROD, "1-dead", "ana@laptop", "2026-01-01T00:00:00Z")
        other.prepare()
        assert shelf_of(other).create(place_of(PROD), old.encode())
        async with run(store(), said) as (session, _):
            await asyncio.sleep(0.2)
            assert not session.calls.stopping.is_set()
        mine = store()
        async with working(mine, said):
            asked = await asyncio.to_thread(lambda: request_stop(other, PROD))
            assert asked.request is not None
            assert asked.request.token == f"3-{mine.session[:4]}", "the old request made room"

    asyncio.run(scene())


def test_another_run_than_the_one_that_is_meant_is_left_alone(store: Callable[[], Store]) -> None:
    async def scene() -> None:
        other = store()
        async with run(store(), []) as (session, _):
            with pytest.raises(Refused, match="is held by run R-1"):
                await asyncio.to_thread(lambda: request_stop(other, PROD, run="R-7"))
            await asyncio.sleep(0.1)
            assert not session.calls.stopping.is_set()
        assert (await asyncio.to_thread(lambda: request_stop(other, PROD))).outcome == "free"
        assert shelf_of(other).read(place_of(PROD)) is None

    asyncio.run(scene())


def test_what_asks_nobody_is_passed_over(store: Callable[[], Store]) -> None:
    async def scene() -> None:
        other = store()
        other.prepare()
        for data in (b"", b"{", b"[]", b'{"format": 2}', b'{"format": 1, "token": 7}'):
            assert decode(data) is None
            shelf_of(other).replace(place_of(PROD), data or b" ")
            async with run(store(), []) as (session, _):
                await asyncio.sleep(0.06)
                assert not session.calls.stopping.is_set()

    asyncio.run(scene())


def test_what_a_stranger_wrote_into_a_request_is_shown_safely() -> None:
    wish = StopRequest(PROD, "1-abcd", "ana\x1b[31m@laptop", "now", "because\u202e of\nthis")
    found = decode(wish.encode())
    assert found is not None
    assert "\x1b" not in found.words
    assert "\u202e" not in found.words
    assert "\n" not in found.words
