"""What a journal promises, wherever it is: one suite over local files, objects in memory, and a bucket behind HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alchemy.errors import AlchemyError, Fenced, LockHeld, Refused, StateInvalid, StorageFailed
from alchemy.model.events import Noted
from alchemy.model.fold import Fold
from alchemy.model.records import Drop, Emit, Put
from alchemy.store.backups import write_backup
from alchemy.testing.objects import MemoryObjects
from alchemy.testing.s3 import Server
from tests.objects.buckets import bucket_at
from tests.store.places import PATH, InObjects, OnDisk, Place, row, write


@pytest.fixture(params=["files", "objects", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    match request.param:
        case "files":
            yield OnDisk(tmp_path)
        case "objects":
            yield InObjects(tmp_path, MemoryObjects(f"memory://{tmp_path.name}"))
        case "bucket":
            with Server() as server:
                yield InObjects(tmp_path, bucket_at(server.endpoint))


def stored(place: Place) -> Fold:
    return place.store().read_fold(PATH)


def picture(fold: Fold) -> dict[str, Any]:
    return {**fold.to_snapshot(), "holder": fold.holder, "released": fold.released}


def test_what_is_acknowledged_is_what_every_later_load_sees(place: Place) -> None:
    journal = place.open()
    for count in range(5):
        write(journal, Put(row(f"r{count}")))
        assert picture(stored(place)) == picture(journal.fold)
    place.end(journal)
    assert picture(stored(place)) == picture(journal.fold)
    assert stored(place).released


def test_a_reader_that_follows_sees_each_record_once(place: Place) -> None:
    journal = place.open()
    reader = place.store().reader(PATH)
    assert reader.poll()
    assert not reader.poll()
    for count in range(3):
        write(journal, Put(row(f"r{count}")))
        assert reader.poll()
        assert [record.seq for record in reader.records] == [journal.fold.seq]
        assert not reader.reloaded
        assert picture(reader.fold) == picture(journal.fold)
    place.end(journal)
    assert reader.poll()
    assert reader.fold.released
    place.end(place.open())
    assert reader.poll()
    assert picture(reader.fold) == picture(stored(place))


def test_nothing_is_acknowledged_before_it_is_there(place: Place) -> None:
    journal = place.open()
    place.hold(open=False)
    ack = journal.append([Put(row("a"))], wait=True)
    assert ack is not None
    with pytest.raises(TimeoutError):
        ack.result(timeout=0.05)
    assert not journal.fold.resources
    place.hold(open=True)
    ack.result(timeout=30)
    assert f"{PATH}/a" in journal.fold.resources
    place.end(journal)


def test_what_was_queued_during_a_write_shares_the_next_record(place: Place) -> None:
    journal = place.open()
    place.hold(open=False)
    acks = [journal.append([Put(row(f"r{count}"))], wait=True) for count in range(40)]
    place.hold(open=True)
    for ack in acks:
        assert ack is not None
        ack.result(timeout=30)
    place.end(journal)
    assert place.record_count() <= 4, "opener, the first, the other 39, release"
    assert len(stored(place).resources) == 40


def test_batches_count_in_the_order_they_came(place: Place) -> None:
    journal = place.open()
    for count in range(30):
        journal.append([Put(row("a", error=str(count)))], wait=count % 7 == 0)
    place.end(journal)
    assert stored(place).resources[f"{PATH}/a"].error == "29"


def test_the_serial_counts_what_changed_rows_and_the_lineage_stays(place: Place) -> None:
    journal = place.open()
    first = journal.fold.serial
    write(journal, Emit(Noted(str(PATH), "hello")))
    assert journal.fold.serial == first
    write(journal, Put(row("a")), Put(row("b")))
    assert journal.fold.serial == first + 1
    place.end(journal)
    lineage = journal.fold.lineage
    assert lineage
    second = place.open()
    assert second.fold.lineage == lineage
    assert second.fold.serial == first + 1
    place.end(second)


def test_a_record_of_another_kind_stands_alone(place: Place) -> None:
    journal = place.open()
    journal.append([Put(row("a"))], wait=False)
    write(journal, Put(row("b")), Drop(f"{PATH}/a"), kind="restore", body={"from": "x"})
    place.end(journal)
    kinds = [record.kind for record in place.store().read_epoch(PATH, 1)]
    assert kinds == ["open", "commit", "restore", "release"]
    assert list(stored(place).resources) == [f"{PATH}/b"]


def test_a_later_run_stops_the_earlier_one_for_good_and_what_it_knew_is_spilled(place: Place) -> None:
    first = place.open()
    write(first, Put(row("a")))
    second = place.open()
    known = Put(row("lost", outputs={"id": "made-in-the-cloud"}), phase="result", action="create")
    with pytest.raises(Fenced) as fenced:
        write(first, known)
    with pytest.raises(Fenced):
        write(first, Put(row("lost-too")))
    with pytest.raises(Fenced):
        place.end(first)
    spills = list((place.root / "spill").iterdir())
    assert len(spills) == 1
    assert str(spills[0]) in fenced.value.hint
    body = json.loads(spills[0].read_text())
    assert [op["row"]["address"] for op in body["ops"]] == [f"{PATH}/lost", f"{PATH}/lost-too"]
    place.end(second)
    assert list(stored(place).resources) == [f"{PATH}/a"]


def test_a_place_that_fails_stops_the_run_for_good(place: Place) -> None:
    journal = place.open()
    write(journal, Put(row("a")))
    place.fail("out of order")
    with pytest.raises(StorageFailed, match="out of order"):
        write(journal, Put(row("b", outputs={"id": "1"}), phase="result", action="create"))
    place.fail("")
    with pytest.raises(StorageFailed):
        write(journal, Put(row("c")))
    with pytest.raises(StorageFailed):
        place.end(journal)
    assert list((place.root / "spill").iterdir())
    assert not stored(place).released, "the next run sees that this one did not end"


def test_a_killed_run_leaves_what_was_acknowledged(place: Place) -> None:
    journal = place.open()
    write(journal, Put(row("a")))
    place.die(journal)
    fold = stored(place)
    assert not fold.released
    assert fold.holder is not None
    assert fold.holder.session == journal.session
    second = place.open()
    write(second, Put(row("b")))
    place.end(second)
    assert set(stored(place).resources) == {f"{PATH}/a", f"{PATH}/b"}


def test_runs_are_listed_also_after_their_records_were_folded_into_a_snapshot(place: Place) -> None:
    journal = place.open()
    place.end(journal)
    for number in range(2):
        journal = place.open()
        for count in range(150):
            journal.append([Put(row(f"r{count}", error=str(number)))], wait=count % 10 == 0)
        place.end(journal)
    store = place.store()
    assert store.epochs(PATH) == [1, 2, 3]
    for epoch in (1, 2, 3):
        records = store.read_epoch(PATH, epoch)
        assert [records[0].kind, records[-1].kind] == ["open", "release"]
        assert {record.epoch for record in records} == {epoch}
    assert picture(stored(place)) == picture(journal.fold)
    assert len(journal.fold.resources) == 150
    assert store.read_epoch(PATH, 4) == []


def test_whoever_refuses_what_is_stored_leaves_it_untouched(place: Place) -> None:
    place.end(place.open())
    before = picture(stored(place))

    def refuse(fold: Fold) -> None:
        raise LockHeld(f"reserved: {fold.epoch}")

    with pytest.raises(LockHeld, match="reserved: 1"):
        place.open(refuse=refuse)
    assert picture(stored(place)) == before


def test_an_opening_by_force_breaks_only_the_holder_that_was_seen(place: Place) -> None:
    journal = place.open()
    with pytest.raises(Refused, match="is at run R-1 by now"):
        place.open(seen=0)
    write(journal, Put(row("a")))
    forced = place.open(seen=1)
    with pytest.raises(Fenced):
        write(journal, Put(row("b")))
    with pytest.raises(Fenced):
        place.end(journal)
    place.end(forced)


def test_a_changed_byte_is_damage_and_named(place: Place) -> None:
    journal = place.open()
    for id in ("a", "b", "c"):
        write(journal, Put(row(id)))
    place.end(journal)
    named = place.spoil(2)
    with pytest.raises(StateInvalid) as damage:
        stored(place)
    assert named in damage.value.message
    with pytest.raises(StateInvalid):
        place.open()


def test_a_journal_that_is_gone_is_not_an_empty_one(place: Place) -> None:
    journal = place.open()
    write(journal, Put(row("a")))
    place.end(journal)
    write_backup(place.store(), journal.fold, "before something")
    place.lose_journal()
    with pytest.raises(StateInvalid, match="missing"):
        stored(place)
    with pytest.raises(StateInvalid, match="missing"):
        place.open()


def test_an_empty_place_has_an_empty_fold(place: Place) -> None:
    fold = stored(place)
    assert (fold.seq, fold.resources) == (0, {})
    reader = place.store().reader(PATH)
    assert not reader.poll()
    assert place.store().epochs(PATH) == []
    assert place.store().owners() == []


def test_backups_are_created_once_and_can_be_marked(place: Place) -> None:
    store = place.store()
    journal = place.open(store)
    write(journal, Put(row("a")))
    place.end(journal)
    name = write_backup(store, journal.fold, "by hand")
    assert store.backups(PATH) == [name]
    data, size = store.read_backup(PATH, name)
    head, whole = store.read_backup(PATH, name, head=20)
    assert (size, whole, head) == (len(data), len(data), data[:20])
    with pytest.raises(FileExistsError):
        store.create_backup(PATH, name, b"other")
    assert store.read_backup(PATH, name)[0] == data
    store.mark_backup(PATH, name, "pin", "before the fair")
    store.mark_backup(PATH, name, "pin", "before the trade fair")
    assert place.store().backup_marks(PATH) == {(name, "pin"): "before the trade fair"}
    store.mark_backup(PATH, name, "pin", None)
    assert store.backup_marks(PATH) == {}
    store.remove_backup(PATH, name)
    store.remove_backup(PATH, name)
    assert store.backups(PATH) == []
    with pytest.raises(FileNotFoundError):
        store.read_backup(PATH, name)


def test_who_did_what_without_the_lock_is_written_down(place: Place) -> None:
    store = place.store()
    assert store.audits() == []
    store.audit({"what": "unlock", "who": "ana"})
    store.audit({"what": "reveal", "who": "ben"})
    found = place.store().audits()
    assert {(entry["what"], entry["who"]) for entry in found} == {("unlock", "ana"), ("reveal", "ben")}
    assert all(entry["at"] for entry in found)


def test_the_opener_is_refused_when_the_place_fails(place: Place) -> None:
    store = place.store()
    place.fail("out of order")
    with pytest.raises(AlchemyError, match="out of order"):
        place.open(store)
    place.fail("")
    place.end(place.open())
