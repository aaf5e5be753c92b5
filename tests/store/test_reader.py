from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alchemy.errors import StateInvalid
from alchemy.model.records import Drop, Put
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.reader import JournalReader, read_epoch
from tests.store.stage import PATH, Stage

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def reader_of(stage: Stage) -> JournalReader:
    return JournalReader(Files(), Layout(stage.layout.root), stage.path)


def ids(reader: JournalReader) -> list[str]:
    return sorted(row.id for row in reader.fold.resources.values())


def test_a_reader_waits_for_a_stage_that_is_not_there_yet(stage: Stage) -> None:
    reader = reader_of(stage)
    assert not reader.poll()
    assert list(stage.layout.root.iterdir()) == []
    stage.run("a")
    assert reader.poll()
    assert ids(reader) == ["a"]
    assert not reader.poll()


def test_each_record_is_reported_once_as_it_comes(stage: Stage) -> None:
    stage.run("a")
    reader = reader_of(stage)
    reader.poll()
    journal = stage.open()
    assert reader.poll()
    for id in "bcd":
        stage.write(journal, Put(stage.row(id)))
        assert reader.poll()
        assert [op["row"]["address"] for r in reader.records for op in r.ops] == [stage.address(id)]
        assert not reader.reloaded
        assert not reader.poll()
    journal.close({})
    assert reader.poll()
    assert [r.kind for r in reader.records] == ["release"]
    assert ids(reader) == ["a", "b", "c", "d"]


def test_half_a_line_is_not_there_yet(stage: Stage) -> None:
    journal = stage.open()
    stage.write(journal, Put(stage.row("a")))
    stage.die(journal)
    whole = stage.epoch(1).read_bytes()
    line = stage.lines(1)[-1]
    before = whole[: -len(line)]
    for cut in range(len(line)):
        stage.epoch(1).write_bytes(before + line[:cut])
        reader = reader_of(stage)
        reader.poll()
        assert ids(reader) == []
        assert reader.torn == cut
        stage.epoch(1).write_bytes(whole)
        assert reader.poll()
        assert ids(reader) == ["a"]
        assert reader.torn == 0


def test_a_new_run_is_followed(stage: Stage) -> None:
    reader = reader_of(stage)
    for number, id in enumerate("abc", 1):
        stage.run(id)
        assert reader.poll()
        assert reader.fold.epoch == number
    assert ids(reader) == ["a", "b", "c"]


def test_a_claim_without_an_opener_is_waited_for(stage: Stage) -> None:
    stage.run("a")
    reader = reader_of(stage)
    reader.poll()
    stage.epoch(2).touch()
    assert not reader.poll()
    assert ids(reader) == ["a"]
    stage.epoch(2).unlink()
    stage.run("b")
    assert reader.poll()
    assert ids(reader) == ["a", "b"]


def test_a_run_that_wrote_after_it_was_fenced_is_not_followed(stage: Stage) -> None:
    journal = stage.open()
    reader = reader_of(stage)
    reader.poll()
    stage.run("b")
    journal.append([Put(stage.row("late"))], wait=False)
    stage.die(journal)
    assert reader.poll()
    assert ids(reader) == ["b"]


@pytest.mark.parametrize("cut", [1, 100])
def test_a_journal_that_becomes_shorter_under_the_reader_is_damage(stage: Stage, cut: int) -> None:
    stage.run("a")
    reader = reader_of(stage)
    reader.poll()
    stage.epoch(1).write_bytes(stage.epoch(1).read_bytes()[:-cut])
    with pytest.raises(StateInvalid, match="shorter"):
        reader.poll()


def test_a_bad_line_before_a_good_one_is_damage(stage: Stage) -> None:
    journal = stage.open()
    reader = reader_of(stage)
    reader.poll()
    for id in "ab":
        stage.write(journal, Put(stage.row(id)))
    stage.die(journal)
    lines = stage.lines(1)
    stage.epoch(1).write_bytes(lines[0] + b"{}\n" + lines[2])
    with pytest.raises(StateInvalid, match="damaged"):
        reader.poll()


def test_one_run_can_be_read_by_itself_as_far_as_it_is_whole(stage: Stage) -> None:
    stage.run("a")
    stage.run("b", "c")
    files, layout = stage.files, stage.layout
    assert [r.kind for r in read_epoch(files, layout, PATH, 2)] == ["open", "commit", "commit", "release"]
    assert read_epoch(files, layout, PATH, 9) == []
    stage.epoch(2).write_bytes(stage.epoch(2).read_bytes()[:-5])
    assert [r.kind for r in read_epoch(files, layout, PATH, 2)] == ["open", "commit", "commit"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], Stage]:
    """Three epochs, by name, as their runs left them."""
    stage = Stage(tmp_path_factory.mktemp("written"))
    stage.run("a", "b")
    journal = stage.open()
    stage.write(journal, Drop(stage.address("a")), Put(stage.row("c")))
    stage.die(journal)
    stage.run("d")
    files = {path.name: path.read_bytes() for path in sorted(stage.layout.journal(PATH).iterdir())}
    return files, stage


@settings(max_examples=40)
@given(cuts=st.lists(st.integers(0, 6000), max_size=8, unique=True))
def test_however_the_bytes_arrive_the_state_is_the_same(
    cuts: list[int], written: tuple[dict[str, bytes], Stage], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A disk shared over the network may show a file growing in any steps."""
    files, source = written
    stage = Stage(tmp_path_factory.mktemp("copy"))
    stage.layout.journal(PATH).mkdir(parents=True)
    reader = reader_of(stage)
    seen: list[int] = []

    def look() -> None:
        reader.poll()
        if not reader.reloaded:
            seen.extend(r.seq for r in reader.records)

    for name, data in files.items():
        path = stage.layout.journal(PATH) / name
        for end in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
            path.write_bytes(data[:end])
            look()
    assert reader.fold.to_snapshot() == source.load().fold.to_snapshot()
    assert len(seen) == len(set(seen))


CHILD = """
import sys
from pathlib import Path
from alchemy.model.records import Put
from tests.store.stage import Stage
stage = Stage(Path(sys.argv[1]))
journal = None
for order in sys.stdin:
    if order == "open\\n":
        journal = stage.open()
    elif order == "close\\n":
        stage.end(journal)
    else:
        stage.write(journal, Put(stage.row(order.strip())))
    print("done", flush=True)
"""


@pytest.fixture
def child(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    path = f"import sys; sys.path[:0] = [{str(REPOSITORY / 'core')!r}, {str(REPOSITORY)!r}]\n"
    with subprocess.Popen(
        [sys.executable, "-c", path + CHILD, str(stage.layout.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0


def test_a_run_of_another_process_is_followed(stage: Stage, child: subprocess.Popen[str]) -> None:
    def order(what: str) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(what + "\n")
        child.stdin.flush()
        assert child.stdout.readline() == "done\n"

    reader = reader_of(stage)
    order("open")
    assert reader.poll()
    assert reader.fold.holder is not None
    assert reader.fold.holder.pid == child.pid
    assert not reader.fold.released
    for id in "ab":
        order(id)
        assert reader.poll()
        assert ids(reader)[-1] == id
    order("close")
    assert reader.poll()
    assert reader.fold.released
    assert not reader.poll()
