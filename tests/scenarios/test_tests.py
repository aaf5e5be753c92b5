"""`alchemy.test`: a scope of its own for a test, destroyed whatever happens in it."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from alchemy import InvalidName, ResourceFailed, Scope, UsageError, alchemy
from alchemy.model.events import Noted
from alchemy.store.files import Files
from tests.scenarios.world import PROD, Broken, Cloud, Thing, World


def leftovers(world: World) -> list[str]:
    """Files below the state directory that belong to a test."""
    return sorted(
        str(path.relative_to(world.state)) for path in world.state.rglob("*") if "test" in path.parts and path.is_file()
    )


def stored_tests(world: World) -> list[str]:
    return Files().names(world.layout.scope("my-app") / "test")


def opened(world: World, fail: BaseException | None = None, **options: Any) -> str:
    async def main() -> str:
        async with alchemy.test("tests/test_checkout.py", **{"app": "my-app", **options}) as scope:
            async with alchemy.run("database"):
                db = await Thing("db")
            await Thing("api", uses=db)
            if fail:
                raise fail
            return str(scope.path)

    return world.run(main)


def test_a_test_is_destroyed_when_it_went_well_and_leaves_no_file(world: World, cloud: Cloud) -> None:
    path = opened(world, prefix="feature-branch")
    assert re.fullmatch(r"my-app/test/feature-branch-test-checkout-[0-9a-f]{6}", path)
    assert cloud.calls() == ["create db", "create api", "delete api", "delete db"]
    assert leftovers(world) == []
    assert stored_tests(world) == []


@pytest.mark.parametrize("error", [AssertionError("no"), KeyError("x"), asyncio.CancelledError()])
def test_a_test_is_destroyed_when_it_failed_and_the_failure_comes_out(
    world: World, cloud: Cloud, error: BaseException
) -> None:
    with pytest.raises(type(error)):
        opened(world, error)
    assert cloud.objects == {}
    assert leftovers(world) == []


def test_a_test_whose_resource_failed_is_destroyed_too(world: World, cloud: Cloud) -> None:
    cloud.fail("create db")
    with pytest.raises(ResourceFailed, match="no room"):
        opened(world)
    assert cloud.objects == {}
    assert leftovers(world) == []


def test_a_test_that_ran_out_of_time_is_destroyed_too(world: World, cloud: Cloud) -> None:
    async def main() -> None:
        async with asyncio.timeout(None) as limit, alchemy.test(__file__, app="my-app"):
            await Thing("db")
            limit.reschedule(asyncio.get_running_loop().time())
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        world.run(main)
    assert cloud.objects == {}
    assert leftovers(world) == []


def test_a_test_can_be_kept(world: World, cloud: Cloud) -> None:
    path = opened(world, auto_cleanup=False)
    assert cloud.ids() == ["api", "db"]
    assert sorted(world.rows(path)) == ["api", "database/db"]
    with pytest.raises(KeyError):
        opened(world, KeyError(), auto_cleanup=False)
    assert len(stored_tests(world)) == 2


def test_two_tests_of_one_file_never_meet(world: World, cloud: Cloud) -> None:
    async def main() -> set[str]:
        async def one() -> str:
            async with alchemy.test(__file__, app="my-app") as scope:
                await Thing("db")
                return str(scope.path)

        return set(await asyncio.gather(one(), one(), one()))

    assert len(world.run(main)) == 3
    assert len(set(cloud.names)) == 3
    assert cloud.objects == {}


def test_a_test_may_be_a_function_and_gives_back_its_value(world: World, cloud: Cloud) -> None:
    async def check(scope: Scope) -> str:
        return (await Thing("db")).uid

    async def main() -> str:
        value: str = await alchemy.test(__file__, check, app="my-app", prefix="pr-7")
        return value

    assert world.run(main) == "uid-00000001"
    assert cloud.objects == {}


def test_what_a_test_could_not_destroy_stays_with_its_row_and_is_said(world: World, cloud: Cloud) -> None:
    cloud.fail("delete api", *[Broken("busy")] * 4)
    with pytest.raises(KeyError):
        opened(world, KeyError(), retry_delay=0.0)
    assert cloud.ids() == ["api", "db"]
    (test,) = stored_tests(world)
    assert sorted(world.rows(f"my-app/test/{test}")) == ["api", "database/db"]
    (note,) = [e for e in world.events if isinstance(e, Noted)]
    assert note.text.endswith(f"left behind: my-app/test/{test}/api: Broken: busy")


def test_a_test_belongs_to_the_application_around_it(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> str:
        Thing("db")
        async with alchemy.test(__file__) as scope:
            Thing("db")
        return str(scope.path)

    path = world.deploy(body)
    assert path.startswith("my-app/test/")
    assert cloud.ids() == ["db"], "only the one of the stage"
    assert list(world.rows()) == ["db"]


def test_a_test_finds_its_application_in_the_project_file(world: World) -> None:
    (world.root / "pyproject.toml").write_text('[tool.alchemy]\napp = "from-file"\n')

    async def main() -> str:
        async with alchemy.test(__file__) as scope:
            return str(scope.path)

    assert world.run(main).startswith("from-file/test/test-test-tests-")


def test_a_test_without_an_application_says_how_to_name_one(world: World) -> None:
    async def main() -> None:
        async with alchemy.test(__file__):
            pass

    with pytest.raises(UsageError, match="needs an application") as error:
        world.run(main)
    assert 'app="my-app"' in error.value.hint


@pytest.mark.parametrize("prefix", ["../x", "a[b]", "\x1b", "", "a/b"])
def test_a_prefix_outside_the_grammar_is_refused(world: World, prefix: str) -> None:
    with pytest.raises(InvalidName):
        opened(world, prefix=prefix)
    assert not world.state.exists()


def test_a_long_name_is_clipped_and_stays_its_own(world: World) -> None:
    async def main() -> list[str]:
        names = []
        for _ in range(2):
            async with alchemy.test(f"tests/test_{'x' * 90}.py", app="my-app", prefix="p") as scope:
                names.append(scope.name)
        return names

    one, two = world.run(main)
    assert len(one) == len(two) == 63
    assert one != two
    assert one[:-6] == two[:-6]


def test_a_stage_is_not_touched_by_a_test_beside_it(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        Thing("db")

    world.deploy(body)
    tree = {name: data for name, data in world.tree().items() if "prod" in name and "lock" not in name}
    opened(world)
    assert {name: data for name, data in world.tree().items() if "prod" in name and "lock" not in name} == tree
    assert list(world.rows(PROD)) == ["db"]
