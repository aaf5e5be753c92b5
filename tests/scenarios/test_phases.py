"""The same program, planned, read and destroyed."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from alchemy import NotYetKnown, ResourceFailed, RunFailed, Scope, StateInvalid, UsageError, alchemy
from alchemy.engine.outputs import Unknown
from alchemy.model.events import ChangePlanned
from alchemy.model.locks import Verdict
from alchemy.model.paths import ScopePath
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.holders import lock_view
from tests.scenarios.world import PROD, Body, Cloud, Solid, Thing, World, nothing

UNKNOWN = f"‹known after deploy: {PROD}/db.uid›"


def planned(world: World) -> list[str]:
    return [f"{e.action} {e.subject.removeprefix(PROD + '/')}" for e in world.events if isinstance(e, ChangePlanned)]


async def shop(app: Scope) -> None:
    async with alchemy.run("database"):
        db = Thing("db")
    Thing("api", uses=db)


# -- plan -------------------------------------------------------------------------------------------------------


def test_planning_where_nothing_is_creates_nothing(world: World, cloud: Cloud) -> None:
    world.deploy(shop, phase="plan")
    assert planned(world) == ["create database/db", "create api"]
    assert not world.state.exists()
    assert cloud.log == []


def test_planning_leaves_every_file_as_it_is(world: World, cloud: Cloud) -> None:
    async def changed(app: Scope) -> None:
        Thing("api", size=9)
        Thing("solid", region="us")
        Thing("new")
        app.register_resource("api")

    async def before(app: Scope) -> None:
        await shop(app)
        Thing("solid")
        Thing("gone")

    world.deploy(before)
    tree = world.tree()
    cloud.log.clear()
    world.deploy(changed, phase="plan")
    assert planned(world) == ["update api", "replace solid", "create new"]
    assert world.tree() == tree
    assert cloud.log == []


def test_planning_says_what_would_be_collected(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> Any:
        Thing("api")
        return await app.finalize(dry_run=True)

    world.deploy(shop)
    plan = world.deploy(body, phase="plan")
    assert [step.address for step in plan.deletions] == [f"{PROD}/database/db"]
    assert not plan.blocked, "the api will not use it any more"


def test_planning_waits_for_nobody(world: World, cloud: Cloud) -> None:
    async def main() -> list[str]:
        async with alchemy("my-app", stage="prod"):
            Thing("db")

            def other() -> list[str]:
                world.deploy(shop, phase="plan")
                return planned(world)

            return await asyncio.get_running_loop().run_in_executor(None, other)

    assert "create database/db" in world.run(main)


def test_what_is_planned_is_what_is_done(world: World, cloud: Cloud) -> None:
    async def second(app: Scope) -> None:
        db = Thing("db", region="us")
        Thing("api", uses=db, size=3)
        Thing("new", uses=db.uid)

    async def first(app: Scope) -> None:
        Thing("api", uses=Thing("db"))

    world.deploy(first)
    world.deploy(second, phase="plan")
    plan = planned(world)
    world.deploy(second)
    assert planned(world)[: len(plan)] == plan == ["replace db", "update api", "create new"]


def test_an_unknown_output_makes_the_whole_prop_unknown_and_keeps_the_edge(world: World) -> None:
    seen: list[Any] = []

    async def body(app: Scope) -> None:
        db = await Thing("db")
        api = Thing("api", uses={"url": f"https://{db.uid}/x", "plain": 1})
        await api
        seen.append(api._deployment.change)

    world.deploy(body, phase="plan")
    (change,) = seen
    assert change.desired.unknown == {"uses"}
    assert change.desired.depends_on == (f"{PROD}/db",)


def test_an_output_that_will_not_change_is_known_while_planning(world: World) -> None:
    async def body(app: Scope) -> str:
        return str((await Thing("db", size=4)).uid)

    async def first(app: Scope) -> None:
        Thing("db")

    world.deploy(first)
    assert world.deploy(body, phase="plan") == "uid-00000001"


def test_an_unknown_output_prints_what_it_will_be(world: World) -> None:
    async def body(app: Scope) -> list[str]:
        db = await Thing("db")
        return [str(db.uid), f"{db.uid}", "a" + db.uid, db.uid + "b", "%s" % db.uid, "/".join(["x", db.uid])]  # noqa: UP031

    assert world.deploy(body, phase="plan") == [
        UNKNOWN,
        UNKNOWN,
        "a" + UNKNOWN,
        UNKNOWN + "b",
        UNKNOWN,
        "x/" + UNKNOWN,
    ]


DECIDING: dict[str, Callable[[Any], object]] = {
    "equal": lambda v: v == "x",
    "equal to itself": lambda v: v == v,
    "not equal": lambda v: v != "x",
    "other way round": lambda v: "x" == v,  # noqa: SIM300
    "less": lambda v: v < "x",
    "bool": bool,
    "int": int,
    "float": float,
    "len": len,
    "contains": lambda v: "x" in v,
    "index": lambda v: v[0],
    "iterate": list,
    "startswith": lambda v: v.startswith("x"),
    "find": lambda v: v.find("x"),
    "split": lambda v: v.split("-"),
    "upper": lambda v: v.upper(),
    "isdigit": lambda v: v.isdigit(),
    "encode": lambda v: v.encode(),
}


@pytest.mark.parametrize("how", DECIDING)
def test_a_program_cannot_decide_by_an_unknown_output(world: World, how: str) -> None:
    async def body(app: Scope) -> None:
        Thing("before")
        DECIDING[how]((await Thing("db")).uid)

    with pytest.raises(NotYetKnown, match=f"only a deploy can tell: {UNKNOWN}") as error:
        world.deploy(body, phase="plan")
    assert error.value.exit_code == 1
    assert "deploy first" in error.value.hint
    assert "create before" in planned(world), "what was planned so far is shown"
    assert not world.state.exists()


def test_an_unknown_output_may_be_trimmed_and_stays_unknown(world: World) -> None:
    async def body(app: Scope) -> tuple[str, ...]:
        uid = (await Thing("db")).uid
        assert isinstance(uid, Unknown)
        return uid.strip(), uid.rstrip("/"), uid.removesuffix("/"), "{}".format(uid)  # noqa: UP032

    assert set(world.deploy(body, phase="plan")) == {UNKNOWN}


def test_planning_a_failure_says_what_it_has_and_fails(world: World) -> None:
    async def body(app: Scope) -> None:
        Thing("bad", uses=object())
        Thing("good")

    with pytest.raises(RunFailed, match="plan of my-app/prod failed: 1 resource") as error:
        world.deploy(body, phase="plan")
    assert "collected" not in error.value.message
    assert planned(world) == ["create good"]


def test_a_test_scope_while_planning_creates_nothing(world: World, cloud: Cloud) -> None:
    async def main() -> None:
        async with alchemy.test(__file__, app="my-app"):
            Thing("db")

    world.run(main, phase="plan")
    assert cloud.log == []
    assert not world.state.exists()


# -- read -------------------------------------------------------------------------------------------------------


def test_reading_gives_what_is_stored_and_calls_nobody(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> tuple[str, int]:
        db = await Thing("db", size=77)
        return db.uid, db.area

    async def first(app: Scope) -> None:
        Thing("db", size=3)

    world.deploy(first)
    tree = world.tree()
    cloud.log.clear()
    assert world.deploy(body, phase="read") == ("uid-00000001", 3)
    assert cloud.log == []
    assert world.tree() == tree


def test_reading_what_is_not_stored_is_an_error(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        await Thing("db")

    with pytest.raises(Exception, match="my-app/prod/db is not in the state") as error:
        world.deploy(body, phase="read")
    assert "deploy first" in getattr(error.value, "hint", "")
    assert not world.state.exists()


def test_reading_does_not_wait_for_a_run_that_goes_on(world: World) -> None:
    async def main() -> str:
        async with alchemy("my-app", stage="prod"):
            await Thing("db")
            await world.cloud.until(lambda: world.rows()["db"].status == "ready")  # a result is on disk moments later

            def other() -> str:
                return world.deploy(read, phase="read")

            return await asyncio.get_running_loop().run_in_executor(None, other)

    async def read(app: Scope) -> str:
        return str((await Thing("db")).uid)

    assert world.run(main) == "uid-00000001"


def test_reading_what_was_not_finished_says_so(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        await Thing("db")

    cloud.fail("create db")
    with pytest.raises(ResourceFailed):
        world.deploy(body)
    with pytest.raises(ResourceFailed, match="my-app/prod/db is still creating"):
        world.deploy(body, phase="read")


# -- destroy ----------------------------------------------------------------------------------------------------


def test_destroying_by_the_program_takes_everything_also_what_it_no_longer_declares(world: World, cloud: Cloud) -> None:
    world.deploy(shop)
    world.deploy(nothing, phase="destroy")
    assert cloud.calls("delete") == ["api", "db"]
    assert cloud.calls("update") == cloud.calls("create")[2:] == []
    assert (world.fold().resources, world.fold().scopes) == ({}, {})


def test_destroying_runs_the_body_as_a_plan(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> str:
        return str((await Thing("never-made")).uid)

    world.deploy(shop)
    text = world.deploy(body, phase="destroy")
    assert text == f"‹known after deploy: {PROD}/never-made.uid›"
    assert cloud.ids() == []


def test_destroying_goes_through_several_stages(world: World, cloud: Cloud) -> None:
    async def main() -> None:
        async with alchemy("my-app", stage="prod"):
            Thing("db")
        async with alchemy("my-app", stage="dev"):
            Thing("db")

    world.run(main)
    assert len(cloud.objects) == 2
    world.run(main, phase="destroy")
    assert cloud.objects == {}


def test_destroying_twice_is_destroying_once(world: World, cloud: Cloud) -> None:
    world.deploy(shop)
    for _ in range(2):
        world.deploy(nothing, phase="destroy")
    assert cloud.calls("delete") == ["api", "db"]
    view = lock_view(world.layout, Files(), ScopePath.parse(PROD), clock=Clock())
    assert view.verdict is Verdict.FREE


def test_destroying_what_a_killed_run_left_looks_first(world: World, cloud: Cloud) -> None:
    cloud.lost.add("create db")
    with pytest.raises(Exception, match="no answer"):
        world.deploy(lambda app: waiting(Thing("db", timeout=0.05)), max_retries=0)
    cloud.log.clear()
    world.deploy(nothing, phase="destroy")
    assert cloud.log == ["read db", "delete db"]
    assert cloud.objects == {}


async def waiting(thing: Any) -> None:
    await thing


def test_destroying_what_was_never_made_calls_delete_for_nothing(world: World, cloud: Cloud) -> None:
    cloud.fail("create db")
    with pytest.raises(RunFailed):
        world.deploy(lambda app: declare("db"))
    cloud.log.clear()
    world.deploy(nothing, phase="destroy")
    assert cloud.log == ["read db"]
    assert world.rows() == {}


async def declare(id: str) -> None:
    Thing(id)


def test_a_stage_starts_again_after_it_was_destroyed_with_the_same_lineage(world: World, cloud: Cloud) -> None:
    world.deploy(shop)
    lineage = world.fold().lineage
    world.deploy(nothing, phase="destroy")
    world.deploy(shop)
    assert world.fold().lineage == lineage
    assert sorted(world.rows()) == ["api", "database/db"]


def test_a_phase_that_is_none_is_refused(world: World) -> None:
    with pytest.raises(UsageError, match="phase is one of up, plan, read, destroy, not 'down'"):
        world.deploy(nothing, phase="down")


def test_the_command_line_decides_the_phase_and_the_stage(world: World, cloud: Cloud) -> None:
    async def main() -> str:
        async with alchemy("my-app", phase="up") as app:
            Solid("db")
            return str(app.path)

    assert world.run(main, phase="plan", stage="blue") == "my-app/blue"
    assert cloud.log == []
    assert world.run(main, stage="blue") == "my-app/blue"
    assert cloud.calls() == ["create db"]


def test_a_stage_of_the_program_that_contradicts_the_command_line_is_refused(world: World) -> None:
    async def main() -> None:
        async with alchemy("my-app", stage="prod"):
            pass

    world.run(main, stage="prod")
    with pytest.raises(UsageError, match="opens stage 'prod', the command line says 'dev'"):
        world.run(main, stage="dev")


def test_a_stage_from_the_environment_is_used_when_nobody_says_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def path(app: Scope) -> str:
        return str(app.path)

    monkeypatch.setenv("ALCHEMY_STAGE", "from-env")
    assert world.deploy(path, stage=None) == "my-app/from-env"
    assert world.deploy(path, stage="prod") == PROD
    monkeypatch.setenv("ALCHEMY_STAGE", "../x")
    with pytest.raises(UsageError, match="not allowed"):
        world.deploy(path, stage=None)


def test_a_damaged_journal_stops_every_phase_and_stays_as_it_is(world: World, cloud: Cloud) -> None:
    world.deploy(shop)
    journal = world.layout.epoch(PROD, 1)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], b"garbage\n", *lines[2:]]))
    tree = world.tree()
    bodies: list[Body[None]] = [shop, nothing]
    for phase in ("up", "plan", "read", "destroy"):
        for body in bodies:
            with pytest.raises(StateInvalid, match=r"000001.jsonl:2") as error:
                world.deploy(body, phase=phase)
            assert error.value.exit_code == 4
    assert {k: v[1] for k, v in world.tree().items() if "locks" not in k} == {
        k: v[1] for k, v in tree.items() if "locks" not in k
    }
    assert cloud.calls("delete") == []
