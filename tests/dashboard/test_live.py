"""Looking for hours at real state: what a reader that goes on from where it was cannot see is noticed all the same."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from alchemy.errors import Fenced
from alchemy.model.records import Put
from alchemy.operations.shapes import Health
from alchemy.operations.workspace import Workspace
from alchemy.store.local import LocalStore
from alchemy_tui.store.live import Live
from tests.dashboard.driving import SMALL, dashboard
from tests.operations.actor import open_ledger, row, store_in

PROD = "my-app/prod"


def ran(store: LocalStore, *names: str) -> None:
    """One whole run that stored these."""

    async def run() -> None:
        ledger = await open_ledger(store_in(store.root), PROD)
        await ledger.intend([Put(row(f"{PROD}/{name}"), "result", "create", took=0.1) for name in names])
        ledger.close(outcome="done", counts={"create": len(names)}, failures=[])

    asyncio.run(run())


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    made = store_in(tmp_path / ".alchemy")
    for name in ("one", "two", "three"):
        ran(made, name)
    return made


def epoch(store: LocalStore, number: int) -> Path:
    return store.root / PROD / "journal" / f"{number:06}.jsonl"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_whichever_journal_file_is_overwritten_the_stage_is_corrupt_at_the_next_look(
    store: LocalStore, number: int
) -> None:
    live = Live(Workspace(store))
    assert live.refresh(full=True).scopes[PROD].health is Health.OK
    assert live.refresh().scopes[PROD].health is Health.OK
    epoch(store, number).write_text("garbage\n")
    view = live.refresh()
    assert view.scopes[PROD].health is Health.CORRUPT
    assert "journal is damaged" in view.scopes[PROD].problem


def test_a_line_changed_in_the_middle_of_what_was_read_is_found(store: LocalStore) -> None:
    live = Live(Workspace(store))
    live.refresh(full=True)
    file = epoch(store, 3)
    file.write_text(file.read_text().replace("three", "THREE", 1))
    assert live.refresh().scopes[PROD].health is Health.CORRUPT


def test_what_is_put_back_is_well_again(store: LocalStore) -> None:
    live = Live(Workspace(store))
    live.refresh(full=True)
    before = epoch(store, 1).read_bytes()
    epoch(store, 1).write_text("garbage\n")
    assert live.refresh().scopes[PROD].health is Health.CORRUPT
    epoch(store, 1).write_bytes(before)
    assert live.refresh().scopes[PROD].health is Health.OK


def test_nothing_new_is_the_same_view_and_runs_that_go_on_raise_no_doubt(store: LocalStore) -> None:
    workspace = Workspace(store)
    live = Live(workspace)
    first = live.refresh(full=True)
    assert live.refresh() is first
    ran(store, "four")
    assert f"{PROD}/four" in live.refresh().resources
    assert live._workspace is workspace, "an ordinary run is read on, not read anew"


def test_a_spill_waits_among_the_findings_until_it_is_recovered(store: LocalStore) -> None:
    async def fenced() -> None:
        ledger = await open_ledger(store_in(store.root), PROD, locking=False)
        other = await open_ledger(store_in(store.root), PROD, locking=False)
        other.close(outcome="done", counts={}, failures=[])
        ledger.record([Put(row(f"{PROD}/lost", run="R-4"), "result", "create", took=0.1)])
        with pytest.raises(Fenced):
            await ledger.flush()
        with pytest.raises(Fenced):
            ledger.close(outcome="done", counts={}, failures=[])

    live = Live(Workspace(store))
    assert not live.refresh(full=True).findings
    asyncio.run(fenced())
    view = live.refresh()
    (spilled,) = [one for one in view.findings if "spill" in one.file]
    assert spilled.scope == PROD
    assert "1 change" in spilled.problem
    assert spilled.way_out == f"alchemy scope recover {store.root / spilled.file}"
    assert live.refresh() is view
    (store.root / spilled.file).unlink()
    assert not live.refresh().findings


def test_an_open_dashboard_turns_red_over_damage_within_seconds(store: LocalStore) -> None:
    async def flow() -> None:
        async with dashboard(Workspace(store), SMALL, now=time.time) as driver:
            await driver.sees("✓ ok")
            await driver.until(lambda: driver.app.mode == "live", "live")
            began = time.monotonic()
            epoch(store, 1).write_text("garbage\n")
            await driver.sees("▲ corrupt")
            assert time.monotonic() - began < 10
            driver.browse.scopes.go_to(PROD)
            await driver.sees("resources unknown")
            assert "alchemy scope rebuild my-app/prod" in driver.text

    asyncio.run(flow())
