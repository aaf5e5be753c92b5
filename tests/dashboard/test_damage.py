"""Damage, silence and what waits: each is a row, a word and a reason on screen, and never only a colour."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from alchemy.errors import StateInvalid
from alchemy.model.events import ChangeEnded, ChangeStarted, Noted, RunStarted
from alchemy.operations.shapes import BackupInfo, Finding, Health, View
from tests.dashboard import worlds
from tests.dashboard.driving import MEDIUM, SMALL, Driver, dashboard
from tests.dashboard.worlds import HandMade, World, ago

WHY = "the journal is damaged: shop/dev/journal/000001.jsonl:1: records 1 to 5 are missing"
WAY_OUT = "alchemy scope rebuild shop/dev"


def damaged() -> World:
    """Of a stage nothing can be read any more; another is well."""
    world = World()
    world.scope("shop", Health.CORRUPT).scope("shop/dev", Health.CORRUPT, f"{WHY}. {WAY_OUT}").scope("shop/prod")
    world.resource("shop/prod/bucket", "cloudflare:R2Bucket")
    world.findings.append(Finding("shop/dev/journal", "shop/dev", "error", WHY, WAY_OUT))
    return world


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=str)
def test_a_damaged_stage_is_a_row_with_its_reason_and_nobody_claims_to_know_what_it_holds(
    size: tuple[int, int],
) -> None:
    async def flow() -> None:
        async with dashboard(damaged(), size) as driver:
            driver.browse.scopes.go_to("shop/dev")
            await driver.sees("▲ corrupt")
            assert "resources unknown" in driver.text
            assert "0 resources" not in driver.text
            assert "records 1 to 5 are" in driver.text
            driver.browse.scopes.go_to("shop")
            await driver.sees("1 resource and unknown ones")
            driver.browse.scopes.go_to("shop/prod/bucket")
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
        world = worlds.demo(live=False)
        world.locks.clear()
        world.scopes["shop/prod"] = replace(world.scopes["shop/prod"], health=Health.OK)
        file = "/site/shop/.alchemy/spill/prod-1.json"
        way_out = f"alchemy scope recover {file}"
        said = "a spill waits: R-16 could not write 3 changes to the journal (the disk is full)"
        world.findings.append(
            Finding("spill/prod-1.json", "shop/prod", "warning", said, f"alchemy scope recover {file}")
        )
        async with dashboard(world, size) as driver:
            driver.browse.scopes.go_to("shop/prod")
            await driver.sees("▲ a spill waits")
            assert way_out in driver.text

    asyncio.run(flow())


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

    asyncio.run(flow())


def test_an_unfinished_row_is_called_what_the_command_line_calls_it() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), MEDIUM) as driver:
            driver.browse.scopes.go_to("shop/dev/compute/worker-new")
            await driver.sees("◐ unfinished: creating")
            assert "half created" not in driver.text

    asyncio.run(flow())
