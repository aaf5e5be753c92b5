"""A program that only reads something else: it never comes to deploy or destroy it, whoever asks for what."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

from typing import Any

import pytest

from alchemy import Scope, alchemy
from tests.scenarios.world import Cloud, Thing, World

SHARED = "shared/prod"


async def shared() -> None:
    async with alchemy("shared", stage="prod"):
        Thing("bus")
        Thing("db")


async def reader() -> str:
    async with alchemy("shared", stage="prod", phase="read") as scope:
        await Thing("bus")
        return scope.phase


def test_reading_another_application_inside_a_deploy_collects_nothing_of_it(world: World, cloud: Cloud) -> None:
    async def mine(app: Scope) -> str:
        async with alchemy("shared", stage="prod", phase="read") as other:
            bus = await Thing("bus")
        Thing("api", uses=bus.uid)
        return other.phase

    world.run(shared)
    cloud.log.clear()
    assert world.deploy(mine) == "read"
    assert cloud.calls() == ["create api"]
    assert sorted(world.rows(SHARED)) == ["bus", "db"]
    assert world.rows()["api"].props["uses"] == "uid-00000001", "what was read is used"


def test_reading_another_stage_leaves_its_journal_as_it_is(world: World, cloud: Cloud) -> None:
    world.run(shared)
    before = {path: kept for path, kept in world.tree().items() if "/journal/" in path}

    async def mine(app: Scope) -> None:
        assert await reader() == "read"

    world.deploy(mine)
    after = {path: kept for path, kept in world.tree().items() if "shared/prod/journal/" in path}
    assert after == before


@pytest.mark.parametrize("asked", ["up", "destroy"])
def test_a_program_that_reads_still_reads_when_the_command_line_asks_for_more(
    world: World, cloud: Cloud, asked: str
) -> None:
    world.run(shared)
    cloud.log.clear()
    assert world.run(reader, phase=asked) == "read"
    assert cloud.log == []
    assert cloud.ids() == ["bus", "db"]
    assert sorted(world.rows(SHARED)) == ["bus", "db"]


def test_a_program_that_deploys_and_reads_destroys_its_own_only(world: World, cloud: Cloud) -> None:
    async def both() -> None:
        async with alchemy("my-app", stage="prod"):
            assert await reader() == "read"
            Thing("api")

    world.run(shared)
    world.run(both)
    world.run(both, phase="destroy")
    assert cloud.ids() == ["bus", "db"]
    assert world.rows() == {}


def test_a_second_account_gets_its_own_resources(world: World) -> None:
    seen: dict[str, Any] = {}

    class Asking(Thing, kind="world:Asking"):
        async def create(self, ctx: Any) -> Any:
            cloud = ctx.cloud
            seen[self.id] = (ctx.account, str(cloud.base_url), cloud.headers["authorization"])
            return await super().create(ctx)

    def account(number: str) -> dict[str, str]:
        return {
            "api_token": f"token-{number}",
            "account_id": number * 32,
            "api_base_url": f"http://account-{number}.invalid",
        }

    async def main() -> None:
        async with alchemy("one", stage="prod", **account("1")):
            await Asking("a")
            async with alchemy("two", stage="prod", **account("2")):
                await Asking("b")
            await Asking("c")

    world.run(main)
    assert {id: said[0] for id, said in seen.items()} == {"a": "1" * 32, "b": "2" * 32, "c": "1" * 32}
    assert seen["b"] == ("2" * 32, "http://account-2.invalid", "Bearer token-2")
    assert seen["c"] == seen["a"]
