"""The journal's thread: it changes the fold while the program reads it, and never outlives the ledger."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alchemy.errors import StorageFailed
from alchemy.model.fold import Fold, Stamp
from alchemy.model.records import Put
from alchemy.model.values import ScopeKind
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from alchemy.store.opening import load
from tests.crash.test_power_cut import PATH, row


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """They take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_rows_are_read_while_others_come_and_go() -> None:
    fold = Fold(str(PATH))
    stamp = Stamp(1, 1, 1)
    for number in range(200):
        fold.set_row(row(f"in/r{number:04d}"), stamp)
    done = threading.Event()

    def write() -> None:
        for turn in range(60):
            for number in range(200, 400):
                fold.set_row(row(f"in/r{number:04d}"), stamp)
            for number in range(200, 400):
                fold.resources.pop(f"{PATH}/in/r{number:04d}")
            if turn == 59:
                done.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while not done.is_set():
            assert len(fold.below(f"{PATH}/in")) >= 200
    finally:
        thread.join()


class NoRecords(Files):
    """The disk has room for the journal and not for the holder's record."""

    def replace(self, path: Path, data: bytes, *, durable: bool = False) -> None:
        if path.name.endswith(".holder.json"):
            raise StorageFailed(f"cannot write {path}: No space left on device", hint="make room")
        super().replace(path, data, durable=durable)


def test_a_ledger_that_cannot_show_its_holder_leaves_nothing_behind(tmp_path: Path) -> None:
    def opening(files: Files) -> Ledger:
        store = LocalStore(Layout(tmp_path), "a" * 32, files)
        return asyncio.run(Ledger.open(store, PATH, ScopeKind.STAGE, purpose="deploy", timeout=0))

    before = set(threading.enumerate())
    with pytest.raises(StorageFailed, match="No space left"):
        opening(NoRecords())
    assert set(threading.enumerate()) <= before
    assert load(Files(), Layout(tmp_path), PATH).fold.released
    opening(Files()).close(outcome="done", counts={}, failures=[])


class Slow(Files):
    """A disk that takes its time to sync the journal."""

    def sync(self, descriptor: int, path: Path) -> None:
        if path.suffix == ".jsonl":
            time.sleep(0.05)
        super().sync(descriptor, path)


def test_whoever_is_cancelled_while_waiting_for_the_disk_does_not_stop_the_writer(tmp_path: Path) -> None:
    async def run() -> None:
        store = LocalStore(Layout(tmp_path), "a" * 32, Slow())
        ledger = await Ledger.open(store, PATH, ScopeKind.STAGE, purpose="deploy", timeout=0)
        ledger.record([Put(row("one"))])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await ledger.flush()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await ledger.intend([Put(row("two"), "intent", "create")])
        await asyncio.wait_for(ledger.intend([Put(row("three"), "intent", "create")]), 5)
        ledger.record([Put(row("four"))])
        ledger.close(outcome="done", counts={}, failures=[])

    asyncio.run(run())
    rows = load(Files(), Layout(tmp_path), PATH).fold.resources
    assert {each.rpartition("/")[2] for each in rows} == {"one", "two", "three", "four"}


class Defective(Files):
    """Writing a view ends in something nobody thought of."""

    def replace(self, path: Path, data: bytes, *, durable: bool = False) -> None:
        if "resources" in path.parts:
            raise KeyError("nobody thought of this")
        super().replace(path, data, durable=durable)


def test_a_defect_of_the_writer_is_an_error_and_not_a_program_that_hangs(tmp_path: Path) -> None:
    async def run() -> None:
        store = LocalStore(Layout(tmp_path), "a" * 32, Defective())
        ledger = await Ledger.open(store, PATH, ScopeKind.STAGE, purpose="deploy", timeout=0)
        await ledger.intend([Put(row("one"), "intent", "create")])
        await asyncio.sleep(0.1)
        with pytest.raises(StorageFailed, match="nobody thought of this"):
            await asyncio.wait_for(ledger.intend([Put(row("two"), "intent", "create")]), 5)
        with pytest.raises(StorageFailed, match="nobody thought of this"):
            ledger.close(outcome="done", counts={}, failures=[])

    asyncio.run(run())
    assert f"{PATH}/one" in load(Files(), Layout(tmp_path), PATH).fold.resources
