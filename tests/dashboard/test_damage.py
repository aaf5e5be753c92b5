"""Damage, silence and what waits: each is a row, a word and a reason on screen, and never only a colour."""

from __future__ import annotations

import asyncio
import shlex
import time
from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from alchemy.errors import StateInvalid
from alchemy.model.events import ChangeEnded, ChangeStarted, Entry, Noted, RollbackEnded, RollbackStarted, RunStarted
from alchemy.operations.shapes import BackupInfo, View
from alchemy_tui.present.event import entry_lines
from alchemy_tui.present.fate import fate
from alchemy_tui.present.line import cells, plain
from alchemy_tui.present.scene import scene_of
from tests.dashboard import worlds
from tests.dashboard.driving import MEDIUM, SMALL, Driver, dashboard
from tests.dashboard.worlds import NOW, HandMade, World, ago


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=str)
def test_a_damaged_stage_is_a_row_with_its_reason_and_nobody_claims_to_know_what_it_holds(
    size: tuple[int, int],
) -> None:
    async def flow() -> None:
        async with dashboard(worlds.damaged(), size) as driver:
            driver.browse.scopes.go_to("shop/dev")
            await driver.sees("▲ corrupt")
            assert "resources unknown" in driver.text
            assert "0 resources" not in driver.text
            assert "records 1 to 5 are" in driver.text
            driver.browse.scopes.go_to("shop")
            await driver.sees("9 resources and unknown ones")
            driver.browse.scopes.go_to("shop/prod/storage/uploads")
            await driver.sees("✓ ready")

    asyncio.run(flow())


def test_state_that_was_never_read_says_why_at_length_and_what_to_do() -> None:
    async def flow() -> None:
        source = HandMade(worlds.demo())
        source.failing = StateInvalid(
            "shop/dev/journal is a symbolic link, where " + "a directory is due " * 9, hint="rm it"
        )
        async with dashboard(source, SMALL, loaded=False) as driver:
            await driver.sees("The state could not be read.")
            assert " ".join(driver.text.replace("│", " ").split()).count("a directory is due") == 9, driver.text
            assert "rm it" in driver.text

    asyncio.run(flow())


class Hanging(HandMade):
    """Answers the first look, then none until told to."""

    go_on = Event()

    def refresh(self, *, full: bool = False) -> View:
        if self.refreshed:
            self.go_on.wait(20)
        return super().refresh(full=full)


def test_a_source_that_does_not_answer_is_said_within_five_seconds() -> None:
    async def flow() -> None:
        source = Hanging(worlds.demo())
        async with dashboard(source, SMALL) as driver:
            began = time.monotonic()
            driver.app.watcher.look_now()
            await driver.sees("○ stale")
            assert time.monotonic() - began < 8
            assert "no answer from /site/shop/.alchemy" in driver.text
            source.go_on.set()
            await driver.until(lambda: "○ stale" not in driver.lines[0], "it answers")

    asyncio.run(flow())


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=str)
def test_a_spill_that_waits_is_seen_in_the_tree_and_in_the_details_with_its_command(size: tuple[int, int]) -> None:
    async def flow() -> None:
        world = worlds.damaged()
        way_out = f"alchemy scope recover {world.root}/spill/shop~prod-16-5c1e77aa.json"
        async with dashboard(world, size) as driver:
            driver.browse.scopes.go_to("shop/prod")
            await driver.sees("▲ a spill waits")
            assert way_out in "".join(line.strip("│ ") for line in driver.lines) or size == MEDIUM
            await driver.press("colon", *"recover", "enter")
            await driver.until(lambda: shlex.split(driver.app.clipboard) == way_out.split(), "copied")

    asyncio.run(flow())


def test_what_is_done_in_a_terminal_is_found_and_says_why_it_is_not_due() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), SMALL) as driver:
            driver.browse.scopes.go_to("shop/dev")
            await driver.press("colon", *"rebuild", "enter")
            await driver.until(lambda: driver.app.clipboard == "alchemy scope rebuild shop/dev", "copied")
            await driver.press("colon", *"recover")
            await driver.sees("no spill waits here")

    asyncio.run(flow())


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("shop/prod/database/db-old", "blocked: still used by shop/prod/compute/mailer, which stays"),
        ("shop/prod/compute/cron-nightly", "the next cleanup deletes it"),
        ("shop/prod/storage/reports", "kept: cleanup and destroy pass over it"),
        ("shop/prod/storage/outbox", ""),
    ],
)
def test_an_orphan_says_what_becomes_of_it_and_what_blocks_that(address: str, said: str) -> None:
    scene = scene_of(worlds.damaged().view(), NOW.timestamp())
    node = scene.view.resources[address]
    told = fate(scene, node)
    assert (told[0].startswith(said) if told else "") == bool(said) if said else told is None


def test_the_end_of_a_long_note_and_of_a_long_cause_can_be_read() -> None:
    cause = "a rather long cause of a failure " * 5 + "and its end"
    log = [
        Entry("R-1", 1, ago(seconds=9), RollbackStarted("shop/dev", cause, ["shop/dev/a", "shop/dev/b"])),
        Entry("R-1", 2, ago(seconds=8), ChangeEnded("shop/dev/a", "x:Y", "delete", "failed", 0.1, cause)),
        Entry("R-1", 3, ago(seconds=7), RollbackEnded("shop/dev", ["shop/dev/b"], [["shop/dev/a", cause]], 0.4)),
        Entry("R-1", 4, ago(seconds=6), Noted("shop/dev", cause)),
    ]
    drawn = entry_lines(scene_of(worlds.empty().view(), NOW.timestamp()), log, "shop/dev", 60)
    assert all(cells(one) <= 60 for one in drawn)
    text = " ".join(" ".join(plain(one) for one in drawn).split())
    assert text.count("and its end") == 4
    assert "2 to undo" in text
    assert "1 deleted again, 1 left" in text
    assert "left a: a rather long" in text


def runs_without_counts() -> World:
    """A run that was killed, one whose process went, one that recovered, one that migrated."""
    world = worlds.demo(live=False)
    dev = "shop/dev"
    quiet: dict[str, Any] = {"ended_at": "", "took": 3.0}
    world.run(dev, 5, "lost", {}, **quiet).run(dev, 6, "done", {"recovered": 3, "skipped": 1}, purpose="recover")
    world.run(dev, 7, "done", {}, purpose="migrate").run(dev, 8, "lost", {}, **quiet)
    worker = "cloudflare:Worker"
    world.log(
        dev,
        "R-5",
        (50, RunStarted(dev, "deploy", "local cloud", "ana@laptop", 12, "alchemy deploy")),
        (49, ChangeStarted(f"{dev}/compute/api", worker, "create")),
        (48, ChangeEnded(f"{dev}/compute/api", worker, "create", "done", 0.8)),
        (47, ChangeStarted(f"{dev}/compute/worker-new", worker, "create")),
    )
    world.log(dev, "R-7", (40, Noted(dev, "12 resources migrated from ../typescript")))
    return world


def test_a_run_that_did_not_say_how_it_ended_is_counted_from_what_it_wrote() -> None:
    async def flow() -> None:
        async with dashboard(runs_without_counts(), MEDIUM) as driver:
            driver.browse.scopes.go_to("shop/dev")
            driver.browse.perform("tab.runs")
            await driver.sees("+1 1 in doubt")
            row = {run: next(line for line in driver.lines if f" {run} " in line) for run in ("R-6", "R-7", "R-8")}
            assert "3 recovered" in row["R-6"]
            assert "12 resources migr" in row["R-7"]
            assert "nothing recorded" in row["R-8"]
            assert "no change" not in driver.text

    asyncio.run(flow())


def test_the_toast_about_a_lost_run_counts_what_was_seen_of_it() -> None:
    async def flow() -> None:
        source = HandMade(worlds.demo())
        async with dashboard(source, MEDIUM) as driver:
            world = source.world
            del world.active["shop/prod"]
            going, *others = world.runs["shop/prod"]
            world.runs["shop/prod"] = (replace(going, outcome="lost", counts={}), *others)
            source.changed()
            driver.app.watcher.look_now()
            await driver.sees("lost its process")
            assert "1 created, 1 adopted, 1 updated; 2 changes in doubt" in driver.text
            assert "nothing changed" not in driver.text

    asyncio.run(flow())


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=str)
def test_what_happens_is_told_without_covering_a_line(size: tuple[int, int]) -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), size) as driver:
            before = [line.rstrip() for line in driver.lines]
            driver.app.say("words about it", title="Something happened", severity="warning")
            await driver.sees("Something happened")
            assert driver.lines[-1].rstrip() == before[-1], "the keys stay"
            assert before[-2] in [line.rstrip() for line in driver.lines], "the frame of the lowest pane is whole"

    asyncio.run(flow())


def test_the_cursor_stays_on_its_backup_when_newer_ones_appear() -> None:
    async def flow(driver: Driver) -> None:
        source = driver.app.source
        assert isinstance(source, HandMade)
        driver.browse.scopes.go_to("shop/prod")
        await driver.press("R", "down", "down")
        await driver.sees("before the big migration")
        chosen = driver.app.screen.chosen  # type: ignore[attr-defined]
        newer = BackupInfo(
            "shop/prod", "state-2026-09-20T08-56-00-000Z.json", ago(seconds=7), "before restore", 41, 9, 1
        )
        source.world.saved["shop/prod"] = (newer, *source.world.saved["shop/prod"])
        await driver.press("r")
        await driver.sees("7s ago")
        assert driver.app.screen.chosen == chosen  # type: ignore[attr-defined]

    async def driven() -> None:
        async with dashboard(worlds.demo(), MEDIUM) as driver:
            await flow(driver)

    asyncio.run(driven())


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=str)
def test_the_backups_tab_shows_what_the_restore_screen_shows(size: tuple[int, int]) -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), size) as driver:
            driver.browse.scopes.go_to("shop/prod")
            driver.browse.perform("tab.backups")
            await driver.sees("before the big migration")
            assert "pinned" in driver.text
            assert "after the first run" in driver.text
            driver.browse.scopes.go_to("shop/dev")
            driver.browse.perform("tab.backups")
            await driver.sees("No backups yet")
            driver.browse.scopes.go_to("shop")
            driver.browse.perform("tab.backups")
            await driver.sees("Its stages and tests have")
            assert "6 backups, the newest 25s ago" in driver.text
            await driver.press("R")
            await driver.sees("its stages have backups of their own")
            assert driver.app.screen is driver.browse

    asyncio.run(flow())


def test_an_unfinished_row_is_called_what_the_command_line_calls_it() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), MEDIUM) as driver:
            driver.browse.scopes.go_to("shop/dev/compute/worker-new")
            await driver.sees("◐ unfinished: creating")
            assert "half created" not in driver.text

    asyncio.run(flow())
