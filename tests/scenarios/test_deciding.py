"""Finalizing by decision: what is said happens, what is not said stays, and nothing happens on a plan that changed."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alchemy import Interrupted, Refused, RunFailed, Scope, UsageError, alchemy
from alchemy.model.decisions import Choice, DecidedStep, Decisions
from alchemy.model.deletions import DeletionPlan
from alchemy.model.paths import ScopePath
from alchemy.model.records import Put
from alchemy.model.values import ResourceState, ScopeKind
from alchemy.operations.cleaning import plan_cleanup
from alchemy.operations.deciding import Finalization, Gate, Report, choose, go_live, plan_finalization, take_up
from alchemy.operations.keeping import Kept, keep
from alchemy.settings import Options, Project
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from tests.scenarios.world import PROD, Cloud, Thing, World, nothing

D, K, S, F = Choice.DESTROY, Choice.KEEP, Choice.SKIP, Choice.FORGET
OPTIONS = Options(retry_delay=0.0, max_retries=0)


def project(world: World) -> Project:
    return Project(Path(world.root), {})


def planned(world: World, survivors: str = "nothing", path: str = PROD) -> Finalization:
    return plan_finalization(world.store, ScopePath.parse(path), survivors, project=project(world))


def live(
    world: World,
    plan: Finalization,
    said: Decisions | dict[str, Choice],
    *,
    gate: Gate | None = None,
    options: Options = OPTIONS,
) -> Report:
    if isinstance(said, dict):
        said = Decisions(plan.plan.fingerprint, {f"{plan.path}/{id}": choice for id, choice in said.items()})
    store = LocalStore(world.layout, "c" * 32)
    live = go_live(store, plan, said, gate=gate, listener=world.listen, options=options, project=project(world))
    return asyncio.run(live)


def answering(*answers: Choice | None) -> tuple[Gate, list[str]]:
    """A gate that gives these answers in order, and what it was asked."""
    left, asked = list(answers), []

    async def gate(step: DecidedStep, failed: str) -> Choice | None:
        asked.append(f"{step.step.row.id}: {failed}" if failed else step.step.row.id)
        return left.pop(0)

    return gate, asked


async def chain(scope: Scope) -> None:
    """site uses api, api uses db; alone is alone."""
    db = Thing("db")
    api = Thing("api", uses=db)
    Thing("site", uses=api)
    Thing("alone")


def declare(*ids: str) -> Callable[[Scope], Any]:
    async def body(scope: Scope) -> None:
        for id in ids:
            Thing(id)

    return body


ALL = {"site": D, "api": D, "db": D, "alone": D}


def test_what_is_decided_happens_and_the_rest_is_asked_again(world: World, cloud: Cloud) -> None:
    world.deploy(chain)
    report = live(world, planned(world), {"site": D, "alone": F})
    assert (report.deleted, report.forgotten) == ([f"{PROD}/site"], [f"{PROD}/alone"])
    assert cloud.ids() == ["alone", "api", "db"]
    assert sorted(world.rows()) == ["api", "db"]
    assert [step.row.id for step in planned(world).plan.deletions] == ["api", "db"]


def test_what_something_that_stays_uses_is_not_deleted(world: World, cloud: Cloud) -> None:
    world.deploy(chain)
    report = live(world, planned(world), ALL | {"api": S})
    assert report.ok
    assert dict(report.skipped)[f"{PROD}/db"] == f"still used by {PROD}/api"
    assert cloud.ids() == ["api", "db"]


def test_what_is_kept_is_passed_over_from_then_on_and_keeps_what_it_uses(world: World, cloud: Cloud) -> None:
    world.deploy(chain)
    report = live(world, planned(world), ALL | {"api": K})
    assert report.kept == [f"{PROD}/api"]
    assert world.rows()["api"].kept
    assert cloud.ids() == ["api", "db"]
    again = planned(world)
    assert again.plan.kept == (f"{PROD}/api",)
    assert [(s.address, s.blocked) for s in again.plan.deletions] == [(f"{PROD}/db", f"still used by {PROD}/api")]
    live(world, again, {"db": K})
    world.deploy(nothing)
    assert cloud.ids() == ["api", "db"]


def mark(world: World, id: str, *, kept: bool = True) -> Kept:
    store = LocalStore(world.layout, "d" * 32)
    return asyncio.run(keep(store, f"{PROD}/{id}", OPTIONS, kept=kept, project=project(world), listener=world.listen))


def test_what_is_no_longer_kept_is_offered_again_at_once(world: World, cloud: Cloud) -> None:
    """Neither keeping nor the end of it passes for a declaration."""
    world.deploy(declare("a", "b"))
    assert mark(world, "b").changed
    assert world.store.backups(PROD)
    assert not mark(world, "b").changed
    world.deploy(declare("a"))
    assert cloud.ids() == ["a", "b"]
    for _ in range(2):
        assert planned(world, "declared").plan.deletions == ()
        mark(world, "b", kept=False)
        assert [step.row.id for step in planned(world, "declared").plan.deletions] == ["b"]
        mark(world, "b")
    mark(world, "b", kept=False)
    plan = planned(world, "declared")
    assert live(world, plan, choose(plan)).ok
    assert cloud.ids() == ["a"]


def test_what_a_failed_deploy_left_is_offered_again_too(world: World, cloud: Cloud) -> None:
    cloud.fail("create broken", times=99)
    for ids in (("a", "tried", "broken"), ("a", "broken")):
        with pytest.raises(RunFailed):
            world.deploy(declare(*ids), max_retries=0)
    mark(world, "tried")
    assert planned(world, "declared").plan.deletions == ()
    mark(world, "tried", kept=False)
    assert [step.row.id for step in planned(world, "declared").plan.deletions] == ["tried"]


def test_what_is_declared_again_is_no_orphan_any_more_whoever_was_kept_meanwhile(world: World, cloud: Cloud) -> None:
    world.deploy(declare("a", "b", "c"))
    mark(world, "b")
    mark(world, "c")
    world.deploy(declare("a"))
    cloud.fail("create new", times=9)
    with pytest.raises(RunFailed):
        world.deploy(declare("a", "b", "new"), max_retries=0)
    mark(world, "c", kept=False)
    mark(world, "b", kept=False)
    assert [step.row.id for step in planned(world, "declared").plan.deletions] == ["c"]


def test_what_is_not_stored_cannot_be_kept(world: World, cloud: Cloud) -> None:
    world.deploy(declare("a"))
    before = len(world.store.epochs(PROD))
    with pytest.raises(UsageError, match="is no resource in the state"):
        mark(world, "b")
    assert len(world.store.epochs(PROD)) == before


def test_nothing_is_opened_when_everything_is_skipped(world: World, cloud: Cloud) -> None:
    world.deploy(chain)
    plan = planned(world)
    before = world.tree()
    assert live(world, plan, dict.fromkeys(ALL, S)).ok
    assert live(world, plan, {}).ok
    assert world.tree() == before


def test_a_plan_writes_nothing(world: World, cloud: Cloud) -> None:
    world.deploy(chain)
    before = world.tree()
    planned(world)
    planned(world, "declared")
    assert world.tree() == before


def test_it_stops_before_a_step_and_the_next_run_goes_on(world: World, cloud: Cloud) -> None:
    world.deploy(chain)
    plan = planned(world)
    said = choose(plan, stop_before="api")
    report = live(world, plan, said)
    assert report.stopped_before == f"{PROD}/api"
    assert cloud.ids() == ["api", "db"]
    assert any(f"stopped before {PROD}/api; run again to go on" in str(event) for event in world.events)
    again = planned(world)
    assert dict(take_up(again, plan.draft(said)).choices) == {f"{PROD}/api": D, f"{PROD}/db": D}
    live(world, again, choose(again))
    assert cloud.ids() == []
    assert not world.fold().scopes


def test_a_breakpoint_ends_the_run_once_and_is_passed_by_the_next(world: World, cloud: Cloud) -> None:
    world.deploy(chain)
    plan = planned(world)
    said = choose(plan).mark(f"{PROD}/api").mark(f"{PROD}/db")
    for stop, left in (("api", ["api", "db"]), ("db", ["db"])):
        assert live(world, plan, said).stopped_before == f"{PROD}/{stop}"
        assert cloud.ids() == left
        before, plan = plan, planned(world)
        said = take_up(plan, before.draft(said))
    assert live(world, plan, said).stopped_before == ""
    assert cloud.ids() == []


def test_only_some_and_some_kept(world: World, cloud: Cloud) -> None:
    world.deploy(chain)
    plan = planned(world)
    report = live(world, plan, choose(plan, only=["site"], keep=[f"{PROD}/alone"]))
    assert (report.deleted, report.kept) == ([f"{PROD}/site"], [f"{PROD}/alone"])
    assert cloud.ids() == ["alone", "api", "db"]


def test_names_that_no_step_is_about_are_refused(world: World, cloud: Cloud) -> None:
    async def twice(scope: Scope) -> None:
        async with alchemy.run("east"):
            Thing("x")
        async with alchemy.run("west"):
            Thing("x")

    world.deploy(twice)
    plan = planned(world)
    with pytest.raises(UsageError, match="no step of the plan is about nowhere"):
        choose(plan, only=["nowhere"])
    with pytest.raises(UsageError, match=f"x is ambiguous: {PROD}/east/x, {PROD}/west/x"):
        choose(plan, keep=["x"])
    with pytest.raises(UsageError, match="is to go and to be kept"):
        choose(plan, only=["east/x"], keep=["east/x"])
    live(world, plan, choose(plan, only=["east/x"]))
    assert sorted(world.rows()) == ["west/x"]
    assert sorted(world.fold().scopes) == [PROD, f"{PROD}/west"]


# -- step by step -----------------------------------------------------------------------------------------------


def test_a_gate_is_asked_before_each_step_and_may_decide_otherwise(world: World, cloud: Cloud) -> None:
    world.deploy(chain)
    first = [step.row.id for step in planned(world).plan.deletions]
    assert set(first[:2]) == {"site", "alone"}
    gate, asked = answering(D, D, F, K)
    report = live(world, planned(world), ALL, gate=gate)
    assert asked == first
    assert (sorted(report.deleted), report.forgotten) == ([f"{PROD}/alone", f"{PROD}/site"], [f"{PROD}/api"])
    assert (report.kept, cloud.ids()) == ([f"{PROD}/db"], ["api", "db"])


def test_a_gate_ends_the_run_between_two_steps(world: World, cloud: Cloud) -> None:
    world.deploy(chain)
    gate, asked = answering(D, D, None)
    report = live(world, planned(world), ALL, gate=gate)
    assert report.stopped_before == f"{PROD}/api"
    assert (asked[-1], cloud.ids()) == ("api", ["api", "db"])
    assert not any(row.status != "ready" for row in world.rows().values())


def test_a_step_that_failed_is_asked_about_again_and_may_be_tried_again(world: World, cloud: Cloud) -> None:
    world.deploy(chain)
    cloud.fail("delete api")
    gate, asked = answering(D, D, D, D, D)
    report = live(world, planned(world), ALL, gate=gate)
    assert asked[2:] == ["api", "api: Broken: no room", "db"]
    assert report.ok
    assert cloud.ids() == []
    assert not world.fold().resources


@pytest.mark.parametrize(
    ("answer", "left"), [(S, ["api", "db"]), (K, ["api", "db"]), (F, ["api"]), (None, ["api", "db"])]
)
def test_a_step_that_failed_may_be_decided_otherwise(
    world: World, cloud: Cloud, answer: Choice | None, left: list[str]
) -> None:
    world.deploy(chain)
    cloud.fail("delete api", times=3)
    gate, _ = answering(D, D, D, answer, D)
    report = live(world, planned(world), ALL, gate=gate)
    assert cloud.ids() == left
    assert report.stopped_before == ("" if answer else f"{PROD}/api")
    assert report.ok is bool(answer)


def test_a_failure_ends_a_step_through_without_anybody_to_ask(world: World, cloud: Cloud) -> None:
    world.deploy(chain)
    cloud.fail("delete site", times=3)
    report = live(world, planned(world), ALL, options=OPTIONS.but("test", continue_on_error=False))
    assert report.failed == [(f"{PROD}/site", "Broken: no room")]
    assert [failure.address for failure in report.failures] == [f"{PROD}/site"]
    assert {"api", "db"} <= set(cloud.ids())


def test_an_interruption_between_two_steps_ends_it_and_the_draft_goes_on(world: World, cloud: Cloud) -> None:
    world.deploy(chain)
    plan = planned(world)
    said = choose(plan)

    async def gate(step: DecidedStep, failed: str) -> Choice | None:
        from alchemy.engine.session import open_sessions

        if step.step.row.id == "api":
            (session,) = open_sessions()
            session.calls.stopping.set()
        return D

    with pytest.raises(Interrupted):
        live(world, plan, said, gate=gate)
    assert cloud.ids() == ["api", "db"]
    again = planned(world)
    assert live(world, again, take_up(again, plan.draft(said))).ok
    assert cloud.ids() == []


def test_who_is_asked_and_does_not_answer_holds_up_no_interruption(world: World, cloud: Cloud) -> None:
    world.deploy(chain)

    async def gate(step: DecidedStep, failed: str) -> Choice | None:
        from alchemy.engine.session import open_sessions

        if step.step.row.id == "api":
            (session,) = open_sessions()
            session.calls.stopping.set()
            await asyncio.Event().wait()
        return D

    with pytest.raises(Interrupted):
        live(world, planned(world), ALL, gate=gate)
    assert cloud.ids() == ["api", "db"]
    assert world.fold().last_release["outcome"] == "interrupted"


def test_a_gate_that_breaks_ends_the_run_between_two_steps_and_gives_the_lock_back(world: World, cloud: Cloud) -> None:
    world.deploy(chain)

    async def gate(step: DecidedStep, failed: str) -> Choice | None:
        if step.step.row.id == "api":
            raise ValueError("a defect of whoever asks")
        return D

    with pytest.raises(ValueError, match="a defect"):
        live(world, planned(world), ALL, gate=gate)
    assert cloud.ids() == ["api", "db"]
    assert world.fold().released


# -- a plan that changed ----------------------------------------------------------------------------------------


def test_what_changed_between_deciding_and_going_live_is_named_and_nothing_is_touched(
    world: World, cloud: Cloud
) -> None:
    world.deploy(declare("a", "b"))
    plan = planned(world)
    world.deploy(declare("a", "c"))
    with pytest.raises(Refused) as refused:
        live(world, plan, {"a": D, "b": D})
    assert f"{PROD}/b is no longer to go; {PROD}/c is to go too" in refused.value.message
    assert refused.value.exit_code == 5
    assert cloud.ids() == ["a", "c"]
    assert world.fold().released


def test_another_object_at_the_same_address_is_not_the_one_that_was_decided_about(world: World, cloud: Cloud) -> None:
    world.deploy(declare("a"))
    plan = planned(world)
    world.deploy(nothing)
    world.deploy(declare("a"))
    with pytest.raises(Refused, match=f"{PROD}/a is another object"):
        live(world, plan, {"a": D})
    assert cloud.ids() == ["a"]


def test_what_is_protected_and_to_be_destroyed_refuses_it_all_and_skipped_it_does_not(
    world: World, cloud: Cloud
) -> None:
    async def body(scope: Scope) -> None:
        Thing("a")
        Thing("b", protect=True)

    world.deploy(body)
    with pytest.raises(Refused, match=f"protected: {PROD}/b"):
        live(world, planned(world), {"a": D, "b": D})
    assert cloud.ids() == ["a", "b"]
    assert live(world, planned(world), {"a": D, "b": S}).deleted == [f"{PROD}/a"]
    assert cloud.ids() == ["b"]


# -- several journals -------------------------------------------------------------------------------------------


def test_an_application_is_one_plan_over_its_stages(world: World, cloud: Cloud) -> None:
    world.deploy(declare("a"), stage="dev")
    world.deploy(declare("b", "c"), stage="prod")
    plan = planned(world, path="my-app")
    assert [str(part.owner) for part in plan.parts if part.plan.deletions] == ["my-app/prod", "my-app/dev"]
    report = live(world, plan, choose(plan, only=["dev/a", "prod/b"]))
    assert sorted(report.deleted) == ["my-app/dev/a", "my-app/prod/b"]
    assert cloud.ids() == ["c"]
    plan = planned(world, path="my-app")
    assert live(world, plan, choose(plan)).ok
    assert cloud.ids() == []
    assert not world.layout.scope_view("my-app").exists()


def test_a_stop_in_one_stage_leaves_the_next_alone(world: World, cloud: Cloud) -> None:
    world.deploy(declare("a", "b"), stage="dev")
    world.deploy(declare("a", "b"), stage="prod")
    plan = planned(world, path="my-app")
    first = plan.plan.deletions
    report = live(world, plan, choose(plan, stop_before=first[1].address))
    assert report.deleted == [first[0].address]
    assert report.stopped_before == first[1].address
    assert len(cloud.objects) == 3


# -- kinds that nothing loaded defines --------------------------------------------------------------------------

SENTENCE = (
    "no loaded class for the kind acme:Ghost (defined in shop.ghosts): "
    "name its module in [tool.alchemy] kinds, or run the program's own destroy"
)


def haunt(world: World) -> None:
    """A ghost that uses db, as an earlier program left it."""

    async def written() -> None:
        ledger = await Ledger.open(world.store, ScopePath.parse(PROD), ScopeKind.STAGE, purpose="test", timeout=0)
        site = world.rows()["site"]
        ghost = {"address": f"{PROD}/ghost", "kind": "acme:Ghost", "module": "shop.ghosts"}
        row = ResourceState.from_json({**site.to_json(), **ghost, "depends_on": [f"{PROD}/db"], "seq": 99})
        await ledger.intend([Put(row)])
        orphans = [row.address for row in ledger.fold.resources.values()]
        declared = {"complete": True, "orphans": orphans, "next_seq": 100}
        ledger.close(outcome="done", counts={}, failures=[], declared=declared)

    asyncio.run(written())


def test_a_ghost_is_blocked_with_one_sentence_everywhere_the_rest_goes_and_its_row_stays(
    world: World, cloud: Cloud
) -> None:
    world.deploy(chain)
    haunt(world)
    told = {step.row.id: step.blocked for step in planned(world, "declared").plan.deletions}
    assert told == {"ghost": SENTENCE, "site": "", "api": "", "db": "", "alone": ""}
    assert SENTENCE in [step.blocked for step in plan_cleanup(world.store, ScopePath.parse(PROD)).deletions]
    assert SENTENCE in [step.blocked for step in planned(world).plan.deletions]

    plan = planned(world, "declared")
    report = live(world, plan, choose(plan))
    assert report.failed == [(f"{PROD}/ghost", SENTENCE)]
    assert sorted(world.rows()) == ["db", "ghost"]
    assert cloud.ids() == ["db"]


def test_deploying_and_planning_say_it_too(world: World, cloud: Cloud) -> None:
    world.deploy(chain)
    haunt(world)
    said: list[DeletionPlan | Report] = []

    async def dry(scope: Scope) -> None:
        said.append(await scope.finalize(dry_run=True))

    world.deploy(dry, phase="plan")
    assert isinstance(said[0], DeletionPlan)
    assert SENTENCE in [step.blocked for step in said[0].deletions]
    with pytest.raises(RunFailed) as failed:
        world.deploy(nothing)
    assert failed.value.failures == ((f"{PROD}/ghost", SENTENCE),)
    assert sorted(world.rows()) == ["db", "ghost"]


def test_a_ghost_can_be_forgotten_or_kept(world: World, cloud: Cloud) -> None:
    world.deploy(chain)
    haunt(world)
    report = live(world, planned(world), {"ghost": F, "db": D, "api": D, "site": D})
    assert report.ok
    assert sorted(world.rows()) == ["alone"]
