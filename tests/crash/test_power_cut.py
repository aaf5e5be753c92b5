"""Power cuts after every single file operation of the journal, with every loss that a disk is allowed.

Whatever is left: `load` never raises, no record that was acknowledged is gone, nothing is there that was never
written, and the next run opens it and goes on. Backups, and the ring of keys, are whole from the moment they were
promised. Two accidents in a row are tried as well: a kill and then a cut. That all this finds something is tried with
file layers that leave out one thing each.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alchemy.errors import AlchemyError, Fenced
from alchemy.model.canonical import digest
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Drop, Op, Put, Record, decode
from alchemy.model.values import Holder, ResourceState, ScopeKind, ScopeState, Status
from alchemy.store.backups import write_backup
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.keyfiles import open_or_create_ring, ring_path, store_ring
from alchemy.store.keyring import Cost
from alchemy.store.layout import Layout
from alchemy.store.ledger import make_holder
from alchemy.store.local import LocalStore
from alchemy.store.localjournal import open_local
from alchemy.store.opening import load
from tests.crash.cuts import Disk, Killed, Recorder, Remains, Step, every_cut
from tests.crash.runs import chance

PATH = ScopePath.parse("app/prod")
AT = "2026-01-01T00:00:00.000Z"


def row(id: str, **changed: Any) -> ResourceState:
    known: dict[str, Any] = {
        "address": f"{PATH}/{id}",
        "kind": "t:T",
        "status": Status.READY,
        "physical_name": id,
        "token": id,
        "props": {"text": id * 3},
        "props_hash": "",
        "outputs": {"id": id},
    }
    return ResourceState(**{**known, **changed})


class Writer:
    """One run on the journal, in plain steps: what is promised is noted in the recording."""

    def __init__(self, files: Files, root: Path, session: str) -> None:
        self.files = files
        store = LocalStore(Layout(root), session, files)

        def holder(epoch: int) -> Holder:
            return make_holder(store, PATH, epoch, "deploy")

        def opening(fold: Fold) -> Sequence[Op]:
            if fold.scopes:
                return []
            return [Put(ScopeState(path=str(PATH), kind=ScopeKind.STAGE, created_at=AT, updated_at=AT))]

        self.journal = open_local(
            files, store.layout, Clock(), PATH, session=session, holder=holder, ops=opening, body={}
        )
        self._promised()

    def _promised(self) -> None:
        if isinstance(self.files, Recorder):
            self.files.ack(self.journal.fold.seq, self.journal.fold.prev)

    def commit(self, *ops: Op) -> None:
        ack = self.journal.append(ops, wait=True)
        assert ack is not None
        while True:
            try:
                ack.result(0.01)
                break
            except NotYet:
                if isinstance(self.files, Recorder) and self.files.dead:
                    raise Killed from None
        self._promised()

    def close(self) -> None:
        owner = replace(self.journal.fold.scopes[str(PATH)], last_run=f"R-{self.journal.epoch}")
        body = {"scope": str(PATH), "outcome": "done", "counts": {}, "failures": []}
        self.journal.close(body, [Put(owner)])
        self._promised()


def first(files: Files, root: Path) -> None:
    writer = Writer(files, root, "a" * 32)
    writer.commit(Put(row("one", status=Status.CREATING), "intent", "create"))
    writer.commit(Put(row("one"), "result", "create"), Put(row("two", status=Status.CREATING), "intent", "create"))
    writer.close()


def second(files: Files, root: Path) -> None:
    """With a snapshot at its end, and a backup before its first change."""
    writer = Writer(files, root, "b" * 32)
    name = write_backup(LocalStore(Layout(root), files=files), writer.journal.fold, "before R-2")
    if isinstance(files, Recorder):
        files.keep(Layout(root).backups(PATH) / name)
    writer.commit(Put(row("two"), "result", "create"), *(Put(row(f"r{n:03d}")) for n in range(210)))
    writer.commit(*(Drop(f"{PATH}/r{n:03d}", kind="t:T") for n in range(208)))
    writer.close()


def third(files: Files, root: Path) -> None:
    writer = Writer(files, root, "c" * 32)
    writer.commit(Put(row("one", status=Status.DELETING), "intent", "delete"))
    writer.commit(Drop(f"{PATH}/one", kind="t:T"))
    writer.close()


def overtaken(files: Files, root: Path) -> None:
    """As an unlock by force does it: the next epoch, then another inode for the lock file, then the next run."""
    old = Writer(files, root, "d" * 32)
    old.commit(Put(row("one", status=Status.CREATING), "intent", "create"))
    store = LocalStore(Layout(root), "e" * 32, files)
    new = Writer(files, root, "e" * 32)
    files.make_directory(store.layout.lock(PATH).parent)
    store.free(PATH, "d" * 32)
    with pytest.raises(Fenced):
        old.commit(Put(row("one"), "result", "create"))
    new.commit(Put(row("one", outputs={"id": "found"}), "set", "create"))
    new.close()


RUNS = (first, second, third, overtaken)


class History:
    """Every record that was ever written, by its check: which state each stands for, and what came before it."""

    def __init__(self, recorder: Recorder) -> None:
        self.records: dict[str, Record] = {"": Record(0, 0, "", "", "", "", "", 0)}
        for step in recorder.steps:
            if step.verb == "write" and step.path.suffix == ".jsonl" and step.data.endswith(b"\n"):
                record, check = decode(step.data)
                self.records[check] = record
        self._folds: dict[str, str] = {}
        self._verified: set[int] = set()

    def before(self, check: str) -> Iterator[str]:
        """`check` and all it builds on, newest first."""
        while True:
            yield check
            if not check:
                return
            check = self.records[check].prev

    def state(self, check: str) -> str:
        if check not in self._folds:
            fold = Fold(str(PATH))
            for each in reversed(list(self.before(check))):
                if each:
                    fold.apply(self.records[each], each)
            self._folds[check] = digest(fold.to_snapshot())
        return self._folds[check]

    def verify(self, files: dict[Path, bytes], root: Path, disk: Disk) -> None:
        for path, allowed in disk.kept.items():
            assert files.get(path) in allowed, f"{path.name} was promised and is gone or torn"
        read = sorted((path, data) for path, data in files.items() if path.parent.name in ("journal", "snapshots"))
        key = hash((disk.acked, tuple(read)))
        if key in self._verified:
            return
        self._verified.add(key)
        fold = load(Remains(files), Layout(root), PATH).fold
        assert fold.prev in self.records, "a state that nobody ever wrote"
        acked = disk.acked
        assert acked[1] in self.before(fold.prev), f"record {acked[0]} was promised and is gone: {fold.seq} is there"
        assert digest(fold.to_snapshot()) == self.state(fold.prev), "the rows differ from the records"


def decides(path: Path) -> bool:
    """Not a view: nobody reads those to go on."""
    return "resources" not in path.parts and "state.json" not in path.name


def cut_everywhere(
    recorder: Recorder, root: Path, dice: random.Random, *, start: int = 0
) -> Iterator[tuple[Disk, dict[Path, bytes]]]:
    """Each state that differs from all before, verified. From step `start` on."""
    history = History(recorder)
    seen: set[int] = set()
    disk = Disk(root)
    for number, step in enumerate(recorder.steps):
        disk.do(step)
        if number < start:
            continue
        for said, files in every_cut(disk, dice, decides):
            key = hash((disk.acked, tuple(sorted(files.items()))))
            if key in seen:
                continue
            seen.add(key)
            try:
                history.verify(files, root, disk)
            except (AlchemyError, AssertionError, ValueError) as error:
                after = f"after step {number} ({step.verb} {step.path.name}), {said}"
                raise AssertionError(f"{after}: {type(error).__name__}: {error}") from error
            yield disk, files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Its name may never have been synced, but somebody made it."""
    root = tmp_path / ".alchemy"
    root.mkdir()
    return root


@pytest.mark.slow
def test_a_cut_after_any_operation_of_four_runs_loses_nothing_promised(root: Path) -> None:
    recorder = Recorder()
    for run in RUNS:
        run(recorder, root)
    states = sum(1 for _ in cut_everywhere(recorder, root, chance(0)))
    print(f"{len(recorder.steps)} steps, {states} different states")
    assert states > 500


@pytest.mark.slow
def test_after_a_cut_the_next_run_opens_and_goes_on(root: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    for run in RUNS:
        run(recorder, root)
    dice = chance(1)
    states = [(disk.acked, files) for disk, files in cut_everywhere(recorder, root, dice)]
    for number, (_, files) in enumerate(dice.sample(states, 30)):
        place = tmp_path / f"again-{number}"
        place.mkdir()
        Remains(files).write_out(root, place)
        before = load(Files(), Layout(place), PATH).fold
        for run in (first, third):
            run(Files(), place)
        after = load(Files(), Layout(place), PATH).fold
        assert after.epoch >= before.epoch + 2
        assert after.released


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the killed run's writer
def test_a_kill_anywhere_and_then_a_cut_while_the_next_run_goes_on(tmp_path: Path) -> None:
    """The killed run's last bytes are visible to the next one, which builds on them before anybody synced them."""
    kills, states = kill_and_then_cut(Recorder, tmp_path, chance(2))
    print(f"{kills} kills, {states} different states")
    assert kills > 10
    assert states > 1000


def kill_and_then_cut(layer: type[Recorder], tmp_path: Path, dice: random.Random) -> tuple[int, int]:
    kills = states = 0
    died = True
    while died:  # until the run gets to its end: views are written by a thread, so the number of steps varies
        root = tmp_path / f"killed-{kills}"
        root.mkdir()
        recorder = layer()
        first(recorder, root)
        recorder.die_at = len(recorder.steps) + kills
        with suppress(Killed):
            third(recorder, root)
        died = recorder.dead
        recorder.die_at, recorder.dead = -1, False
        start = len(recorder.steps)
        first(recorder, root)
        states += sum(1 for _ in cut_everywhere(recorder, root, dice, start=start))
        kills += 1
    return kills, states


class NoSync(Recorder):
    """Bytes reach the disk when they like."""

    def sync(self, descriptor: int, path: Path) -> None:
        return


class NoNames(Recorder):
    """Names do."""

    def sync_directory(self, directory: Path) -> None:
        return


class InPlace(Recorder):
    """What is replaced is emptied first and then written."""

    def replace(self, path: Path, data: bytes, *, durable: bool = False) -> None:
        if not self.exists(path):
            super().replace(path, data, durable=durable)
            return
        self.remove(path)
        with open(path, "xb") as file:
            self.note(Step("create", path))
            self.append(file.fileno(), data, path)
            self.sync(file.fileno(), path)
        self.sync_directory(path.parent)


class NoSealing(Recorder):
    """What a killed run wrote is built upon before anybody synced it."""

    def sync_file(self, path: Path) -> None:
        return


class OnlyMemory(Recorder):
    """The epoch's name is taken for a claim as soon as it is there."""

    def create(self, path: Path, data: bytes) -> int:
        if path.suffix != ".jsonl":
            return super().create(path, data)
        self._step(Step("create", path))
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)


@pytest.mark.parametrize("layer", [NoSync, NoNames, OnlyMemory])
def test_a_file_layer_that_leaves_something_out_is_found_out(root: Path, layer: type[Recorder]) -> None:
    recorder = layer()
    for run in RUNS[:2]:
        run(recorder, root)
    with pytest.raises(AssertionError, match="after step"):
        for _ in cut_everywhere(recorder, root, chance(3)):
            pass


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the killed run's writer
def test_building_on_what_a_killed_run_never_synced_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="after step"):
        kill_and_then_cut(NoSealing, tmp_path, chance(4))


def rings(files: Recorder, root: Path) -> None:
    """The ring of keys is made, gets another password, then another key."""
    store = LocalStore(Layout(root), files=files)
    place = root / ring_path("app")
    ring = open_or_create_ring(store, "app", "a password")
    files.keep(place)
    ring.rewrap("another", Cost(memory=64, passes=1))
    store_ring(store, ring)
    files.keep(place)
    ring.rotate(AT)
    store_ring(store, ring)
    files.keep(place)


def test_a_cut_leaves_the_ring_of_keys_as_it_was_or_as_it_is_to_be(root: Path) -> None:
    recorder = Recorder()
    rings(recorder, root)
    assert sum(1 for _ in cut_everywhere(recorder, root, chance(5))) > 10


def test_a_ring_of_keys_that_is_written_in_place_is_found_out(root: Path) -> None:
    recorder = InPlace()
    rings(recorder, root)
    with pytest.raises(AssertionError, match="promised and is gone or torn"):
        for _ in cut_everywhere(recorder, root, chance(6)):
            pass
