"""Destroying a part: what somebody outside it still uses stays, and the plan says so beforehand."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio

import pytest

from alchemy import RunFailed, Scope, alchemy
from alchemy.model.deletions import DeletionPlan
from alchemy.model.paths import ScopePath
from alchemy.operations.destroying import destroy_stored, plan_destroy
from alchemy.settings import Options, find_project
from tests.scenarios.world import PROD, Cloud, Thing, World


async def shop(app: Scope) -> None:
    async with alchemy.run("database"):
        db = Thing("db")
        Thing("log")
    async with alchemy.run("compute"):
        Thing("api", uses=db)


def destroy(world: World, path: str) -> None:
    project = find_project(world.root)
    asyncio.run(destroy_stored(world.store, ScopePath.parse(path), Options(max_retries=0), project=project))


def planned(world: World, path: str) -> DeletionPlan:
    (plan,) = plan_destroy(world.store, ScopePath.parse(path))
    return plan


def test_what_is_used_from_outside_is_blocked_by_name(world: World, cloud: Cloud) -> None:
    world.deploy(shop)
    with pytest.raises(RunFailed) as error:
        destroy(world, f"{PROD}/database")
    assert error.value.failures == ((f"{PROD}/database/db", f"still used by {PROD}/compute/api"),)
    assert cloud.calls("delete") == ["log"], "the rest of it goes"
    assert sorted(world.rows()) == ["compute/api", "database/db"]
    assert world.rows()["database/db"].status == "ready"


def test_the_plan_of_it_says_the_same(world: World, cloud: Cloud) -> None:
    world.deploy(shop)
    plan = planned(world, f"{PROD}/database")
    assert {step.address: step.blocked for step in plan.deletions} == {
        f"{PROD}/database/db": f"still used by {PROD}/compute/api",
        f"{PROD}/database/log": "",
    }
    assert plan.scopes == (), "the scope does not empty out"


def test_destroying_all_of_it_is_blocked_by_nothing(world: World, cloud: Cloud) -> None:
    world.deploy(shop)
    assert planned(world, PROD).blocked == ()
    destroy(world, PROD)
    assert cloud.objects == {}
    assert cloud.calls("delete").index("api") < cloud.calls("delete").index("db")


def test_it_goes_when_nobody_uses_it_any_more(world: World, cloud: Cloud) -> None:
    world.deploy(shop)
    destroy(world, f"{PROD}/compute")
    assert planned(world, f"{PROD}/database").blocked == ()
    destroy(world, f"{PROD}/database")
    assert cloud.objects == {}
    assert (world.rows(), list(world.fold().scopes)) == ({}, [PROD])


def test_a_program_that_destroys_a_block_is_held_to_the_same(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        async with alchemy.run("database") as database:
            await alchemy.destroy(database)

    world.deploy(shop)
    with pytest.raises(RunFailed) as error:
        world.deploy(body)
    assert (f"{PROD}/database/db", f"still used by {PROD}/compute/api") in error.value.failures
    assert "db" in cloud.ids()


def test_a_user_outside_that_has_moved_on_lets_an_orphan_go_at_the_end_only(world: World, cloud: Cloud) -> None:
    order: list[str] = []

    async def body(app: Scope) -> None:
        async with alchemy.run("database") as database:
            await database.finalize()
        order.extend(cloud.calls("delete"))
        async with alchemy.run("compute"):
            Thing("api")

    world.deploy(shop)
    world.deploy(body)
    assert order == ["log"], "its user is still deployed as it was"
    assert cloud.log.index("update api") < cloud.log.index("delete db")
    assert cloud.ids() == ["api"]
