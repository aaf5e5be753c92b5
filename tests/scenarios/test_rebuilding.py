"""`scope rebuild`: state made anew from whatever is left; the next deploy makes nothing twice and loses nothing."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from alchemy import LockHeld, Refused, RunFailed, Scope, StateInvalid, UsageError, alchemy
from alchemy.model.paths import ScopePath
from alchemy.model.records import Reserve
from alchemy.model.values import Hold, ScopeKind
from alchemy.operations.cleaning import plan_cleanup
from alchemy.operations.rebuilding import RebuildPlan, RebuildReport, plan_rebuild, rebuild
from alchemy.settings import Options, Project
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from tests.scenarios.world import PROD, Cloud, Named, Solid, Thing, World, nothing

STAGE = ScopePath.parse(PROD)
OPTIONS = Options(retry_delay=0.0, lock_timeout=0.0)


async def three(scope: Scope) -> None:
    base = Thing("base")
    async with alchemy.run("inner"):
        Thing("user", uses=base.uid)
        Solid("solid")


def look(world: World, path: str = PROD, program: Path | None = None) -> RebuildPlan:
    project = Project(world.root, {})
    store = LocalStore(world.layout, "d" * 32)
    return asyncio.run(plan_rebuild(store, ScopePath.parse(path), OPTIONS, project=project, program=program))


def carry_out(world: World, plan: RebuildPlan) -> RebuildReport:
    store = LocalStore(world.layout, "d" * 32)
    return asyncio.run(rebuild(store, plan, OPTIONS, listener=world.listen))


def rebuilt(world: World, path: str = PROD) -> RebuildReport:
    return carry_out(world, look(world, path))


def journal(world: World) -> Path:
    return world.layout.journal(PROD)


def refused(world: World) -> None:
    with pytest.raises(StateInvalid):
        world.store.read_fold(PROD)


def unchanged(world: World, cloud: Cloud) -> None:
    """A deploy of the same program changes nothing; destroying leaves nothing."""
    ids = cloud.ids()
    cloud.log.clear()
    world.deploy(three)
    assert cloud.calls() == []
    assert cloud.ids() == ids
    assert not any(row.verify for row in world.rows().values())
    world.deploy(nothing)
    assert (cloud.objects, world.rows()) == ({}, {})


def damage_line(world: World) -> None:
    file = sorted(journal(world).iterdir())[0]
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], b"{}" + lines[1], *lines[2:]]))


def damage_all(world: World) -> None:
    for file in journal(world).iterdir():
        file.write_bytes(b"\0" * 300 + b"\n" + b"\0" * 30)


def lose_journal(world: World) -> None:
    shutil.rmtree(journal(world))


def lose_journal_and_copies(world: World) -> None:
    lose_journal(world)
    for name in ("backups", "snapshots"):
        shutil.rmtree(world.layout.scope(PROD) / name, ignore_errors=True)


def lose_journal_and_views(world: World) -> None:
    lose_journal(world)
    (world.layout.scope(PROD) / "state.json").unlink()
    shutil.rmtree(world.layout.scope(PROD) / "resources")
    shutil.rmtree(world.layout.scope(PROD) / "inner")


DAMAGES = [damage_line, damage_all, lose_journal, lose_journal_and_copies, lose_journal_and_views]


@pytest.mark.parametrize("damage", DAMAGES)
def test_after_any_damage_everything_is_there_again(damage: Any, world: World, cloud: Cloud) -> None:
    world.deploy(three)
    before = world.rows()
    damage(world)
    refused(world)
    plan = look(world)
    assert plan.damage
    assert not plan.severe
    assert {row.address for row, _ in plan.rows} == {row.address for row in before.values()}
    done = carry_out(world, plan)
    assert done.rows == 3
    after = world.rows()
    assert {id: (row.physical_name, row.outputs, row.seq, row.verify) for id, row in after.items()} == {
        id: (row.physical_name, row.outputs, row.seq, True) for id, row in before.items()
    }
    world.store.read_fold(PROD)
    unchanged(world, cloud)


def test_each_row_says_where_it_was_found(world: World, cloud: Cloud) -> None:
    world.deploy(three)
    lose_journal(world)
    assert {source.split()[0] for _, source in look(world).rows} == {"backup"}
    for name in world.store.backups(PROD):
        world.store.remove_backup(PROD, name)
    sources = {row.id: source for row, source in look(world).rows}
    assert sources["user"] == "view inner/resources/user/state.json"


def test_the_lineage_and_so_the_names_stay(world: World, cloud: Cloud) -> None:
    async def more(scope: Scope) -> None:
        await three(scope)
        Thing("later")

    world.deploy(three)
    lineage = world.fold().lineage
    damage_line(world)
    rebuilt(world)
    assert world.fold().lineage == lineage
    world.deploy(more)
    assert world.fold().lineage == lineage


def test_damaged_files_are_set_aside_and_a_backup_is_taken(world: World, cloud: Cloud) -> None:
    world.deploy(three)
    damage_all(world)
    bytes_then = {file.name: file.read_bytes() for file in journal(world).iterdir()}
    backups = len(world.store.backups(PROD))
    done = rebuilt(world)
    assert done.aside == "journal.damaged-1"
    aside = world.layout.scope(PROD) / done.aside
    assert {file.name: file.read_bytes() for file in aside.iterdir()} == bytes_then
    assert len(world.store.backups(PROD)) == backups + 1
    assert world.store.backups(PROD)[-1] == done.before
    damage_line(world)
    assert rebuilt(world).aside == "journal.damaged-2"
    unchanged(world, cloud)


def test_sound_state_is_severe_and_comes_out_the_same(world: World, cloud: Cloud) -> None:
    world.deploy(three)
    before = world.rows()
    plan = look(world)
    assert (plan.severe, plan.damage, plan.vanishing, plan.lost) == (True, "", (), 0)
    carry_out(world, plan)
    assert {id: row.outputs for id, row in world.rows().items()} == {id: row.outputs for id, row in before.items()}
    unchanged(world, cloud)


def test_looking_writes_nothing(world: World, cloud: Cloud) -> None:
    world.deploy(three)
    damage_line(world)
    before = world.tree()
    look(world)
    assert world.tree() == before


def test_what_is_gone_in_the_cloud_is_made_again_and_what_is_there_is_not(world: World, cloud: Cloud) -> None:
    world.deploy(three)
    del cloud.objects[world.rows()["inner/solid"].physical_name]
    damage_line(world)
    rebuilt(world)
    cloud.log.clear()
    world.deploy(three)
    assert cloud.calls("create") == ["solid"]
    world.deploy(nothing)
    assert cloud.objects == {}


def test_an_older_backup_and_a_newer_journal_are_put_together(world: World, cloud: Cloud) -> None:
    """The journal's beginning is gone; the backup knows what was before, the rest what came after."""

    async def changed(scope: Scope) -> None:
        base = Thing("base", size=3)
        async with alchemy.run("inner"):
            Thing("user", uses=base.uid)
        Thing("new")

    world.deploy(three)
    world.deploy(changed)
    before = world.rows()
    sorted(journal(world).iterdir())[0].unlink()
    plan = look(world)
    assert sorted(row.id for row, _ in plan.rows) == ["base", "new", "user"]
    carry_out(world, plan)
    assert {id: row.props for id, row in world.rows().items()} == {id: row.props for id, row in before.items()}
    cloud.log.clear()
    world.deploy(changed)
    assert cloud.calls() == []


def test_records_of_which_nothing_is_left_are_counted(world: World, cloud: Cloud) -> None:
    world.deploy(three)
    damage_line(world)
    for name in world.store.backups(PROD):
        world.store.remove_backup(PROD, name)
    plan = look(world)
    assert plan.lost == 1
    assert any("000001.jsonl:2" in problem for problem in plan.problems)


def test_a_stage_that_holds_a_reservation_is_not_rebuilt(world: World, cloud: Cloud) -> None:
    world.deploy(three)

    async def reserve() -> None:
        ledger = await Ledger.open(world.store, STAGE, ScopeKind.STAGE, purpose="lock", timeout=0)
        ledger.record([Reserve(Hold(reason="an audit", by="ana@laptop", since=""))])
        ledger.close(outcome="done", counts={}, failures=[])

    asyncio.run(reserve())
    damage_line(world)
    with pytest.raises(LockHeld, match="reserved by ana@laptop"):
        rebuilt(world)
    assert journal(world).exists()


def test_under_a_run_or_after_one_that_came_between_nothing_is_rebuilt(world: World, cloud: Cloud) -> None:
    world.deploy(three)
    plan = look(world)

    async def play() -> None:
        lease = await LocalStore(world.layout, "e" * 32).acquire(STAGE, timeout=0)
        with pytest.raises(UsageError, match="already holds"):
            await rebuild(world.store, plan, OPTIONS)
        lease.release()

    asyncio.run(play())
    world.deploy(nothing)
    with pytest.raises(Refused, match="changed meanwhile"):
        carry_out(world, plan)


def test_what_is_not_there_cannot_be_rebuilt(world: World, cloud: Cloud) -> None:
    with pytest.raises(UsageError, match="nothing to rebuild"):
        look(world)
    world.deploy(three)
    with pytest.raises(UsageError, match="in the journal of my-app/prod"):
        look(world, f"{PROD}/inner")
    world.deploy(three, phase="destroy")
    with pytest.raises(UsageError, match="nothing to rebuild"):
        look(world)


def test_of_nothing_at_all_nothing_is_made(world: World, cloud: Cloud) -> None:
    world.deploy(three)
    lose_journal_and_views(world)
    for name in world.store.backups(PROD):
        world.store.remove_backup(PROD, name)
        (world.layout.backups(PROD) / name).touch()
    with pytest.raises(StateInvalid, match="nothing can be rebuilt") as error:
        look(world)
    assert "alchemy scope reset" in error.value.hint


def test_an_application_is_rebuilt_without_its_stages(world: World, cloud: Cloud) -> None:
    world.deploy(three, stage=None)
    world.deploy(three)
    shutil.rmtree(world.layout.journal("my-app"))
    shutil.rmtree(world.layout.backups("my-app"))
    shutil.rmtree(world.layout.backups(PROD))
    plan = look(world, "my-app")
    assert [row.address for row, _ in plan.rows] == ["my-app/base", "my-app/inner/solid", "my-app/inner/user"]
    carry_out(world, plan)
    assert len(world.rows()) == 3
    cloud.log.clear()
    world.deploy(three, stage=None)
    world.deploy(three)
    assert cloud.calls() == []


def test_a_stage_of_which_only_views_are_left_is_known_to_be_damaged(world: World, cloud: Cloud) -> None:
    world.deploy(three)
    lose_journal_and_copies(world)
    assert PROD in world.store.owners()
    refused(world)
    with pytest.raises(StateInvalid):
        world.deploy(three)


def test_what_was_left_behind_still_is_and_nothing_else(world: World, cloud: Cloud) -> None:
    """Also for a deploy that fails afterwards: rows from before were declared once, whatever it comes to."""

    async def failing(scope: Scope) -> None:
        Thing("broken")

    world.deploy(three)

    async def release() -> None:
        ledger = await Ledger.open(world.store, STAGE, ScopeKind.STAGE, purpose="deploy", timeout=0)
        declared = {"complete": True, "orphans": [f"{PROD}/inner/solid"], "next_seq": ledger.fold.next_seq}
        ledger.close(outcome="done", counts={}, failures=[], declared=declared)

    asyncio.run(release())
    damage_line(world)
    rebuilt(world)
    left = [step.address for step in plan_cleanup(world.store, STAGE).deletions]
    assert left == [f"{PROD}/inner/solid"]
    cloud.fail("create broken", times=9)
    with pytest.raises(RunFailed):
        world.deploy(failing, max_retries=0)
    assert [step.address for step in plan_cleanup(world.store, STAGE).deletions] == left


# --- with the program


PROGRAM = """
from alchemy import alchemy
from tests.scenarios.world import Named, Solid, Thing

async def main():
    async with alchemy("my-app", stage="prod"):
        base = Thing("base")
        Thing("user", uses=base.uid)
        Solid("solid", uses=base.uid)
        Named("named", name="by-hand")
        print("what it prints")
"""


async def as_program(scope: Scope) -> None:
    base = Thing("base")
    Thing("user", uses=base.uid)
    Solid("solid", uses=base.uid)
    Named("named", name="by-hand")


def program(world: World) -> Path:
    file = world.root / "rebuilt_program.py"
    file.write_text(PROGRAM)
    return file


def forget_rows(world: World, *ids: str) -> None:
    """Damage that takes all that was known of some rows with it."""
    for name in ("backups", "snapshots"):
        shutil.rmtree(world.layout.scope(PROD) / name, ignore_errors=True)
    file = sorted(journal(world).iterdir())[0]
    lines = file.read_bytes().splitlines(keepends=True)
    marks = [f'"address":"{PROD}/{id}"'.encode() for id in ids]
    file.write_bytes(b"".join(b"x" + line if any(mark in line for mark in marks) else line for line in lines))
    for id in ids:
        shutil.rmtree(world.layout.resource_view(f"{PROD}/{id}").parent)


def one_by_one(world: World) -> None:
    async def body(scope: Scope) -> None:
        base = await Thing("base")
        await Thing("user", uses=base.uid)
        await Solid("solid", uses=base.uid)
        await Named("named", name="by-hand")

    world.deploy(body)


def test_what_nobody_knows_is_found_in_the_cloud_by_its_mark(world: World, cloud: Cloud) -> None:
    one_by_one(world)
    before = {id: row.physical_name for id, row in world.rows().items()}
    forget_rows(world, "user", "solid", "named")
    cloud.log.clear()
    plan = look(world, program=program(world))
    assert cloud.calls() == []
    sources = {row.id: source for row, source in plan.rows}
    assert sources["user"] == f"cloud: {before['user']}"
    assert sources["named"] == "cloud: by-hand"
    assert not list(world.root.glob("alchemy-rebuild-*"))
    carry_out(world, plan)
    assert {id: row.physical_name for id, row in world.rows().items()} == before
    cloud.log.clear()
    ids = {o["uid"] for o in cloud.objects.values()}
    world.deploy(as_program)
    assert cloud.calls("create") == cloud.calls("delete") == []
    assert {o["uid"] for o in cloud.objects.values()} == ids
    assert {row.status for row in world.rows().values()} == {"ready"}
    cloud.log.clear()
    world.deploy(as_program)
    assert cloud.log == []


def test_what_was_found_by_a_name_that_anybody_may_give_is_forgotten_not_deleted(world: World, cloud: Cloud) -> None:
    one_by_one(world)
    forget_rows(world, "named")
    carry_out(world, look(world, program=program(world)))
    assert world.rows()["named"].adopted
    world.deploy(nothing)
    assert list(cloud.objects) == ["by-hand"]


def test_incarnations_are_all_found_and_only_the_newest_is_current(world: World, cloud: Cloud) -> None:
    async def us(scope: Scope) -> None:
        await Thing("user", region="us")

    async def eu(scope: Scope) -> None:
        await Thing("user")

    world.deploy(eu)
    cloud.fail("delete user", times=9)
    with pytest.raises(Exception, match="failed"):
        world.deploy(us, max_retries=0)
    cloud.errors.clear()
    shutil.rmtree(world.layout.resource_view(f"{PROD}/user").parent)
    forget_rows_of_all_runs(world, "user")
    plan = look(world, program=program(world))
    assert sorted((row.generation, row.former) for row, _ in plan.rows if row.id == "user") == [(0, True), (1, False)]


def forget_rows_of_all_runs(world: World, id: str) -> None:
    mark = f'"address":"{PROD}/{id}"'.encode()
    for name in ("backups", "snapshots"):
        shutil.rmtree(world.layout.scope(PROD) / name, ignore_errors=True)
    for file in journal(world).iterdir():
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join(b"x" + line if mark in line else line for line in lines))


def test_a_look_that_fails_is_left_to_the_next_run(world: World, cloud: Cloud) -> None:
    one_by_one(world)
    forget_rows(world, "user")
    cloud.fail("read user", times=9)
    plan = look(world, program=program(world))
    assert any("could not be looked up" in note for note in plan.problems)
    carry_out(world, plan)
    assert world.rows()["user"].status == "creating"


def test_another_program_is_refused(world: World, cloud: Cloud) -> None:
    one_by_one(world)
    damage_line(world)
    file = program(world)
    file.write_text(file.read_text().replace('stage="prod"', 'stage="dev"'))
    with pytest.raises(UsageError):
        look(world, program=file)
