"""The browse screen, driven by keys at the sizes it was designed for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest

from alchemy.errors import StateInvalid
from alchemy.model.events import ChangeEnded, ChangeStarted, Entry, Noted, RunEnded
from alchemy.operations.shapes import Health
from alchemy_tui.present.glyphs import ASCII
from tests.dashboard import worlds
from tests.dashboard.driving import LARGE, MEDIUM, SMALL, Driver, dashboard
from tests.dashboard.worlds import HandMade, World, ago

SIZES = [SMALL, MEDIUM, LARGE]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_first_screen_tells_what_is_there_and_what_is_wrong(size: tuple[int, int]) -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), size) as driver:
            await driver.sees("deploying 3/5")
            for word in (
                "shop",
                "db-main",
                "updating…",
                "retry 1",
                "orphan",
                "2 locks, 1 stale",
                "R-17 3/5",
                "1 problem",
            ):
                assert word in driver.text
            assert driver.lines[-1].rstrip().endswith("? help")
            assert all(len(row) == size[0] for row in driver.lines)

    asyncio.run(flow())


def test_at_80_columns_there_is_one_pane_a_peek_and_tab_for_the_rest() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), SMALL) as driver:
            driver.browse.scopes.go_to("shop/prod/compute/api")
            await driver.sees("needs    db-main, sessions, uploads   needed by nothing")
            await driver.press("tab")
            await driver.sees("https://api.shop.example")
            assert "Scopes" not in driver.text
            await driver.press("escape")
            await driver.sees("Scopes")

    asyncio.run(flow())


def test_at_120_columns_tree_and_details_stand_side_by_side() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), MEDIUM) as driver:
            driver.browse.scopes.go_to("shop/dev/compute/api")
            await driver.sees("10021 Uncaught SyntaxError")
            assert "Scopes" in driver.text
            assert "shop-prod-api" in driver.text
            await driver.press("z")
            await driver.until(lambda: "Scopes" not in driver.text, "zoomed details hide the tree")
            await driver.press("z")
            await driver.sees("Scopes")

    asyncio.run(flow())


def test_at_200_columns_locks_runs_and_events_are_always_there() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), LARGE) as driver:
            await driver.sees("process 4121 is gone")
            await driver.sees("R-15")
            await driver.sees("429 rate")

    asyncio.run(flow())


def test_the_screen_follows_a_terminal_that_is_resized() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), LARGE) as driver:
            for size, third in ((SMALL, False), (MEDIUM, False), (LARGE, True), ((60, 16), False)):
                await driver.pilot.resize_terminal(*size)
                await driver.until(partial(resized, driver, size), "resized")
                assert ("evidence" in driver.text) is third
                assert driver.lines[-1].rstrip().endswith("? help")

    asyncio.run(flow())


@pytest.mark.parametrize(
    ("tab", "shows"),
    [
        ("info", "Running now"),
        ("state", '"path": "shop/prod"'),
        ("runs", "R-15"),
        ("events", "429 rate"),
        ("deps", "edges inside"),
        ("locks", "this is you"),
        ("backups", "before R-17"),
    ],
)
@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=str)
def test_each_tab_answers_its_question(tab: str, shows: str, size: tuple[int, int]) -> None:
    async def flow() -> None:
        world = worlds.demo()
        world.locks[0] = replace(world.locks[0], you=True)
        async with dashboard(world, size) as driver:
            await driver.press("down")
            driver.browse.perform(f"tab.{tab}")
            await driver.press("end") if tab == "info" else None
            await driver.sees(shows)

    asyncio.run(flow())


def test_tabs_are_walked_with_brackets_in_both_directions() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), MEDIUM) as driver:
            await driver.press("right_square_bracket", "right_square_bracket")
            assert driver.browse.detail.tab == "runs"
            await driver.press("left_square_bracket", "left_square_bracket", "left_square_bracket")
            assert driver.browse.detail.tab == "health"

    asyncio.run(flow())


def test_an_old_run_is_opened_from_the_list_and_esc_leads_back() -> None:
    async def flow() -> None:
        world = worlds.demo()
        world.log("shop/prod", "R-16", (7300, RunEnded("shop/prod", "done", {"update": 2}, [], 41.2, 9)))
        async with dashboard(world, MEDIUM) as driver:
            await driver.press("down", "tab", "right_square_bracket", "right_square_bracket", "down", "enter")
            await driver.sees("2 updated")
            assert driver.browse.detail.run == "R-16"
            await driver.press("escape")
            assert driver.browse.detail.tab == "runs"
            await driver.press("escape")
            assert driver.browse.pane == "tree"

    asyncio.run(flow())


def test_a_corrupt_scope_names_the_reason_and_the_way_out_and_opens_as_raw_text() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), MEDIUM) as driver:
            driver.browse.scopes.go_to("shop/prod/edge")
            await driver.sees("Invalid JSON in shop/prod/edge/state.json:118")
            await driver.sees("alchemy scope validate shop/prod --fix")
            await driver.press("right_square_bracket")
            await driver.sees("not valid JSON")
            await driver.sees('{"type": "scope", "path": "shop/prod/edge"')

    asyncio.run(flow())


def test_filtering_shows_matches_counts_them_and_esc_brings_all_back() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), SMALL) as driver:
            await driver.press("slash")
            await driver.type("is:orphan")
            await driver.sees("3 of 21")
            assert "cron-nightly" in driver.text
            assert "mailer" not in driver.text
            await driver.press("enter")
            assert driver.browse.pane == "tree"
            await driver.sees("filter: is:orphan")
            await driver.press("escape")
            await driver.sees("mailer")

    asyncio.run(flow())


def test_a_filter_that_matches_nothing_says_so_and_names_the_mistake() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), SMALL) as driver:
            await driver.press("slash")
            await driver.type("nowhere is:orphn")
            await driver.sees("Nothing matches nowhere is:orphn")
            await driver.sees("try is:orphan")

    asyncio.run(flow())


def test_keys_typed_into_the_filter_are_letters() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), SMALL) as driver:
            await driver.press("slash")
            await driver.type("qy?:r@")
            assert driver.browse.filter_input.value == "qy?:r@"
            assert driver.app.is_running

    asyncio.run(flow())


def test_finding_jumps_to_a_row_that_is_folded_away() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), SMALL) as driver:
            await driver.press("less_than_sign", "f")
            await driver.type("cronnight")
            await driver.press("enter")
            assert driver.browse.scopes.model.cursor == "shop/prod/compute/cron-nightly"
            await driver.sees("cron-nightly")

    asyncio.run(flow())


def test_the_palette_runs_an_action_and_says_why_another_cannot_be_done() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), MEDIUM) as driver:
            await driver.press("colon")
            await driver.type("showlocks")
            await driver.press("enter")
            assert driver.browse.detail.tab == "locks"
            await driver.press("ctrl+p")
            await driver.type("clear the filter")
            await driver.sees("no filter is set")
            await driver.press("enter")
            await driver.sees("Clear the filter: no filter is set")

    asyncio.run(flow())


def test_help_is_for_the_pane_one_is_in() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), SMALL) as driver:
            await driver.press("question_mark")
            await driver.sees("Help: tree")
            await driver.press("escape", "tab", "question_mark")
            await driver.sees("Help: details")
            await driver.press("end")
            await driver.sees("is:orphan|is:failed")

    asyncio.run(flow())


def test_the_command_log_shows_the_command_line_of_the_view_and_of_what_was_done() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), MEDIUM, state_dir="here", named_state_dir=True) as driver:
            await driver.press("down", "r", "at")
            await driver.sees("alchemy scope inspect shop/prod --state-dir here")
            await driver.sees("alchemy scope list --state-dir here")
            await driver.press("escape")
            assert "@ Commands" not in driver.text

    asyncio.run(flow())


def test_copying_takes_two_keys_and_shows_the_choice_after_the_first() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), SMALL) as driver:
            driver.browse.scopes.go_to("shop/prod/storage/uploads")
            await driver.press("y")
            await driver.sees("copy:")
            await driver.press("p")
            assert driver.app.clipboard == "shop/prod/storage/uploads"
            await driver.press("y", "i")
            assert driver.app.clipboard == "shop-prod-uploads"
            await driver.press("y", "c")
            assert driver.app.clipboard == "alchemy scope inspect shop/prod/storage/uploads"
            await driver.press("y", "j")
            await driver.until(lambda: '"type": "resource"' in driver.app.clipboard, "the JSON was copied")

    asyncio.run(flow())


def test_a_second_key_that_means_nothing_does_nothing() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), SMALL) as driver:
            await driver.press("y", "q")
            assert driver.app.is_running
            assert driver.app.clipboard == ""
            await driver.press("y", "w", "down")
            assert driver.browse.scopes.model.index == 1

    asyncio.run(flow())


def test_marked_rows_are_copied_together() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), SMALL) as driver:
            driver.browse.scopes.go_to("shop/prod/storage/uploads")
            await driver.press("space", "space")
            await driver.sees("2 marked")
            await driver.press("y", "p")
            assert driver.app.clipboard.split("\n") == ["shop/prod/storage/uploads", "shop/prod/storage/outbox"]
            await driver.press("V")
            assert "marked" not in driver.text

    asyncio.run(flow())


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_without_state_the_screen_says_what_to_type(size: tuple[int, int]) -> None:
    async def flow() -> None:
        async with dashboard(worlds.empty(), size) as driver:
            await driver.sees("alchemy deploy")
            await driver.sees("There is no state directory yet.")
            await driver.press("enter", "tab", "space", "y", "p", "slash", "right_square_bracket", "z", "f")
            assert driver.app.is_running

    asyncio.run(flow())


def test_the_first_deploy_fills_an_empty_screen_without_a_key() -> None:
    async def flow() -> None:
        source = HandMade(worlds.empty())
        async with dashboard(source, MEDIUM) as driver:
            await driver.sees("alchemy deploy")
            source.world = worlds.demo()
            source.changed()
            driver.app.watcher.look_now()
            await driver.sees("db-main")
            await driver.sees("Info")

    asyncio.run(flow())


def test_it_opens_where_it_was_told_to() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), MEDIUM, scope="shop/dev/compute") as driver:
            await driver.until(lambda: driver.browse.scopes.model.cursor == "shop/dev/compute", "the scope is selected")

    asyncio.run(flow())


def test_read_only_is_written_at_the_top() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), SMALL, read_only=True) as driver:
            await driver.sees("READ-ONLY")

    asyncio.run(flow())


def test_state_that_cannot_be_read_is_said_and_the_dashboard_goes_on() -> None:
    async def flow() -> None:
        source = HandMade(worlds.demo())
        async with dashboard(source, MEDIUM) as driver:
            source.failing = StateInvalid("[x] the disk is gone", hint="look at /dev")
            driver.app.watcher.look_now()
            await driver.sees("[x] the disk is gone")
            assert "look at /dev" in driver.text
            assert "db-main" in driver.text, "what was known stays"
            assert "○ stale" in driver.lines[0]
            source.failing = PermissionError(13, "Permission denied", "/state/shop/dev/journal")
            driver.app.watcher.look_now()
            await driver.sees("/state/shop/dev/journal: permission denied")
            assert "chmod -R u+rwX /state/shop/dev/journal" in driver.text
            source.failing = None  # and nothing else: what was there before is there again
            driver.app.watcher.look_now()
            await driver.until(lambda: "○ stale" not in driver.lines[0], "it reads again")
            assert "permission denied" not in driver.text

    asyncio.run(flow())


def resized(driver: Driver, size: tuple[int, int]) -> bool:
    return (len(driver.lines[0]), len(driver.lines)) == size


def deleted(world: World, address: str) -> None:
    del world.resources[address]
    scope = world.scopes[address.rpartition("/")[0]]
    left = tuple(one for one in scope.resources if one != address)
    world.scopes[scope.path] = replace(scope, resources=left)


async def tell(driver: Driver, source: HandMade) -> None:
    source.changed()
    driver.app.watcher.look_now()
    await driver.until(lambda: driver.app.store.view.version == source.version, "the change arrived")


def test_a_run_of_another_process_shows_as_it_happens() -> None:
    async def flow() -> None:
        world = worlds.demo()
        source = HandMade(world)
        async with dashboard(source, MEDIUM) as driver:
            await driver.press("down")
            driver.browse.perform("tab.events")
            await driver.sees("429 rate")
            address = "shop/prod/database/db-old"
            prod = world.logs[("shop/prod", "R-17")]
            events = [
                ChangeEnded("shop/prod/compute/mailer", "cloudflare:Worker", "create", "failed", 9.0, "no route [x]"),
                ChangeStarted(address, "cloudflare:D1Database", "delete", "not declared any more"),
            ]
            for event in events:
                entry = Entry("R-17", len(prod) + 1, ago(seconds=1), event)
                prod.append(entry)
                world.active["shop/prod"].apply(entry)
            node = world.resources[address]
            state = replace(node.state, status=type(node.state.status).DELETING)
            world.resources[address] = replace(node, state=state, health=Health.WORKING)
            await tell(driver, source)
            await driver.sees("deleting…")
            await driver.sees("no route [x]")
            await driver.sees("R-17 deploy shop/prod: first failure")
            await driver.sees("R-17 4/6 1 failed")

            deleted(world, address)
            counts, hint = {"delete": 1, "failed": 1}, "give the [x] token a route"
            entry = Entry("R-17", len(prod) + 1, ago(), RunEnded("shop/prod", "failed", counts, hints=[hint]))
            prod.append(entry)
            del world.active["shop/prod"]
            ended = replace(world.runs["shop/prod"][0], outcome="failed", counts=counts, hints=(hint,))
            world.runs["shop/prod"] = (ended, *world.runs["shop/prod"][1:])
            await tell(driver, source)
            await driver.until(lambda: "deleting…" not in driver.text, "the row is gone")
            await driver.sees("R-17 deploy shop/prod failed")
            await driver.sees("1 deleted, 1 failed; next: give")
            await driver.sees("            next: give the [x] token a route")
            assert driver.browse.scopes.model.cursor == "shop/prod"

    asyncio.run(flow())


def test_leaving_says_what_goes_on_without_the_dashboard() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), SMALL) as driver:
            await driver.press("q")
            assert not driver.app.is_running or driver.app._exit
            said = str(driver.app._exit_renderables)
            assert "R-17 deploy shop/prod goes on (ci@runner-9, pid 991)" in said
            driver.app._exit_renderables.clear()

    asyncio.run(flow())


def test_in_a_terminal_without_unicode_every_sign_is_ascii() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), MEDIUM, glyphs=ASCII) as driver:
            for tab in ("info", "runs", "events", "deps", "locks", "backups"):
                driver.browse.perform(f"tab.{tab}")
                await driver.settle()
                assert driver.text.isascii(), [char for char in driver.text if not char.isascii()]

    asyncio.run(flow())


def test_the_themes_are_changed_from_the_palette() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), SMALL) as driver:
            assert driver.app.theme == "dusk"
            driver.browse.perform("theme")
            assert driver.app.theme == "dawn"
            driver.browse.perform("theme")
            assert driver.app.theme == "dusk"

    asyncio.run(flow())


def test_no_color_means_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def flow() -> None:
        async with dashboard(worlds.demo(), MEDIUM) as driver:
            await driver.sees("deploying")
            strips = driver.app.screen._compositor.render_strips()
            styles = [segment.style for strip in strips for segment in strip if segment.style]
            coloured = [style for style in styles if style.color and not style.color.is_default]
            assert not coloured, coloured[:3]
            assert any(style.reverse for style in styles), "the selected row is still to be seen"

    asyncio.run(flow())


def test_clicks_select_fold_and_open() -> None:
    async def flow() -> None:
        async with dashboard(worlds.demo(), MEDIUM) as driver:
            await driver.pilot.click("#tree", offset=(12, 3))
            assert driver.browse.scopes.model.index == 3
            rows = len(driver.browse.scopes.model.rows)
            await driver.pilot.click("#tree", offset=(6, 2))
            await driver.until(lambda: len(driver.browse.scopes.model.rows) == rows - 3, "the fold sign folds")
            await driver.pilot.click("TabBar", offset=(9, 0))
            await driver.until(lambda: driver.browse.detail.tab == "state", "the tab opened")

    asyncio.run(flow())


def test_the_cursor_in_the_list_of_runs_stays_on_its_run_when_a_newer_one_begins() -> None:
    async def flow() -> None:
        world = worlds.demo(live=False)
        source = HandMade(world)
        async with dashboard(source, MEDIUM) as driver:
            driver.browse.scopes.go_to("shop/prod")
            driver.browse.perform("tab.runs")
            await driver.press("down")
            assert driver.browse.detail.lines.chosen == 1
            world.run("shop/prod", 17, "done", {"update": 1})
            await tell(driver, source)
            await driver.until(lambda: driver.browse.detail.lines.chosen == 2, "R-15 is one lower now")
            await driver.press("enter")
            assert driver.browse.detail.run == "R-15"

    asyncio.run(flow())


def test_events_are_followed_until_somebody_scrolls_up() -> None:
    async def flow() -> None:
        world = worlds.demo()
        source = HandMade(world)
        log = world.logs[("shop/prod", "R-17")]

        def more(count: int) -> None:
            for _ in range(count):
                log.append(Entry("R-17", log[-1].seq + 1, ago(), Noted("shop/prod", f"entry {log[-1].seq + 1}")))

        more(60)
        async with dashboard(source, SMALL) as driver:
            driver.browse.scopes.go_to("shop/prod")
            driver.browse.perform("tab.events")
            await driver.sees("entry 73")
            more(5)
            await tell(driver, source)
            await driver.sees("entry 78")
            await driver.press("home")
            await driver.sees("» deploy")
            more(5)
            await tell(driver, source)
            assert "» deploy" in driver.text
            assert "entry 83" not in driver.text
            await driver.press("end")
            await driver.sees("entry 83")

    asyncio.run(flow())


def test_jumping_to_something_that_went_away_meanwhile_says_so_and_keeps_the_filter() -> None:
    async def flow() -> None:
        world = worlds.demo()
        source = HandMade(world)
        async with dashboard(source, MEDIUM) as driver:
            await driver.press("slash")
            await driver.type("db")
            await driver.press("enter", "f")
            await driver.type("db-old")
            deleted(world, "shop/prod/database/db-old")
            await tell(driver, source)
            await driver.press("enter")
            await driver.sees("shop/prod/database/db-old is gone")
            assert driver.browse.scopes.model.filter.text == "db"

    asyncio.run(flow())


def test_a_long_tree_scrolls_with_its_cursor() -> None:
    async def flow() -> None:
        async with dashboard(worlds.large(300), MEDIUM) as driver:
            await driver.press("greater_than_sign")
            tree = driver.browse.scopes
            assert tree.show_vertical_scrollbar
            await driver.press("end")
            await driver.until(lambda: tree.scroll_offset.y > 0, "the last row is on screen")
            assert "res-08" in driver.text
            await driver.press("home")
            await driver.until(lambda: tree.scroll_offset.y == 0, "the first row is on screen")

    asyncio.run(flow())
