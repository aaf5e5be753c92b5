"""Power cuts after every single file operation of the journal, with every loss that a disk is allowed.

Whatever is left: `load` never raises, no record that was acknowledged is gone, nothing is there that was never
written, and the next run opens it and goes on. Two accidents in a row are tried as well: a kill and then a cut.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alchemy.errors import AlchemyError
from alchemy.model.canonical import digest
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Drop, Op, Put, Record, decode
from alchemy.model.values import Holder, ResourceState, ScopeKind, ScopeState, Status
from alchemy.store.backups import write_backup
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.ledger import make_holder
from alchemy.store.local import LocalStore
from alchemy.store.localjournal import open_local
from alchemy.store.opening import load
from tests.crash.cuts import Disk, Killed, Recorder, Remains, after_cut
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
    write_backup(LocalStore(Layout(root), files=files), writer.journal.fold, "before R-2")
    writer.commit(Put(row("two"), "result", "create"), *(Put(row(f"r{n:03d}")) for n in range(210)))
    writer.commit(*(Drop(f"{PATH}/r{n:03d}", kind="t:T") for n in range(208)))
    writer.close()


def third(files: Files, root: Path) -> None:
    writer = Writer(files, root, "c" * 32)
    writer.commit(Put(row("one", status=Status.DELETING), "intent", "delete"))
    writer.commit(Drop(f"{PATH}/one", kind="t:T"))
    writer.close()


class History:
    """Every record that was ever written, by its check: which state each stands for, and what came before it."""

    def __init__(self, recorder: Recorder) -> None:
        self.records: dict[str, Record] = {"": Record(0, 0, "", "", "", "", "", 0)}
        for step in recorder.steps:
            if step.verb == "write" and step.path.suffix == ".jsonl" and step.data.endswith(b"\n"):
                record, check = decode(step.data)
                self.records[check] = record
        self._folds: dict[str, str] = {}

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

    def verify(self, files: Files, root: Path, acked: tuple[int, str]) -> None:
        fold = load(files, Layout(root), PATH).fold
        assert fold.prev in self.records, "a state that nobody ever wrote"
        assert acked[1] in self.before(fold.prev), f"record {acked[0]} was promised and is gone: {fold.seq} is there"
        assert digest(fold.to_snapshot()) == self.state(fold.prev), "the rows differ from the records"


def cut_everywhere(
    recorder: Recorder, root: Path, dice: random.Random, *, start: int = 0, mixed: int = 6
) -> Iterator[tuple[Disk, dict[Path, bytes]]]:
    """Each state that differs from all before, verified. From step `start` on."""
    history = History(recorder)
    seen: set[int] = set()
    disk = Disk(root)
    for number, step in enumerate(recorder.steps):
        disk.do(step)
        if number < start:
            continue
        for said, files in after_cut(disk, dice, mixed):
            key = hash((disk.acked, tuple(sorted(files.items()))))
            if key in seen:
                continue
            seen.add(key)
            try:
                history.verify(Remains(files), root, disk.acked)
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


def test_a_cut_after_any_operation_of_three_runs_loses_nothing_promised(root: Path) -> None:
    recorder = Recorder()
    for run in (first, second, third):
        run(recorder, root)
    states = sum(1 for _ in cut_everywhere(recorder, root, chance(0)))
    print(f"{len(recorder.steps)} steps, {states} different states")
    assert states > 300


@pytest.mark.slow
def test_after_a_cut_the_next_run_opens_and_goes_on(root: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    for run in (first, second, third):
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
    dice = chance(2)
    kills = states = 0
    died = True
    while died:  # until the run gets to its end: views are written by a thread, so the number of steps varies
        root = tmp_path / f"killed-{kills}"
        root.mkdir()
        recorder = Recorder()
        first(recorder, root)
        recorder.die_at = len(recorder.steps) + kills
        with suppress(Killed):
            third(recorder, root)
        died = recorder.dead
        recorder.die_at, recorder.dead = -1, False
        start = len(recorder.steps)
        first(recorder, root)
        states += sum(1 for _ in cut_everywhere(recorder, root, dice, start=start, mixed=2))
        kills += 1
    print(f"{kills} kills, {states} different states")
    assert kills > 10
    assert states > 1000
