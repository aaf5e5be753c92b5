"""Backups and restores wherever the state is kept: the same over local files and over objects in a bucket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alchemy.errors import Fenced, LockHeld, Refused, StateInvalid, UsageError
from alchemy.model.records import Drop, Put
from alchemy.model.retention import Retention
from alchemy.model.values import Status
from alchemy.operations.backups import compare, set_pin, take, timeline
from alchemy.operations.restoring import restore, undo
from alchemy.operations.shapes import RestoreReport
from alchemy.operations.workspace import Workspace
from alchemy.store.backups import prune_after, write_backup
from alchemy.store.store import Store
from alchemy.testing.objects import MemoryObjects
from tests.model import rows
from tests.store.places import PATH, InObjects, OnDisk, Place, row, write

PROD = str(PATH)
DB = f"{PROD}/db"


@pytest.fixture(params=["files", "objects"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "files":
        place: Place = OnDisk(tmp_path)
    else:
        place = InObjects(tmp_path, MemoryObjects(f"memory://{tmp_path.name}"))
    grow(place)
    return place


def grow(place: Place) -> None:
    """Two runs: the backup is from between them, and the second died while it made `c`."""
    journal = place.open()
    write(journal, Put(rows.scope(DB)), *(Put(row(id, token=id)) for id in ("a", "db/x", "db/y")))
    place.end(journal)
    write_backup(place.store(), journal.fold, "before R-2")
    journal = place.open()
    write(journal, Put(row("a", token="a", props={"size": 2})), Drop(f"{DB}/y", kind="acme:Topic"), Put(row("b")))
    write(journal, Put(row("c", token="c", status=Status.CREATING), "intent", "create"))
    place.die(journal)


def go_back(store: Store, scope: str = PROD, file: str = "latest", **more: Any) -> RestoreReport:
    return asyncio.run(restore(store, scope, file, **{"timeout": 5.0, **more}))


def ids(place: Place) -> set[str]:
    return {address.removeprefix(f"{PROD}/") for address in place.store().read_fold(PATH).resources}


def test_there_and_back_again(place: Place) -> None:
    found = compare(place.store(), PROD)
    assert found.counts == (1, 1, 1)
    assert found.unfinished == (f"{PROD}/c",)
    report = go_back(place.store(), expect_serial=found.serial_now)
    assert ids(place) == {"a", "db/x", "db/y", "c"}
    assert (report.restored, report.forgotten) == (2, 1)
    assert compare(place.store(), PROD, found.file).same
    asyncio.run(undo(place.store(), PROD, timeout=5.0))
    assert ids(place) == {"a", "db/x", "b", "c"}


def test_a_nested_scope_goes_back_alone(place: Place) -> None:
    go_back(place.store(), DB)
    assert ids(place) == {"a", "db/x", "db/y", "b", "c"}


def test_the_run_is_in_the_list_with_its_events(place: Place) -> None:
    report = go_back(place.store())
    workspace = Workspace(place.store())
    (run, *_) = workspace.refresh().runs[PROD]
    assert (run.run, run.purpose, run.outcome) == (report.run, "restore", "done")
    told = [type(entry.event).__name__ for entry in workspace.entries(PROD)]
    assert told[0] == "RunStarted"
    assert {"BackupTaken", "Restored", "RunEnded"} <= set(told)


def test_another_serial_is_refused_and_nothing_is_opened(place: Place) -> None:
    before = place.store().epochs(PATH)
    with pytest.raises(Refused, match="by now, not at 1"):
        go_back(place.store(), expect_serial=1)
    assert place.store().epochs(PATH) == before


def test_whoever_holds_the_scope_is_waited_for_and_named(place: Place) -> None:
    async def both() -> None:
        held = await place.store().acquire(PATH, timeout=5.0)
        try:
            # Files: one process could only wait for itself, and is told so at once.
            with pytest.raises((LockHeld, UsageError), match="my-app/prod"):
                await restore(place.store(), DB, "latest", timeout=0.2)
        finally:
            held.release()

    asyncio.run(both())
    assert ids(place) == {"a", "db/x", "b", "c"}


def test_backups_are_listed_pinned_and_thinned_out(place: Place) -> None:
    store = place.store()
    first = timeline(store, PROD, verify=True)[0]
    assert (first.reason, first.problem, first.resources) == ("before R-2", "", 3)
    set_pin(store, PROD, first.file, "keep")
    made = [take(store, PROD, note=f"number {n}") for n in range(4)]
    listed = timeline(store, PROD, verify=True)
    assert [info.note for info in listed[:-1]] == ["number 3", "number 2", "number 1", "number 0"]
    assert (listed[-1].pinned, listed[-1].pin) == (True, "keep")
    assert listed[3].steps == (2, 1, 1)
    store.retention = Retention(1, 0, 0, 0)
    prune_after(store, PATH, made[-1].file)
    left = [info.file for info in timeline(store, PROD)]
    if store.remote:  # each look costs a request: not for so few
        assert len(left) == 5
        for n in range(3):
            made.append(take(store, PROD, note=f"number {n + 4}"))
        prune_after(store, PATH, made[-1].file)
        left = [info.file for info in timeline(store, PROD)]
    assert left == [made[-1].file, first.file]


# -- a journal that cannot be read ---------------------------------------------------------------------------------


def spoil(place: Place) -> None:
    place.spoil(3)


def lose(place: Place) -> None:
    place.lose_journal()


@pytest.mark.parametrize("harm", [spoil, lose])
def test_over_a_journal_that_cannot_be_read_another_one_begins(place: Place, harm: Callable[[Place], None]) -> None:
    before = place.store().read_fold(PATH)
    harm(place)
    with pytest.raises(StateInvalid):
        place.store().read_fold(PATH)
    found = compare(place.store(), PROD)
    assert found.damage
    with pytest.raises(StateInvalid, match="cannot be read"):
        go_back(place.store())
    report = go_back(place.store(), over_damage=True, expect_serial=found.serial_now)
    fold = place.store().read_fold(PATH)
    assert fold.lineage == before.lineage or not before.lineage
    assert (fold.released, fold.epoch > 1, fold.serial > found.serial_now) == (True, True, True)
    assert {"a", "db/x", "db/y"} <= ids(place) <= {"a", "db/x", "db/y", "c"}
    assert all(row.verify for row in fold.resources.values())
    assert compare(place.store(), PROD, found.file).same
    (run, *_) = Workspace(place.store()).refresh().runs[PROD]
    assert (run.run, run.purpose, run.outcome) == (report.run, "restore", "done")
    journal = place.open()
    write(journal, Put(row("new")))
    place.end(journal)
    assert "new" in ids(place)


def test_what_could_be_read_of_it_comes_back_with_undo(place: Place) -> None:
    place.spoil(3)
    known = set(compare(place.store(), PROD).unfinished)
    go_back(place.store(), over_damage=True)
    asyncio.run(undo(place.store(), PROD, timeout=5.0))
    assert {f"{PROD}/{id}" for id in ids(place)} >= known
    assert "b" in ids(place), "the records behind the damaged one say so"


def test_the_runs_of_a_bucket_are_found_whichever_record_cannot_be_read(tmp_path: Path) -> None:
    """It stays there for ever, below what takes its place: the log and `undo` have to see past it."""
    objects = MemoryObjects()
    place = InObjects(tmp_path, objects)
    for id in ("a", "b", "c", "d"):
        journal = place.open()
        write(journal, Put(row(id)))
        place.end(journal)

    def runs() -> list[list[int]]:
        store = place.store()
        return [[record.seq for record in store.read_epoch(PATH, epoch)] for epoch in store.epochs(PATH)]

    whole = runs()
    assert [len(run) for run in whole] == [3, 3, 3, 3]
    for seq in range(1, 12):
        key = f"{PATH}/journal/{seq:016d}.json"
        found = objects.get(key)
        assert found is not None
        etag = objects.replace(key, b"#" + found.body, found.etag)
        without = [[other for other in run if other != seq] for run in whole]
        assert runs() == [run if run and run[0] in {first[0] for first in whole} else [] for run in without], seq
        objects.replace(key, found.body, etag)


def test_who_still_writes_into_the_damaged_one_changes_nothing(place: Place) -> None:
    zombie = place.open()
    write(zombie, Put(row("late")))
    place.spoil(3)
    go_back(place.store(), over_damage=True)
    kept = ids(place)
    with pytest.raises(Fenced):
        write(zombie, Put(row("too-late")))
    assert ids(place) == kept


class Remembering(MemoryObjects):
    """What was there after each write: what a kill right after it leaves."""

    def __init__(self, place: str, bodies: dict[str, bytes]) -> None:
        super().__init__(place)
        self.moments: list[dict[str, bytes]] = []
        for key, body in bodies.items():
            super().create(key, body)

    def create(self, key: str, body: bytes) -> str:
        try:
            return super().create(key, body)
        finally:
            self.moments.append(self.bodies())


@pytest.mark.parametrize("harm", [None, spoil, lose])
def test_killed_after_any_request_the_state_is_the_old_one_or_the_new_one(
    harm: Callable[[Place], None] | None, tmp_path: Path
) -> None:
    whole = MemoryObjects(f"memory://{tmp_path.name}")
    place = InObjects(tmp_path, whole)
    grow(place)
    if harm:
        harm(place)
    shown = compare(place.store(), PROD)
    recording = Remembering(f"memory://{tmp_path.name}/recorded", whole.bodies())
    go_back(InObjects(tmp_path, recording).store(), over_damage=True, locking=False)
    new = told(InObjects(tmp_path, recording))
    old = told(InObjects(tmp_path, Remembering("memory://old", whole.bodies())))
    assert (old == new) is (harm is lose), "of a journal that is gone the backup is all there is"
    assert len(recording.moments) > 4
    seen = []
    for number, bodies in enumerate(recording.moments):
        left = InObjects(tmp_path, Remembering(f"memory://{tmp_path.name}/{number}", bodies))
        seen.append(told(left))
        assert seen[-1] in (old, new), f"request {number}: half restored"
        go_back(left.store(), file=shown.file, over_damage=True, locking=False)
        assert told(left) == new, f"request {number}"
    assert seen == sorted(seen, key=lambda state: state == new), "it does not go back again"


def told(place: Place) -> dict[str, tuple[str, object]]:
    """The rows; the best that is known where the journal cannot be read."""
    store = place.store()
    try:
        fold = store.read_fold(PATH)
    except StateInvalid:
        fold = store.salvage(PATH).fold
    return {key: (str(row.status), row.props) for key, row in fold.resources.items()}
