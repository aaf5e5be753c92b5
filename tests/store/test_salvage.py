"""What is left of a scope after damage, and a new journal that begins with it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from alchemy.errors import Fenced, LockHeld, StateInvalid
from alchemy.model.paths import ScopePath
from alchemy.model.records import Drop, Op, Put
from alchemy.model.values import ScopeKind
from alchemy.store.backups import write_backup
from alchemy.store.beginnings import Salvaged
from alchemy.store.copies import write_snapshot
from alchemy.store.ledger import Ledger, make_holder
from alchemy.store.local import LocalStore
from tests.store.stage import PATH, Stage

PROD = ScopePath.parse(PATH)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / ".alchemy")


@pytest.fixture
def store(stage: Stage) -> LocalStore:
    return LocalStore(stage.layout, "ab" * 16)


def ids(found: Salvaged) -> list[str]:
    return sorted(row.id for row in found.fold.resources.values())


def begin(store: LocalStore, found: Salvaged) -> Ledger:
    """A new journal with everything that was salvaged."""
    fold = found.fold
    ops: list[Op] = [Put(row) for row in fold.scopes.values()]
    ops += [Put(row) for row in fold.resources.values()]
    opening = Ledger.open(store, PROD, ScopeKind.STAGE, purpose="rebuild", timeout=0, beginning=found.beginning(ops))
    return asyncio.run(opening)


def end(ledger: Ledger) -> None:
    ledger.close(outcome="done", counts={}, failures=[])


def test_a_sound_journal_is_salvaged_to_what_it_says(stage: Stage, store: LocalStore) -> None:
    stage.run("a", "b")
    stage.run("c")
    fold = stage.load().fold
    found = store.salvage(PATH)
    assert found.fold == fold
    assert (found.epoch, found.seq, found.serial) == (fold.epoch, fold.seq, fold.serial)
    assert not found.missing
    assert not found.problems
    assert set(found.sources.values()) == {"journal"}


def test_a_bad_line_costs_only_what_it_said_itself(stage: Stage, store: LocalStore) -> None:
    stage.run("a", "b", "c", "d")
    lines = stage.lines(1)
    lines[2] = lines[2].replace(b"prod/b", b"prod/x", 1)  # the record of b
    stage.epoch(1).write_bytes(b"".join(lines))
    with pytest.raises(StateInvalid):
        store.read_fold(PATH)
    stage.view("b").unlink()
    found = store.salvage(PATH)
    assert ids(found) == ["a", "c", "d"]
    assert found.missing == 1
    assert any("000001.jsonl:3" in problem for problem in found.problems)


def test_what_the_journal_lost_is_in_its_view(stage: Stage, store: LocalStore) -> None:
    stage.run("a", "b", "c", "d")
    lines = stage.lines(1)
    stage.epoch(1).write_bytes(b"".join([*lines[:2], b"#" * 40 + b"\n", *lines[3:]]))
    found = store.salvage(PATH)
    assert ids(found) == ["a", "b", "c", "d"]
    assert found.sources[stage.address("b")] == "view resources/b/state.json"
    assert found.sources[stage.address("c")] == "journal"


def test_a_view_whose_checksum_is_wrong_proves_nothing(stage: Stage, store: LocalStore) -> None:
    stage.run("a")
    shutil.rmtree(stage.layout.journal(PATH))
    view = stage.view("a")
    view.write_bytes(view.read_bytes().replace(b"ready", b"creating"))
    assert ids(store.salvage(PATH)) == []


def test_what_was_dropped_does_not_come_back_from_a_copy(stage: Stage, store: LocalStore) -> None:
    write_backup(store, stage.run("a", "b"), "test")
    view = stage.view("a").read_bytes()
    journal = stage.open()
    stage.write(journal, Drop(stage.address("a")))
    stage.end(journal)
    stage.view("a").parent.mkdir()
    stage.view("a").write_bytes(view)
    assert ids(store.salvage(PATH)) == ["b"]


def test_behind_a_backup_the_journal_goes_on(stage: Stage, store: LocalStore) -> None:
    write_backup(store, stage.run("a"), "test")
    stage.run("b")
    stage.epoch(1).unlink()
    for id in "ab":
        stage.view(id).unlink()
    with pytest.raises(StateInvalid):
        store.read_fold(PATH)
    found = store.salvage(PATH)
    assert ids(found) == ["a", "b"]
    assert found.sources[stage.address("a")].startswith("backup state-")
    assert found.sources[stage.address("b")] == "journal"
    assert found.fold.lineage


def test_what_a_stale_run_wrote_after_its_end_does_not_count(stage: Stage, store: LocalStore) -> None:
    stage.run("a")
    stale = stage.open()
    stage.run("b")
    with pytest.raises(Fenced):
        stage.write(stale, Put(stage.row("z")))  # the bytes are there, and nobody was promised anything
    stage.die(stale)
    assert len(stage.lines(2)) == 2
    assert ids(store.salvage(PATH)) == ["a", "b"]
    stage.epoch(1).unlink()
    stage.view("a").unlink()
    assert ids(store.salvage(PATH)) == ["b"]


def test_the_snapshot_carries_what_epochs_before_it_held(stage: Stage, store: LocalStore) -> None:
    write_snapshot(stage.files, stage.layout, stage.run("a"))
    stage.run("b")
    shutil.rmtree(stage.layout.journal(PATH))
    for id in "ab":
        stage.view(id).unlink()
    found = store.salvage(PATH)
    assert ids(found) == ["a"]
    assert found.sources[stage.address("a")] == "snapshot"


def test_a_journal_begins_in_the_place_of_a_damaged_one(stage: Stage, store: LocalStore) -> None:
    stage.run("a", "b")
    before = stage.load().fold
    stage.epoch(1).write_bytes(b"nothing of it\n")
    found = store.salvage(PATH)
    end(begin(store, found))
    after = store.read_fold(PATH)
    assert sorted(row.id for row in after.resources.values()) == ["a", "b"]
    assert (after.epoch, after.seq > before.seq, after.serial > before.serial) == (2, True, True)
    aside = stage.layout.scope(PATH) / "journal.damaged-1"
    assert (aside / "000001.jsonl").read_bytes() == b"nothing of it\n"
    stage.run("c")
    assert stage.ids == ["a", "b", "c"]


def test_the_lineage_stays(stage: Stage, store: LocalStore) -> None:
    lineage = stage.run("a").lineage
    end(begin(store, store.salvage(PATH)))
    assert store.read_fold(PATH).lineage == lineage


def test_snapshots_from_before_are_over(stage: Stage, store: LocalStore) -> None:
    write_snapshot(stage.files, stage.layout, stage.run("a", "b"))
    found = store.salvage(PATH)
    del found.fold.resources[stage.address("a")]
    end(begin(store, found))
    assert stage.ids == ["b"]
    assert not stage.view("a").exists()


def test_between_the_two_steps_nobody_opens_the_scope(stage: Stage, store: LocalStore) -> None:
    write_snapshot(stage.files, stage.layout, stage.run("a"))
    shutil.rmtree(stage.layout.scope(PATH) / "resources")
    stage.own_view.unlink()
    assert store.set_journal_aside(PROD) == "journal.damaged-1"
    for left in ("nothing", "an empty journal", "an empty run"):
        if left != "nothing":
            stage.layout.journal(PATH).mkdir(exist_ok=True)
        if left == "an empty run":
            stage.epoch(2).touch()
        with pytest.raises(StateInvalid) as refused:
            store.read_fold(PATH)
        assert "alchemy scope rebuild" in refused.value.hint
        with pytest.raises(StateInvalid):
            stage.open()
        assert PATH in store.owners()
    end(begin(store, store.salvage(PATH)))
    assert stage.ids == ["a"]
    assert (stage.layout.scope(PATH) / "journal.damaged-2" / "000002.jsonl").exists()


def test_a_journal_is_not_set_aside_under_a_run(stage: Stage, store: LocalStore) -> None:
    stage.run("a")
    other = LocalStore(stage.layout, "cd" * 16)

    async def play() -> None:
        lease = await other.acquire(PROD, timeout=0)
        lease.publish(make_holder(other, PROD, 1, "deploy"))
        with pytest.raises(LockHeld, match="cannot be set aside"):
            store.set_journal_aside(PROD)
        assert other.set_journal_aside(PROD) == "journal.damaged-1"
        lease.release()

    asyncio.run(play())


def test_a_run_whose_journal_was_set_aside_is_fenced(stage: Stage, store: LocalStore) -> None:
    stage.run("a")
    stale = stage.open()
    stage.write(stale, Put(stage.row("b")))
    newer = stage.open()
    stage.write(newer, Put(stage.row("c")))
    end(begin(store, store.salvage(PATH)))
    for run in (stale, newer):
        with pytest.raises(Fenced):
            stage.write(run, Put(stage.row("d")))
        stage.die(run)
    assert stage.ids == ["a", "b", "c"]


def test_of_nothing_nothing_is_salvaged(store: LocalStore) -> None:
    found = store.salvage(PATH)
    assert not found.fold.resources
    assert (found.epoch, found.seq) == (0, 0)
