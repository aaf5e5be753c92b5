from __future__ import annotations

import threading
from pathlib import Path

import pytest

from alchemy.errors import AlchemyError, Fenced, LockHeld, StateInvalid
from alchemy.model.records import Drop, Put, Record, encode
from alchemy.store.copies import SNAPSHOT_AFTER
from alchemy.store.journal import Journal
from tests.model.rows import AT
from tests.store.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def refused(stage: Stage) -> StateInvalid:
    """What both a reader and the next run say, and that neither changed anything."""
    before = {path: path.read_bytes() for path in stage.layout.root.rglob("*") if path.is_file()}
    with pytest.raises(StateInvalid) as error:
        stage.open()
    assert {path: path.read_bytes() for path in stage.layout.root.rglob("*") if path.is_file()} == before
    assert "nothing was changed" in error.value.hint
    return error.value


def test_nothing_on_disk_is_an_empty_stage_and_stays_nothing(stage: Stage) -> None:
    loaded = stage.load()
    assert (loaded.fold.resources, loaded.fold.scopes, loaded.epochs) == ({}, {}, [])
    assert list(stage.layout.root.iterdir()) == []


def test_what_several_runs_wrote_is_there(stage: Stage) -> None:
    stage.run("a", "b")
    stage.run()
    fold = stage.run("c")
    assert stage.ids == ["a", "b", "c"]
    loaded = stage.load()
    assert (loaded.fold.seq, loaded.fold.prev) == (fold.seq, fold.prev)
    assert loaded.epochs == [1, 2, 3]
    assert loaded.clean
    assert loaded.fold.released


def test_lineage_is_made_once(stage: Stage) -> None:
    first = stage.run("a").lineage
    assert len(first) == 32
    assert stage.run("b").lineage == first


@pytest.mark.parametrize(
    "ending", [b"{", b'{"r":', b"\n", b"\x00" * 100, b'{"r":{},"c":"0000000000000000"}\n', b"garbage"]
)
def test_a_torn_last_line_was_never_acknowledged(stage: Stage, ending: bytes) -> None:
    stage.run("a")
    with stage.epoch(1).open("ab") as file:
        file.write(ending)
    loaded = stage.load()
    assert loaded.torn == len(ending)
    assert stage.ids == ["a"]
    stage.run("b")
    assert stage.ids == ["a", "b"]
    assert stage.epoch(1).read_bytes().endswith(ending), "nothing is ever cut off"


def test_a_line_cut_anywhere_leaves_the_rows_before_it(stage: Stage) -> None:
    journal = stage.open()
    for id in ("a", "b"):
        stage.write(journal, Put(stage.row(id)))
    stage.die(journal)
    whole = stage.epoch(1).read_bytes()
    last = stage.lines(1)[-1]
    for length in range(1, len(last) + 1):
        stage.epoch(1).write_bytes(whole[:-length])
        assert stage.ids == ["a"]


def test_a_journal_that_lost_acknowledged_records_is_not_taken_for_a_smaller_one(stage: Stage) -> None:
    """The views say how far it reached."""
    stage.run("a", "b", "c")
    lines = stage.lines(1)
    for keep in range(1, len(lines)):
        stage.epoch(1).write_bytes(b"".join(lines[:keep]))
        assert f"ends at record {keep}" in refused(stage).message
    stage.epoch(1).write_bytes(b"".join(lines)[:-1])
    assert "ends at record" in refused(stage).message


def test_an_emptied_or_removed_journal_is_not_an_empty_stage(stage: Stage) -> None:
    stage.run("a")
    stage.epoch(1).write_bytes(b"")
    assert "it ends at record 0" in refused(stage).message
    stage.epoch(1).unlink()
    assert "missing or empty" in refused(stage).message
    stage.layout.journal(stage.path).rmdir()
    with pytest.raises(StateInvalid, match="missing or empty"):
        stage.open()


def test_a_bad_line_before_a_good_one_is_damage(stage: Stage) -> None:
    stage.run("a", "b")
    lines = stage.lines(1)
    lines[1] = lines[1].replace(b'"a"', b'"z"').replace(b"my-app/prod/a", b"my-app/prod/z")
    stage.epoch(1).write_bytes(b"".join(lines))
    error = refused(stage)
    assert f"{stage.epoch(1)}:2: the checksum does not match" in error.message
    assert error.exit_code == 4


def test_a_missing_line_is_damage(stage: Stage) -> None:
    stage.run("a", "b", "c")
    lines = stage.lines(1)
    stage.epoch(1).write_bytes(b"".join([lines[0], *lines[2:]]))
    assert "records 2 to 2 are missing" in refused(stage).message


def test_lines_of_another_journal_are_damage(tmp_path: Path) -> None:
    one, other = Stage(tmp_path / "one"), Stage(tmp_path / "other")
    one.run("a", "b")
    other.run("x", "y")
    lines = one.lines(1)
    one.epoch(1).write_bytes(b"".join([lines[0], other.lines(1)[1], *lines[2:]]))
    assert "does not follow the record before it" in refused(one).message


def test_a_missing_epoch_is_damage(stage: Stage) -> None:
    for id in "abc":
        stage.run(id)
    stage.epoch(2).unlink()
    assert f"{stage.epoch(2)}: it is missing" in refused(stage).message


def test_the_newest_epoch_missing_is_damage_too(stage: Stage) -> None:
    stage.run("a")
    stage.run("b")
    stage.epoch(2).unlink()
    assert str(stage.epoch(2)) in refused(stage).message


def test_an_opener_that_is_gone_is_damage(stage: Stage) -> None:
    stage.run("a")
    stage.run("b")
    stage.epoch(1).write_bytes(b"".join(stage.lines(1)[1:]))
    refused(stage)


def test_a_sealed_epoch_that_became_shorter_is_damage(stage: Stage) -> None:
    stage.run("a")
    stage.run("b")
    data = stage.epoch(1).read_bytes()
    stage.epoch(1).write_bytes(data[:-10])
    assert f"10 of {len(data)} sealed bytes are missing" in refused(stage).message


def test_bytes_after_a_seal_do_not_count(stage: Stage) -> None:
    journal = stage.open()
    stage.write(journal, Put(stage.row("a")))
    stage.run("b")
    with pytest.raises(Fenced, match="a later run took over"):
        stage.write(journal, Put(stage.row("late")))
    assert stage.ids == ["a", "b"]
    assert b"late" in stage.epoch(1).read_bytes()
    journal._medium.close()


def test_a_claimed_epoch_without_an_opener_is_sealed_away(stage: Stage) -> None:
    stage.run("a")
    stage.epoch(2).touch()
    assert stage.load().void
    assert stage.ids == ["a"]
    stage.run("b")
    assert stage.epoch(3).exists()
    assert stage.ids == ["a", "b"]


@pytest.mark.parametrize("half", [b"", b'{"r":{"v":1,"seq":4', b"\x00" * 512])
def test_many_claims_that_came_to_nothing_are_passed_over(stage: Stage, half: bytes) -> None:
    stage.run("a")
    for number in (2, 3, 4):
        stage.epoch(number).write_bytes(half)
    stage.run("b")
    stage.run("c")
    assert stage.ids == ["a", "b", "c"]
    assert stage.load().epochs == [1, 2, 3, 4, 5, 6]


class Slow(Stage):
    """A run that is held up between claiming its epoch and writing the opener."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.claimed, self.go_on = threading.Event(), threading.Event()

    def begin(self) -> threading.Thread:
        real = self.files.create

        def create(path: Path, data: bytes) -> int:
            descriptor = real(path, data)
            self.claimed.set()
            assert self.go_on.wait(30)
            return descriptor

        self.files.create = create  # type: ignore[method-assign]
        self.outcome: Journal | AlchemyError | None = None

        def target() -> None:
            try:
                self.outcome = self.open("dead")
            except AlchemyError as error:
                self.outcome = error

        thread = threading.Thread(target=target)
        thread.start()
        assert self.claimed.wait(30)
        return thread


def test_an_opener_that_comes_after_a_later_one_counts_for_nothing(tmp_path: Path) -> None:
    stage, zombie = Stage(tmp_path), Slow(tmp_path)
    stage.run("a")
    thread = zombie.begin()
    journal = stage.open()
    stage.write(journal, Put(stage.row("b")))
    zombie.go_on.set()
    thread.join()
    assert isinstance(zombie.outcome, Fenced)
    assert b'"kind":"open"' in stage.epoch(2).read_bytes(), "it was written, too late"
    stage.write(journal, Put(stage.row("c")))
    journal.close({})
    assert stage.ids == ["a", "b", "c"]
    stage.run("d")
    assert stage.ids == ["a", "b", "c", "d"]


def test_of_two_who_claim_one_epoch_one_is_told(tmp_path: Path) -> None:
    stage, other = Stage(tmp_path), Slow(tmp_path)
    thread = other.begin()
    # as if it had read the directory before the other one claimed
    stage.files.names = lambda directory: []  # type: ignore[method-assign]
    with pytest.raises(LockHeld, match="Failed to acquire lock my-app/prod: another run opened it at this moment"):
        stage.open()
    other.go_on.set()
    thread.join()
    assert isinstance(other.outcome, Journal)
    other.outcome.close({})


def test_a_newer_format_is_refused_by_name(stage: Stage) -> None:
    stage.run("a")
    fold = stage.load().fold
    line, _ = encode(Record(fold.seq + 1, 1, "s", "w", "commit", AT, fold.prev, fold.serial, v=2))
    good, _ = encode(Record(fold.seq + 2, 1, "s", "w", "commit", AT, fold.prev, fold.serial))
    stage.epoch(1).write_bytes(stage.epoch(1).read_bytes() + line + good)
    assert "format 2 is newer" in refused(stage).message


def test_a_newer_format_is_no_torn_line(stage: Stage) -> None:
    """What a newer version wrote last must not be sealed away by an older one."""
    stage.run("a")
    fold = stage.load().fold
    line, _ = encode(Record(fold.seq + 1, 1, "s", "w", "commit", AT, fold.prev, fold.serial, v=2))
    stage.epoch(1).write_bytes(stage.epoch(1).read_bytes() + line)
    assert "format 2 is newer" in refused(stage).message


def test_an_epoch_that_a_newer_version_opened_is_not_taken_for_a_void_one(stage: Stage) -> None:
    stage.run("a")
    fold = stage.load().fold
    line, _ = encode(Record(fold.seq + 1, 2, "s", "w", "open", AT, fold.prev, fold.serial, v=2))
    stage.epoch(2).write_bytes(line)
    assert f"{stage.epoch(2)}:1 was written by a later version: format 2 is newer" in refused(stage).message


def test_other_files_in_the_journal_are_no_epochs(stage: Stage) -> None:
    stage.run("a")
    for name in ("1.jsonl", "000002.jsonl.bak", ".000002.jsonl.tmp", "notes.txt", "-00001.jsonl"):
        stage.epoch(1).with_name(name).write_bytes(b"junk")
    stage.run("b")
    assert stage.ids == ["a", "b"]


def test_a_link_in_place_of_an_epoch_is_not_followed(stage: Stage, tmp_path: Path) -> None:
    stage.run("a")
    elsewhere = tmp_path / "elsewhere.jsonl"
    stage.epoch(1).rename(elsewhere)
    stage.epoch(1).symlink_to(elsewhere)
    with pytest.raises(AlchemyError, match=r"000001\.jsonl is a symbolic link"):
        stage.load()


# -- snapshots --------------------------------------------------------------------------------------------------


def grown(stage: Stage, *, runs: int = 1) -> list[Path]:
    """Runs long enough that each ends with a snapshot; the snapshots, oldest first."""
    for number in range(runs):
        journal = stage.open()
        count = SNAPSHOT_AFTER + 1
        stage.write(journal, *[Put(stage.row(f"r{number}-{n}", seq=number * count + n + 1)) for n in range(count)])
        journal.close({"outcome": "done"})
    return sorted(stage.layout.snapshots(stage.path).iterdir())


def test_a_snapshot_is_written_when_the_tail_has_grown(stage: Stage) -> None:
    stage.run("a")
    assert not stage.layout.snapshots(stage.path).exists()
    assert [path.name for path in grown(stage)] == [f"{stage.load().fold.seq:010d}.json"]
    stage.run("b")
    assert len(list(stage.layout.snapshots(stage.path).iterdir())) == 1


def test_opening_from_a_snapshot_is_opening_from_all_records(stage: Stage) -> None:
    (snapshot,) = grown(stage)
    journal = stage.open()
    stage.write(journal, Put(stage.row("after", seq=999)), Drop(stage.address("r0-5")))
    journal.close({"outcome": "done", "declared": {"complete": True, "orphans": [stage.address("after")]}})
    quick = stage.load().fold
    snapshot.unlink()
    slow = stage.load().fold
    assert quick.to_snapshot() == slow.to_snapshot()
    assert (quick.holder, quick.released, quick.last_at) == (slow.holder, slow.released, slow.last_at)
    assert quick.last_release == slow.last_release


def test_a_stage_that_ended_with_a_snapshot_still_knows_how_it_ended(stage: Stage) -> None:
    (snapshot,) = grown(stage)
    quick = stage.load().fold
    snapshot.unlink()
    slow = stage.load().fold
    assert quick.holder == slow.holder
    assert quick.holder is not None
    assert (quick.last_at, quick.last_release) == (slow.last_at, slow.last_release)


@pytest.mark.parametrize(
    "damage", [lambda d: d[: len(d) // 2], lambda d: b"", lambda d: d.replace(b"r1-7", b"r1-8", 1)]
)
def test_a_damaged_snapshot_gives_way_to_the_older_one_and_the_epochs(stage: Stage, damage: object) -> None:
    assert callable(damage)
    older, newer = grown(stage, runs=2)
    want = stage.load().fold.to_snapshot()
    newer.write_bytes(damage(newer.read_bytes()))
    loaded = stage.load()
    assert loaded.fold.to_snapshot() == want
    assert f"snapshots/{newer.name}: it is torn" in loaded.notes[0]
    older.write_bytes(b"")
    assert stage.load().fold.to_snapshot() == want
    assert len(stage.load().notes) == 2


def test_a_snapshot_of_a_newer_format_is_refused_by_name(stage: Stage) -> None:
    import hashlib

    (snapshot,) = grown(stage)
    raw = snapshot.read_bytes()[len(b'{"r":') : -(len(b',"c":""}\n') + 64)].replace(b'"format":1', b'"format":2', 1)
    snapshot.write_bytes(b'{"r":' + raw + b',"c":"' + hashlib.sha256(raw).hexdigest().encode() + b'"}\n')
    with pytest.raises(StateInvalid, match="was written by a later version: format 2 is newer than this version reads"):
        stage.load()


def test_epochs_before_a_snapshot_may_go(stage: Stage) -> None:
    stage.run("a")
    grown(stage)
    stage.run("z")
    want = stage.ids
    stage.epoch(1).unlink()
    assert stage.ids == want
    stage.run("zz")
    assert stage.ids == [*want, "zz"]
