"""Going back when the journal itself cannot be read: another one begins, and nothing of the damaged one is lost."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alchemy import Refused, Scope, StateInvalid, UsageError, alchemy
from alchemy.errors import LockHeld
from alchemy.model.paths import ScopePath
from alchemy.operations.backups import compare, timeline
from alchemy.operations.holding import hold
from alchemy.operations.rebuilding import plan_rebuild, rebuild
from alchemy.operations.restoring import restore, undo
from alchemy.operations.shapes import RestoreReport
from alchemy.operations.validate import validate
from alchemy.operations.workspace import Workspace
from alchemy.settings import Options, find_project
from alchemy.store.files import Files
from alchemy.store.local import LocalStore
from tests.scenarios.conftest import cloud, world
from tests.scenarios.world import PROD, Cloud, Thing, World, nothing

__all__ = ["cloud", "world"]


async def first(app: Scope) -> None:
    Thing("a")
    async with alchemy.run("db"):
        Thing("x")


async def second(app: Scope) -> None:
    Thing("a", size=2)
    Thing("b")
    async with alchemy.run("db"):
        Thing("x")


def flip(world: World, epoch: int = 1) -> None:
    """A bad line before a good one, as a disk does it."""
    path = world.layout.epoch(PROD, epoch)
    path.write_bytes(path.read_bytes().replace(b'"ready"', b'"reedy"', 1))


def remove(world: World) -> None:
    shutil.rmtree(world.layout.journal(PROD))


def empty(world: World) -> None:
    for path in world.layout.journal(PROD).iterdir():
        path.write_bytes(b"")


class Sick(Files):
    """A disk that cannot read one file any more, wherever it is moved to."""

    def __init__(self, root: Path, bad: str) -> None:
        super().__init__(root)
        self._bad = bad

    def _read(self, path: Path, offset: int, most: int) -> bytes:
        if path.name == self._bad and super()._read(path, 0, 1):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super()._read(path, offset, most)


@pytest.mark.parametrize("deed", ["restore", "rebuild"])
def test_a_sector_that_cannot_be_read_is_damage_with_a_way_out(world: World, deed: str) -> None:
    world.deploy(first)
    world.deploy(second)
    store = LocalStore(world.layout, "d" * 32, Sick(world.layout.root, "000002.jsonl"))
    with pytest.raises(StateInvalid, match=r"journal is damaged: .*000002.jsonl: the disk cannot read") as caught:
        store.read_fold(PROD)
    assert f"alchemy scope rebuild {PROD}" in caught.value.hint

    async def mend() -> None:
        if deed == "restore":
            await restore(store, PROD, "latest", over_damage=True)
        else:
            options = Options(lock_timeout=0.0)
            plan = await plan_rebuild(store, ScopePath.parse(PROD), options, project=find_project(world.root))
            await rebuild(store, plan, options)

    asyncio.run(mend())
    found = {address.removeprefix(f"{PROD}/"): row for address, row in store.read_fold(PROD).resources.items()}
    views_know = {"b"} if deed == "rebuild" else set()
    assert set(found) == {"a", "db/x"} | views_know
    assert (world.layout.scope(PROD) / "journal.damaged-1" / "000002.jsonl").exists()


def go_back(world: World, file: str = "latest", **more: Any) -> RestoreReport:
    return asyncio.run(restore(world.store, more.pop("scope", PROD), file, **{"over_damage": True, **more}))


@pytest.fixture
def grown(world: World) -> World:
    world.deploy(first)
    world.deploy(second)
    return world


@pytest.mark.parametrize("damage", [flip, remove, empty])
def test_the_stage_works_again_and_nothing_is_made_twice(
    grown: World, cloud: Cloud, damage: Callable[[World], None]
) -> None:
    lineage = grown.fold().lineage
    numbers = (grown.fold().epoch, grown.fold().seq, grown.fold().serial)
    objects = dict(cloud.objects)
    damage(grown)
    with pytest.raises(StateInvalid):
        grown.deploy(first)
    report = go_back(grown)
    fold = grown.fold()
    assert grown.rows().keys() == {"a", "db/x"}
    assert fold.lineage == lineage
    assert all(new > old for new, old in zip((fold.epoch, fold.seq, fold.serial), numbers, strict=True))
    assert report.run == f"R-{fold.epoch}"
    assert cloud.objects == objects
    assert [one for one in validate(grown.state) if one.severity == "error"] == []
    cloud.log.clear()
    grown.deploy(first)
    assert cloud.calls("create") == []
    assert {cloud.objects[row.physical_name]["size"] for row in grown.rows().values()} == {1}
    grown.deploy(nothing)
    assert cloud.ids() == ["b"], "what the backup did not know stays, as was said"


def test_what_was_said_before_names_what_could_still_be_read(grown: World) -> None:
    remove(grown)
    found = compare(grown.store, PROD)
    assert "written from a journal that is missing" in found.damage
    assert not found.same
    assert found.consequences[0].startswith("the journal cannot be read, and is set aside")
    assert [row.address for row in found.vanish] == [f"{PROD}/b"], "its view says so"


def test_it_has_to_be_asked_for(grown: World) -> None:
    flip(grown)
    with pytest.raises(StateInvalid, match="the journal of my-app/prod cannot be read") as caught:
        go_back(grown, over_damage=False)
    assert "--force" in caught.value.hint
    assert not list(grown.layout.scope(PROD).glob("journal.damaged-*"))


def test_every_byte_of_the_damaged_journal_is_kept(grown: World) -> None:
    flip(grown)
    before = {path.name: path.read_bytes() for path in grown.layout.journal(PROD).iterdir()}
    report = go_back(grown)
    assert report.aside == "journal.damaged-1"
    aside = grown.layout.scope(PROD) / report.aside
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == before
    flip(grown, grown.fold().epoch)
    assert go_back(grown).aside == "journal.damaged-2"
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == before


def test_it_is_a_run_like_any_other_and_can_be_undone(grown: World) -> None:
    remove(grown)
    go_back(grown)
    (run, *_) = Workspace(grown.store).refresh().runs[PROD]
    assert (run.purpose, run.outcome) == ("restore", "done")
    asyncio.run(undo(grown.store, PROD))
    assert grown.rows().keys() == {"a", "b", "db/x"}, "what could be read"


def test_a_part_of_it_cannot_go_back_alone(grown: World) -> None:
    flip(grown)
    with pytest.raises(StateInvalid, match="a part of it cannot be restored") as caught:
        go_back(grown, scope=f"{PROD}/db")
    assert f"alchemy scope restore {PROD} --backup" in caught.value.hint


@pytest.mark.parametrize("also", [lambda world: None, flip], ids=["alone", "with damage before it"])
def test_what_a_newer_version_wrote_is_not_damage(grown: World, also: Callable[[World], None]) -> None:
    """Whole by its checksum: taking it for damaged would throw away what only the newer version can read."""
    from alchemy.model.records import Record, encode

    fold = grown.fold()
    record = Record(fold.seq + 1, fold.epoch + 1, "s", "w", "open", fold.last_at, fold.prev, fold.serial, v=2)
    grown.layout.epoch(PROD, fold.epoch + 1).write_bytes(encode(record)[0])
    also(grown)
    with pytest.raises(StateInvalid, match="newer"):
        go_back(grown)
    assert not list(grown.layout.scope(PROD).glob("journal.damaged-*"))


def test_a_reservation_that_can_still_be_read_keeps_a_restore_out(grown: World) -> None:
    asyncio.run(hold(grown.store, ScopePath.parse(PROD), reason="moving house"))
    flip(grown)
    with pytest.raises(LockHeld, match="moving house"):
        go_back(grown)


def test_who_mended_it_meanwhile_is_not_overwritten(grown: World) -> None:
    path = grown.layout.epoch(PROD, 1)
    good = path.read_bytes()
    flip(grown)

    class Late(LocalStore):
        """While it waits for the lock, somebody puts their copy of the journal back."""

        async def acquire(self, *given: Any, **more: Any) -> Any:
            path.write_bytes(good)
            return await super().acquire(*given, **more)

    with pytest.raises(Refused, match="can be read by now"):
        asyncio.run(restore(Late(grown.layout, "b" * 32), PROD, "latest", over_damage=True))
    assert grown.rows().keys() == {"a", "b", "db/x"}
    assert path.read_bytes() == good


def test_what_the_last_deploy_said_it_wants_still_holds(grown: World) -> None:
    remove(grown)
    go_back(grown)
    declared = grown.fold().declared
    assert (declared["complete"], declared["orphans"]) == (True, [])
    assert declared["seq"] == grown.fold().seq


def test_nothing_to_go_back_to_says_so(world: World) -> None:
    world.deploy(first)
    remove(world)
    for file in Path(world.layout.backups(PROD)).iterdir():
        file.unlink()
    with pytest.raises(UsageError, match="there is no backup of my-app/prod"):
        go_back(world)


def test_numbers_are_never_used_twice_even_when_only_a_backup_remembers_them(grown: World) -> None:
    newest = timeline(grown.store, PROD)[0]
    scope = grown.layout.scope(PROD)
    remove(grown)
    for path in sorted(scope.rglob("*"), reverse=True):
        if "backups" not in path.parts and path != scope:
            path.unlink() if path.is_file() else path.rmdir() if not any(path.iterdir()) else None
    go_back(grown)
    assert grown.fold().epoch > newest.epoch
    assert grown.fold().seq > newest.seq
