"""Rows that came back from a copy: the next deploy looks before it believes them, and does nothing twice."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from alchemy import Ambiguous, Context, Outputs, RunFailed, Scope, alchemy
from alchemy.engine.session import recorded_runs
from alchemy.model.events import ChangeStarted
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Drop, Op, Put
from alchemy.model.values import ResourceState, ScopeKind, Status
from alchemy.store.ledger import Ledger
from tests.scenarios.world import CLOUD, PROD, Cloud, Named, Solid, Thing, World, nothing


def go_back(
    world: World, to: Fold | None = None, change: Callable[[ResourceState], ResourceState] = lambda r: r
) -> None:
    """As a restore does: the rows of then, each to be verified, in one record."""
    path = ScopePath.parse(PROD)
    before = world.fold()
    then = to or before

    async def write() -> None:
        ledger = await Ledger.open(world.store, path, ScopeKind.STAGE, purpose="restore", timeout=0)
        ops: list[Op] = [Drop(row.address) for row in before.resources.values() if row.key not in then.resources]
        ops += [Put(change(replace(row, verify=True))) for row in then.resources.values()]
        await ledger.commit("restore", ops, {"from": "a test"})
        ledger.close(outcome="done", counts={}, failures=[])

    asyncio.run(write())


async def db(scope: Scope) -> None:
    Thing("db")


async def pair(scope: Scope) -> None:
    base = Thing("base")
    Thing("user", uses=base.uid)


def test_what_is_there_is_kept_and_believed_again(world: World, cloud: Cloud) -> None:
    world.deploy(db)
    go_back(world)
    cloud.log.clear()
    world.deploy(db)
    assert cloud.log == ["read db"]
    assert world.outcomes() == ["keep db done"]
    assert not world.rows()["db"].verify
    cloud.log.clear()
    world.deploy(db)
    assert cloud.log == []


def test_outputs_are_those_of_the_object_that_is_there(world: World, cloud: Cloud) -> None:
    world.deploy(pair)
    go_back(world, change=lambda row: replace(row, outputs={**row.outputs, "uid": "uid-of-long-ago"}))
    cloud.log.clear()
    world.deploy(pair)
    assert world.rows()["base"].outputs["uid"] == cloud.objects[world.rows()["base"].physical_name]["uid"]
    assert cloud.calls() == [], "what uses it was made with the right one already"
    assert world.rows()["user"].depends_on == (f"{PROD}/base",)


def test_what_is_gone_is_created_again_under_its_name(world: World, cloud: Cloud) -> None:
    world.deploy(pair)
    before = world.rows()
    go_back(world)
    del cloud.objects[before["base"].physical_name]
    cloud.log.clear()
    world.deploy(pair)
    after = world.rows()
    assert cloud.calls("create") == ["base"]
    assert (after["base"].physical_name, after["base"].generation) == (before["base"].physical_name, 0)
    assert after["base"].seq == before["base"].seq
    assert not any(row.verify for row in after.values())
    started = [e.reason for e in world.events if isinstance(e, ChangeStarted) and e.subject.endswith("base")]
    assert started == ["not found in the cloud after a restore"]
    assert cloud.calls("update") == ["user"], "its input has another id now"


def test_it_is_looked_up_first_and_then_compared_as_usual(world: World, cloud: Cloud) -> None:
    async def larger(scope: Scope) -> None:
        Thing("db", size=4)

    async def elsewhere(scope: Scope) -> None:
        Thing("db", size=4, region="us")

    world.deploy(db)
    go_back(world)
    cloud.log.clear()
    world.deploy(larger)
    assert cloud.log == ["read db", "update db"]
    go_back(world)
    cloud.log.clear()
    world.deploy(elsewhere)
    assert cloud.log == ["read db", "create db", "delete db"]
    assert [o["region"] for o in cloud.objects.values()] == ["us"]


def test_half_an_update_is_updated_again_when_the_object_is_there(world: World, cloud: Cloud) -> None:
    world.deploy(db)
    go_back(world, change=lambda row: replace(row, status=Status.UPDATING, pending={"size": 3}))
    cloud.log.clear()
    world.deploy(db)
    assert cloud.log == ["read db", "update db"]
    assert (world.rows()["db"].status, world.rows()["db"].verify) == ("ready", False)


def test_a_restored_row_that_nobody_declares_is_deleted_where_it_is_there(world: World, cloud: Cloud) -> None:
    async def two(scope: Scope) -> None:
        Thing("a")
        Thing("b")

    world.deploy(two)
    go_back(world)
    del cloud.objects[world.rows()["a"].physical_name]
    cloud.log.clear()
    world.deploy(nothing)
    assert cloud.calls() == ["delete b"]
    assert (world.rows(), cloud.objects) == ({}, {})


def test_destroying_what_is_not_there_is_done(world: World, cloud: Cloud) -> None:
    world.deploy(pair)
    go_back(world)
    cloud.objects.clear()
    cloud.log.clear()
    world.deploy(pair, phase="destroy")
    assert cloud.calls() == []
    assert world.rows() == {}


def test_state_that_went_back_past_a_destroy_and_a_deploy_finds_the_new_objects(world: World, cloud: Cloud) -> None:
    """Kinds that know their objects by id: the id of then is gone, the name that only we give is not."""

    class ById(Thing, kind="world:ById"):
        async def read(self, ctx: Context) -> Outputs | None:
            found = await super().read(ctx)
            return None if found and self.outputs and found["uid"] != self.outputs["uid"] else found

    async def one(scope: Scope) -> None:
        ById("db")

    world.deploy(one)
    then = world.fold()
    world.deploy(one, phase="destroy")
    world.deploy(one)
    now = cloud.objects[world.rows()["db"].physical_name]["uid"]
    go_back(world, then)
    assert world.rows()["db"].outputs["uid"] != now
    cloud.log.clear()
    world.deploy(one)
    assert cloud.calls() == []
    assert world.rows()["db"].outputs["uid"] == now
    go_back(world, then)
    world.deploy(one, phase="destroy")
    assert cloud.objects == {}


def test_another_object_of_the_explicit_name_is_nobodys_until_the_program_says_so(world: World, cloud: Cloud) -> None:
    class NamedById(Named, kind="world:NamedById"):
        async def read(self, ctx: Context) -> Outputs | None:
            found = await super().read(ctx)
            return None if found and self.outputs and found["uid"] != self.outputs["uid"] else found

    async def one(scope: Scope) -> None:
        NamedById("db", name="theirs")

    async def adopting(scope: Scope) -> None:
        NamedById("db", name="theirs", adopt=True)

    world.deploy(one)
    go_back(world)
    cloud.objects["theirs"]["uid"] = "uid-of-somebody"
    with pytest.raises(RunFailed, match="failed"):
        world.deploy(one)
    assert cloud.objects["theirs"]["uid"] == "uid-of-somebody"
    assert world.rows()["db"].verify
    cloud.log.clear()
    world.deploy(adopting)
    assert cloud.calls() == []
    assert (world.rows()["db"].adopted, world.rows()["db"].outputs["uid"]) == (True, "uid-of-somebody")


def test_what_was_adopted_stays_adopted_and_what_is_made_again_is_ours(world: World, cloud: Cloud) -> None:
    async def two(scope: Scope) -> None:
        Named("there", name="there", adopt=True)
        Named("gone", name="gone", adopt=True)

    for name in ("there", "gone"):
        cloud.objects[name] = {"id": name, "uid": cloud.uid(), "size": 1, "region": "eu"}
    world.deploy(two)
    go_back(world)
    del cloud.objects["gone"]
    world.deploy(two)
    assert {id: row.adopted for id, row in world.rows().items()} == {"there": True, "gone": False}
    world.deploy(nothing)
    assert list(cloud.objects) == ["there"]


def test_a_kind_that_cannot_be_updated_is_kept_or_made_again(world: World, cloud: Cloud) -> None:
    async def two(scope: Scope) -> None:
        Solid("a")
        Solid("b")

    world.deploy(two)
    go_back(world)
    del cloud.objects[world.rows()["b"].physical_name]
    cloud.log.clear()
    world.deploy(two)
    assert cloud.calls() == ["create b"]


def test_a_plan_says_what_it_does_not_know_and_looks_at_nothing(world: World, cloud: Cloud) -> None:
    world.deploy(pair)
    go_back(world)
    before = world.tree()
    cloud.log.clear()
    recording = recorded_runs.set([])
    try:
        world.deploy(pair, phase="plan")
        (run,) = recorded_runs.get() or []
    finally:
        recorded_runs.reset(recording)
    assert [change.reason for change in run.planned] == ["to be verified: may be created again"] * 2
    assert cloud.log == []
    assert world.tree() == before


def test_a_look_that_fails_fails_that_resource_only(world: World, cloud: Cloud) -> None:
    async def two(scope: Scope) -> None:
        Thing("a")
        Thing("b")

    world.deploy(two)
    go_back(world)
    cloud.fail("read a", times=9)
    with pytest.raises(RunFailed) as failed:
        world.deploy(two, max_retries=0)
    assert failed.value.failures == ((f"{PROD}/a", "Broken: no room"),)
    assert {id: row.verify for id, row in world.rows().items()} == {"a": True, "b": False}
    cloud.errors.clear()
    world.deploy(two)
    assert cloud.calls("create") == ["a", "b"], "those of the very first run"


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("cut", ["read", "create"])
def test_an_interruption_on_the_way_makes_nothing_twice(world: World, cloud: Cloud, there: bool, cut: str) -> None:
    """The call is in flight when the program is cancelled; then the same program runs again."""
    world.deploy(db)
    go_back(world)
    if not there:
        cloud.objects.clear()
    cloud.log.clear()
    cloud.lost.add(f"{cut} db")

    async def main() -> None:
        async with asyncio.timeout(0.2), alchemy("my-app", stage="prod"):
            Thing("db")

    if there and cut == "create":
        world.deploy(db)
    else:
        with pytest.raises(TimeoutError):
            world.run(main)
        cloud.lost.clear()
        world.deploy(db)
    assert cloud.calls("create") == ([] if there else ["db"])
    assert cloud.ids() == ["db"]
    assert not world.rows()["db"].verify
    world.deploy(nothing)
    assert cloud.objects == {}


# --- when nobody can tell


class Twin(Named, kind="world:Twin"):
    """Its cloud knows no unique names: what was announced is found by what it looks like."""

    async def read(self, ctx: Context) -> Outputs | None:
        cloud = CLOUD.get()
        if ctx.name in cloud.objects:
            return {"uid": cloud.objects[ctx.name]["uid"], "area": 1}
        alike = sorted(name for name, made in cloud.objects.items() if made["id"] == self.id)
        if len(alike) > 1:
            raise Ambiguous(alike)
        return {"uid": cloud.objects[alike[0]]["uid"], "area": 1} if alike else None


async def twins(scope: Scope) -> None:
    Twin("one")
    Thing("other")


def leave_two(world: World, cloud: Cloud) -> None:
    """A first deploy that never learned what came of it, and two objects that it may have made."""
    cloud.lost.add("create one")
    with pytest.raises(RunFailed):
        world.deploy(twins, timeout=0.05, max_retries=0)
    cloud.lost.clear()
    made = cloud.objects.pop(world.rows()["one"].physical_name)
    cloud.objects |= {"left": made, "right": {**made, "uid": "another"}}
    cloud.log.clear()


def test_what_nobody_can_tell_stops_that_resource_only_and_says_how_to_decide(world: World, cloud: Cloud) -> None:
    leave_two(world, cloud)

    async def three(scope: Scope) -> None:
        await twins(scope)
        Thing("third")

    with pytest.raises(RunFailed) as failed:
        world.deploy(three)
    ((address, why),) = failed.value.failures
    assert address == f"{PROD}/one"
    assert "2 objects in the cloud could be it: 'left', 'right'; nothing was done to any" in why
    assert "delete those that are not it by hand, or take over the right one with name= and adopt=True" in why
    assert cloud.calls() == ["create third"]
    assert "2 objects" in world.rows()["one"].error


def test_deciding_by_hand_goes_on(world: World, cloud: Cloud) -> None:
    leave_two(world, cloud)
    del cloud.objects["right"]
    world.deploy(twins)
    assert (world.rows()["one"].status, world.rows()["one"].error) == ("ready", "")
    assert cloud.calls("create") == []


def test_deciding_in_the_program_takes_that_one_over(world: World, cloud: Cloud) -> None:
    leave_two(world, cloud)

    async def decided(scope: Scope) -> None:
        Twin("one", name="right", adopt=True)
        Thing("other")

    world.deploy(decided)
    row = world.rows()["one"]
    assert (row.status, row.adopted, row.physical_name, row.outputs["uid"]) == ("ready", True, "right", "another")
    assert cloud.calls("create") == []


def test_destroy_leaves_what_it_cannot_tell_and_takes_the_rest(world: World, cloud: Cloud) -> None:
    leave_two(world, cloud)
    with pytest.raises(RunFailed) as failed:
        world.deploy(twins, phase="destroy")
    assert [address for address, _ in failed.value.failures] == [f"{PROD}/one"]
    assert sorted(cloud.objects) == ["left", "right"]
    assert list(world.rows()) == ["one"]
    assert cloud.calls("delete") == ["other"]


def test_a_resumed_run_collects_the_intents_that_the_program_dropped(world: World, cloud: Cloud) -> None:
    """Rows that nobody declares any more, in every state an interruption can leave them in."""

    async def four(scope: Scope) -> Any:
        return [Thing(id) for id in ("made", "unmade", "updated", "deleted")]

    world.deploy(four)
    del cloud.objects[world.rows()["unmade"].physical_name]
    states = {
        "made": Status.CREATING,
        "unmade": Status.CREATING,
        "updated": Status.UPDATING,
        "deleted": Status.DELETING,
    }
    go_back(world, change=lambda row: replace(row, status=states[row.id], verify=False))
    cloud.log.clear()
    world.deploy(nothing)
    assert sorted(cloud.calls("delete")) == ["deleted", "made", "updated"]
    assert sorted(cloud.calls("read")) == sorted(states)
    assert (cloud.objects, world.rows()) == ({}, {})
