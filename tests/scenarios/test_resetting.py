"""`scope reset`: the state forgets, the cloud keeps; a restore undoes it."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from alchemy import LockHeld, Refused, Scope, StateInvalid, UsageError, alchemy
from alchemy.model.paths import ScopePath
from alchemy.model.records import Put, Reserve
from alchemy.model.values import Hold, ScopeKind, Status
from alchemy.operations.holding import hold
from alchemy.operations.resetting import ResetReport, plan_reset, refuse_empty, reset
from alchemy.operations.restoring import restore
from alchemy.settings import Options
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from tests.scenarios.world import PROD, Cloud, Thing, World, nothing

OPTIONS = Options(lock_timeout=0.0)


async def three(scope: Scope) -> None:
    base = Thing("base")
    async with alchemy.run("inner"):
        Thing("user", uses=base.uid)
        Thing("other")


def emptied(world: World, path: str = PROD) -> list[ResetReport]:
    store = LocalStore(world.layout, "f" * 32)
    return asyncio.run(reset(store, plan_reset(store, ScopePath.parse(path)), OPTIONS))


def damage(world: World) -> None:
    file = sorted(world.layout.journal(PROD).iterdir())[0]
    file.write_bytes(b"#\n" + file.read_bytes())


def test_the_state_is_empty_and_the_cloud_is_as_it_was(world: World, cloud: Cloud) -> None:
    world.deploy(three)
    lineage, objects = world.fold().lineage, dict(cloud.objects)
    cloud.log.clear()
    (report,) = emptied(world)
    assert cloud.log == []
    assert cloud.objects == objects
    fold = world.store.read_fold(PROD)
    assert (fold.resources, fold.scopes, fold.lineage) == ({}, {}, lineage)
    assert sorted(report.forgotten) == [f"{PROD}/base", f"{PROD}/inner/other", f"{PROD}/inner/user"]
    left = {path.name for path in world.layout.scope(PROD).iterdir()}
    assert left <= {"backups", "journal", "snapshots"}
    records = world.store.read_epoch(PROD, int(report.run[2:]))
    assert [sum(op["op"] == "drop" for op in record.ops) for record in records if record.kind == "commit"] == [5]


def test_restoring_the_backup_before_it_undoes_it(world: World, cloud: Cloud) -> None:
    world.deploy(three)
    before = world.rows()
    (report,) = emptied(world)
    asyncio.run(restore(world.store, PROD, report.before))
    assert {id: row.outputs for id, row in world.rows().items()} == {id: row.outputs for id, row in before.items()}
    cloud.log.clear()
    world.deploy(three)
    assert cloud.calls() == []
    world.deploy(nothing)
    assert cloud.objects == {}


def test_what_it_names_as_the_way_back_was_read(world: World) -> None:
    world.deploy(three)
    (newest,) = world.store.backups(PROD)  # of the same state, and somebody changed a byte of it
    file = world.layout.backups(PROD) / newest
    file.write_bytes(file.read_bytes().replace(b'"size": 1', b'"size": 7'))
    before = world.rows()
    (report,) = emptied(world)
    assert report.before != newest
    asyncio.run(restore(world.store, PROD, report.before))
    assert {id: row.outputs for id, row in world.rows().items()} == {id: row.outputs for id, row in before.items()}


@pytest.mark.parametrize("how", ["held", "reserved"])
def test_of_an_application_everything_is_forgotten_or_nothing(world: World, how: str) -> None:
    world.deploy(three)
    world.deploy(three, stage="dev")
    dev = ScopePath.parse(PROD.replace("prod", "dev"))

    async def keep_out() -> None:
        other = LocalStore(world.layout, "e" * 32)
        if how == "reserved":
            await hold(other, dev, reason="a trade fair")
        plans = plan_reset(world.store, dev.ancestors[0])
        held = await Ledger.open(other, dev, ScopeKind.STAGE, purpose="deploy", timeout=0.0) if how == "held" else None
        try:
            with pytest.raises((LockHeld, UsageError)):
                await reset(LocalStore(world.layout, "f" * 32), plans, OPTIONS)
        finally:
            if held is not None:
                held.close(outcome="done", counts={}, failures=[])

    asyncio.run(keep_out())
    assert world.rows()
    assert world.store.read_fold(dev).resources


def test_names_stay_so_that_adopting_kinds_find_their_objects_again(world: World, cloud: Cloud) -> None:
    world.deploy(three)
    names = {id: row.physical_name for id, row in world.rows().items()}
    emptied(world)
    cloud.objects.clear()
    world.deploy(three)
    assert {id: row.physical_name for id, row in world.rows().items()} == names


def test_of_a_nested_scope_only_what_is_in_it(world: World, cloud: Cloud) -> None:
    world.deploy(three)
    (report,) = emptied(world, f"{PROD}/inner")
    assert sorted(report.forgotten) == [f"{PROD}/inner/other", f"{PROD}/inner/user"]
    assert list(world.rows()) == ["base"]
    assert sorted(world.fold().scopes) == [PROD]


def test_of_an_application_every_stage(world: World, cloud: Cloud) -> None:
    world.deploy(three)
    world.deploy(three, stage="dev")
    reports = emptied(world, "my-app")
    assert [report.scope for report in reports] == [PROD, "my-app/dev"]
    assert world.rows() == world.rows("my-app/dev") == {}
    assert not world.layout.scope_view("my-app").exists()


def test_formers_and_open_intents_are_forgotten_too(world: World, cloud: Cloud) -> None:
    world.deploy(three)

    async def leave() -> None:
        ledger = await Ledger.open(world.store, ScopePath.parse(PROD), ScopeKind.STAGE, purpose="test", timeout=0)
        row = world.rows()["base"]
        ops = [Put(replace(row, former=True)), Put(replace(row, generation=1, status=Status.REPLACING))]
        await ledger.intend(ops)
        ledger.close(outcome="failed", counts={}, failures=[])

    asyncio.run(leave())
    (report,) = emptied(world)
    assert len(report.forgotten) == 4
    assert world.fold().resources == {}


def test_state_that_cannot_be_read_is_forgotten_with_a_backup_of_what_can(world: World, cloud: Cloud) -> None:
    world.deploy(three)
    damage(world)
    with pytest.raises(StateInvalid):
        world.store.read_fold(PROD)
    (report,) = emptied(world)
    assert report.aside == "journal.damaged-1"
    assert world.store.read_fold(PROD).resources == {}
    asyncio.run(restore(world.store, PROD, report.before))
    assert sorted(world.rows()) == ["base", "inner/other", "inner/user"]


def test_of_a_damaged_journal_not_a_part(world: World, cloud: Cloud) -> None:
    world.deploy(three)
    damage(world)
    with pytest.raises((StateInvalid, UsageError)):
        emptied(world, f"{PROD}/inner")


def test_where_there_is_nothing_there_is_nothing_to_forget(world: World, cloud: Cloud) -> None:
    with pytest.raises(UsageError, match="not in the state"):
        emptied(world)
    world.deploy(three)
    emptied(world)
    with pytest.raises(UsageError):
        refuse_empty(plan_reset(world.store, ScopePath.parse(PROD)), ScopePath.parse(PROD))


def test_other_rows_than_those_that_were_shown_are_not_forgotten(world: World, cloud: Cloud) -> None:
    async def more(scope: Scope) -> None:
        await three(scope)
        Thing("more")

    world.deploy(three)
    plans = plan_reset(world.store, ScopePath.parse(PROD))
    world.deploy(more)
    with pytest.raises(Refused, match="changed meanwhile"):
        asyncio.run(reset(world.store, plans, OPTIONS))
    assert len(world.rows()) == 4


def test_a_reservation_keeps_it_out(world: World, cloud: Cloud) -> None:
    world.deploy(three)

    async def reserve() -> None:
        ledger = await Ledger.open(world.store, ScopePath.parse(PROD), ScopeKind.STAGE, purpose="lock", timeout=0)
        ledger.record([Reserve(Hold(reason="an audit", by="ana@laptop", since=""))])
        ledger.close(outcome="done", counts={}, failures=[])

    asyncio.run(reserve())
    with pytest.raises(LockHeld):
        emptied(world)
    damage(world)
    with pytest.raises(LockHeld):
        emptied(world)
    assert len(world.store.salvage(PROD).fold.resources) == 3
