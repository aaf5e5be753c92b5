"""`scope cleanup`: what runs left behind goes, and nothing that the last deploy declared, however it ended."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alchemy import Interrupted, Refused, RunFailed, Scope, UsageError, alchemy
from alchemy.engine.finalize import Report
from alchemy.model.paths import ScopePath
from alchemy.model.records import Put
from alchemy.model.values import ResourceState, ScopeKind, Status
from alchemy.operations.cleaning import cleanup, plan_cleanup
from alchemy.operations.destroying import destroy_stored
from alchemy.settings import Options, Project
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from tests.scenarios.world import PROD, Cloud, Thing, World


def reasons(world: World, path: str = PROD) -> dict[str, str]:
    plan = plan_cleanup(world.store, ScopePath.parse(path))
    return {step.address.removeprefix(f"{path}/"): step.blocked or step.reason for step in plan.deletions}


def clean(world: World, path: str = PROD, **more: Any) -> Report:
    options = Options(retry_delay=0.0, max_retries=1)
    project = Project(Path(world.root), {})
    store = LocalStore(world.layout, "c" * 32)
    return asyncio.run(cleanup(store, ScopePath.parse(path), options, project=project, listener=world.listen, **more))


def declare(*ids: str) -> Callable[[Scope], Any]:
    async def body(scope: Scope) -> None:
        for id in ids:
            Thing(id)

    return body


def write(world: World, *rows: ResourceState) -> None:
    """As another run left them."""

    async def written() -> None:
        ledger = await Ledger.open(world.store, ScopePath.parse(PROD), ScopeKind.STAGE, purpose="test", timeout=0)
        await ledger.intend([Put(row) for row in rows])
        ledger.close(outcome="failed", counts={}, failures=[])

    asyncio.run(written())


def test_where_nothing_was_left_nothing_is_opened(world: World, cloud: Cloud) -> None:
    world.deploy(declare("a", "b"))
    before = world.tree()
    assert reasons(world) == {}
    assert clean(world).deleted == []
    assert world.tree() == before


def test_a_deletion_that_did_not_finish_is_finished(world: World, cloud: Cloud) -> None:
    world.deploy(declare("a", "b"))
    cloud.fail("delete b", times=9)
    with pytest.raises(RunFailed):
        world.deploy(declare("a"), max_retries=0)
    cloud.errors.clear()
    assert reasons(world) == {"b": "its deletion did not finish"}
    assert clean(world).deleted == [f"{PROD}/b"]
    assert (cloud.ids(), list(world.rows())) == (["a"], ["a"])


def test_a_deletion_whose_answer_was_lost_is_not_sent_again(world: World, cloud: Cloud) -> None:
    world.deploy(declare("a", "b"))
    write(world, replace(world.rows()["b"], status=Status.DELETING))
    cloud.objects.pop(world.rows()["b"].physical_name)
    cloud.log.clear()
    clean(world)
    assert cloud.log == ["read b"]
    assert list(world.rows()) == ["a"]


def test_former_incarnations_go_when_their_successor_is_ready(world: World, cloud: Cloud) -> None:
    async def region(where: str) -> None:
        Thing("a", region=where)

    async def eu(scope: Scope) -> None:
        await region("eu")

    async def us(scope: Scope) -> None:
        await region("us")

    world.deploy(eu)
    cloud.fail("delete a", times=9)
    with pytest.raises(RunFailed):
        world.deploy(us, max_retries=0)
    cloud.errors.clear()
    assert world.formers() == ["a"]
    assert reasons(world) == {"a": "replaced by a newer incarnation (generation 0)"}
    clean(world)
    assert [o["region"] for o in cloud.objects.values()] == ["us"]
    assert (world.formers(), list(world.rows())) == ([], ["a"])


def test_the_only_object_there_is_stays_while_its_replacement_is_unfinished(world: World, cloud: Cloud) -> None:
    async def us(scope: Scope) -> None:
        Thing("a", region="us")

    world.deploy(declare("a"))
    cloud.fail("create a", times=9)
    with pytest.raises(RunFailed):
        world.deploy(us, max_retries=0)
    assert world.formers() == ["a"]
    assert reasons(world) == {}
    assert clean(world).deleted == []
    assert cloud.ids() == ["a"]


def test_after_a_deploy_that_failed_what_it_declared_stays(world: World, cloud: Cloud) -> None:
    """Neither what the complete one declared, nor what this one made."""
    world.deploy(declare("a", "b"))
    cloud.fail("create broken", times=9)
    with pytest.raises(RunFailed):
        world.deploy(declare("a", "new", "broken"), max_retries=0)
    assert sorted(world.rows()) == ["a", "b", "broken", "new"]
    assert reasons(world) == {}


def test_what_a_failed_deploy_made_and_the_next_failed_one_dropped_goes(world: World, cloud: Cloud) -> None:
    cloud.fail("create broken", times=99)
    with pytest.raises(RunFailed):
        world.deploy(declare("a", "tried", "broken"), max_retries=0)
    assert reasons(world) == {}
    with pytest.raises(RunFailed):
        world.deploy(declare("a", "broken"), max_retries=0)
    assert reasons(world) == {"tried": "left by a deploy that did not finish"}
    clean(world)
    assert cloud.ids() == ["a"]
    assert sorted(world.rows()) == ["a", "broken"]
    assert reasons(world) == {}


def test_what_was_left_and_is_declared_again_stays(world: World, cloud: Cloud) -> None:
    """Also when the run that declared it again was killed before it could say how it ended."""
    cloud.fail("create broken", times=99)
    for ids in (("a", "tried", "broken"), ("a", "broken")):
        with pytest.raises(RunFailed):
            world.deploy(declare(*ids), max_retries=0)

    async def killed() -> None:
        scope = await alchemy("my-app", stage="prod")
        await Thing("tried")
        await scope.run_state.ledger.flush()
        scope.run_state.ledger._journal.settle()
        scope.run_state.ledger._leases[0].release()
        scope.session.forget(scope.path)

    world.run(killed)
    assert reasons(world) == {}


def test_a_program_that_raised_says_nothing_of_what_it_did_not_come_to(world: World, cloud: Cloud) -> None:
    cloud.fail("create broken", times=99)
    with pytest.raises(RunFailed):
        world.deploy(declare("a", "tried", "broken"), max_retries=0)

    async def raising(scope: Scope) -> None:
        Thing("a")
        raise ValueError("of the program")

    with pytest.raises(ValueError, match="of the program"):
        world.deploy(raising)
    assert reasons(world) == {}


def test_a_row_that_the_last_complete_deploy_did_not_declare_goes(world: World, cloud: Cloud) -> None:
    world.deploy(declare("a", "b"))
    fold = world.fold()
    assert fold.declared["orphans"] == []
    write_release(world, orphans=[f"{PROD}/b"])
    assert reasons(world) == {"b": "not in the program since the last complete deploy"}
    clean(world)
    assert cloud.ids() == ["a"]


def write_release(world: World, orphans: list[str]) -> None:
    """A complete deploy that could not collect: blocked by what has gone since."""

    async def written() -> None:
        ledger = await Ledger.open(world.store, ScopePath.parse(PROD), ScopeKind.STAGE, purpose="deploy", timeout=0)
        declared = {"complete": True, "orphans": orphans, "next_seq": ledger.fold.next_seq}
        ledger.close(outcome="done", counts={}, failures=[], declared=declared)

    asyncio.run(written())


def test_dependents_go_first_and_what_is_still_used_is_blocked(world: World, cloud: Cloud) -> None:
    async def chain(scope: Scope) -> None:
        base = Thing("base")
        middle = Thing("middle", uses=base.uid)
        Thing("top", uses=middle.uid)

    world.deploy(chain)
    write_release(world, orphans=[f"{PROD}/base", f"{PROD}/middle"])
    assert reasons(world)["middle"] == f"still used by {PROD}/top"
    with pytest.raises(RunFailed) as failed:
        clean(world)
    assert {address for address, _ in failed.value.failures} == {f"{PROD}/middle"}
    assert cloud.ids() == ["base", "middle", "top"]
    write_release(world, orphans=[f"{PROD}/base", f"{PROD}/middle", f"{PROD}/top"])
    cloud.log.clear()
    clean(world)
    assert cloud.calls("delete") == ["top", "middle", "base"]


def test_a_protected_orphan_is_blocked_and_the_rest_goes(world: World, cloud: Cloud) -> None:
    async def two(scope: Scope) -> None:
        Thing("a", protect=True)
        Thing("b")

    world.deploy(two)
    write_release(world, orphans=[f"{PROD}/a", f"{PROD}/b"])
    with pytest.raises(RunFailed) as failed:
        clean(world)
    assert failed.value.failures == ((f"{PROD}/a", "it is protected"),)
    assert cloud.ids() == ["a"]


def test_retained_and_adopted_orphans_are_forgotten_and_kept_ones_stay(world: World, cloud: Cloud) -> None:
    async def two(scope: Scope) -> None:
        Thing("retained", retain=True)
        Thing("kept")

    world.deploy(two)
    write(world, replace(world.rows()["kept"], kept=True))
    write_release(world, orphans=[f"{PROD}/retained", f"{PROD}/kept"])
    plan = plan_cleanup(world.store, ScopePath.parse(PROD))
    assert [(step.address, str(step.action)) for step in plan.deletions] == [(f"{PROD}/retained", "forget")]
    assert plan.kept == (f"{PROD}/kept",)
    clean(world)
    assert cloud.ids() == ["kept", "retained"]
    assert list(world.rows()) == ["kept"]


def test_of_a_nested_scope_only_what_is_in_it(world: World, cloud: Cloud) -> None:
    async def body(scope: Scope) -> None:
        for name in ("one", "two"):
            async with alchemy.run(name):
                Thing("a")

    world.deploy(body)
    write_release(world, orphans=[f"{PROD}/one/a", f"{PROD}/two/a"])
    assert reasons(world, f"{PROD}/one") == {"a": "not in the program since the last complete deploy"}
    clean(world, f"{PROD}/one")
    assert list(world.rows()) == ["two/a"]
    assert sorted(world.fold().scopes) == [PROD, f"{PROD}/two"], "a scope that has emptied goes with its last row"
    assert sorted(reasons(world)) == ["two/a"]


def test_of_an_application_every_stage(world: World, cloud: Cloud) -> None:
    world.deploy(declare("a", "b"))
    world.deploy(declare("c"), stage="dev")
    write_release(world, orphans=[f"{PROD}/b"])
    cloud.fail("delete c", times=9)
    with pytest.raises(RunFailed):
        world.deploy(declare(), stage="dev", max_retries=0)
    cloud.errors.clear()
    assert sorted(reasons(world, "my-app")) == ["dev/c", "prod/b"]
    assert sorted(clean(world, "my-app").deleted) == ["my-app/dev/c", "my-app/prod/b"]
    assert cloud.ids() == ["a"]


def test_what_is_not_stored_cannot_be_cleaned_up(world: World, cloud: Cloud) -> None:
    with pytest.raises(UsageError, match="not in the state"):
        clean(world)


def test_a_backup_is_taken_first_and_the_next_deploy_is_not_misled(world: World, cloud: Cloud) -> None:
    world.deploy(declare("a", "b"))
    write(world, world.rows()["a"])
    write_release(world, orphans=[f"{PROD}/b"])
    before = len(world.store.backups(PROD))
    clean(world)
    assert len(world.store.backups(PROD)) == before + 1
    assert world.fold().declared["complete"], "a cleanup declares nothing, and forgets nothing that was declared"
    assert reasons(world) == {}
    cloud.log.clear()
    world.deploy(declare("a"))
    assert cloud.log == []


def test_more_than_was_agreed_on_is_refused(world: World, cloud: Cloud) -> None:
    world.deploy(declare("a", "b", "c"))
    write_release(world, orphans=[f"{PROD}/b"])
    agreed = plan_cleanup(world.store, ScopePath.parse(PROD))
    write_release(world, orphans=[f"{PROD}/b", f"{PROD}/c"])
    with pytest.raises(Refused, match=f"{PROD}/c would go too"):
        clean(world, agreed=agreed)
    assert cloud.ids() == ["a", "b", "c"]


def test_a_failure_keeps_the_row_and_the_rest_goes(world: World, cloud: Cloud) -> None:
    world.deploy(declare("a", "b", "c"))
    write_release(world, orphans=[f"{PROD}/b", f"{PROD}/c"])
    cloud.fail("delete c", times=9)
    with pytest.raises(RunFailed) as failed:
        clean(world)
    assert [address for address, _ in failed.value.failures] == [f"{PROD}/c"]
    assert sorted(world.rows()) == ["a", "c"]
    cloud.errors.clear()
    clean(world)
    assert sorted(world.rows()) == ["a"]


def test_an_interrupted_cleanup_is_finished_by_the_next(world: World, cloud: Cloud) -> None:
    world.deploy(declare("a", "b", "c"))
    write_release(world, orphans=[f"{PROD}/b", f"{PROD}/c"])
    cloud.lost.add("delete c")

    async def cut() -> None:
        options, project = Options(retry_delay=0.0), Project(world.root, {})
        async with asyncio.timeout(0.2):
            await cleanup(world.store, ScopePath.parse(PROD), options, project=project)

    with pytest.raises((TimeoutError, Interrupted)):
        asyncio.run(cut())
    cloud.lost.clear()
    clean(world)
    assert (cloud.ids(), list(world.rows())) == (["a"], ["a"])


def test_destroying_a_stored_scope_looks_for_what_interrupted_runs_may_have_made(world: World, cloud: Cloud) -> None:
    """Every state that a kill can leave a row in, with and without its object."""
    states = (Status.CREATING, Status.UPDATING, Status.REPLACING, Status.DELETING)
    ids = [f"{status}-{there}" for status in states for there in ("there", "gone")]
    world.deploy(declare(*ids))
    rows = world.rows()
    for id in ids:
        if id.endswith("gone"):
            del cloud.objects[rows[id].physical_name]
    write(world, *(replace(rows[id], status=Status(id.split("-")[0]), outputs={}) for id in ids))
    cloud.log.clear()
    options, project = Options(retry_delay=0.0), Project(world.root, {})
    asyncio.run(destroy_stored(world.store, ScopePath.parse(PROD), options, project=project))
    assert sorted(cloud.calls("delete")) == sorted(id for id in ids if id.endswith("there"))
    assert sorted(cloud.calls("read")) == sorted(ids)
    assert (cloud.objects, world.rows()) == ({}, {})
