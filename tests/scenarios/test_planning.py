"""A plan says what will happen, and a run that is held to one does that or refuses before it does anything else."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alchemy import Refused, ResourceFailed, RunFailed, Scope, alchemy
from alchemy.engine.agreement import Agreement
from alchemy.engine.session import Run, recorded_runs
from alchemy.model.moves import moves
from alchemy.model.paths import ScopePath
from alchemy.model.plans import SavedPlan
from alchemy.model.records import Put
from alchemy.model.values import ScopeKind
from alchemy.operations.planning import make_plan
from alchemy.store.ledger import Ledger
from tests.scenarios.world import CLOUD, PROD, Body, Broken, Cloud, Named, Solid, Thing, World, nothing


class Vault(Named, kind="world:Vault"):
    """Holds what people put into it; `full` says whether something is."""

    holds_data = True

    async def is_empty(self, ctx: Any) -> bool:
        async with CLOUD.get().call("read", self.id):
            return not CLOUD.get().objects[ctx.name].get("full")


class Sealed(Thing, kind="world:Sealed"):
    """Holds something, and nobody can tell whether it does."""

    holds_data = True


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "alchemy_run.py"
    file.write_text("# for its digest\n")
    return file


def save(world: World, program: Path, body: Body[Any], *, adopt: bool = False, **options: Any) -> SavedPlan:
    """As `alchemy plan --out` does, through the bytes of the file."""
    runs = world.plan_pass(body, **({"adopt": True} if adopt else {}), **options)
    return SavedPlan.from_bytes(make_plan(runs, program, stage="", adopt=adopt).to_bytes(), "file")


def deploy(world: World, body: Body[Any], plan: SavedPlan, *, yes: bool = False, **options: Any) -> Agreement:
    """Held to `plan`, without the second plan pass of the command line. Raises what the program raises."""
    agreement = Agreement(plan)
    world.deploy(body, asked={"agreed": agreement, "yes": yes}, **options)
    return agreement


def things(**sizes: int) -> Body[None]:
    async def body(app: Scope) -> None:
        for id, size in sizes.items():
            Thing(id, size=size)

    return body


def refused(world: World, body: Body[Any], plan: SavedPlan, **options: Any) -> str:
    """Why; nothing that acts was called, and no row is another one."""
    world.cloud.log.clear()
    before = {key: row.to_json() for key, row in world.fold().resources.items()}
    agreement = Agreement(plan)
    with pytest.raises((Refused, RunFailed, ResourceFailed)):
        world.deploy(body, asked={"agreed": agreement}, **options)
    assert world.cloud.calls() == []
    assert {key: row.to_json() for key, row in world.fold().resources.items()} == before
    return agreement.broken[0]


# -- exactly what was planned -----------------------------------------------------------------------------------------


def test_what_was_planned_is_what_is_done(world: World, cloud: Cloud, program: Path) -> None:
    world.deploy(things(same=1, grows=1, goes=1))

    async def next_one(app: Scope) -> None:
        Thing("same")
        Thing("grows", size=2)
        made = await Thing("new")
        Thing("uses", uses=made.uid)

    plan = save(world, program, next_one)
    cloud.log.clear()
    deploy(world, next_one, plan)
    assert sorted(cloud.calls()) == ["create new", "create uses", "delete goes", "update grows"]


def test_a_replacement_takes_its_old_incarnation_with_it(world: World, cloud: Cloud, program: Path) -> None:
    async def moved(app: Scope) -> None:
        Thing("db", region="us")

    world.deploy(things(db=1))
    plan = save(world, program, moved)
    assert [step for scope in plan.scopes for step in scope.deletions] == []
    cloud.log.clear()
    deploy(world, moved, plan)
    assert cloud.calls() == ["create db", "delete db"]
    assert world.formers() == []


def test_a_value_that_became_known_is_what_was_planned(world: World, cloud: Cloud, program: Path) -> None:
    """Also when it turns out to be the one that is there: less than planned is done."""

    async def body(app: Scope) -> None:
        base = await Thing("base", region="us")
        Thing("fixed", region=f"{base.area}")
        Solid("solid", uses=base.area)

    async def first(app: Scope) -> None:
        Thing("base")
        Thing("fixed", region="1")
        Solid("solid", uses=1)

    world.deploy(first)
    plan = save(world, program, body)
    (scope,) = plan.scopes
    assert [(c.address.rpartition("/")[2], c.action, c.open) for c in scope.changes] == [
        ("base", "replace", ()),
        ("fixed", "replace", ("$inputs", "region")),
        ("solid", "replace", ("$inputs", "uses")),
    ]
    cloud.log.clear()
    deploy(world, body, plan)
    assert cloud.calls() == ["create base", "delete base"]


def test_a_step_that_fails_breaks_no_plan_and_the_next_plan_goes_on(world: World, cloud: Cloud, program: Path) -> None:
    body = things(one=1, two=1)
    plan = save(world, program, body)
    cloud.fail("create two")
    with pytest.raises(RunFailed):
        deploy(world, body, plan, max_retries=0)
    again = save(world, program, body)
    assert [(c.action, c.resume) for scope in again.scopes for c in scope.changes] == [
        ("keep", False),
        ("create", True),
    ]
    deploy(world, body, again)
    assert cloud.ids() == ["one", "two"]


# -- anything else ----------------------------------------------------------------------------------------------------


def test_what_is_not_in_the_plan_is_not_begun(world: World, program: Path) -> None:
    world.deploy(things(one=1))
    plan = save(world, program, things(one=1))
    assert refused(world, things(one=1, two=1), plan) == f"{PROD}/two is not in the plan: create (not in the state yet)"


def test_another_action_than_planned_is_not_begun(world: World, program: Path) -> None:
    async def moved(app: Scope) -> None:
        Thing("one", region="us")

    world.deploy(things(one=1))
    plan = save(world, program, things(one=2))
    why = refused(world, moved, plan)
    assert why == f"{PROD}/one: planned update, now replace (fixed prop changed: region)"


def test_another_value_than_planned_is_not_begun(world: World, program: Path) -> None:
    world.deploy(things(one=1))
    plan = save(world, program, things(one=2))
    assert "its props or options are others than planned" in refused(world, things(one=3), plan)


def test_another_protection_than_planned_is_not_begun(world: World, program: Path) -> None:
    async def free(app: Scope) -> None:
        Thing("one", protect=False, size=2)

    async def safe(app: Scope) -> None:
        Thing("one", protect=True, size=2)

    world.deploy(things(one=1))
    assert "others than planned" in refused(world, free, save(world, program, safe))


def test_an_orphan_that_the_plan_does_not_hold_stays(world: World, cloud: Cloud, program: Path) -> None:
    world.deploy(things(one=1, two=1))
    plan = save(world, program, things(one=1, two=1))
    assert refused(world, things(one=1), plan) == f"{PROD}/two is not in the plan: delete (not in the program)"
    assert cloud.ids() == ["one", "two"]


def test_a_scope_that_the_plan_does_not_hold_is_not_opened(world: World, program: Path) -> None:
    plan = save(world, program, things(one=1))
    with pytest.raises(Refused, match="my-app/dev is not in the plan"):
        deploy(world, things(one=1), plan, stage="dev")
    assert not world.state.exists()


def test_after_the_first_step_outside_the_plan_nothing_more_is_begun(world: World, cloud: Cloud, program: Path) -> None:
    async def planned(app: Scope) -> None:
        first = Thing("first")
        Thing("later", uses=first)

    async def other(app: Scope) -> None:
        Thing("alien")
        first = Thing("first")
        Thing("later", uses=first)

    plan = save(world, program, planned)
    agreement = Agreement(plan)
    with pytest.raises(RunFailed) as error:
        world.deploy(other, asked={"agreed": agreement})
    assert len(agreement.broken) == 1
    assert "later" not in cloud.calls("create")
    assert any("the run left its plan at" in why for _, why in error.value.failures)


def test_a_deploy_in_between_is_named_and_nothing_is_opened(world: World, cloud: Cloud, program: Path) -> None:
    world.deploy(things(one=1, two=1))
    plan = save(world, program, things(one=2, two=1))
    world.deploy(things(one=5, three=1))
    epoch = world.fold().epoch
    why = refused(world, things(one=2, two=1), plan)
    assert why.startswith(f"{PROD}: its state was at serial 4 when planned, now it is at ")
    for moved in (f"{PROD}/one changed", f"{PROD}/two is gone", f"{PROD}/three is new"):
        assert moved in why
    assert world.fold().epoch == epoch, "not even an epoch was claimed"


def test_a_deploy_that_changed_nothing_moves_no_plan(world: World, cloud: Cloud, program: Path) -> None:
    world.deploy(things(one=1))
    plan = save(world, program, things(one=2))
    world.deploy(things(one=1))
    deploy(world, things(one=2), plan)
    assert cloud.calls("update") == ["one"]


def test_a_rollback_to_the_same_rows_still_is_another_state(world: World, program: Path) -> None:
    world.deploy(things(one=1))
    plan = save(world, program, things(one=2))
    world.deploy(things(one=3))
    world.deploy(things(one=1))
    assert "its state was at serial" in refused(world, things(one=2), plan)


def test_whoever_opened_in_between_without_a_lock_is_noticed_after_the_epoch(world: World, program: Path) -> None:
    world.deploy(things(one=1))
    plan = save(world, program, things(one=2))
    fold = world.fold()
    Agreement(plan).check_opened(fold)
    fold.serial += 1
    with pytest.raises(Refused, match=f"planned at serial {fold.serial - 1}, it was opened at {fold.serial}"):
        Agreement(plan).check_opened(fold)


def test_two_plans_on_the_same_things_are_the_same_plan(world: World, program: Path) -> None:
    world.deploy(things(one=1))
    one, other = save(world, program, things(one=2)), save(world, program, things(one=2))
    assert one.fingerprint == other.fingerprint
    assert moves(one, other) == []
    another = save(world, program, things(one=3))
    assert one.fingerprint != another.fingerprint
    assert moves(one, another) == [
        f"{PROD}/one: planned update (changed: size), now update (changed: size) to other values: size"
    ]


def test_what_uses_an_updated_resource_says_that_it_may_follow(world: World, cloud: Cloud, program: Path) -> None:
    """An update may give other outputs: the plan says so, and following them is no step outside it."""

    def body(size: int) -> Body[None]:
        async def declared(app: Scope) -> None:
            base = Thing("base", size=size)
            Thing("user", uses=base.area)
            Thing("third", uses=await Thing("own"))

        return declared

    world.deploy(body(1))
    plan = save(world, program, body(2))
    reasons = {c.address.rpartition("/")[2]: (c.action, c.reason) for scope in plan.scopes for c in scope.changes}
    assert reasons["user"] == ("keep", "nothing changed; updated if what it uses gives another value: uses")
    assert reasons["third"] == ("keep", "nothing changed")
    cloud.log.clear()
    deploy(world, body(2), plan)
    assert cloud.calls() == ["update base", "update user"]


def test_what_cannot_be_updated_is_replaced_with_what_it_uses_as_the_plan_says(
    world: World, cloud: Cloud, program: Path
) -> None:
    def body(size: int) -> Body[None]:
        async def declared(app: Scope) -> None:
            base = Thing("base", size=size)
            Solid("user", uses=base.area)

        return declared

    world.deploy(body(1))
    plan = save(world, program, body(2))
    (change,) = [c for scope in plan.scopes for c in scope.changes if c.address.endswith("user")]
    assert (change.action, change.follows) == ("keep", "replace")
    assert change.reason == "nothing changed; replaced if what it uses gives another value: uses"
    cloud.log.clear()
    deploy(world, body(2), plan)
    assert cloud.calls() == ["update base", "create user", "delete user"]


def test_what_was_to_be_looked_up_may_be_made_again(world: World, cloud: Cloud, program: Path) -> None:
    """After a restore nobody knows what is there: the plan says so, and the deploy looks."""
    world.deploy(things(there=1, lost=1))

    async def doubt() -> None:
        ledger = await Ledger.open(world.store, ScopePath.parse(PROD), ScopeKind.STAGE, purpose="restore", timeout=1.0)
        ledger.record([Put(replace(row, verify=True)) for row in ledger.fold.resources.values()])
        ledger.close(outcome="done", counts={}, failures=[])

    asyncio.run(doubt())
    cloud.objects = {name: made for name, made in cloud.objects.items() if made["id"] != "lost"}
    plan = save(world, program, things(there=1, lost=1))
    assert [(c.action, c.verify) for scope in plan.scopes for c in scope.changes] == [("keep", True)] * 2
    cloud.log.clear()
    deploy(world, things(there=1, lost=1), plan)
    assert cloud.calls() == ["create lost"]


def test_two_stages_of_one_program_are_one_plan(world: World, cloud: Cloud, program: Path) -> None:
    def main(size: int) -> Callable[[], Awaitable[None]]:
        async def opened() -> None:
            async with alchemy("my-app", stage="prod"):
                Thing("shared", size=size)
                async with alchemy("my-app", stage="dev"):
                    Thing("shared", size=1)

        return opened

    def saved(size: int) -> SavedPlan:
        runs: list[Run] = []
        token = recorded_runs.set(runs)
        try:
            world.run(main(size), phase="plan")
        finally:
            recorded_runs.reset(token)
        return make_plan(runs, program, stage="", adopt=False)

    plan = saved(1)
    assert [scope.path for scope in plan.scopes] == ["my-app/prod", "my-app/dev"]
    world.run(main(1), agreed=Agreement(plan))
    changed = saved(2)
    world.run(main(1), agreed=Agreement(saved(1)))
    with pytest.raises(RunFailed):
        world.run(main(3), agreed=Agreement(changed))
    world.run(main(2), agreed=Agreement(saved(2)))
    assert cloud.calls() == ["create shared", "create shared", "update shared"]


# -- adoption ---------------------------------------------------------------------------------------------------------


async def adopting(app: Scope) -> None:
    Named("db", name="precious", size=3)


def test_a_plan_with_adopt_shows_what_would_be_taken_over(world: World, cloud: Cloud) -> None:
    cloud.objects["precious"] = {"id": "db", "uid": "uid-before", "size": 1, "region": "eu"}
    (change,) = world.planned(adopting, adopt=True)
    assert (str(change.action), change.found) == ("adopt", True)
    assert change.reason == "precious exists (uid uid-before): taken over and updated"
    assert ("size", 3) in [(d.path, d.after) for d in change.diff]
    assert cloud.calls() == []
    assert not world.state.exists()


def test_a_plan_with_adopt_says_when_there_is_no_such_object(world: World, cloud: Cloud) -> None:
    (change,) = world.planned(adopting, adopt=True)
    assert (str(change.action), change.found, change.reason) == ("create", False, "no such object to adopt: precious")


def test_a_plan_that_cannot_look_says_that_the_deploy_will(world: World, cloud: Cloud) -> None:
    cloud.fail("read db", ConnectionError("no route"), ConnectionError("no route"))
    (change,) = world.planned(adopting, adopt=True)
    assert (str(change.action), change.found) == ("adopt", None)
    assert change.reason == "taken over if it exists: only the deploy can look (ConnectionError: no route)"


def test_a_plan_without_adopt_looks_for_nothing(world: World, cloud: Cloud) -> None:
    assert [str(change.action) for change in world.planned(adopting)] == ["create"]
    assert cloud.log == []


def test_what_was_planned_as_found_is_taken_over(world: World, cloud: Cloud, program: Path) -> None:
    cloud.objects["precious"] = {"id": "db", "uid": "uid-before", "size": 1, "region": "eu"}
    deploy(world, adopting, save(world, program, adopting, adopt=True), adopt=True)
    assert cloud.objects["precious"]["uid"] == "uid-before"
    assert cloud.calls() == ["update db"]
    assert world.rows()["db"].adopted


@pytest.mark.parametrize("there", [True, False])
def test_what_came_or_went_since_the_plan_is_not_what_was_planned(
    world: World, cloud: Cloud, program: Path, there: bool
) -> None:
    found = {"id": "db", "uid": "uid-before", "size": 1, "region": "eu"}
    if not there:
        cloud.objects["precious"] = found
    plan = save(world, program, adopting, adopt=True)
    if there:
        cloud.objects["precious"] = found
    else:
        del cloud.objects["precious"]
    words = ("planned create, now adopt", "planned adopt, now create")
    assert refused(world, adopting, plan, adopt=True) == f"{PROD}/db: {words[0 if there else 1]}"


def test_two_scopes_that_name_one_object_are_told_apart_by_adopt(world: World, cloud: Cloud) -> None:
    """The second is refused without it; with it, only the one that made the object ever deletes it."""
    world.deploy(adopting)
    with pytest.raises(RunFailed, match="deploy of my-app/dev failed"):
        world.deploy(adopting, stage="dev")
    world.deploy(adopting, stage="dev", adopt=True)
    assert world.rows("my-app/dev")["db"].adopted
    cloud.log.clear()
    world.deploy(nothing, stage="dev", phase="destroy")
    assert (cloud.calls("delete"), list(cloud.objects)) == ([], ["precious"])
    world.deploy(nothing, phase="destroy")
    assert cloud.objects == {}


def test_an_adopted_object_is_deleted_only_when_the_program_says_so(world: World, cloud: Cloud) -> None:
    async def told(app: Scope) -> None:
        Named("db", name="precious", size=3, on_destroy="delete")

    cloud.objects["precious"] = {"id": "db", "uid": "uid-before", "size": 1, "region": "eu"}
    world.deploy(adopting, adopt=True)
    world.deploy(nothing)
    assert list(cloud.objects) == ["precious"]
    assert world.rows() == {}
    world.deploy(told, adopt=True)
    world.deploy(nothing)
    assert cloud.objects == {}


# -- loss -------------------------------------------------------------------------------------------------------------


def vault(region: str, **props: Any) -> Body[None]:
    async def body(app: Scope) -> None:
        made = Vault("vault", region=region, **props)
        Thing("user", uses=made)
        Thing("other", size=1 if region == "eu" else 2)

    return body


def fill(cloud: Cloud) -> None:
    for made in cloud.objects.values():
        if made["id"] == "vault":
            made["full"] = True


def losses(world: World, body: Body[Any], **options: Any) -> list[str]:
    return [change.loses for change in world.planned(body, **options) if str(change.action) == "replace"]


def test_a_replacement_that_would_lose_data_is_a_step_of_the_plan(world: World, cloud: Cloud) -> None:
    world.deploy(vault("eu"))
    fill(cloud)
    cloud.log.clear()
    assert losses(world, vault("us")) == ["would lose data: needs --yes or allow_data_loss=True"]
    assert cloud.calls() == []
    assert losses(world, vault("us", allow_data_loss=True)) == [""]
    assert losses(world, vault("us"), force=True) == [""]


def test_without_consent_that_resource_only_is_refused_before_anything_of_it_is_called(
    world: World, cloud: Cloud
) -> None:
    world.deploy(vault("eu"))
    fill(cloud)
    cloud.log.clear()
    with pytest.raises(RunFailed) as error:
        world.deploy(vault("us"))
    assert cloud.calls() == ["update other"]
    ((address, why),) = error.value.failures
    assert address == f"{PROD}/vault"
    assert why.endswith("would be replaced (fixed prop changed: region), but that would lose its data")
    assert "deploy with --yes" in error.value.hint
    assert world.rows()["vault"].status == "ready"


@pytest.mark.parametrize("consent", [{"asked": {"yes": True}}, {"force": True}], ids=str)
def test_with_consent_it_is_replaced(world: World, cloud: Cloud, consent: dict[str, Any]) -> None:
    world.deploy(vault("eu"))
    fill(cloud)
    world.deploy(vault("us"), **consent)
    assert [made["region"] for made in cloud.objects.values() if made["id"] == "vault"] == ["us"]


def test_what_is_empty_needs_no_consent(world: World, cloud: Cloud) -> None:
    world.deploy(vault("eu"))
    assert losses(world, vault("us")) == [""]
    world.deploy(vault("us"))
    assert [made["region"] for made in cloud.objects.values() if made["id"] == "vault"] == ["us"]


def test_where_nobody_can_tell_there_is_something_to_lose(world: World, cloud: Cloud) -> None:
    async def before(app: Scope) -> None:
        Sealed("box")

    async def after(app: Scope) -> None:
        Sealed("box", region="us")

    world.deploy(before)
    assert losses(world, after) == ["would lose data: needs --yes or allow_data_loss=True"]
    with pytest.raises(RunFailed):
        world.deploy(after)
    world.deploy(after, asked={"yes": True})


def test_what_cannot_be_looked_into_counts_as_full(world: World, cloud: Cloud) -> None:
    from alchemy import CloudError

    world.deploy(vault("eu"))
    cloud.fail("read vault", CloudError("no access", status=403))
    assert losses(world, vault("us")) == ["would lose data: needs --yes or allow_data_loss=True"]


def test_what_stays_in_the_cloud_is_not_lost(world: World, cloud: Cloud) -> None:
    world.deploy(vault("eu", retain=True))
    fill(cloud)
    assert losses(world, vault("us", retain=True)) == [""]


def test_consent_on_the_command_line_never_takes_what_is_protected(world: World, cloud: Cloud) -> None:
    world.deploy(vault("eu", protect=True))
    assert losses(world, vault("us", protect=True), force=True) == ["protected: needs allow_data_loss=True"]
    with pytest.raises(RunFailed, match="deploy of my-app/prod failed"):
        world.deploy(vault("us", protect=True), asked={"yes": True}, force=True)
    assert [made["region"] for made in cloud.objects.values() if made["id"] == "vault"] == ["eu"]


def test_a_replacement_that_was_consented_to_goes_on_without_asking_again(world: World, cloud: Cloud) -> None:
    world.deploy(vault("eu"))
    fill(cloud)
    cloud.fail("create vault", Broken("quota"))
    with pytest.raises(RunFailed):
        world.deploy(vault("us"), asked={"yes": True}, max_retries=0)
    assert losses(world, vault("us")) == [""]
    world.deploy(vault("us"))
    assert world.formers() == []


async def in_a_block(app: Scope) -> None:
    async with alchemy.run("inner"):
        Thing("one")
        raise Broken("the program itself")


def test_a_block_that_fails_takes_back_what_it_made_also_when_agreed(world: World, cloud: Cloud, program: Path) -> None:
    async def whole(app: Scope) -> None:
        async with alchemy.run("inner"):
            Thing("one")

    plan = save(world, program, whole)
    with pytest.raises(Broken):
        deploy(world, in_a_block, plan)
    assert cloud.objects == {}
