"""StateManager: what scripts read, write and lock."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from alchemy import InvalidName, Scope, ScopeState, StateManager, UsageError, alchemy
from alchemy.model.locks import Verdict
from alchemy.model.paths import ScopePath
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.holders import lock_view
from tests.scenarios.world import PROD, Thing, World, nothing


async def shop(app: Scope) -> None:
    await Thing("first")
    async with alchemy.run("database"):
        await Thing("db")
    await Thing("last")


def verdict(world: World, path: str = PROD) -> Verdict:
    return lock_view(world.layout, Files(), ScopePath.parse(path), clock=Clock()).verdict


def test_what_is_stored_is_listed_oldest_first_with_what_is_below(world: World) -> None:
    world.deploy(shop)
    state = StateManager()
    assert asyncio.run(state.get_resources(PROD)) == ["first", "db", "last"]
    assert asyncio.run(state.get_resources(f"{PROD}/database")) == ["db"]
    assert asyncio.run(state.get_resources("my-app")) == [], "a stage is not a part of its application's own state"
    assert asyncio.run(state.get_resources("my-app/other")) == []
    rows = asyncio.run(state.get_resources(PROD, full=True))
    assert [(row.id, row.status) for row in rows] == [("first", "ready"), ("db", "ready"), ("last", "ready")]


def test_reading_creates_nothing(world: World) -> None:
    state = StateManager()
    assert asyncio.run(state.get_resources(PROD)) == []
    assert asyncio.run(state.get_state(PROD)) is None
    assert not world.state.exists()


@pytest.mark.parametrize("path", ["a[b]", "../x", "", "a//b", "\x1b"])
def test_a_path_outside_the_grammar_is_refused(world: World, path: str) -> None:
    state = StateManager()
    for call in (state.get_resources(path), state.get_state(path), state.acquire_lock(path), state.release_lock(path)):
        with pytest.raises(InvalidName):
            asyncio.run(call)


def test_a_saved_state_comes_back_and_is_a_run_like_any_other(world: World) -> None:
    world.deploy(shop)
    state = StateManager()
    before = asyncio.run(state.get_state(PROD))
    assert before is not None
    asyncio.run(state.save_state(PROD, replace(before, extra={"owner": "team-a"})))
    after = asyncio.run(state.get_state(PROD))
    assert after is not None
    assert after.extra == {"owner": "team-a"}
    assert (after.created_at, after.updated_at >= before.updated_at) == (before.created_at, True)
    fold = world.fold()
    assert (fold.epoch, fold.released) == (2, True)
    assert fold.holder is not None
    assert fold.holder.purpose == "save"
    assert verdict(world) is Verdict.FREE
    world.deploy(shop)
    assert world.fold().scopes[PROD].extra == {"owner": "team-a"}, "a deploy keeps what it does not know"


def test_a_state_is_saved_before_there_is_any(world: World) -> None:
    from alchemy.model.values import ScopeKind

    made = ScopeState(path=PROD, kind=ScopeKind.STAGE, created_at="", updated_at="")
    asyncio.run(StateManager().save_state(PROD, made))
    stored = asyncio.run(StateManager().get_state(PROD))
    assert stored is not None
    assert stored.created_at.endswith("Z")
    world.deploy(nothing)


def test_a_state_of_another_path_is_refused(world: World) -> None:
    world.deploy(shop)
    state = asyncio.run(StateManager().get_state(PROD))
    assert state is not None
    with pytest.raises(UsageError, match="the state is of my-app/prod, not of my-app/dev"):
        asyncio.run(StateManager().save_state("my-app/dev", state))


def test_a_nested_scope_is_saved_in_the_journal_of_its_owner(world: World) -> None:
    world.deploy(shop)
    state = StateManager()
    path = f"{PROD}/database"
    row = asyncio.run(state.get_state(path))
    assert row is not None
    asyncio.run(state.save_state(path, replace(row, extra={"note": "x"})))
    assert world.fold().scopes[path].extra == {"note": "x"}
    assert not world.layout.journal(path).exists()


def test_a_lock_keeps_a_run_out_and_saving_under_it_works(world: World) -> None:
    world.deploy(shop)

    async def work() -> None:
        state = StateManager()
        async with state.lock(PROD, timeout=1.0):
            assert verdict(world) is Verdict.LIVE
            row = await state.get_state(PROD)
            assert row is not None
            await state.save_state(PROD, row)
            assert verdict(world) is Verdict.LIVE, "saving does not give it back"
        assert verdict(world) is Verdict.FREE

    asyncio.run(work())


def test_taking_a_lock_says_whether_it_worked_and_giving_back_what_one_has_not_is_an_error(world: World) -> None:
    async def work() -> None:
        one, other = StateManager(), StateManager()
        assert await one.acquire_lock(PROD, 0.1)
        assert await other.acquire_lock(PROD, 0.1) is False
        with pytest.raises(UsageError, match="my-app/prod is not locked by this manager"):
            await other.release_lock(PROD)
        await one.release_lock(PROD)
        assert await other.acquire_lock(PROD, 0.1)
        await other.release_lock(PROD)
        with pytest.raises(UsageError, match="not locked by this manager"):
            await other.release_lock(PROD)

    asyncio.run(work())
    assert verdict(world) is Verdict.FREE


def test_a_lock_is_given_back_when_its_block_fails(world: World) -> None:
    async def work() -> None:
        async with StateManager().lock(PROD):
            raise KeyError("of the script")

    with pytest.raises(KeyError):
        asyncio.run(work())
    assert verdict(world) is Verdict.FREE


def test_two_saves_at_once_wait_for_each_other(world: World) -> None:
    world.deploy(shop)

    async def work() -> None:
        state = StateManager()
        row = await state.get_state(PROD)
        assert row is not None
        await asyncio.gather(*(state.save_state(PROD, replace(row, extra={"n": n})) for n in range(4)))

    asyncio.run(work())
    assert world.fold().epoch == 5
    assert world.fold().scopes[PROD].extra["n"] in range(4)


def test_the_state_directory_comes_from_the_environment_or_the_argument(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALCHEMY_STATE_DIR", "from-env")
    assert StateManager.from_env().store.root == world.root / "from-env"
    assert StateManager("mine").store.root == world.root / "mine"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"extra": {"limit": float("nan")}}, r"my-app/prod\.limit: nan has no JSON form"),
        ({"extra": {"a": [{"limit": 1 << 64}]}}, r"my-app/prod\.a\[0\]\.limit: the integer does not fit 64 bits"),
        ({"extra": {"name": "\ud800"}}, r"my-app/prod\.name: .* half a character"),
        ({"extra": {"name": b"x"}}, r"my-app/prod\.name: bytes has no JSON form"),
        ({"created_at": 5}, "its field created_at is not a text"),
        ({"last_run": None}, "its field last_run is not a text"),
    ],
)
def test_a_state_that_cannot_be_stored_is_refused_before_anything_is_written(
    world: World, changed: dict[str, Any], why: str
) -> None:
    world.deploy(shop)
    state = StateManager()
    before, tree = asyncio.run(state.get_state(PROD)), world.tree()
    assert before is not None
    with pytest.raises(UsageError, match=why):
        asyncio.run(state.save_state(PROD, replace(before, **changed)))
    assert world.tree() == tree
