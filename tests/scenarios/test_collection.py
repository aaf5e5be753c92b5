"""What is stored and no longer declared goes, in order, in the way that was asked for."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alchemy import CloudError, Refused, Report, RunFailed, Scope, UsageError, alchemy
from alchemy.model.deletions import DeletionPlan
from alchemy.model.events import ChangeRetried
from tests.scenarios.world import PROD, Body, Broken, Cloud, Thing, World, nothing

REPOSITORY = Path(__file__).parents[2]


async def shop(app: Scope) -> None:
    """A database that an api uses that a site uses, in blocks, and something alone."""
    async with alchemy.run("database"):
        db = Thing("db")
    async with alchemy.run("compute"):
        api = Thing("api", uses=db)
    Thing("site", uses=[api, db])
    Thing("alone")


def many(count: int = 8) -> Body[None]:
    async def body(app: Scope) -> None:
        for n in range(count):
            Thing(f"t{n}")

    return body


def keeping(*ids: str, **finalize: Any) -> Body[Any]:
    """Keeps these of `many` and finalizes with options of its own."""

    async def body(app: Scope) -> Any:
        for id in ids:
            Thing(id)
        return await app.finalize(**finalize)

    return body


def test_orphans_go_dependents_first_and_take_their_empty_scopes_with_them(world: World, cloud: Cloud) -> None:
    world.deploy(shop)
    world.deploy(nothing)
    deleted = cloud.calls("delete")
    assert deleted.index("site") < deleted.index("api") < deleted.index("db")
    assert set(deleted) == {"site", "api", "db", "alone"}
    assert world.rows() == {}
    assert list(world.fold().scopes) == [PROD]
    left = sorted(path.name for path in world.layout.scope(PROD).iterdir())
    assert left == ["backups", "journal", "state.json"]


def test_only_what_is_gone_from_the_program_goes(world: World, cloud: Cloud) -> None:
    async def smaller(app: Scope) -> None:
        async with alchemy.run("database"):
            Thing("db")

    world.deploy(shop)
    world.deploy(smaller)
    assert cloud.ids() == ["db"]
    assert sorted(world.fold().scopes) == [PROD, f"{PROD}/database"]
    assert world.fold().declared["orphans"] == []


def test_a_block_that_is_entered_and_empty_stays(world: World) -> None:
    async def empty(app: Scope) -> None:
        async with alchemy.run("database"):
            pass

    world.deploy(shop)
    world.deploy(empty)
    assert sorted(world.fold().scopes) == [PROD, f"{PROD}/database"]


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"strategy": "sequential"}, 1),
        ({"strategy": "parallel"}, 8),
        ({"strategy": "batched", "batch_size": 3}, 3),
        ({"strategy": "batched"}, 5),
        ({}, 1),
    ],
)
def test_a_strategy_says_how_many_go_at_once(world: World, cloud: Cloud, options: dict[str, Any], most: int) -> None:
    world.deploy(many())
    cloud.most, cloud.crowd = 0, most
    report = world.deploy(keeping(**options))
    assert cloud.most == most
    assert len(report.deleted) == 8
    assert cloud.objects == {}


def test_parallel_is_capped_like_everything_else(world: World, cloud: Cloud) -> None:
    world.deploy(many())
    cloud.most, cloud.crowd = 0, 4
    world.deploy(nothing, destroy_strategy="parallel", max_concurrency=4)
    assert cloud.most == 4


@pytest.mark.parametrize("strategy", ["sequential", "parallel", "batched"])
def test_no_strategy_changes_the_order_of_what_uses_what(world: World, cloud: Cloud, strategy: str) -> None:
    world.deploy(shop)
    world.deploy(nothing, destroy_strategy=strategy)
    deleted = cloud.calls("delete")
    assert deleted.index("site") < deleted.index("api") < deleted.index("db")


def test_the_newest_goes_first_among_equals(world: World, cloud: Cloud) -> None:
    async def in_order(app: Scope) -> None:
        for n in range(4):
            await Thing(f"t{n}")

    world.deploy(in_order)
    world.deploy(nothing)
    assert cloud.calls("delete") == ["t3", "t2", "t1", "t0"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"strategy": "chaotic"}, "one of sequential, parallel, batched"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2.5}, "whole number"),
        ({"max_retries": -1}, "max_retries"),
        ({"retry_delay": 1000}, "above 300"),
        ({"timeout": 30_000}, "above 3600"),
        ({"timeout": "30"}, "seconds"),
    ],
)
def test_options_without_meaning_are_refused_before_anything_goes(
    world: World, cloud: Cloud, wrong: dict[str, Any], says: str
) -> None:
    world.deploy(many(2))
    with pytest.raises(UsageError, match=says) as error:
        world.deploy(keeping(**wrong))
    if "above" in says:
        assert "seconds, not milliseconds" in error.value.hint
    assert len(cloud.objects) == 2


def test_a_dry_run_says_what_would_go_and_ends_nothing(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> DeletionPlan:
        plan = await app.finalize(dry_run=True)
        assert isinstance(plan, DeletionPlan)
        assert not app.closed
        assert cloud.calls("delete") == []
        async with alchemy.run("database"):
            Thing("db")  # after all
        return plan

    world.deploy(shop)
    plan = world.deploy(body)
    assert [(step.address, step.reason) for step in plan.deletions] == [
        (f"{PROD}/site", "not in the program"),
        (f"{PROD}/alone", "not in the program"),
        (f"{PROD}/compute/api", "not in the program"),
        (f"{PROD}/database/db", "not in the program"),
    ]
    assert plan.scopes == (f"{PROD}/compute", f"{PROD}/database")
    assert cloud.ids() == ["db"]


def test_a_report_says_what_went(world: World, cloud: Cloud) -> None:
    world.deploy(many(3))
    report = world.deploy(keeping("t1"))
    assert isinstance(report, Report)
    assert report.ok
    assert report.deleted == [f"{PROD}/t2", f"{PROD}/t0"]
    assert [step.address for step in report.deletions] == report.deleted
    assert report.failed == []


def test_a_protected_orphan_blocks_its_step_and_keeps_what_it_uses(world: World, cloud: Cloud) -> None:
    async def guarded(app: Scope) -> None:
        Thing("guarded", uses=Thing("db"), protect=True)
        Thing("other")

    world.deploy(guarded)
    with pytest.raises(RunFailed) as error:
        world.deploy(nothing)
    assert error.value.failures == ((f"{PROD}/guarded", "it is protected"),)
    assert cloud.ids() == ["db", "guarded"], "the rest went"
    assert "blocked" in " ".join(world.outcomes())
    assert "nothing was collected" not in error.value.message


def test_destroy_refuses_what_is_protected_before_touching_anything(world: World, cloud: Cloud) -> None:
    async def guarded(app: Scope) -> None:
        Thing("guarded", protect=True)
        Thing("other")

    world.deploy(guarded)
    with pytest.raises(Refused, match=f"protected: {PROD}/guarded"):
        world.deploy(guarded, phase="destroy")
    assert cloud.ids() == ["guarded", "other"]
    assert world.fold().released


def test_what_is_not_found_is_gone(world: World, cloud: Cloud) -> None:
    world.deploy(many(1))
    cloud.fail("delete t0", CloudError("no such thing", status=404))
    world.deploy(nothing)
    assert world.rows() == {}
    assert cloud.calls("delete") == ["t0"]


def test_a_delete_is_tried_again_and_looks_first(world: World, cloud: Cloud) -> None:
    world.deploy(many(1))
    cloud.fail("delete t0", times=2)
    cloud.log.clear()
    world.deploy(nothing)
    assert cloud.log == ["delete t0", "read t0", "delete t0", "read t0", "delete t0"]
    retried = [e for e in world.events if isinstance(e, ChangeRetried)]
    assert [(e.attempt, e.of, e.error) for e in retried] == [(1, 3, "Broken: no room"), (2, 3, "Broken: no room")]
    assert world.rows() == {}


def test_a_delete_whose_answer_was_lost_is_not_sent_again(world: World, cloud: Cloud) -> None:
    async def quick(app: Scope) -> None:
        Thing("t0", timeout=0.05)

    world.deploy(quick)
    cloud.lost.add("delete t0")
    world.deploy(nothing)
    assert cloud.calls("delete") == ["t0"]
    assert world.rows() == {}


def test_finalize_may_give_deletes_their_own_time(world: World, cloud: Cloud) -> None:
    world.deploy(many(1))
    cloud.lost.add("delete t0")
    world.deploy(keeping(timeout=0.05))
    (retried,) = [e for e in world.events if isinstance(e, ChangeRetried)]
    assert "no answer within 0.05 s" in retried.error
    assert cloud.calls("delete") == ["t0"]
    assert world.rows() == {}


def test_a_delete_that_fails_for_good_keeps_its_row_with_the_reason(world: World, cloud: Cloud) -> None:
    world.deploy(many(3))
    cloud.fail("delete t1", times=4)
    with pytest.raises(RunFailed) as error:
        world.deploy(nothing)
    assert error.value.failures == ((f"{PROD}/t1", "Broken: no room"),)
    assert "nothing was collected" not in error.value.message
    assert len(cloud.calls("delete")) == 2 + 4
    row = world.rows()["t1"]
    assert (row.status, row.error) == ("deleting", "Broken: no room")
    assert list(world.rows()) == ["t1"], "the others went"
    world.deploy(nothing)
    assert world.rows() == {}
    assert cloud.objects == {}


def test_what_could_not_go_keeps_what_it_uses(world: World, cloud: Cloud) -> None:
    world.deploy(shop)
    cloud.fail("delete api", times=1)
    with pytest.raises(RunFailed) as error:
        world.deploy(nothing, max_retries=0)
    assert [address for address, _ in error.value.failures] == [f"{PROD}/compute/api"], "the root cause only"
    assert cloud.ids() == ["api", "db"]
    assert "delete db skipped" in world.outcomes()
    world.deploy(nothing)
    assert cloud.objects == {}


def test_after_a_failure_it_stops_when_told_to(world: World, cloud: Cloud) -> None:
    world.deploy(many(4))
    cloud.fail("delete t2", times=1)
    cloud.fail("delete t3", times=1)
    with pytest.raises(RunFailed):
        world.deploy(nothing, max_retries=0, continue_on_error=False)
    assert len(cloud.calls("delete")) == 1
    assert len(cloud.objects) == 4
    cloud.errors.clear()
    cloud.fail("delete t2", times=1)
    with pytest.raises(RunFailed):
        world.deploy(nothing, max_retries=0, continue_on_error=False, force=True)
    assert cloud.ids() == ["t2"], "force goes on"


def test_a_deleted_half_way_object_is_made_again_when_it_is_wanted_again(world: World, cloud: Cloud) -> None:
    world.deploy(many(1))
    cloud.fail("delete t0", times=1)
    with pytest.raises(RunFailed):
        world.deploy(nothing, max_retries=0)
    world.deploy(many(1))
    row = world.rows()["t0"]
    assert (row.status, row.generation) == ("ready", 1)
    assert list(cloud.objects) == [row.physical_name]


OTHER = """
import asyncio
from alchemy import Resource, alchemy, output

class Secretive(Resource, kind="other:Secretive"):
    uid: str = output()
    async def create(self, ctx): return {"uid": "x"}
    async def read(self, ctx): return {"uid": "x"}
    async def delete(self, ctx): pass

async def main():
    async with alchemy("my-app", stage="prod"):
        Secretive("secret")

asyncio.run(main())
"""


def test_an_orphan_of_a_kind_nobody_knows_is_blocked_with_the_way_out(world: World, cloud: Cloud) -> None:
    (world.root / "other.py").write_text(OTHER)
    path = f"{REPOSITORY / 'core'}:{REPOSITORY}"
    subprocess.run(
        [sys.executable, "other.py"], cwd=world.root, env={"PYTHONPATH": path}, check=True, capture_output=True
    )
    with pytest.raises(RunFailed) as error:
        world.deploy(many(1))
    ((address, why),) = error.value.failures
    assert address == f"{PROD}/secret"
    assert "no loaded class for the kind other:Secretive (defined in __main__)" in why
    assert "[tool.alchemy] kinds" in why
    assert sorted(world.rows()) == ["secret", "t0"], "never a crash and never dropped"


def test_nested_scopes_only_seal_and_the_end_collects(world: World, cloud: Cloud) -> None:
    async def moved(app: Scope) -> None:
        async with alchemy.run("database"):
            Thing("new-db")
        assert cloud.calls("delete") == []
        async with alchemy.run("compute"):
            Thing("api", uses="new-db")
        assert cloud.calls("delete") == []

    world.deploy(shop)
    world.deploy(moved)
    assert cloud.ids() == ["api", "new-db"]
    assert cloud.calls().index("update api") < cloud.calls().index("delete db")


def test_finalizing_a_nested_scope_collects_in_it_only(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> Any:
        async with alchemy.run("compute") as compute:
            report = await compute.finalize()
            assert cloud.calls("delete") == ["api"]
        return report

    async def before(app: Scope) -> None:
        async with alchemy.run("compute"):
            Thing("api")
        Thing("other")

    world.deploy(before)
    report = world.deploy(body)
    assert report.deleted == [f"{PROD}/compute/api"]
    assert cloud.calls("delete") == ["api", "other"], "the rest at the end"


def test_finalizing_a_nested_scope_leaves_what_others_still_use_to_the_end(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        async with alchemy.run("database") as database:
            await database.finalize()
        assert cloud.calls("delete") == []

    world.deploy(shop)
    world.deploy(body)
    deleted = cloud.calls("delete")
    assert deleted.index("site") < deleted.index("api") < deleted.index("db")
    assert cloud.objects == {}


def test_a_hundred_orphans_in_a_chain_go_one_after_the_other(world: World, cloud: Cloud) -> None:
    async def chain(app: Scope) -> None:
        last: Any = None
        for n in range(100):
            last = Thing(f"t{n:03d}", uses=last)

    world.deploy(chain)
    world.deploy(nothing, destroy_strategy="parallel")
    assert cloud.calls("delete") == [f"t{n:03d}" for n in reversed(range(100))]


def test_destroying_takes_everything_in_order_and_then_the_stage(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> Report:
        return await alchemy.destroy(app)

    world.deploy(shop)
    report = world.deploy(body)
    assert len(report.deleted) == 4
    assert {step.reason for step in report.deletions} == {"destroyed with its scope"}
    assert cloud.objects == {}
    fold = world.fold()
    assert (fold.resources, fold.scopes, fold.released) == ({}, {}, True)
    assert not (world.layout.scope(PROD) / "state.json").exists()
    world.deploy(shop)
    assert len(cloud.objects) == 4


def test_a_failed_destroy_can_be_repeated(world: World, cloud: Cloud) -> None:
    world.deploy(shop)
    cloud.fail("delete api", Broken("busy"))
    with pytest.raises(RunFailed, match="destroy of my-app/prod failed: 1 resource; their rows are kept"):
        world.deploy(nothing, phase="destroy", max_retries=0)
    assert cloud.ids() == ["api", "db"]
    world.deploy(nothing, phase="destroy")
    assert cloud.objects == {}
    assert world.rows() == {}
