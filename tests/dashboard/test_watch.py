"""The watcher on real directories: changes are seen soon, whatever happens to the directory or to the events."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from alchemy.operations.shapes import View
from alchemy.operations.workspace import PACE
from alchemy_tui.store import watch
from alchemy_tui.store.watch import Mode, Watcher
from tests.dashboard.worlds import HandMade, empty

PATIENCE = 20.0  # seconds


def asked_again(seen: Seen, before: int) -> bool:
    return seen.source.refreshed > before


class Listing(HandMade):
    """A source whose view is the list of files below its root, with their sizes."""

    def __init__(self, root: Path) -> None:
        super().__init__(empty(), root)
        self._last = View(version=0, root="")
        self.fulls = 0

    def refresh(self, *, full: bool = False) -> View:
        self.refreshed += 1
        self.fulls += full
        if self.failing:
            raise self.failing
        found = sorted(
            f"{path.relative_to(self.root)}:{path.stat().st_size}"
            for path in self.root.rglob("*")
            if path.is_file() and "local-cloud" not in path.parts
        )
        text = "\n".join(found)
        if text != self._last.root or not self._last.version:
            self._last = View(version=self._last.version + 1, root=text)
        return self._last


@dataclass
class Seen:
    source: Listing
    watcher: Watcher
    views: list[View] = field(default_factory=list)
    modes: list[Mode] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    async def until(self, what: Callable[[], Any], why: str) -> float:
        """Seconds it took."""
        began = time.monotonic()
        while not what():
            assert time.monotonic() - began < PATIENCE, f"never happened: {why} ({self.modes}, {self.errors})"
            await asyncio.sleep(0.005)
        return time.monotonic() - began

    async def sees(self, text: str) -> float:
        return await self.until(lambda: self.views and text in self.views[-1].root, f"{text} seen")


@asynccontextmanager
async def watching(root: Path) -> AsyncIterator[Seen]:
    source = Listing(root)
    views: list[View] = []
    modes: list[Mode] = []
    errors: list[Exception] = []

    async def on_view(view: View) -> None:
        views.append(view)

    with ThreadPoolExecutor(1) as executor:
        watcher = Watcher(source, executor, on_view, modes.append, errors.append)
        task = asyncio.create_task(watcher.run())
        try:
            yield Seen(source, watcher, views, modes, errors)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def armed(seen: Seen) -> None:
    """Events flow: a first change was seen faster than a look without events would have been."""
    await seen.until(lambda: seen.watcher.mode == Mode.LIVE, "live")
    await asyncio.sleep(0.3)


def test_a_change_is_seen_within_half_a_second(tmp_path: Path) -> None:
    async def flow() -> None:
        async with watching(tmp_path) as seen:
            await armed(seen)
            waits = []
            for number in range(4):
                (tmp_path / f"file-{number}").write_text("x")
                waits.append(await seen.sees(f"file-{number}"))
                await asyncio.sleep(0.5)
            assert sorted(waits)[1] <= 0.5, waits  # the best two of four: other work shares this machine

    asyncio.run(flow())


def test_a_missing_root_is_waited_for(tmp_path: Path) -> None:
    root = tmp_path / "not" / "yet"

    async def flow() -> None:
        async with watching(root) as seen:
            await seen.until(lambda: seen.watcher.mode == Mode.WAITING, "waiting")
            root.mkdir(parents=True)
            (root / "first").write_text("x")
            assert await seen.sees("first") < PACE
            await seen.until(lambda: seen.watcher.mode == Mode.LIVE, "live")

    asyncio.run(flow())


def test_a_root_deleted_and_made_again_is_watched_again(tmp_path: Path) -> None:
    root = tmp_path / "state"
    root.mkdir()

    async def flow() -> None:
        async with watching(root) as seen:
            await armed(seen)
            for round_ in range(3):
                shutil.rmtree(root)
                if round_:  # the first time at once, so that the new directory may even have the number of the old
                    await seen.until(lambda: seen.watcher.mode == Mode.WAITING, "waiting")
                root.mkdir()
                (root / f"round-{round_}").write_text("x")
                await seen.sees(f"round-{round_}")
                await armed(seen)
                waits = []
                for number in range(3):
                    (root / f"again-{round_}-{number}").write_text("x")
                    waits.append(await seen.sees(f"again-{round_}-{number}"))
                    await asyncio.sleep(0.4)
                assert min(waits) < 1.0, "events come from the new directory, not from looking every two seconds"

    asyncio.run(flow())


def test_a_burst_of_nested_directories_is_seen_whole(tmp_path: Path) -> None:
    async def flow() -> None:
        async with watching(tmp_path) as seen:
            await armed(seen)
            for number in range(40):
                deep = tmp_path / f"scope-{number}" / "resources" / "one"
                deep.mkdir(parents=True)
                (deep / "state.json").write_text("{}")
            took = await seen.until(
                lambda: seen.views[-1].root.count("state.json") == 40, "all forty files, the hidden ones too"
            )
            assert took < PACE, "a look follows each burst, for what was written before its directory was watched"

    asyncio.run(flow())


def test_a_storm_of_writes_costs_at_most_five_looks_a_second(tmp_path: Path) -> None:
    async def flow() -> None:
        async with watching(tmp_path) as seen:
            await armed(seen)
            before, began = len(seen.views), time.monotonic()
            for number in range(300):
                (tmp_path / f"file-{number}").write_text("x" * number)
                await asyncio.sleep(0.005)
            passed = time.monotonic() - began
            assert len(seen.views) - before <= 5 * passed + 2
            await seen.until(lambda: seen.views[-1].root.count("file-") == 300, "the last state of all")

    asyncio.run(flow())


def test_the_local_cloud_and_temporary_files_wake_nobody(tmp_path: Path) -> None:
    cloud = tmp_path / "local-cloud"
    cloud.mkdir()

    async def flow() -> None:
        async with watching(tmp_path) as seen:
            await armed(seen)
            await asyncio.sleep(0.6)
            before = seen.watcher.looks
            for number in range(10):
                (cloud / "account.sqlite").write_text("x" * number)
                (tmp_path / "state.json.tmp").write_text("x" * number)
                await asyncio.sleep(0.05)
            assert seen.watcher.looks - before <= 1

    asyncio.run(flow())


def test_without_events_it_looks_every_two_seconds_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_watches_left(*_: object, **__: object) -> object:
        raise OSError(28, "OS file watch limit reached")

    monkeypatch.setattr("watchfiles.awatch", no_watches_left)

    async def flow() -> None:
        async with watching(tmp_path) as seen:
            await seen.until(lambda: seen.watcher.mode == Mode.POLLING, "polling")
            (tmp_path / "slow").write_text("x")
            assert await seen.sees("slow") < PACE + 1.5

    asyncio.run(flow())


def test_a_source_that_fails_is_reported_once_and_asked_again(tmp_path: Path) -> None:
    async def flow() -> None:
        async with watching(tmp_path) as seen:
            await armed(seen)
            seen.source.failing = OSError("the disk is gone")
            for _ in range(3):
                asked = seen.source.refreshed
                seen.watcher.look_now()
                await seen.until(partial(asked_again, seen, asked), "another look")
            assert [str(error) for error in seen.errors] == ["the disk is gone"]
            seen.source.failing = None
            (tmp_path / "back").write_text("x")
            await seen.sees("back")

    asyncio.run(flow())


def test_the_first_look_and_a_rescan_are_full(tmp_path: Path) -> None:
    async def flow() -> None:
        async with watching(tmp_path) as seen:
            await seen.until(lambda: seen.source.fulls == 1, "the first look is full")
            seen.watcher.look_now(full=True)
            await seen.until(lambda: seen.source.fulls == 2, "asked for")

    asyncio.run(flow())


def test_after_each_event_there_is_one_more_look_for_what_sent_none(tmp_path: Path) -> None:
    async def flow() -> None:
        async with watching(tmp_path) as seen:
            await armed(seen)
            await seen.until(lambda: seen.watcher.looks >= 2, "the looks of the start are over")
            await asyncio.sleep(watch.AFTER + watch.GAP)
            before = seen.watcher.looks
            (tmp_path / "one").write_text("x")
            took = await seen.until(lambda: seen.watcher.looks >= before + 2, "a look, and one after it")
            assert took < PACE

    asyncio.run(flow())
