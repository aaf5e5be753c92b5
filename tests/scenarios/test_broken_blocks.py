"""A block that failed and was caught: the program goes on, and nothing is done that rests on what the block lacks."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio

import pytest

from alchemy import RunFailed, Scope, UsageError, alchemy
from alchemy.model.events import Noted
from tests.scenarios.world import PROD, Body, Cloud, Thing, World


class Away(Exception):
    """A service that the program asks is away."""


def caught(fail: bool) -> Body[None]:
    async def body(app: Scope) -> None:
        try:
            async with alchemy.run("database"):
                if fail:
                    raise Away
                Thing("main")
        except Away:
            pass
        Thing("site")

    return body


def test_what_a_caught_block_did_not_get_to_is_not_collected(world: World, cloud: Cloud) -> None:
    world.deploy(caught(False))
    world.deploy(caught(True))
    assert cloud.calls("delete") == []
    assert sorted(world.rows()) == ["database/main", "site"]
    release = world.fold().last_release
    assert (release["outcome"], release["declared"]) == ("done", {"complete": False})
    notes = [e.text for e in world.events if isinstance(e, Noted) and e.level == "warning"]
    assert notes == [f"nothing is collected: the block {PROD}/database failed before it had declared everything"]


def test_destroying_with_a_caught_block_takes_everything_all_the_same(world: World, cloud: Cloud) -> None:
    world.deploy(caught(False))
    world.deploy(caught(True), phase="destroy")
    assert cloud.objects == {}


def test_what_needs_a_resource_of_a_caught_block_fails_by_name(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        cloud.gates["create first"] = gate = asyncio.Event()
        db: Thing | None = None
        try:
            async with alchemy.run("database"):
                db = Thing("db", uses=Thing("first"))
                await cloud.until(lambda: cloud.now == 1)
                asyncio.get_running_loop().call_later(0.05, gate.set)
                raise Away
        except Away:
            pass
        Thing("api", uses=db)
        Thing("alone")

    with pytest.raises(RunFailed) as error:
        world.deploy(body)
    assert error.value.failures == (
        (f"{PROD}/api", f"it needs {PROD}/database/db, whose block failed before it was deployed"),
    )
    assert cloud.ids() == ["alone"], "what the block had made is taken back, what needs it is not made"


def test_a_block_entered_again_takes_back_its_own_only(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        async with alchemy.run("block"):
            await Thing("one")
        try:
            async with alchemy.run("block"):
                await Thing("two")
                raise Away
        except Away:
            pass

    world.deploy(body)
    assert cloud.calls("delete") == ["two"]
    assert list(world.rows()) == ["block/one"]


def test_a_block_inside_a_failed_one_is_taken_back_with_it(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        async with alchemy.run("block"):
            async with alchemy.run("inner"):
                await Thing("one")
            raise Away

    with pytest.raises(Away):
        world.deploy(body)
    assert cloud.objects == {}


# -- tasks that go on -------------------------------------------------------------------------------------------


def test_what_a_task_declares_after_its_block_was_left_is_refused_not_moved(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        left = asyncio.Event()

        async def late() -> None:
            await left.wait()
            Thing("main")

        async with alchemy.run("database"):
            task = asyncio.create_task(late())
        left.set()
        await task

    with pytest.raises(UsageError, match=f"{PROD}/database takes no more resources: it is finalized"):
        world.deploy(body)
    assert cloud.objects == {}
    assert world.rows() == {}


def test_what_a_task_declares_while_the_scope_is_being_left_is_waited_for(world: World, cloud: Cloud) -> None:
    async def main() -> None:
        cloud.gates["create first"] = asyncio.Event()

        async def background() -> None:
            await cloud.until(lambda: cloud.now == 1)
            await asyncio.sleep(0.05)
            Thing("second")
            cloud.gates["create second"] = asyncio.Event()
            cloud.gates["create first"].set()
            await asyncio.sleep(0.05)
            cloud.gates["create second"].set()

        async with alchemy("my-app", stage="prod") as app:
            Thing("first")
            task = asyncio.create_task(background())
        assert app.closed
        assert cloud.ids() == ["first", "second"]
        await task

    world.run(main)
    assert {id: str(row.status) for id, row in world.rows().items()} == {"first": "ready", "second": "ready"}
    assert world.fold().last_release["outcome"] == "done"
