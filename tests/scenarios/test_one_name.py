"""One name, one object: what an old row announced under a name never takes what got that name later."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from alchemy import RunFailed, Scope
from alchemy.model.paths import ScopePath
from alchemy.model.records import Put
from alchemy.model.values import ScopeKind, Status
from alchemy.store.ledger import Ledger
from tests.scenarios.world import Cloud, Named, Thing, World, nothing


async def named(scope: Scope) -> None:
    Named("b", name="the-b")


async def nameless(scope: Scope) -> None:
    Thing("b")
    Thing("a", timeout=0.05)


@pytest.mark.parametrize("made", [True, False])
def test_a_name_comes_back_while_the_old_incarnation_that_had_it_waits(world: World, cloud: Cloud, made: bool) -> None:
    """Named, then of another kind in a run that fails and collects nothing, then of the same name again."""
    if made:
        world.deploy(named)
    else:
        cloud.fail("create b", times=9)
        with pytest.raises(RunFailed):
            world.deploy(named, max_retries=0)
        cloud.errors.clear()
    cloud.lost = {"create a"}
    with pytest.raises(RunFailed):
        world.deploy(nameless, max_retries=0)
    cloud.lost.clear()
    assert world.formers() == ["b"]
    world.deploy(named)
    assert (cloud.ids(), world.formers()) == (["b"], [])
    assert cloud.objects["the-b"]["uid"] == world.rows()["b"].outputs["uid"]
    cloud.log.clear()
    world.deploy(named)
    assert cloud.log == []
    world.deploy(nothing, phase="destroy")
    assert cloud.objects == {}


def test_a_name_that_another_row_announced_is_not_given_away(world: World, cloud: Cloud) -> None:
    async def renamed(scope: Scope) -> None:
        Named("c", name="the-b")

    cloud.fail("create b", times=9)
    with pytest.raises(RunFailed):
        world.deploy(named, max_retries=0)
    cloud.errors.clear()
    with pytest.raises(RunFailed, match="1 resource") as caught:
        world.deploy(renamed)
    assert caught.value.failures == (("my-app/prod/c", "the-b is the name of my-app/prod/b already"),)
    world.deploy(nothing)
    world.deploy(renamed)
    assert cloud.ids() == ["c"]


def test_nothing_is_renamed_to_what_another_row_is_called(world: World, cloud: Cloud) -> None:
    """Its object was deleted by hand, its row is an orphan: the name is free in the cloud, and yet not free."""

    async def both(scope: Scope) -> None:
        Named("b", name="the-b")
        Named("c", name="the-c")

    world.deploy(both)
    taken = cloud.objects.pop("the-b")
    assert taken["id"] == "b"

    async def moved(scope: Scope) -> None:
        Named("c", name="the-b")

    with pytest.raises(RunFailed) as caught:
        world.deploy(moved)
    assert "the-b is the name of my-app/prod/b already" in str(caught.value.failures)
    assert cloud.ids() == ["c"]


def second_row(world: World, **other: Any) -> None:
    """A row that came from elsewhere, an old backup say, and has the name of `b`."""
    row = replace(world.rows()["b"], address="my-app/prod/old", seq=99, **other)

    async def put() -> None:
        ledger = await Ledger.open(
            world.store, ScopePath.parse("my-app/prod"), ScopeKind.STAGE, purpose="save", timeout=5.0
        )
        await ledger.intend([Put(row)])
        ledger.close(outcome="done", counts={}, failures=[])

    asyncio.run(put())


@pytest.mark.parametrize("other", [{"outputs": {}, "verify": True}, {}, {"status": Status.CREATING, "outputs": {}}])
def test_an_orphan_does_not_take_the_object_of_the_row_that_has_its_name(
    world: World, cloud: Cloud, other: dict[str, Any]
) -> None:
    world.deploy(named)
    second_row(world, **other)
    world.deploy(named)
    assert cloud.ids() == ["b"]
    assert sorted(world.rows()) == ["b"]
    world.deploy(nothing, phase="destroy")
    assert cloud.objects == {}


def test_whose_object_it_is_waits_until_the_other_is_ready(world: World, cloud: Cloud) -> None:
    cloud.fail("create b", times=9)
    with pytest.raises(RunFailed):
        world.deploy(named, max_retries=0)
    cloud.errors.clear()
    second_row(world, status=Status.READY, outputs={"uid": "uid-00000099", "area": 1})
    cloud.objects["the-b"] = {"id": "b", "uid": "uid-00000001", "size": 1}
    with pytest.raises(RunFailed) as caught:
        world.deploy(nothing, phase="destroy")
    assert "its name is also that of my-app/prod/b, which is still creating" in str(caught.value.failures)
    world.deploy(nothing, phase="destroy")
    assert (cloud.objects, world.rows()) == ({}, {})
