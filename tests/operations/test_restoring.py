"""Going back: what a restore writes, what it leaves, what the next deploy makes of it."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alchemy import Refused, Scope, StateInvalid, UsageError, alchemy
from alchemy.model.backup import BEFORE_RESTORE
from alchemy.model.comparison import same_row
from alchemy.model.events import BackupTaken, ChangeEnded, Entry, Event, Restored, RunEnded, RunStarted
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Put
from alchemy.model.values import ScopeKind, Status, Target
from alchemy.operations.backups import compare, take, timeline
from alchemy.operations.restoring import restore, undo
from alchemy.operations.shapes import BackupInfo, RestoreReport
from alchemy.operations.validate import validate
from alchemy.operations.workspace import Workspace
from alchemy.store.backups import read_valid, write_backup
from alchemy.store.ledger import Ledger
from tests.model import rows
from tests.scenarios.conftest import cloud, world
from tests.scenarios.world import PROD, Cloud, Thing, World, nothing

__all__ = ["cloud", "world"]


async def small(app: Scope) -> None:
    Thing("a")
    async with alchemy.run("db"):
        Thing("x")


async def large(app: Scope) -> None:
    Thing("a", size=2)
    b = Thing("b")
    async with alchemy.run("compute"):
        Thing("api", uses=b)


def go_back(world: World, scope: str = PROD, file: str = "latest", **more: Any) -> RestoreReport:
    return asyncio.run(restore(world.store, scope, file, **more))


def go_forth(world: World, scope: str = PROD) -> RestoreReport:
    return asyncio.run(undo(world.store, scope))


def named(world: World, beginning: str) -> BackupInfo:
    return next(info for info in timeline(world.store, PROD) if info.reason.startswith(beginning))


def assert_as_in(world: World, file: str) -> None:
    """Every row, but for the mark that it has to be looked at."""
    then = read_valid(world.store, PROD, file).fold
    now = world.fold()
    assert now.resources.keys() == then.resources.keys()
    for key, row in now.resources.items():
        if row.status is Status.UPDATING:  # the object has other props still
            assert row.pending != row.props
            row = replace(row, status=Status.READY, pending=None)
        assert same_row(row, then.resources[key]), key
    assert now.scopes.keys() == then.scopes.keys()


@pytest.fixture
def grown(world: World) -> World:
    """Deployed small, then large; the newest backup is of the small one."""
    world.deploy(small)
    world.deploy(large)
    return world


def test_the_state_is_as_it_was_and_the_cloud_as_it_is(grown: World, cloud: Cloud) -> None:
    file = timeline(grown.store, PROD)[0].file
    before = dict(cloud.objects)
    report = go_back(grown)
    assert_as_in(grown, file)
    assert cloud.objects == before
    assert (report.restored, report.forgotten, report.unchanged) == (2, 2, False)
    assert {row.address.removeprefix(f"{PROD}/") for row in grown.fold().resources.values() if row.verify} == {
        "a",
        "db/x",
    }
    assert validate(grown.state) == []


def test_it_is_one_record_of_its_own(grown: World) -> None:
    serial = grown.fold().serial
    report = go_back(grown)
    records = grown.store.read_epoch(PROD, 3)
    assert [record.kind for record in records if record.kind != "commit"] == ["open", "restore", "release"]
    (record,) = [record for record in records if record.kind == "restore"]
    assert record.body["from"] == timeline(grown.store, PROD)[1].file
    assert record.serial == serial + 1
    assert (report.serial_before, report.serial) == (serial, grown.fold().serial)


def test_what_was_there_is_backed_up_first_and_comes_back(grown: World) -> None:
    before = grown.fold()
    report = go_back(grown)
    saved = named(grown, BEFORE_RESTORE)
    assert (saved.file, saved.serial) == (report.before, before.serial)
    go_forth(grown)
    assert_as_in(grown, report.before)
    assert grown.rows().keys() == {"a", "b", "compute/api"}
    go_forth(grown)
    assert grown.rows().keys() == {"a", "db/x"}


def test_the_next_deploy_makes_again_what_is_gone_and_keeps_what_is_there(grown: World, cloud: Cloud) -> None:
    go_back(grown)
    cloud.log.clear()
    grown.deploy(small)
    assert "create x" in cloud.log
    assert "create a" not in cloud.log
    assert cloud.ids() == ["a", "api", "b", "x"], "what left the state stays in the cloud"
    assert {cloud.objects[row.physical_name]["size"] for row in grown.rows().values()} == {1}
    assert not any(row.verify for row in grown.rows().values())


def test_undone_nothing_was_lost(grown: World, cloud: Cloud) -> None:
    go_back(grown)
    go_forth(grown)
    grown.deploy(large)
    assert cloud.ids() == ["a", "api", "b"]
    grown.deploy(nothing)
    assert cloud.objects == {}


def test_a_destroyed_stage_comes_back(world: World, cloud: Cloud) -> None:
    world.deploy(small)
    world.deploy(small, phase="destroy")
    assert world.fold().scopes == {}
    report = go_back(world)
    assert report.restored == 2
    assert world.rows().keys() == {"a", "db/x"}
    world.deploy(small)
    assert cloud.ids() == ["a", "x"]


def test_a_state_that_is_as_in_the_backup_already_is_left_alone(grown: World) -> None:
    go_back(grown)
    epoch = grown.fold().epoch
    file = timeline(grown.store, PROD)[1].file
    report = go_back(grown, file=file)
    assert report.unchanged
    assert grown.fold().epoch == epoch


def test_a_nested_scope_goes_back_alone(grown: World) -> None:
    file = timeline(grown.store, PROD)[0].file
    report = go_back(grown, f"{PROD}/db", file)
    assert grown.rows().keys() == {"a", "b", "compute/api", "db/x"}
    assert grown.rows()["a"].props["size"] == 2
    assert (report.scope, report.owner, report.restored) == (f"{PROD}/db", PROD, 1)
    assert f"{PROD}/db" in grown.fold().scopes


def test_a_single_resource_goes_back_alone(grown: World) -> None:
    file = timeline(grown.store, PROD)[0].file
    go_back(grown, f"{PROD}/a", file)
    assert grown.rows().keys() == {"a", "b", "compute/api"}
    assert grown.rows()["a"].props["size"] == 1


def test_events_tell_it_live_and_in_the_log(grown: World) -> None:
    told: list[Event] = []

    def listen(entry: Entry) -> None:
        told.append(entry.event)

    file = timeline(grown.store, PROD)[0].file
    report = go_back(grown, listener=listen)
    kinds = [type(event) for event in told]
    assert kinds == [RunStarted, BackupTaken, *[ChangeEnded] * 4, Restored, RunEnded]
    restored = next(event for event in told if isinstance(event, Restored))
    assert (restored.file, restored.restored, restored.forgotten, restored.before) == (file, 2, 2, report.before)
    workspace = Workspace(grown.store)
    workspace.refresh()
    logged = [entry.event for entry in workspace.entries(PROD)]
    assert [event for event in logged if isinstance(event, Restored)] == [restored]
    assert {event.subject for event in logged if isinstance(event, ChangeEnded)} == {
        f"{PROD}/{name}" for name in ("a", "b", "db/x", "compute/api")
    }
    (run, *_) = Workspace(grown.store).refresh().runs[PROD]
    assert (run.purpose, run.outcome, dict(run.counts)) == ("restore", "done", {"restore": 2, "forget": 2})


def test_a_listener_that_raises_ends_the_telling_only(grown: World) -> None:
    def broken(entry: Entry) -> None:
        raise RuntimeError("closed")

    assert go_back(grown, listener=broken).restored == 2


def test_another_serial_than_was_shown_is_refused(grown: World) -> None:
    shown = compare(grown.store, PROD)
    grown.deploy(small)
    epoch = grown.fold().epoch
    with pytest.raises(Refused, match=f"is at serial .* by now, not at {shown.serial_now}"):
        go_back(grown, file=shown.file, expect_serial=shown.serial_now)
    assert grown.fold().epoch == epoch


def test_undoing_is_refused_when_something_ran_since(grown: World) -> None:
    with pytest.raises(Refused, match="nothing was restored in my-app/prod"):
        go_forth(grown)
    go_back(grown)
    grown.deploy(small)
    with pytest.raises(Refused, match="R-4 deploy ran in my-app/prod since the restore") as caught:
        go_forth(grown)
    assert named(grown, BEFORE_RESTORE).file in caught.value.hint


def test_a_restore_that_died_before_it_changed_anything_is_not_the_one_that_is_undone(grown: World) -> None:
    went_back = go_back(grown)
    assert "b" not in grown.rows()

    async def die() -> None:  # with its backup written, and no record
        scope, kind = ScopePath.parse(PROD), ScopeKind.STAGE
        ledger = await Ledger.open(grown.store, scope, kind, purpose="restore", timeout=0.0)
        write_backup(grown.store, ledger.fold, f"{BEFORE_RESTORE}{went_back.file}")
        ledger.close(outcome="failed", counts={}, failures=[])

    asyncio.run(die())
    report = go_forth(grown)
    assert report.file == went_back.before
    assert "b" in grown.rows()


def test_a_run_that_changed_nothing_does_not_keep_from_undoing(grown: World) -> None:
    go_back(grown)
    grown.deploy(small, phase="plan")
    with pytest.raises(ZeroDivisionError):
        grown.deploy(_divide)
    go_forth(grown)
    assert grown.rows().keys() == {"a", "b", "compute/api"}


async def _divide(app: Scope) -> None:
    raise ZeroDivisionError


def test_a_damaged_backup_is_refused_and_another_proposed(grown: World) -> None:
    take(grown.store, PROD)
    newest, whole = (info.file for info in timeline(grown.store, PROD)[:2])
    path = grown.layout.backups(PROD) / newest
    path.write_bytes(path.read_bytes().replace(b'"size": 2', b'"size": 3'))
    with pytest.raises(StateInvalid, match="its checksum does not match") as caught:
        go_back(grown, file=newest)
    assert whole in caught.value.hint


def test_a_backup_of_another_scope_is_refused(grown: World) -> None:
    grown.deploy(small, stage="other")
    mine, _ = grown.store.read_backup(PROD, timeline(grown.store, PROD)[0].file)
    grown.store.create_backup("my-app/other", "state-2030-01-01T00-00-00-000Z.json", mine)
    with pytest.raises(StateInvalid, match="it is of my-app/prod, not of my-app/other"):
        go_back(grown, "my-app/other", "state-2030")


def test_a_backup_of_another_life_of_the_stage_is_refused(grown: World, tmp_path: Path, cloud: Cloud) -> None:
    """Removed and deployed anew: other physical names, other objects."""
    old, _ = grown.store.read_backup(PROD, timeline(grown.store, PROD)[0].file)
    shutil.rmtree(grown.layout.scope(PROD))
    grown.deploy(small)
    grown.store.create_backup(PROD, "state-2030-01-01T00-00-00-000Z.json", old)
    with pytest.raises(Refused, match="is of another life of my-app/prod"):
        go_back(grown, file="state-2030")
    assert grown.fold().epoch == 1


@pytest.mark.parametrize("scope", ["my-app/prdo", "other", "my-app/prod/nowhere"])
def test_what_is_nowhere_cannot_be_restored(grown: World, scope: str) -> None:
    with pytest.raises(UsageError):
        go_back(grown, scope)


def test_an_application_without_state_of_its_own_names_its_stages(grown: World) -> None:
    with pytest.raises(UsageError) as caught:
        go_back(grown, "my-app")
    assert "my-app/prod" in caught.value.hint


def test_a_reserved_scope_is_not_restored(grown: World) -> None:
    from alchemy.errors import LockHeld
    from alchemy.operations.holding import hold

    asyncio.run(hold(grown.store, ScopePath.parse(PROD), reason="moving"))
    with pytest.raises(LockHeld, match="moving"):
        go_back(grown)


def test_a_part_of_a_stage_that_went_to_another_account_is_not_mixed_with_it(world: World) -> None:
    """The rows of then are objects there; the whole goes back with its target, and says so."""
    fold = _retargeted(world, "a")
    file = write_backup(world.store, fold, "before the move")
    _retargeted(world, "b")
    with pytest.raises(Refused, match=r"goes to Cloudflare \(account bbbbbbbb…\) now, and went to") as caught:
        go_back(world, f"{PROD}/db", file)
    assert f"alchemy scope restore {PROD} --backup {file}" in caught.value.hint
    assert any("its target becomes" in text for text in compare(world.store, PROD, file).consequences)
    go_back(world, PROD, file)
    target = world.fold().target
    assert target is not None
    assert target.account == "a" * 32


def _retargeted(world: World, letter: str) -> Fold:
    """A run that deploys to the account of that letter."""
    path = ScopePath.parse(PROD)

    async def run() -> Fold:
        ledger = await Ledger.open(world.store, path, ScopeKind.STAGE, purpose="save", timeout=0.0)
        stored = ledger.fold.scopes[PROD]
        nested = replace(stored, path=f"{PROD}/db", kind=ScopeKind.NESTED)
        row = rows.row(f"{PROD}/db/x", token=letter, account=letter * 32)
        owner = replace(stored, target=Target(account=letter * 32, name="Cloudflare"))
        await ledger.intend([Put(owner), Put(nested), Put(row)])
        ledger.close(outcome="done", counts={}, failures=[])
        return ledger.fold

    return asyncio.run(run())
