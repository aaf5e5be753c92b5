"""A run that another one has overtaken may finish what it said it would do, and nothing after that counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from alchemy.errors import Fenced
from alchemy.model.fold import Fold
from alchemy.model.records import Op, Put
from alchemy.model.values import Holder, Status
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.journal import Journal
from alchemy.store.layout import Layout
from alchemy.store.ledger import make_holder
from alchemy.store.local import LocalStore
from alchemy.store.localjournal import open_local
from alchemy.store.opening import load
from tests.crash.runs import PROD, Bench, chance, eventually, trials
from tests.crash.test_kill import MODES, nothing_twice
from tests.crash.test_power_cut import PATH, Writer, first, row


def overtake(root: Path) -> Journal:
    """Opens the next epoch without asking for the lock."""
    store = LocalStore(Layout(root), "f" * 32)

    def holder(epoch: int) -> Holder:
        return make_holder(store, PROD, epoch, "by force")

    def no_rows(fold: Fold) -> Sequence[Op]:
        return ()

    return open_local(
        store.files, store.layout, Clock(), PROD, session=store.session, holder=holder, ops=no_rows, body={}
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("trial", trials(1))
@pytest.mark.slow
def test_an_overtaken_deploy_stops_with_3_and_nothing_it_writes_counts(bench: Bench, mode: str, trial: int) -> None:
    running = bench.start(mode=mode)
    bench.cloud.wait_for(chance(trial).randint(1, 10), "POST")
    later = overtake(bench.root)
    counted = later.fold.seq
    ended = running.wait()
    bench.cloud.settle()
    assert ended.code == 3, ended.err
    assert "Traceback" not in ended.err
    assert "a later run took over" in ended.err
    assert "alchemy scope locks" in ended.err
    assert bench.cloud.count("POST") < bench.n, "it went on to the end"
    assert bench.fold().seq == counted
    assert bench.fold().epoch == 2
    # every item that the fenced run may have made is announced in what counts
    announced = {each.physical_name for each in bench.fold().resources.values()}
    assert set(bench.cloud.names) <= announced
    later.close({"scope": str(PROD), "outcome": "done", "counts": {}, "failures": []})
    bench.deploy(mode=mode)
    nothing_twice(bench.cloud, bench.n)
    bench.destroy()


@pytest.mark.slow
def test_without_locks_the_later_run_wins(bench: Bench) -> None:
    one = bench.start(mode="sequential", locking="no")
    bench.cloud.wait_for(5, "POST")
    two = bench.start(mode="sequential", locking="no")
    first_ended, second_ended = one.wait(), two.wait()
    assert (first_ended.code, second_ended.code) == (3, 0), first_ended.err + second_ended.err
    nothing_twice(bench.cloud, bench.n)
    bench.destroy()


def test_a_claim_alone_stops_the_earlier_run(tmp_path: Path) -> None:
    """Its owner died before it wrote a byte: the earlier run is out all the same, and its record does not count."""
    writer = Writer(Files(), tmp_path, "a" * 32)
    writer.commit(Put(row("one")))
    Layout(tmp_path).epoch(PATH, 2).touch()
    with pytest.raises(Fenced):
        writer.commit(Put(row("two")))
    with pytest.raises(Fenced):
        writer.commit(Put(row("three")))
    with pytest.raises(Fenced):
        writer.close()
    spilled = list(Layout(tmp_path).spill.iterdir())
    assert len(spilled) == 1
    assert "app/prod/two" in spilled[0].read_text()
    first(Files(), tmp_path)
    assert "app/prod/three" not in load(Files(), Layout(tmp_path), PATH).fold.resources


class Interleaved(Files):
    """While the file of epoch 1 is read, the overtaken run still writes, and the later one seals all of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.zombie: Writer | None = None

    def read(self, path: Path) -> bytes:
        data = super().read(path)
        if path.name == "000001.jsonl" and self.zombie:
            zombie, self.zombie = self.zombie, None
            with pytest.raises(Fenced):
                zombie.commit(Put(row("late", status=Status.CREATING)))
            Layout(self.root).epoch(PATH, 2).unlink()  # the claim above becomes a whole opener
            Writer(Files(), self.root, "b" * 32).close()
        return data


def test_a_reader_is_not_misled_while_one_run_takes_over_from_another(tmp_path: Path) -> None:
    zombie = Writer(Files(), tmp_path, "a" * 32)
    zombie.commit(Put(row("one")))
    Layout(tmp_path).epoch(PATH, 2).touch()
    files = Interleaved(tmp_path)
    files.zombie = zombie
    fold = load(files, Layout(tmp_path), PATH).fold
    assert f"{PATH}/one" in fold.resources
    eventually(lambda: load(files, Layout(tmp_path), PATH).fold.epoch == 2, "the later run is seen")


class Overtaking(Files):
    """Another run commits, and writes its views, right after the journal was read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.writer: Writer | None = None

    def read(self, path: Path) -> bytes:
        data = super().read(path)
        if path.suffix == ".jsonl" and self.writer:
            writer, self.writer = self.writer, None
            writer.commit(Put(row("late")))
            view = Layout(self.root).resource_view(f"{PATH}/late")
            eventually(view.exists, "the view of the late row")
        return data


def test_a_view_that_is_newer_than_what_was_just_read_is_no_damage(tmp_path: Path) -> None:
    files = Overtaking(tmp_path)
    files.writer = writer = Writer(Files(), tmp_path, "a" * 32)
    later = Writer(files, tmp_path, "b" * 32)
    assert f"{PATH}/late" in later.journal.fold.resources
    later.close()
    with pytest.raises(Fenced):
        writer.close()
