"""The forms in which a program can be written, and what a scope is in each of them."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alchemy import InvalidName, Scope, UsageError, alchemy
from alchemy.engine.scope import current_scope
from alchemy.model.locks import Verdict
from alchemy.model.paths import ScopePath
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.holders import lock_view
from tests.scenarios.world import PROD, Cloud, Thing, World, nothing

REPOSITORY = Path(__file__).parents[2]


def free(world: World, path: str = PROD) -> bool:
    return lock_view(world.layout, Files(), ScopePath.parse(path), clock=Clock()).verdict is Verdict.FREE


def test_a_program_of_blocks_deploys_and_leaving_it_finalizes(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> str:
        async with alchemy.run("database"):
            db = await Thing("main-db")
        async with alchemy.run("compute"):
            Thing("api", uses=db)
        return db.uid

    uid = world.deploy(body)
    assert uid == "uid-00000001"
    assert sorted(world.rows()) == ["compute/api", "database/main-db"]
    assert sorted(world.fold().scopes) == [PROD, f"{PROD}/compute", f"{PROD}/database"]
    assert world.fold().released
    assert free(world)
    assert (world.state / "my-app/prod/database/resources/main-db/state.json").is_file()


def test_a_program_of_awaits_does_the_same(world: World, cloud: Cloud) -> None:
    async def database(scope: Scope) -> str:
        db = await Thing("main-db")
        return f"{scope.path}: {db.uid}"

    async def main() -> Any:
        app = await alchemy("my-app", phase="up")
        value = await alchemy.run("database", database)
        report = await app.finalize()
        return value, report

    value, report = world.run(main)
    assert value == "my-app/database: uid-00000001"
    assert (report.scope, report.deleted, report.failed) == ("my-app", [], [])
    assert sorted(world.rows("my-app")) == ["database/main-db"]


def test_a_function_of_a_block_takes_the_scope_or_nothing(world: World) -> None:
    async def with_scope(scope: Scope) -> str:
        return str(scope.path)

    async def without() -> int:
        return 7

    async def body(app: Scope) -> tuple[str, int, str]:
        return (
            await alchemy.run("a", with_scope),
            await alchemy.run("b", without),
            await app.run("c", lambda scope: with_scope(scope)),
        )

    assert world.deploy(body) == (f"{PROD}/a", 7, f"{PROD}/c")


def test_blocks_nest_in_the_current_one_and_scope_run_names_its_parent(world: World) -> None:
    async def body(app: Scope) -> list[str]:
        seen = []
        async with alchemy.run("a"):
            async with alchemy.run("b") as inner:
                seen.append(str(inner.path))
            async with app.run("c") as other:
                seen.append(str(other.path))
        async with alchemy.run("d") as last:
            seen.append(str(last.path))
        return seen

    assert world.deploy(body) == [f"{PROD}/a/b", f"{PROD}/c", f"{PROD}/d"]


def test_a_block_can_be_entered_again(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        async with alchemy.run("database"):
            Thing("one")
        async with alchemy.run("database"):
            Thing("two")

    world.deploy(body)
    world.deploy(body)
    assert sorted(world.rows()) == ["database/one", "database/two"]
    assert sorted(cloud.calls()) == ["create one", "create two"]


def test_blocks_side_by_side_are_each_their_own_scope(world: World) -> None:
    async def fill(scope: Scope) -> None:
        await asyncio.sleep(0)
        Thing(f"in-{scope.name}")

    async def body(app: Scope) -> None:
        await asyncio.gather(*(alchemy.run(name, fill) for name in ("a", "b", "c")))

    world.deploy(body)
    assert sorted(world.rows()) == ["a/in-a", "b/in-b", "c/in-c"]


def test_two_stages_in_one_program_end_each_by_itself(world: World, cloud: Cloud) -> None:
    async def main() -> None:
        prod = await alchemy("my-app", stage="prod")
        dev = await alchemy("my-app", stage="dev")
        async with prod.run("database"):
            Thing("main")
        async with dev.run("database"):
            Thing("main")
        await prod.finalize()
        assert prod.closed
        assert not dev.closed
        assert free(world)
        assert not free(world, "my-app/dev")
        await dev.finalize()

    world.run(main)
    assert list(world.rows()) == list(world.rows("my-app/dev")) == ["database/main"]
    assert cloud.ids() == ["main", "main"]
    assert free(world, "my-app/dev")


def test_finalizing_an_application_finalizes_the_stages_opened_in_it(world: World) -> None:
    async def main() -> None:
        app = await alchemy("my-app")
        prod = await alchemy("my-app", stage="prod")
        Thing("main")
        await app.finalize()
        assert prod.closed

    world.run(main)
    assert list(world.rows()) == ["main"]
    assert free(world)
    assert free(world, "my-app")


def test_finalizing_an_application_leaves_stages_alone_that_this_program_did_not_open(
    world: World, cloud: Cloud
) -> None:
    async def body(app: Scope) -> None:
        Thing("main")

    world.deploy(body)
    world.deploy(nothing, stage=None)
    assert list(world.rows()) == ["main"]
    assert cloud.ids() == ["main"]


def test_finalizing_twice_is_finalizing_once(world: World) -> None:
    async def body(app: Scope) -> None:
        Thing("main")
        first = await app.finalize()
        assert await app.finalize() is first

    world.deploy(body)
    assert [r for r in world.outcomes() if r.startswith("create")] == ["create main done"]


def test_after_finalizing_nothing_can_be_declared(world: World) -> None:
    async def body(app: Scope) -> None:
        await app.finalize()
        with pytest.raises(UsageError, match="outside a scope"):
            Thing("late")
        with pytest.raises(UsageError, match="is finalized"):
            async with app.run("late"):
                pass

    world.deploy(body)
    assert world.rows() == {}


def test_declaring_outside_a_scope_says_where_it_belongs() -> None:
    with pytest.raises(UsageError, match="world:Thing 'x' is declared outside a scope") as error:
        Thing("x")
    assert "async with alchemy" in error.value.hint


def test_a_block_outside_a_scope_says_where_it_belongs(world: World) -> None:
    async def main() -> None:
        async with alchemy.run("database"):
            pass

    with pytest.raises(UsageError, match="outside a scope"):
        world.run(main)


def test_declaring_in_another_thread_is_refused_not_lost(world: World) -> None:
    async def body(app: Scope) -> None:
        with pytest.raises(UsageError, match="event loop"):
            await asyncio.to_thread(Thing, "x")

    world.deploy(body)
    assert world.rows() == {}


def test_the_current_scope_is_the_one_opened_last_and_not_yet_finalized(world: World) -> None:
    async def main() -> None:
        seen = [current_scope()]
        app: Scope = await alchemy("my-app")
        seen.append(current_scope())
        prod: Scope = await alchemy("my-app", stage="prod")
        seen.append(current_scope())
        await prod.finalize()
        seen.append(current_scope())
        await app.finalize()
        assert [*seen, current_scope()] == [None, app, prod, app, None]

    world.run(main)


def test_one_id_is_declared_once_in_a_scope(world: World) -> None:
    async def body(app: Scope) -> None:
        Thing("main")
        with pytest.raises(InvalidName, match="my-app/prod/main is declared twice"):
            Thing("main")
        async with alchemy.run("other"):
            Thing("main")

    world.deploy(body)
    assert sorted(world.rows()) == ["main", "other/main"]


@pytest.mark.parametrize("first", ["resource", "scope"])
def test_a_resource_and_a_block_of_one_name_are_refused(world: World, first: str) -> None:
    async def body(app: Scope) -> None:
        if first == "resource":
            Thing("main")
            with pytest.raises(InvalidName, match="is a resource already"):
                async with alchemy.run("main"):
                    pass
        else:
            async with alchemy.run("main"):
                pass
            with pytest.raises(InvalidName, match="is a nested scope already"):
                Thing("main")

    world.deploy(body)


@pytest.mark.parametrize("first", ["stage", "block"])
@pytest.mark.parametrize("when", ["in another run", "in the same program"])
def test_a_stage_and_a_block_of_one_name_are_refused(world: World, first: str, when: str) -> None:
    async def stage() -> None:
        async with alchemy("my-app", stage="blue"):
            pass

    async def block(app: Scope) -> None:
        async with app.run("blue"):
            Thing("x")

    async def both() -> None:
        async with alchemy("my-app") as app:
            for what in ("stage", "block") if first == "stage" else ("block", "stage"):
                await (stage() if what == "stage" else block(app))

    if when == "in the same program":
        with pytest.raises(InvalidName, match="my-app/blue"):
            world.run(both)
        return
    if first == "stage":
        world.run(stage)
        with pytest.raises(InvalidName, match="my-app/blue is a stage scope already"):
            world.deploy(block, stage=None)
    else:
        world.deploy(block, stage=None)
        with pytest.raises(InvalidName, match="my-app/blue is a nested scope already"):
            world.run(stage)


@pytest.mark.parametrize("name", ["a[b]", "../x", "\x1b[31m", "a/b", "", "locks", "local-cloud", "test"])
def test_a_name_outside_the_grammar_is_refused_before_anything_is_created(world: World, name: str) -> None:
    async def application() -> None:
        await alchemy(name)

    async def stage() -> None:
        await alchemy("my-app", stage=name)

    refused: tuple[type[Exception], ...] = (InvalidName, UsageError)
    with pytest.raises(refused) as error:
        world.run(application)
    assert str(error.value).isprintable()
    if name:
        with pytest.raises(refused):
            world.run(stage)
    assert not world.state.exists()


@pytest.mark.parametrize("name", ["a[b]", "../x", "\x1b[31m", "a/b", "", "journal", "resources"])
def test_a_block_outside_the_grammar_is_refused_and_the_rest_goes_on(world: World, name: str) -> None:
    async def body(app: Scope) -> None:
        with pytest.raises(InvalidName):
            async with alchemy.run(name):
                Thing("never")
        Thing("main")

    world.deploy(body)
    assert list(world.rows()) == ["main"]


def test_test_is_no_block_of_an_application_but_may_be_one_of_a_stage(world: World) -> None:
    async def body(app: Scope) -> None:
        async with alchemy.run("test"):
            Thing("main")

    with pytest.raises(InvalidName, match="cannot be called 'test'"):
        world.deploy(body, stage=None)
    world.deploy(body)
    assert list(world.rows()) == ["test/main"]


def test_names_that_differ_only_in_case_are_refused(world: World) -> None:
    async def body(app: Scope) -> None:
        async with alchemy.run("data"):
            pass
        with pytest.raises(InvalidName, match="differ only in case"):
            async with alchemy.run("Data"):
                pass

    world.deploy(body)
    with pytest.raises(InvalidName, match="differ only in case"):
        world.deploy(nothing, stage="PROD")


@pytest.mark.parametrize("id", ["Main DB", "größe", "a[b]", ".hidden", "CON", "x" * 200, "🚀", "state.json"])
def test_an_id_may_be_almost_any_text_and_has_a_file(world: World, cloud: Cloud, id: str) -> None:
    async def body(app: Scope) -> None:
        Thing(id)

    world.deploy(body)
    world.deploy(body)
    assert list(world.rows()) == [id]
    assert world.layout.resource_view(f"{PROD}/{id}").is_file()
    assert cloud.calls("create") == [id]


def test_opening_what_this_process_holds_is_refused_at_once(world: World) -> None:
    async def body(app: Scope) -> None:
        with pytest.raises(UsageError, match="could only wait for itself"):
            await alchemy("my-app", stage="prod")
        with pytest.raises(UsageError, match="could only wait for itself"):
            await alchemy("my-app")

    world.deploy(body)


def test_registering_keeps_a_stored_resource_and_asking_tells(world: World, cloud: Cloud) -> None:
    async def first(app: Scope) -> None:
        Thing("kept")
        Thing("dropped")
        assert app.has_resource("kept")
        assert not app.has_resource("other")

    async def second(app: Scope) -> None:
        assert not app.has_resource("kept")
        app.register_resource("kept")
        assert app.has_resource("kept")
        with pytest.raises(UsageError, match="my-app/prod/unknown is not in the state"):
            app.register_resource("unknown")

    world.deploy(first)
    world.deploy(second)
    assert list(world.rows()) == ["kept"]
    assert cloud.ids() == ["kept"]


def test_a_value_comes_back_from_a_program(world: World) -> None:
    async def body(app: Scope) -> dict[str, int]:
        return {"answer": 42}

    assert world.deploy(body) == {"answer": 42}


PROGRAM = """
import asyncio, sys
from alchemy import alchemy
from tests.scenarios.world import CLOUD, Cloud, Thing

async def main():
    CLOUD.set(Cloud())
    app = await alchemy("my-app", stage="prod")
    Thing("old")
    await Thing("main")
    {ending}

asyncio.run(main())
"""


@pytest.mark.parametrize(("ending", "code"), [("return", 0), ("raise KeyError('mine')", 1), ("sys.exit(7)", 7)])
def test_a_scope_never_finalized_collects_nothing_gives_its_lock_back_and_warns(
    world: World, ending: str, code: int
) -> None:
    path = f"{REPOSITORY / 'core'}:{REPOSITORY}"
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(ending=ending)],
        cwd=world.root,
        env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == code, ran.stderr
    assert ("KeyError: 'mine'" in ran.stderr) == (code == 1)
    assert "never finalized" in ran.stderr
    assert free(world)
    fold = world.fold()
    assert fold.released
    assert fold.last_release["outcome"] == "interrupted"
    assert "main" in world.rows()
    assert not fold.declared, "nothing is known of what it wanted"
