"""Files that went away or came along: what is lost is never taken for empty, what is foreign is passed over."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Iterator

import pytest

from alchemy import KVNamespace, Refused, RunFailed, Scope, StateInvalid
from alchemy.engine import kinds
from alchemy.model.paths import ScopePath
from alchemy.operations.destroying import destroy_stored, plan_destroy
from alchemy.operations.shapes import Health
from alchemy.operations.validate import validate
from alchemy.operations.workspace import Workspace
from alchemy.settings import Options, find_project
from tests.scenarios.world import PROD, Body, Cloud, Thing, World


def many(n: int) -> Body[None]:
    async def body(app: Scope) -> None:
        for number in range(n):
            Thing(f"t{number}")

    return body


async def read(app: Scope) -> None:
    await Thing("t0")


# -- a journal that is gone -------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["up", "plan", "read", "destroy"])
def test_no_phase_takes_a_journal_that_is_gone_for_an_empty_one(world: World, cloud: Cloud, phase: str) -> None:
    world.deploy(many(1))
    shutil.rmtree(world.layout.journal(PROD))
    cloud.log.clear()
    with pytest.raises(StateInvalid, match="was written from a journal that is missing or empty"):
        world.deploy(read, phase=phase)
    assert cloud.log == []


def test_planning_to_destroy_does_not_either(world: World, cloud: Cloud) -> None:
    world.deploy(many(1))
    shutil.rmtree(world.layout.journal(PROD))
    with pytest.raises(StateInvalid, match="was written from a journal that is missing or empty"):
        plan_destroy(world.store, ScopePath.parse(PROD))


# -- a local cloud that is gone ---------------------------------------------------------------------------------


def test_a_stage_of_a_local_cloud_that_was_removed_is_not_made_again_elsewhere(world: World) -> None:
    async def body(app: Scope) -> None:
        KVNamespace("cache")

    world.deploy(body)
    shutil.rmtree(world.layout.local_cloud)
    before = world.rows()
    with pytest.raises(Refused, match=f"{PROD} was deployed to local cloud .*, and this run would go to"):
        world.deploy(body)
    assert world.rows() == before
    assert world.fold().last_release["outcome"] == "failed"
    with pytest.raises(Refused):
        world.deploy(body, phase="plan")


# -- files that came along --------------------------------------------------------------------------------------


def test_a_foreign_file_among_the_views_stops_no_run_after_a_kill(world: World, cloud: Cloud) -> None:
    world.deploy(many(1))
    resources = world.layout.scope(PROD) / "resources"
    (resources / ".DS_Store").write_bytes(b"\x00\x01")
    newest = sorted(world.layout.journal(PROD).iterdir())[-1]
    lines = newest.read_bytes().splitlines(keepends=True)
    newest.write_bytes(b"".join(lines[:-1]))  # as a kill before the release leaves it
    for view in (world.layout.scope(PROD) / "state.json", resources / "t0" / "state.json"):
        view.unlink()
    assert not world.fold().released
    world.deploy(many(2))
    assert cloud.ids() == ["t0", "t1"]
    assert world.fold().released
    assert validate(world.state) == []


# -- a scope that was removed while somebody looks --------------------------------------------------------------


def test_who_looks_on_sees_the_new_scope_after_the_old_one_was_removed(world: World) -> None:
    world.deploy(many(3))
    workspace = Workspace(world.state)
    assert workspace.refresh().scopes[PROD].total == 3
    for n in (1, 9, 2):
        shutil.rmtree(world.state / "my-app")
        world.deploy(many(n))
        node = workspace.refresh().scopes[PROD]
        assert (node.health, node.total, node.problem) == (Health.OK, n, "")


def test_who_looks_on_still_sees_damage(world: World) -> None:
    world.deploy(many(3))
    workspace = Workspace(world.state)
    workspace.refresh()
    newest = sorted(world.layout.journal(PROD).iterdir())[-1]
    raw = newest.read_bytes()
    newest.write_bytes(raw[: len(raw) // 2])
    assert workspace.refresh(full=True).scopes[PROD].health is not Health.OK


# -- kinds that are gone ----------------------------------------------------------------------------------------


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What loading a program changes in this process."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    kinds.register(Thing.kind, Thing)
    kinds.set_program(None)
    sys.modules.pop("alchemy_run", None)


def test_a_program_is_executed_once_for_all_rows_of_a_kind_it_does_not_have(
    world: World, cloud: Cloud, restored: None
) -> None:
    times = world.root / "times"
    program = f"with open({str(times)!r}, 'a') as file:\n    file.write('x')\n"
    (world.root / "alchemy_run.py").write_text(program)
    world.deploy(many(30))
    del kinds._kinds[Thing.kind]
    options, project = Options(max_retries=0), find_project(world.root)
    with pytest.raises(RunFailed) as error:
        asyncio.run(destroy_stored(world.store, ScopePath.parse(PROD), options, project=project))
    assert len(error.value.failures) == 30
    assert times.read_text() == "x"
    assert cloud.calls("delete") == []
