"""`alchemy scope cleanup`, as typed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from alchemy.model.paths import ScopePath
from alchemy.model.values import ScopeKind
from alchemy.store.layout import Layout
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from tests.cli.driver import Call, alchemy, forked, lamps, terminal

PROD = "house/prod"


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A deployed house whose last complete deploy did not declare the attic."""
    lamps(tmp_path, 'Lamp("hall")\nLamp("attic")')
    (done,) = forked([Call(("deploy",))], tmp_path)
    assert done.code == 0, done.err

    async def release() -> None:
        store = LocalStore(Layout(tmp_path / ".alchemy"), "ab" * 16)
        ledger = await Ledger.open(store, ScopePath.parse(PROD), ScopeKind.STAGE, purpose="deploy", timeout=0)
        declared = {"complete": True, "orphans": [f"{PROD}/attic"], "next_seq": ledger.fold.next_seq}
        ledger.close(outcome="done", counts={}, failures=[], declared=declared)

    asyncio.run(release())
    return tmp_path


def lit(house: Path) -> int:
    return len(list((house / "hall").iterdir()))


def test_a_dry_run_shows_what_would_go_and_changes_nothing(house: Path) -> None:
    files = {path: path.read_bytes() for path in (house / ".alchemy").rglob("*") if path.is_file()}
    shown, listed = forked(
        [Call(("scope", "cleanup", PROD, "--dry-run")), Call(("scope", "cleanup", PROD, "--dry-run", "--json"))], house
    )
    assert (shown.code, shown.out) == (0, "")
    assert "house/prod/attic  Lamp  not in the program since the last complete deploy" in shown.err
    assert "1 resource to clean up" in shown.err
    document = json.loads(listed.out)
    assert [step["address"] for step in document["deletions"]] == ["house/prod/attic"]
    assert document["deleted"] is None
    assert {path: path.read_bytes() for path in (house / ".alchemy").rglob("*") if path.is_file()} == files


def test_without_a_terminal_it_asks_for_yes(house: Path) -> None:
    refused, done, again = forked(
        [
            Call(("scope", "cleanup", PROD)),
            Call(("scope", "finalize", PROD, "--yes", "--json")),
            Call(("scope", "cleanup", PROD, "--yes")),
        ],
        house,
    )
    assert refused.code == 2
    assert "to clean up house/prod has to be confirmed" in refused.err
    assert (done.code, json.loads(done.out)["deleted"]) == (0, ["house/prod/attic"])
    assert "house/prod cleaned up in" in done.err
    assert lit(house) == 1
    assert (again.code, again.err) == (0, "house/prod: nothing was left behind\n")


def test_what_a_failed_deploy_does_not_declare_waits_for_a_complete_one(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")\nLamp("attic", protect=True)')
    assert alchemy("deploy", cwd=tmp_path).code == 0
    lamps(tmp_path, 'Lamp("hall")')
    blocked, told = forked([Call(("deploy",)), Call(("scope", "cleanup", PROD))], tmp_path)
    assert blocked.code == 1
    assert "house/prod/attic: it is protected" in blocked.err
    assert (told.code, told.err) == (0, f"{PROD}: nothing can go yet: 1 orphan waits for a complete deploy\n")
    lamps(tmp_path, 'Lamp("hall")\nLamp("attic")')
    done, after = forked([Call(("deploy",)), Call(("scope", "cleanup", PROD))], tmp_path)
    assert (done.code, after.err) == (0, f"{PROD}: nothing was left behind\n")


def test_all_of_it_is_a_destroy(house: Path) -> None:
    shown, done, listed = forked(
        [
            Call(("scope", "cleanup", PROD, "--all", "--dry-run")),
            Call(("scope", "cleanup", PROD, "--all", "--yes")),
            Call(("scope", "list", "--json")),
        ],
        house,
    )
    assert "house/prod/hall" in shown.err
    assert "house/prod/attic" in shown.err
    assert done.code == 0
    assert lit(house) == 0
    assert json.loads(listed.out)["resources"] == []


def test_what_is_not_stored_is_a_usage_error(house: Path) -> None:
    (done,) = forked([Call(("scope", "cleanup", "house/nowhere", "--yes"))], house)
    assert done.code == 2
    assert "not in the state" in done.err


@pytest.mark.slow
def test_on_a_terminal_the_last_part_of_the_path_is_typed(house: Path) -> None:
    with terminal("scope", "cleanup", PROD, cwd=house) as shown:
        shown.wait_for("Type prod to clean up house/prod: ")
        shown.type("dev\n")
        assert shown.end() == 2
    assert lit(house) == 2
    with terminal("scope", "cleanup", PROD, cwd=house) as shown:
        shown.wait_for("Type prod to clean up house/prod: ")
        shown.type("prod\n")
        assert shown.end() == 0
    assert lit(house) == 1
    assert alchemy("scope", "validate", cwd=house).code == 0


def test_what_somebody_keeps_is_named_by_whoever_destroys_the_rest(house: Path) -> None:
    lamps(house, 'Lamp("hall")')
    kept, destroyed, tried, again, cleaned = forked(
        [
            Call(("scope", "keep", f"{PROD}/attic")),
            Call(("destroy", "--yes")),
            Call(("scope", "cleanup", PROD, "--all", "--dry-run")),
            Call(("destroy", PROD, "--yes")),
            Call(("scope", "cleanup", PROD, "--all", "--yes")),
        ],
        house,
    )
    undo = f"1 kept: {PROD}/attic; `alchemy scope keep {PROD}/attic --undo`\n"
    assert kept.code == 0, kept.err
    assert f"· kept       {PROD}/attic  Lamp\n" in destroyed.err
    assert f": 1 deleted, {undo}" in destroyed.err
    assert lit(house) == 1
    assert f"{PROD}: nothing else: {undo}" in tried.err
    assert "nothing was left behind" not in tried.err
    for done in (again, cleaned):
        assert done.code == 0, done.err
        assert f"· kept       {PROD}/attic  Lamp\n" in done.err
        assert done.err.endswith(f": {undo}")
    assert lit(house) == 1


def test_nothing_is_asked_where_everything_is_kept(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")')
    _, _, asked = forked([Call(("deploy",)), Call(("scope", "keep", f"{PROD}/hall")), Call(("destroy",))], tmp_path)
    assert asked.code == 0, asked.err
    assert asked.err.endswith(f"nothing else: 1 kept: {PROD}/hall; `alchemy scope keep {PROD}/hall --undo`\n")
