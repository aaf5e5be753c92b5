"""What goes wrong: with a resource, with an answer, with the program. Nothing is lost and nothing is collected."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from alchemy import AlchemyError, CloudError, ResourceFailed, RunFailed, Scope, alchemy
from alchemy.errors import Failure
from alchemy.model.events import ChangeRetried, RunEnded
from alchemy.model.locks import Verdict
from alchemy.model.paths import ScopePath
from alchemy.operations.history import Runs
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.holders import lock_view
from tests.scenarios.world import PROD, Body, Broken, Cloud, Solid, Thing, World, nothing


def free(world: World) -> bool:
    return lock_view(world.layout, Files(), ScopePath.parse(PROD), clock=Clock()).verdict is Verdict.FREE


def one(id: str = "db", **props: Any) -> Body[Any]:
    async def body(app: Scope) -> Any:
        return await Thing(id, **props)

    return body


def test_a_failure_skips_what_needs_it_and_nothing_else(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        db = Thing("db")
        api = Thing("api", uses=db)
        Thing("site", uses=api)
        Thing("alone")

    cloud.fail("create db")
    with pytest.raises(RunFailed) as error:
        world.deploy(body)
    assert error.value.failures == ((f"{PROD}/db", "Broken: no room"),), "the root cause, once"
    assert error.value.exit_code == 1
    assert cloud.calls() == ["create db", "create alone"]
    assert sorted(world.outcomes()) == [
        "create alone done",
        "create api skipped",
        "create db failed",
        "create site skipped",
    ]
    assert free(world)


def test_next_to_a_failure_nothing_is_collected(world: World, cloud: Cloud) -> None:
    async def after(app: Scope) -> None:
        Thing("new")

    world.deploy(one("old"))
    cloud.fail("create new")
    with pytest.raises(RunFailed, match="1 resource; nothing was collected") as error:
        world.deploy(after)
    assert "run the same command again" in error.value.hint
    assert cloud.ids() == ["old"]
    assert world.fold().declared["orphans"] == [], "still what the last complete deploy said"
    world.deploy(after)
    assert cloud.ids() == ["new"]


def test_force_does_not_collect_next_to_a_failure(world: World, cloud: Cloud) -> None:
    world.deploy(one("old"))
    cloud.fail("create new")
    with pytest.raises(RunFailed) as error:
        world.deploy(lambda app: declared("new"), force=True)
    assert cloud.ids() == ["old"]
    assert "nothing was collected" in error.value.message


async def declared(id: str) -> None:
    Thing(id)


def test_every_failure_is_listed(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        for n in range(5):
            cloud.fail(f"create t{n}", Broken(f"reason {n}"))
            Thing(f"t{n}")

    with pytest.raises(RunFailed, match="5 resources") as error:
        world.deploy(body)
    assert sorted(error.value.failures) == [(f"{PROD}/t{n}", f"Broken: reason {n}") for n in range(5)]


def test_what_the_causes_say_to_do_next_is_kept_the_most_common_first(world: World, cloud: Cloud) -> None:
    hints = ["ask for more", "tidy up", "", "tidy up"]

    async def body(app: Scope) -> None:
        for n, hint in enumerate(hints):
            cloud.fail(f"create t{n}", AlchemyError(f"reason {n}", hint=hint))
            Thing(f"t{n}")

    def ended() -> RunEnded:
        return next(event for event in world.events if isinstance(event, RunEnded))

    with pytest.raises(RunFailed) as error:
        world.deploy(body)
    assert error.value.hints == ("tidy up", "ask for more")
    assert error.value.steps[2:] == ("mend the cause and run the same command again: what is done stays done",)
    assert error.value.hint == "; ".join(error.value.steps)
    assert ended().hints == ["tidy up", "ask for more"]
    (summary,) = Runs(world.store, PROD).newest(live=False, now=0.0)
    assert summary.hints == ("tidy up", "ask for more"), "on disk too"
    world.deploy(one("t0"))
    cloud.fail("delete t0", AlchemyError("no way", hint="open the door"), times=9)
    with pytest.raises(RunFailed) as error:
        world.deploy(nothing, max_retries=0)
    assert error.value.hints == ("open the door",)


def test_hints_that_differ_with_every_resource_do_not_pile_up() -> None:
    failed = RunFailed("", [Failure(f"a/{n}", "why", f"look at {n}") for n in range(9)] * 2, hint="go on")
    assert len(failed.failures) == 9, "each once"
    assert failed.steps == ("look at 0", "look at 1", "look at 2", "look at 3", "look at 4", "go on")


def test_awaiting_what_failed_raises_with_the_cause(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        db = Thing("db")
        api = Thing("api", uses=db)
        with pytest.raises(ResourceFailed, match="my-app/prod/db: Broken: no room") as failed:
            await db
        assert failed.value.address == f"{PROD}/db"
        assert isinstance(failed.value.__cause__, Broken)
        with pytest.raises(ResourceFailed, match="api was skipped: my-app/prod/db failed"):
            await api

    cloud.fail("create db")
    with pytest.raises(RunFailed):
        world.deploy(body)


def test_what_the_program_raises_comes_out_as_it_is(world: World, cloud: Cloud) -> None:
    class Mine(Exception):
        pass

    async def body(app: Scope) -> None:
        Thing("new")
        raise Mine("of the program")

    world.deploy(one("old"))
    with pytest.raises(Mine, match="of the program"):
        world.deploy(body)
    assert cloud.ids() in (["old"], ["new", "old"]), "nothing is collected"
    assert sorted(world.rows())[-1] == "old"
    assert free(world)
    fold = world.fold()
    assert (fold.released, fold.last_release["outcome"]) == (True, "failed")
    assert fold.declared["orphans"] == []


def test_what_was_under_way_is_finished_before_the_program_is_left(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        cloud.gates["create db"] = asyncio.Event()
        Thing("db")
        await cloud.until(lambda: cloud.now == 1)
        asyncio.get_running_loop().call_later(0.02, cloud.gates["create db"].set)
        raise KeyError("of the program")

    with pytest.raises(KeyError):
        world.deploy(body)
    assert world.rows()["db"].status == "ready"


def test_a_failed_resource_is_made_by_the_next_run_after_a_look(world: World, cloud: Cloud) -> None:
    cloud.fail("create db")
    with pytest.raises(ResourceFailed):
        world.deploy(one())
    row = world.rows()["db"]
    assert (row.status, row.error) == ("creating", "Broken: no room")
    cloud.log.clear()
    world.deploy(one())
    assert cloud.log == ["read db", "create db"]
    assert len(set(cloud.tokens)) == 1
    assert len(set(cloud.names)) == 1
    assert (world.rows()["db"].status, world.rows()["db"].error) == ("ready", "")


def test_an_error_without_hope_is_not_repeated(world: World, cloud: Cloud) -> None:
    cloud.fail("create db", CloudError("bad name", status=400), times=1)
    with pytest.raises(ResourceFailed, match="bad name"):
        world.deploy(one())
    assert cloud.calls("create") == ["db"]


@pytest.mark.parametrize("status", [0, 408, 429, 500, 503])
def test_an_error_that_may_pass_is_repeated_after_a_look(world: World, cloud: Cloud, status: int) -> None:
    cloud.fail("create db", CloudError("busy", status=status), ConnectionError("reset"), TimeoutError())
    world.deploy(one())
    assert cloud.log == ["create db"] + ["read db", "create db"] * 3
    assert len(set(cloud.tokens)) == 1
    assert cloud.ids() == ["db"]


def test_after_the_last_try_the_last_error_is_told(world: World, cloud: Cloud) -> None:
    cloud.fail("create db", *[CloudError(f"busy {n}", status=503) for n in range(9)])
    with pytest.raises(ResourceFailed, match="busy 2"):
        world.deploy(one(), max_retries=2)
    assert len(cloud.calls("create")) == 3
    retried = [e for e in world.events if isinstance(e, ChangeRetried)]
    assert [(e.attempt, e.of, e.error) for e in retried] == [(1, 2, "busy 0"), (2, 2, "busy 1")]


def test_the_cloud_says_when_to_come_back(world: World, cloud: Cloud) -> None:
    cloud.fail("create db", CloudError("busy", status=429, retry_after=0.07))
    world.deploy(one())
    (retried,) = [e for e in world.events if isinstance(e, ChangeRetried)]
    assert retried.delay == 0.07


def test_a_lost_answer_leaves_the_intent_and_the_next_run_looks_first(world: World, cloud: Cloud) -> None:
    cloud.lost.add("create db")
    with pytest.raises(ResourceFailed, match="no answer within"):
        world.deploy(one(timeout=0.05), max_retries=0)
    assert world.rows()["db"].status == "creating"
    cloud.lost.clear()
    cloud.log.clear()
    made = world.deploy(one(timeout=0.05))
    assert cloud.log == ["read db"]
    assert made.uid == "uid-00000001"
    assert cloud.ids() == ["db"]


def test_a_lost_answer_is_looked_for_in_the_same_run(world: World, cloud: Cloud) -> None:
    cloud.lost.add("create db")
    made = world.deploy(one(timeout=0.05))
    assert cloud.log == ["create db", "read db"]
    assert made.uid == "uid-00000001"
    assert world.rows()["db"].status == "ready"


def test_what_is_found_after_a_lost_answer_is_brought_to_the_new_wish(world: World, cloud: Cloud) -> None:
    cloud.lost.add("create db")
    with pytest.raises(ResourceFailed):
        world.deploy(one(timeout=0.05, size=1), max_retries=0)
    cloud.lost.clear()
    made = world.deploy(one(size=5))
    assert made.area == 5
    assert cloud.calls() == ["create db", "update db"]
    assert [o["size"] for o in cloud.objects.values()] == [5]
    world.deploy(one(size=5))
    assert world.outcomes() == ["keep db done"]


def test_what_is_found_after_a_lost_answer_and_cannot_be_updated_is_replaced(world: World, cloud: Cloud) -> None:
    def solid(size: int, **more: Any) -> Body[Any]:
        async def body(app: Scope) -> Any:
            return await Solid("db", size=size, **more)

        return body

    cloud.lost.add("create db")
    with pytest.raises(ResourceFailed):
        world.deploy(solid(1, timeout=0.05), max_retries=0)
    cloud.lost.clear()
    world.deploy(solid(2))
    assert [o["size"] for o in cloud.objects.values()] == [2]
    assert world.formers() == []


def test_a_lost_answer_to_an_update_is_sent_again_by_the_next_run(world: World, cloud: Cloud) -> None:
    world.deploy(one(size=1))
    cloud.lost.add("update db")
    with pytest.raises(ResourceFailed):
        world.deploy(one(size=2, timeout=0.05), max_retries=0)
    row = world.rows()["db"]
    assert row.status == "updating"
    assert row.pending is not None
    assert (row.props["size"], row.pending["size"]) == (1, 2)
    cloud.lost.clear()
    world.deploy(one(size=2))
    assert world.rows()["db"].props["size"] == 2
    assert cloud.calls("update") == ["db", "db"]


def test_going_back_after_a_lost_answer_to_an_update_updates_all_the_same(world: World, cloud: Cloud) -> None:
    world.deploy(one(size=1))
    cloud.lost.add("update db")
    with pytest.raises(ResourceFailed):
        world.deploy(one(size=2, timeout=0.05), max_retries=0)
    cloud.lost.clear()
    world.deploy(one(size=1))
    assert [o["size"] for o in cloud.objects.values()] == [1]
    assert cloud.calls("update") == ["db", "db"]


def test_a_lost_answer_to_a_replacement_goes_on_with_the_same_incarnation(world: World, cloud: Cloud) -> None:
    world.deploy(one(region="eu"))
    cloud.lost.add("create db")
    with pytest.raises(ResourceFailed):
        world.deploy(one(region="us", timeout=0.05), max_retries=0)
    assert (world.rows()["db"].status, world.formers()) == ("replacing", ["db"])
    cloud.lost.clear()
    world.deploy(one(region="us"))
    assert [(o["region"]) for o in cloud.objects.values()] == ["us"]
    assert world.rows()["db"].generation == 1
    assert world.formers() == []


def test_a_call_that_ends_just_after_its_time_leaves_no_noise(world: World, cloud: Cloud) -> None:
    """Its task is cancelled and raises something of its own: nobody else hears of it."""
    heard: list[Any] = []

    class Stubborn(Thing, kind="world:Stubborn"):
        async def create(self, ctx: Any) -> Any:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise Broken("while being cancelled") from None

    async def body(app: Scope) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: heard.append(context))
        Stubborn("db", timeout=0.02)

    with pytest.raises(RunFailed, match="1 resource"):
        world.deploy(body, max_retries=0)
    import gc

    gc.collect()
    assert heard == []


# -- blocks that fail -------------------------------------------------------------------------------------------


def failing_block(**options: Any) -> Body[None]:
    async def body(app: Scope) -> None:
        async with alchemy.run("block", **options):
            db = await Thing("db")
            await Thing("api", uses=db)
            raise KeyError("of the program")

    return body


def test_a_failed_block_takes_back_what_it_created(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        await Thing("outside")
        await failing_block()(app)

    with pytest.raises(KeyError):
        world.deploy(body)
    assert cloud.calls("delete") == ["api", "db"], "dependents first"
    assert cloud.ids() == ["outside"]
    assert list(world.rows()) == ["outside"]


def test_a_failed_block_keeps_what_it_created_when_told_to(world: World, cloud: Cloud) -> None:
    with pytest.raises(KeyError):
        world.deploy(failing_block(on_error="keep"))
    assert cloud.ids() == ["api", "db"]
    with pytest.raises(KeyError):
        world.deploy(failing_block(), on_error="keep")
    assert cloud.calls("delete") == [], "inherited from above"


def test_a_failed_stage_keeps_by_default_and_takes_back_when_told_to(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        await Thing("db")
        raise KeyError("of the program")

    with pytest.raises(KeyError):
        world.deploy(body)
    assert cloud.ids() == ["db"]
    with pytest.raises(KeyError):
        world.deploy(body, stage="dev", on_error="cleanup")
    assert cloud.ids() == ["db"]
    assert world.rows("my-app/dev") == {}


def test_a_failed_block_leaves_what_was_there_before_it(world: World, cloud: Cloud) -> None:
    def program(fail: bool, **props: Any) -> Body[None]:
        async def body(app: Scope) -> None:
            async with alchemy.run("block"):
                await Thing("old", **props)
                if fail:
                    await Thing("new")
                    raise KeyError("of the program")

        return body

    world.deploy(program(False))
    with pytest.raises(KeyError):
        world.deploy(program(True, size=4))
    assert cloud.ids() == ["old"]
    assert world.rows()["block/old"].props["size"] == 4, "an update is not taken back"


def test_a_failed_block_leaves_what_is_adopted_retained_or_protected(world: World, cloud: Cloud) -> None:
    cloud.objects["my-app-prod-block-adopted"] = {"id": "adopted", "uid": "uid-before", "size": 1, "region": "eu"}

    async def body(app: Scope) -> None:
        async with alchemy.run("block"):
            await Thing("adopted", adopt=True)
            await Thing("retained", retain=True)
            await Thing("protected", protect=True)
            await Thing("plain")
            raise KeyError("of the program")

    with pytest.raises(KeyError):
        world.deploy(body)
    assert cloud.ids() == ["adopted", "protected", "retained"]
    assert sorted(world.rows()) == ["block/adopted", "block/protected", "block/retained"]


def test_what_was_to_be_adopted_and_had_to_be_created_is_taken_back(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        async with alchemy.run("block"):
            await Thing("db", adopt=True)
            raise KeyError("of the program")

    with pytest.raises(KeyError):
        world.deploy(body)
    assert cloud.objects == {}


def test_a_replacement_in_a_failed_block_keeps_both_incarnations(world: World, cloud: Cloud) -> None:
    def program(region: str, fail: bool) -> Body[None]:
        async def body(app: Scope) -> None:
            async with alchemy.run("block"):
                await Thing("db", region=region)
                if fail:
                    raise KeyError("of the program")

        return body

    world.deploy(program("eu", False))
    with pytest.raises(KeyError):
        world.deploy(program("us", True))
    assert sorted(o["region"] for o in cloud.objects.values()) == ["eu", "us"]
    assert world.formers() == ["block/db"]
    world.deploy(program("us", False))
    assert [o["region"] for o in cloud.objects.values()] == ["us"]


def test_a_failed_resource_in_a_block_takes_the_block_back(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        async with alchemy.run("block"):
            await Thing("good")
            await Thing("bad")

    cloud.fail("create bad")
    with pytest.raises(ResourceFailed):
        world.deploy(body)
    assert cloud.objects == {}
    assert world.rows() == {}, "nothing was made of it: a look said so"


def test_when_taking_back_fails_too_the_row_stays_and_both_are_told(world: World, cloud: Cloud) -> None:
    cloud.fail("delete db", times=4)
    with pytest.raises(KeyError):
        world.deploy(failing_block())
    assert list(world.rows()) == ["block/db"]
    assert "delete db failed" in world.outcomes()
    assert world.fold().last_release["failures"] == [[f"{PROD}/block/db", "Broken: no room"]]


def test_a_program_may_go_on_without_a_failed_block(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        try:
            await failing_block()(app)
        except KeyError:
            Thing("instead")

    world.deploy(one("old"))
    world.deploy(body)
    assert cloud.ids() == ["instead", "old"], "what the block would have declared is not known: nothing is collected"
    assert world.fold().last_release["declared"] == {"complete": False}


def test_a_function_of_a_block_that_fails_takes_the_block_back(world: World, cloud: Cloud) -> None:
    async def database(scope: Scope) -> None:
        await Thing("db")
        raise KeyError("of the program")

    async def body(app: Scope) -> None:
        await alchemy.run("database", database)

    with pytest.raises(KeyError):
        world.deploy(body)
    assert cloud.objects == {}


# -- being cancelled --------------------------------------------------------------------------------------------


def test_a_time_limit_of_the_program_is_an_interruption_not_a_failure(world: World, cloud: Cloud) -> None:
    async def main() -> None:
        async with asyncio.timeout(None) as limit, alchemy("my-app", stage="prod"), alchemy.run("block"):
            await Thing("done")
            cloud.gates["create hanging"] = asyncio.Event()
            hanging = Thing("hanging")
            await cloud.until(lambda: cloud.now == 1)
            limit.reschedule(asyncio.get_running_loop().time())
            await hanging

    with pytest.raises(TimeoutError):
        world.run(main)
    assert cloud.calls("delete") == [], "nothing is taken back"
    assert {id: str(row.status) for id, row in world.rows().items()} == {
        "block/done": "ready",
        "block/hanging": "creating",
    }
    assert world.fold().last_release["outcome"] == "interrupted"
    assert free(world)


def test_after_an_interruption_the_same_program_goes_on(world: World, cloud: Cloud) -> None:
    async def main() -> None:
        async with asyncio.timeout(None) as limit, alchemy("my-app", stage="prod"):
            cloud.lost.add("create db")
            db = Thing("db")
            await cloud.until(lambda: bool(cloud.objects))
            limit.reschedule(asyncio.get_running_loop().time())
            await db

    with pytest.raises(TimeoutError):
        world.run(main)
    cloud.lost.clear()
    made = world.deploy(one())
    assert made.uid == "uid-00000001"
    assert cloud.calls("create") == ["db"]


def test_hostile_text_from_the_cloud_is_shown_as_what_it_is(world: World, cloud: Cloud) -> None:
    cloud.fail("create db", Broken("\x1b]0;owned\x07 [red]x[/] \u202e\nline"))
    with pytest.raises(ResourceFailed) as error:
        world.deploy(one())
    assert "\x1b" not in error.value.message
    assert error.value.message.isprintable()
    assert world.rows()["db"].error.isprintable()
    world.deploy(nothing)
    assert world.rows() == {}
