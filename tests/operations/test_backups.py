"""Backups of real runs: when they are made, what is told of them, which stay, and which settings say so."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from alchemy import Scope, StateInvalid, UsageError, alchemy
from alchemy.errors import LockHeld, Refused
from alchemy.model.events import Noted
from alchemy.model.paths import ScopePath
from alchemy.model.retention import Retention
from alchemy.operations import backups as copies
from alchemy.operations.backups import compare, find, prune, set_pin, take, timeline
from alchemy.operations.restoring import restore
from alchemy.operations.shapes import BackupInfo
from alchemy.operations.workspace import Workspace
from alchemy.settings import find_project
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from alchemy.store.place import find_store
from tests.scenarios.conftest import cloud, world
from tests.scenarios.world import PROD, Body, Cloud, Thing, World

__all__ = ["cloud", "world"]


def sized(size: int, *others: str) -> Body[None]:
    async def body(app: Scope) -> None:
        Thing("a", size=size)
        for other in others:
            Thing(other)

    return body


def project(world: World, text: str) -> None:
    (world.root / "pyproject.toml").write_text(f"[tool.alchemy]\n{text}\n")


def names(world: World) -> list[str]:
    return [info.file for info in timeline(world.store, PROD)]


# -- the timeline -------------------------------------------------------------------------------------------------


def test_each_says_why_it_was_made_and_what_had_changed_since_the_one_before(world: World) -> None:
    world.deploy(sized(1))
    world.deploy(sized(2, "b", "c"))
    world.deploy(sized(2, "c"))
    take(world.store, PROD, note="for the move", pin=True)
    found = timeline(world.store, PROD)
    assert [(info.reason, info.resources, info.steps) for info in found] == [
        ("on demand", 2, (0, 1, 0)),
        ("before R-3", 3, (2, 0, 1)),
        ("after the first run", 1, None),
    ]
    assert [(info.note, info.pinned) for info in found] == [("for the move", True), ("", False), ("", False)]
    assert found[0].seq > found[1].seq > found[2].seq
    assert all("@" in info.by for info in found)
    assert [info.file for info in copies.listing(world.store, PROD)] == names(world)


def test_one_of_a_nested_scope_is_one_of_its_stage(world: World) -> None:
    async def body(app: Scope) -> None:
        async with alchemy.run("db"):
            Thing("x")

    world.deploy(body)
    info = take(world.store, f"{PROD}/db")
    assert (info.scope, info.resources) == (PROD, 1)
    assert timeline(world.store, f"{PROD}/db/x") == timeline(world.store, PROD)


def test_one_is_taken_while_a_run_goes_on(world: World) -> None:
    async def body(app: Scope) -> None:
        await Thing("a")
        info = take(LocalStore(world.layout), PROD)
        assert find(timeline(world.store, PROD), info.file, PROD).problem == ""

    world.deploy(body)
    assert {info.reason for info in timeline(world.store, PROD)} == {"on demand"}
    assert world.rows().keys() == {"a"}


def test_a_damaged_journal_is_not_backed_up_and_the_way_out_is_named(world: World) -> None:
    world.deploy(sized(1))
    epoch = world.layout.epoch(PROD, 1)
    epoch.write_bytes(epoch.read_bytes()[:-200] + b"}\n")
    with pytest.raises(StateInvalid, match="there is nothing whole to back up") as caught:
        take(world.store, PROD)
    assert f"`alchemy scope restore {PROD} --backup latest`" in caught.value.hint


def test_verifying_reads_every_byte(world: World) -> None:
    world.deploy(sized(1))
    world.deploy(sized(2))
    path = world.layout.backups(PROD) / take(world.store, PROD).file
    path.write_bytes(path.read_bytes().replace(b'"size": 2', b'"size": 3'))
    assert [bool(info.problem) for info in copies.listing(world.store, PROD)] == [False, False]
    (newest, older) = timeline(world.store, PROD, verify=True)
    assert "its checksum does not match" in newest.problem
    assert (older.problem, older.steps) == ("", None)


def info(file: str, problem: str = "") -> BackupInfo:
    return BackupInfo(PROD, file, "", "", 0, 0, 0, problem)


FOUND = [info("state-2026-03"), info("state-2026-02", "torn"), info("state-2026-01"), info("state-2025-12")]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("latest", "state-2026-03"),
        ("latest~1", "state-2026-01"),
        ("latest~2", "state-2025-12"),
        ("2025", "state-2025-12"),
        ("state-2026-02", "state-2026-02"),
        ("2026-01", "state-2026-01"),
    ],
)
def test_a_backup_is_found_by_what_only_it_has(name: str, file: str) -> None:
    assert find(FOUND, name, PROD).file == file


@pytest.mark.parametrize("name", ["", "2026", "latest~3", "latest~", "1999", "state-", "../x", "late"])
def test_what_several_have_or_none_is_no_name(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        find(FOUND, name, PROD)
    assert caught.value.hint


# -- which stay ---------------------------------------------------------------------------------------------------


@pytest.fixture
def thrifty(world: World) -> World:
    """Only the last two stay."""
    project(world, "backups = { last = 2, daily = 0, weekly = 0, monthly = 0 }")
    world.store.retention = find_project(world.root).retention
    return world


def test_old_ones_go_at_the_end_of_a_run_that_made_one(thrifty: World) -> None:
    for size in (1, 2, 3, 4):
        thrifty.deploy(sized(size))
        assert len(names(thrifty)) <= 2
    assert [info.reason for info in timeline(thrifty.store, PROD)] == ["before R-4", "before R-3"]
    kept = names(thrifty)
    thrifty.deploy(sized(4))
    assert names(thrifty) == kept, "a run that changed nothing touches nothing"


def test_pinned_ones_stay(thrifty: World) -> None:
    thrifty.deploy(sized(1))
    (first,) = names(thrifty)
    set_pin(thrifty.store, PROD, first, "the beginning")
    for size in (2, 3, 4, 5):
        thrifty.deploy(sized(size))
    assert first in names(thrifty)
    assert len(names(thrifty)) == 3
    assert set_pin(thrifty.store, PROD, first, None).pinned is False
    thrifty.deploy(sized(6))
    assert first not in names(thrifty)


def test_old_ones_that_cannot_be_removed_are_a_warning(thrifty: World, cloud: Cloud) -> None:
    for size in (1, 2, 3):
        thrifty.deploy(sized(size))
    oldest = thrifty.layout.backups(PROD) / names(thrifty)[-1]
    oldest.unlink()
    oldest.mkdir()
    (oldest / "keep").touch()
    torn = thrifty.layout.backups(PROD) / "state-2020-01-01T00-00-00-000Z.json"
    torn.write_bytes(b"{")
    thrifty.deploy(sized(4))
    thrifty.deploy(sized(5))
    assert thrifty.fold().last_release["outcome"] == "done"
    assert cloud.objects[thrifty.rows()["a"].physical_name]["size"] == 5
    assert torn.exists(), "what is damaged is left for people"


def test_pruning_that_fails_is_told_and_keeps_the_run_from_nothing(thrifty: World) -> None:
    """The disk gives up between the new backup and the old ones."""
    thrifty.deploy(sized(1))
    thrifty.deploy(sized(2))

    class Stuck(LocalStore):
        def remove_backup(self, path: object, name: str) -> None:
            raise PermissionError(13, "not yours", name)

    store = Stuck(thrifty.layout, "b" * 32)
    store.retention = Retention(1, 0, 0, 0)
    fold = thrifty.fold()
    kind = fold.kind
    assert kind is not None

    async def run() -> Ledger:
        ledger = await Ledger.open(store, ScopePath.parse(PROD), kind, purpose="save", timeout=0.0)
        ledger.backup("before a change")
        ledger.close(outcome="done", counts={}, failures=[])
        return ledger

    ledger = asyncio.run(run())
    assert "old backups are not removed" in ledger.warning
    workspace = Workspace(thrifty.store)
    workspace.refresh()
    noted = [entry.event for entry in workspace.entries(PROD) if isinstance(entry.event, Noted)]
    assert [(event.level, event.text) for event in noted] == [("warning", ledger.warning)]
    assert len(names(thrifty)) == 2


def test_pruning_by_hand_counts_no_damaged_one(thrifty: World) -> None:
    thrifty.deploy(sized(1))
    thrifty.store.retention = Retention()
    for note in ("one", "two", "three"):
        take(thrifty.store, PROD, note=note)
    thrifty.store.retention = Retention(2, 0, 0, 0)
    three, two, one, first = names(thrifty)
    path = thrifty.layout.backups(PROD) / three
    path.write_bytes(path.read_bytes().replace(b'"size": 1', b'"size": 7'))
    plan = prune(thrifty.store, PROD, dry_run=True)
    assert set(plan.keep) == {two, one}
    assert plan.remove == (first,)
    assert len(names(thrifty)) == 4
    prune(thrifty.store, PROD)
    assert names(thrifty) == [three, two, one]


def test_one_that_is_pinned_while_the_others_are_looked_at_stays(thrifty: World) -> None:
    for size in (1, 2, 3):
        thrifty.deploy(sized(size))
    oldest = names(thrifty)[-1]

    class Slow(LocalStore):
        def read_backup(self, path: ScopePath | str, name: str, *, head: int = 0) -> tuple[bytes, int]:
            if name == oldest and not head:
                set_pin(thrifty.store, PROD, oldest, "just in time")
            return super().read_backup(path, name, head=head)

    slow = Slow(thrifty.layout, "b" * 32)
    slow.retention = Retention(1, 0, 0, 0)
    assert oldest not in prune(slow, PROD).remove
    assert names(thrifty) == [slow.backups(PROD)[-1], oldest]


def test_one_that_goes_while_it_is_pinned_is_no_success(thrifty: World) -> None:
    thrifty.deploy(sized(1))
    thrifty.deploy(sized(2))
    oldest = names(thrifty)[-1]

    class Late(LocalStore):
        def mark_backup(self, path: ScopePath | str, name: str, mark: str, text: str | None) -> None:
            self.remove_backup(path, name)
            super().mark_backup(path, name, mark, text)

    with pytest.raises(UsageError, match="was removed before it was pinned"):
        set_pin(Late(thrifty.layout, "b" * 32), PROD, oldest, "too late")
    assert thrifty.store.backup_marks(PROD) == {}


# -- what somebody else put there ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "state-9999-12-31T23-59-59-999Z.json",
        "state-9999-12-31T23-59-59-998Z.json",
        "state-2999-13-45T99-99-99-999Z.json",
        "state-２９９９-01-01T00-00-00-000Z.json",
    ],
)
def test_a_name_that_no_clock_gives_stops_no_run(world: World, name: str) -> None:
    world.deploy(sized(1))
    place = world.layout.backups(PROD) / name
    place.write_bytes(b"{")
    for size in (2, 3):
        world.deploy(sized(size))
    whole = [info for info in timeline(world.store, PROD) if not info.problem]
    assert [info.reason for info in whole] == ["before R-3", "after the first run"]
    asyncio.run(restore(world.store, PROD, "latest"))
    assert place.read_bytes() == b"{"


@pytest.mark.parametrize("what", ["directory", "pipe", "link"])
def test_what_is_no_file_stops_no_run_and_no_restore(world: World, what: str) -> None:
    world.deploy(sized(1))
    place = world.layout.backups(PROD) / "state-2999-01-01T00-00-00-000Z.json"
    pin = world.layout.backups(PROD) / f"{names(world)[0]}.pin"
    for path in (place, pin):
        match what:
            case "directory":
                path.mkdir()
            case "pipe":
                os.mkfifo(path)
            case _:
                path.symlink_to("/etc/hosts")
    world.deploy(sized(2))
    world.deploy(sized(3))
    newest, odd, first = timeline(world.store, PROD)
    assert what in odd.problem
    assert (newest.reason, newest.problem, first.pinned) == ("before R-3", "", True)
    asyncio.run(restore(world.store, PROD, "latest"))
    assert world.rows()["a"].props["size"] == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("backups = 3", "backups takes a table"),
        ("backups = { last = 0 }", r"backups.last takes a whole number from 1 to 1000, not 0"),
        ("backups = { daily = -1 }", r"backups.daily takes a whole number from 0"),
        ("backups = { daily = true }", r"backups.daily takes a whole number"),
        ('backups = { weekly = "4" }', r"backups.weekly takes a whole number .* not '4'"),
        ("backups = { yearly = 1 }", "backups.yearly is not known; there are last, daily, weekly, monthly"),
    ],
)
def test_a_rule_that_has_no_meaning_is_an_error(world: World, text: str, says: str) -> None:
    project(world, text)
    with pytest.raises(UsageError, match=says) as caught:
        find_project(world.root)
    assert "pyproject.toml" in caught.value.message
    if "table" not in says:
        assert "last = 10, daily = 7, weekly = 4, monthly = 6" in caught.value.hint


def test_the_rules_of_the_project_are_those_of_its_store(world: World) -> None:
    project(world, "backups = { last = 3, monthly = 12 }")
    assert find_store(find_project(world.root)).retention == Retention(3, 7, 4, 12)
    assert Retention() == Retention(last=10, daily=7, weekly=4, monthly=6)


# -- at once ------------------------------------------------------------------------------------------------------


def test_of_two_restores_at_once_one_goes_back_and_the_other_is_told(world: World) -> None:
    world.deploy(sized(1))
    world.deploy(sized(2, "b"))
    shown = compare(world.store, PROD)

    async def both() -> list[object]:
        stores = [LocalStore(world.layout, letter * 32) for letter in "bc"]
        tries = [restore(store, PROD, shown.file, expect_serial=shown.serial_now, timeout=20.0) for store in stores]
        return list(await asyncio.gather(*tries, return_exceptions=True))

    outcomes = asyncio.run(both())
    assert sorted(type(outcome).__name__ for outcome in outcomes) in (
        ["Refused", "RestoreReport"],
        ["RestoreReport", "UsageError"],  # one process: it could only wait for itself
    )
    assert world.rows().keys() == {"a"}
    kinds = [record.kind for epoch in world.store.epochs(PROD) for record in world.store.read_epoch(PROD, epoch)]
    assert kinds.count("restore") == 1


def test_a_restore_waits_for_a_run_and_says_whose_it_is(world: World, cloud: Cloud) -> None:
    world.deploy(sized(1))

    async def body(app: Scope) -> None:
        await Thing("a", size=2)
        done = await asyncio.create_subprocess_exec(
            *_alchemy("scope", "restore", PROD, "--backup", "latest", "--yes", "--lock-timeout", "200"),
            cwd=world.root,
            env=_environment(),
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await done.communicate()
        assert done.returncode == 3, err.decode()
        assert f"Failed to acquire lock {PROD}" in err.decode()
        assert "deploy" in err.decode()

    world.deploy(body)
    assert world.rows()["a"].props["size"] == 2


def _alchemy(*typed: str) -> list[str]:
    from tests.cli.driver import COMMAND

    return [*COMMAND, *typed]


def _environment() -> dict[str, str]:
    from tests.cli.driver import environment

    return environment()


def test_errors_of_a_restore_have_the_exit_codes_of_the_manual() -> None:
    assert (LockHeld("x").exit_code, StateInvalid("x").exit_code, Refused("x").exit_code) == (3, 4, 5)


def test_a_backup_can_be_read_by_other_tools(world: World) -> None:
    world.deploy(sized(1))
    path: Path = world.layout.backups(PROD) / names(world)[0]
    body = json.loads(path.read_bytes())
    assert [row["address"] for row in body["state"]["resources"]] == [f"{PROD}/a"]
