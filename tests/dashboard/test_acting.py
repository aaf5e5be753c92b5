"""What changes something: a dialog first, nothing before its condition is met, and what came of it is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from alchemy.errors import Refused
from alchemy.model.records import Put
from alchemy.model.values import Hold, ScopeKind, ScopeState, Status
from alchemy.operations.shapes import Comparison, LockView, RowChange, Verdict
from tests.dashboard import worlds
from tests.dashboard.deeds import HandMadeDeeds
from tests.dashboard.driving import MEDIUM, SMALL, Driver, dashboard
from tests.dashboard.worlds import HandMade, ago

HELD = Hold(reason="moving house", by="eva@desk", since=ago(hours=1), until=ago(hours=-3))
BACKUP = "state-2026-09-20T06-53-10-000Z.json"


def deeds(driver: Driver) -> HandMadeDeeds:
    found = driver.app.deeds
    assert isinstance(found, HandMadeDeeds)
    return found


def drive(flow: Any, size: tuple[int, int] = MEDIUM, **session: Any) -> None:
    async def driven() -> None:
        async with dashboard(worlds.demo(), size, **session) as driver:
            await flow(driver)

    asyncio.run(driven())


@pytest.mark.parametrize("size", [SMALL, MEDIUM])
def test_a_stale_lock_is_opened_once_its_name_is_typed(size: tuple[int, int]) -> None:
    async def flow(driver: Driver) -> None:
        driver.browse.scopes.go_to("shop/dev")
        await driver.press("U")
        await driver.sees("Unlock shop/dev")
        assert "process 4121 is gone" in driver.text
        await driver.type("runner gone")
        await driver.press("enter", "enter")
        await driver.type("de")
        await driver.press("enter")
        assert not deeds(driver).done, "half of the name is not the name"
        await driver.type("v")
        await driver.press("enter")
        await driver.until(lambda: deeds(driver).done, "unlocked")
        (done,) = deeds(driver).done
        assert done[:2] == ("unlock", "shop/dev")
        assert done[3:] == ("runner gone", False)
        await driver.press("at")
        assert "alchemy scope unlock shop/dev --token 17-5c1e --reason 'runner gone'" in driver.browse.log_pane.text()

    drive(flow, size)


def test_escape_changes_nothing() -> None:
    async def flow(driver: Driver) -> None:
        driver.browse.scopes.go_to("shop/dev")
        await driver.press("U", "tab")
        await driver.type("dev")
        await driver.press("escape")
        assert not deeds(driver).done
        assert driver.app.screen is driver.browse

    drive(flow)


def test_a_lock_whose_holder_works_is_not_opened_from_here() -> None:
    async def flow(driver: Driver) -> None:
        driver.browse.scopes.go_to("shop/prod")
        await driver.press("U")
        await driver.sees("--allow-force")
        assert driver.app.screen is driver.browse

    drive(flow)


def test_with_allow_force_it_takes_a_reason_and_the_whole_sentence() -> None:
    async def flow(driver: Driver) -> None:
        driver.browse.scopes.go_to("shop/prod")
        await driver.press("U")
        await driver.sees("Ctrl-C")
        await driver.press("tab")
        assert 'once you have typed "break shop/prod"' in driver.text
        await driver.type("break shop/prod")
        await driver.press("shift+tab")
        await driver.type("it hangs")
        await driver.press("enter")
        await driver.until(lambda: deeds(driver).done, "unlocked")
        assert deeds(driver).done[0][3:] == ("it hangs", True)

    drive(flow, allow_force=True)


def test_nothing_can_be_changed_in_a_dashboard_that_only_reads() -> None:
    async def flow(driver: Driver) -> None:
        driver.browse.scopes.go_to("shop/dev")
        await driver.press("U")
        await driver.sees("read-only")
        await driver.press("H")
        assert driver.app.screen is driver.browse
        await driver.press("R", "down", "R")
        assert type(driver.app.screen).__name__ == "Restore", "looking at backups is no change"

    drive(flow, read_only=True)


def test_a_dialog_takes_nothing_any_more_once_the_lock_changed_hands() -> None:
    async def flow(driver: Driver) -> None:
        driver.browse.scopes.go_to("shop/dev")
        await driver.press("U", "tab")
        await driver.type("dev")
        source = driver.app.source
        assert isinstance(source, HandMade)
        at = next(n for n, lock in enumerate(source.world.locks) if lock.path == "shop/dev")
        source.world.locks[at] = replace(source.world.locks[at], verdict=Verdict.LIVE)
        source.changed()
        driver.app.watcher.look_now()
        await driver.sees("It changed while you read this")
        await driver.press("enter")
        assert not deeds(driver).done

    drive(flow)


def test_what_the_core_refuses_is_said_in_the_dialog_and_the_dashboard_stays() -> None:
    async def flow(driver: Driver) -> None:
        deeds(driver).failing = Refused("somebody was faster", hint="look again")
        driver.browse.scopes.go_to("shop/dev")
        await driver.press("U", "tab")
        await driver.type("dev")
        await driver.press("enter")
        await driver.sees("somebody was faster")
        assert "look again" in driver.text
        await driver.press("escape")
        assert driver.app.screen is driver.browse

    drive(flow)


@pytest.mark.parametrize("size", [SMALL, MEDIUM])
def test_a_backup_is_chosen_compared_and_gone_back_to(size: tuple[int, int]) -> None:
    async def flow(driver: Driver) -> None:
        driver.browse.scopes.go_to("shop/prod")
        await driver.press("R")
        await driver.sees("before R-17")
        assert "Invalid JSON" in driver.text
        await driver.press("down", "enter")
        await driver.sees("database/db-tmp")
        assert "nobody will delete it" in driver.text
        assert "30 days" in driver.text
        assert "another secret" in driver.text
        await driver.press("R")
        await driver.sees("Restore shop/prod")
        await driver.press("y")
        assert not deeds(driver).done, "a protected bucket is in it: the name has to be typed"
        await driver.press("backspace")
        await driver.type("prod")
        await driver.press("enter")
        await driver.until(lambda: deeds(driver).done, "restored")
        assert deeds(driver).done == [("restore", "shop/prod", BACKUP, 41)]

    drive(flow, size)


def test_backing_up_and_pinning_ask_for_little() -> None:
    async def flow(driver: Driver) -> None:
        driver.browse.scopes.go_to("shop/prod")
        await driver.press("R")
        await driver.sees("before R-17")
        await driver.press("B")
        await driver.type("before lunch")
        await driver.press("enter")
        await driver.until(lambda: deeds(driver).done, "backed up")
        await driver.press("down", "P", "y")
        await driver.until(lambda: len(deeds(driver).done) == 2, "pinned")
        assert deeds(driver).done == [("back_up", "shop/prod", "before lunch"), ("pin", "shop/prod", BACKUP, "")]
        await driver.press("U")
        await driver.sees("Nothing to undo")
        await driver.press("escape")
        assert driver.app.screen is driver.browse

    drive(flow)


def test_a_scope_is_reserved_with_a_reason() -> None:
    async def flow(driver: Driver) -> None:
        driver.browse.scopes.go_to("shop/dev")
        await driver.press("H", "tab", "tab")
        await driver.type("dev")
        await driver.press("enter")
        assert not deeds(driver).done, "without a reason nobody can be told one"
        await driver.press("shift+tab", "shift+tab")
        await driver.type("migration")
        await driver.press("enter")
        await driver.until(lambda: deeds(driver).done, "reserved")
        assert deeds(driver).done == [("hold", "shop/dev", "migration", 0.0)]

    drive(flow)


def test_a_scope_is_reserved_for_a_time_and_a_time_that_is_none_is_said() -> None:
    async def flow(driver: Driver) -> None:
        driver.browse.scopes.go_to("shop/dev")
        await driver.press("H")
        await driver.type("migration")
        await driver.press("enter")
        await driver.type("soon")
        await driver.press("enter")
        await driver.type("dev")
        await driver.press("enter")
        await driver.sees("not for 'soon'")
        assert not deeds(driver).done
        await driver.press("shift+tab", *["backspace"] * 4)
        await driver.type("2h")
        await driver.press("enter")
        await driver.until(lambda: deeds(driver).done, "reserved")
        assert deeds(driver).done == [("hold", "shop/dev", "migration", 7200.0)]
        await driver.press("at")
        assert "scope lock shop/dev --reason migration --for 2h" in driver.browse.log_pane.text()

    drive(flow, SMALL)


def test_who_reserves_what_is_reserved_is_told_by_whom_until_when_and_why() -> None:
    async def flow(driver: Driver) -> None:
        source = driver.app.source
        assert isinstance(source, HandMade)
        source.world.locks = [LockView("shop/dev", Verdict.HELD, None, hold=HELD)]
        source.changed()
        driver.app.watcher.look_now()
        driver.browse.scopes.go_to("shop/dev")
        await driver.sees("held")
        await driver.press("H")
        await driver.sees("reserved already by eva@desk")
        assert "moving house" in driver.text
        assert "2026-09-20" in driver.text
        assert "takes the place" in driver.text

    drive(flow, SMALL)


LONG = Comparison(
    scope="shop/dev",
    owner="shop/dev",
    file=BACKUP,
    taken="2026-09-20T06:53:10.000Z",
    serial_now=41,
    serial_then=40,
    appear=tuple(
        RowChange(f"shop/dev/compute/worker-{number:02}", "cloudflare:Worker", "w", Status.READY)
        for number in range(60)
    ),
    consequences=("worker-00 returns: the next deploy looks for it and creates it again",),
    ops=(Put(ScopeState(path="shop/dev", kind=ScopeKind.STAGE, created_at="", updated_at="")),),
)


async def at_dialog(driver: Driver, found: Comparison) -> None:
    source = driver.app.source
    assert isinstance(source, HandMade)
    source.world.saved["shop/dev"] = (replace(source.world.saved["shop/prod"][0], scope="shop/dev", file=BACKUP),)
    deeds(driver).comparison = found
    driver.browse.scopes.go_to("shop/dev")
    await driver.press("R")
    await driver.sees(found.consequences[0][:20])
    await driver.press("R")
    await driver.sees("Restore shop/dev")


@pytest.mark.parametrize("size", [SMALL, MEDIUM])
def test_the_warnings_and_the_keys_stay_in_sight_above_a_long_list_that_scrolls(size: tuple[int, int]) -> None:
    async def flow(driver: Driver) -> None:
        await at_dialog(driver, LONG)
        assert "y restore" in driver.text
        assert "creates it again" in driver.text
        assert "U undoes it" in driver.text
        assert "more lines: pgdn" in driver.text
        dialog = driver.app.screen.query_one("#confirm")
        assert dialog.region.bottom <= size[1], "its frame is on screen"
        await driver.press(*["pagedown"] * 12)
        await driver.sees("worker-59")
        assert "y restore" in driver.text
        await driver.press("y")
        await driver.until(lambda: deeds(driver).done, "restored")

    drive(flow, size)


def test_warnings_that_do_not_fit_are_read_to_their_end_before_y_counts() -> None:
    async def flow(driver: Driver) -> None:
        many = tuple(f"consequence number {number} of this restore, which is a serious one" for number in range(70))
        await at_dialog(driver, replace(LONG, appear=LONG.appear[:3], consequences=many))
        assert "read on" in driver.text
        await driver.press("y")
        assert not deeds(driver).done, "what it agrees to was not in sight"
        await driver.press(*["pagedown"] * 30)
        await driver.sees("U undoes it")
        assert "y restore" in driver.text
        await driver.press("y")
        await driver.until(lambda: deeds(driver).done, "restored")

    drive(flow, SMALL)


@pytest.mark.parametrize("key", ["U", "H"])
def test_a_dialog_with_fields_keeps_them_on_screen_however_much_it_tells(key: str) -> None:
    async def flow(driver: Driver) -> None:
        source = driver.app.source
        assert isinstance(source, HandMade)
        at = next(n for n, lock in enumerate(source.world.locks) if lock.path == "shop/dev")
        hold = replace(HELD, reason="a long story " * 35)
        evidence = tuple(f"evidence number {number}, which is told at some length" for number in range(40))
        source.world.locks[at] = replace(source.world.locks[at], evidence=evidence, hold=hold)
        source.changed()
        driver.app.watcher.look_now()
        await driver.settle()
        driver.browse.scopes.go_to("shop/dev")
        await driver.press(key)
        await driver.sees("type it")
        shown = driver.app.screen.query_one("#confirm-hint").region
        assert 0 < shown.bottom < 24

    drive(flow, SMALL)


def test_hostile_names_stay_text_in_every_dialog() -> None:
    async def driven() -> None:
        async with dashboard(worlds.hostile(), MEDIUM) as driver:
            driver.browse.scopes.go_to("app/dev")
            await driver.press("U")
            await driver.sees("Unlock app/dev")
            assert "\x1b" not in driver.text
            assert "[prod]" in driver.text
            await driver.press("escape")
            await driver.press("R")
            await driver.sees("Now → then")
            assert "\x1b" not in driver.text

    asyncio.run(driven())


def test_health_names_the_file_and_the_way_out() -> None:
    async def flow(driver: Driver) -> None:
        driver.browse.scopes.go_to("shop/prod")
        await driver.press("left_square_bracket")
        await driver.sees("1 error")
        assert "shop/prod/edge/state.json" in driver.text
        assert "--fix writes it again" in driver.text
        driver.browse.scopes.go_to("shop/dev")
        await driver.sees("shop/dev is sound")

    drive(flow)
