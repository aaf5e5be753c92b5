from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from alchemy.errors import Fenced, StorageFailed
from alchemy.model.events import Noted
from alchemy.model.records import Emit, Put, decode
from alchemy.store.files import Files
from tests.store.stage import Stage


class Recording(Files):
    """The real files, and what was done to epochs in which order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.hold = threading.Event()  # set: syncs go through
        self.hold.set()
        self.fail = ""

    def append(self, descriptor: int, data: bytes, path: Path) -> None:
        super().append(descriptor, data, path)
        if path.suffix == ".jsonl":
            self.done.append("append")

    def sync(self, descriptor: int, path: Path) -> None:
        assert self.hold.wait(30)
        if self.fail and path.suffix == ".jsonl":
            raise StorageFailed(f"cannot sync {path}: {self.fail}", hint="check free space")
        super().sync(descriptor, path)
        if path.suffix == ".jsonl":
            self.done.append("sync")

    def exists(self, path: Path) -> bool:
        if path.suffix == ".jsonl":
            self.done.append("look")
        return super().exists(path)


@pytest.fixture
def files() -> Recording:
    return Recording()


@pytest.fixture
def stage(tmp_path: Path, files: Recording) -> Stage:
    return Stage(tmp_path, files=files)


def test_an_acknowledged_batch_was_written_synced_and_then_looked_past(stage: Stage, files: Recording) -> None:
    journal = stage.open()
    files.done.clear()
    ack = journal.append([Put(stage.row("a"))], wait=True)
    assert ack is not None
    ack.add_done_callback(lambda _: files.done.append("ack"))
    ack.result(timeout=30)
    assert files.done == ["append", "sync", "look", "look", "ack"]  # for a later run, and for its own file
    journal.close({})


def test_nothing_is_acknowledged_while_the_disk_is_still_at_it(stage: Stage, files: Recording) -> None:
    journal = stage.open()
    files.hold.clear()
    ack = journal.append([Put(stage.row("a"))], wait=True)
    assert ack is not None
    with pytest.raises(TimeoutError):
        ack.result(timeout=0.05)
    assert stage.address("a") not in journal.fold.resources
    files.hold.set()
    ack.result(timeout=30)
    assert stage.address("a") in journal.fold.resources
    journal.close({})


def test_what_was_queued_during_a_sync_shares_the_next_one(stage: Stage, files: Recording) -> None:
    journal = stage.open()
    files.hold.clear()
    acks = [journal.append([Put(stage.row(f"r{n}"))], wait=True) for n in range(40)]
    files.hold.set()
    for ack in acks:
        assert ack is not None
        ack.result(timeout=30)
    journal.close({})
    assert len(stage.lines(1)) <= 4, "opener, the first, the other 39, release"
    assert len(stage.ids) == 40


def test_results_nobody_waits_for_are_written_all_the_same(stage: Stage) -> None:
    journal = stage.open()
    for n in range(5):
        journal.append([Put(stage.row(f"r{n}"))], wait=False)
    journal.close({})
    assert len(stage.ids) == 5
    assert len(stage.lines(1)) == 3


def test_batches_are_committed_in_the_order_they_came(stage: Stage) -> None:
    journal = stage.open()
    for n in range(50):
        journal.append([Put(stage.row("a", error=str(n)))], wait=n % 7 == 0)
    journal.close({})
    assert stage.load().fold.resources[stage.address("a")].error == "49"


def test_the_serial_counts_batches_that_changed_rows(stage: Stage) -> None:
    journal = stage.open()
    first = journal.fold.serial
    stage.write(journal, Emit(Noted("my-app/prod", "hello")))
    assert journal.fold.serial == first
    stage.write(journal, Put(stage.row("a")), Emit(Noted("my-app/prod", "hello")))
    assert journal.fold.serial == first + 1
    journal.close({})
    assert journal.fold.serial == first + 1
    assert journal.fold.seq == 4


def test_every_record_names_its_run_and_its_own_id(stage: Stage) -> None:
    stage.run("a", "b")
    records = [decode(line)[0] for line in stage.lines(1)]
    assert [r.kind for r in records] == ["open", "commit", "commit", "release"]
    assert {(r.epoch, r.session) for r in records} == {(1, "5e55")}
    assert len({r.wid for r in records}) == len(records)


def test_a_later_epoch_stops_the_earlier_one_for_good(stage: Stage, tmp_path: Path) -> None:
    first = stage.open()
    stage.write(first, Put(stage.row("a")))
    second = Stage(tmp_path).open()
    with pytest.raises(Fenced) as fenced:
        stage.write(first, Put(stage.row("lost", outputs={"id": "made-in-the-cloud"})))
    with pytest.raises(Fenced):
        stage.write(first, Put(stage.row("lost-too")))
    assert isinstance(first.failure, Fenced)
    with pytest.raises(Fenced):
        first.close({})
    second.close({})
    assert stage.ids == ["a"]
    (spilled,) = stage.layout.spill.iterdir()
    assert str(spilled) in fenced.value.hint
    data = json.loads(spilled.read_bytes())
    assert (data["scope"], data["epoch"]) == ("my-app/prod", 1)
    assert data["ops"][0]["row"]["outputs"] == {"id": "made-in-the-cloud"}


def test_a_failed_sync_is_final_and_nothing_after_it_is_acknowledged(stage: Stage, files: Recording) -> None:
    journal = stage.open()
    stage.write(journal, Put(stage.row("a")))
    files.fail = "No space left on device"
    with pytest.raises(StorageFailed, match="No space left"):
        stage.write(journal, Put(stage.row("b")))
    files.fail = ""
    with pytest.raises(StorageFailed):
        stage.write(journal, Put(stage.row("c")))
    assert stage.address("b") not in journal.fold.resources
    with pytest.raises(StorageFailed):
        journal.close({})


def test_something_that_cannot_be_written_ends_the_run_with_an_error_and_no_hang(stage: Stage) -> None:
    """Outputs are checked before they come here; if one slips through, nobody waits for ever."""
    journal = stage.open()
    with pytest.raises(StorageFailed, match="cannot be written"):
        stage.write(journal, Put(stage.row("a", outputs={"id": "\ud800"})))
    with pytest.raises(StorageFailed):
        stage.write(journal, Put(stage.row("b")))
    with pytest.raises(StorageFailed):
        journal.close({})
    assert stage.ids == []


def test_a_run_goes_on_when_somebody_removes_the_views_under_it(stage: Stage) -> None:
    import shutil

    journal = stage.open()
    stage.write(journal, Put(stage.row("a")))
    eventually_exists(stage.view("a"))
    shutil.rmtree(stage.view("a").parent.parent)
    stage.write(journal, Put(stage.row("a", error="again")))
    stage.write(journal, Put(stage.row("b")))
    journal.close({"outcome": "done"})
    assert stage.ids == ["a", "b"]
    assert json.loads(stage.view("a").read_bytes())["error"] == "again"
    assert stage.view("b").exists()


@pytest.mark.parametrize("put", ["directory", "link", "unreadable"])
def test_a_view_that_cannot_be_written_stops_nobody(stage: Stage, tmp_path: Path, put: str) -> None:
    stage.run("a", "b")
    stage.view("a").unlink()
    if put == "directory":
        (stage.view("a") / "x").mkdir(parents=True)
    elif put == "link":
        stage.view("a").symlink_to(tmp_path / "nowhere")
    else:
        stage.view("a").parent.rmdir()
        stage.view("a").parent.write_bytes(b"a file")
    journal = stage.open()
    stage.write(journal, Put(stage.row("a", error="new")), Put(stage.row("b", error="new")))
    stage.end(journal)
    assert stage.load().fold.resources[stage.address("a")].error == "new"
    assert json.loads(stage.view("b").read_bytes())["error"] == "new", "the others are written"
    assert not (tmp_path / "nowhere").exists()


def eventually_exists(path: Path) -> None:
    import time

    for _ in range(2000):
        if path.exists():
            return
        time.sleep(0.005)
    raise AssertionError(f"{path} was not written")


def test_only_the_owner_can_read_what_is_stored(stage: Stage) -> None:
    stage.run("a")
    for path in stage.layout.root.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    class Full(Files):
        def append(self, descriptor: int, data: bytes, path: Path) -> None:
            super().append(descriptor, data[:3], path)
            raise StorageFailed("cannot write: No space left on device")

    Files().replace(tmp_path / "a", b"old")
    with pytest.raises(StorageFailed):
        Full().replace(tmp_path / "a", b"new and longer", durable=True)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_error_of_the_disk_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageFailed, match=f"cannot write {tmp_path}/{'x' * 300}: File name too long") as error:
        Files().replace(tmp_path / ("x" * 300), b"")
    assert "free space and permissions" in error.value.hint
    with pytest.raises(StorageFailed, match="/file is not a directory"):
        Files().create(tmp_path / "file" / "x", b"")
