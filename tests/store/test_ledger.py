from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from alchemy.errors import StateInvalid, UsageError
from alchemy.model.events import Noted
from alchemy.model.locks import Verdict
from alchemy.model.paths import ScopePath
from alchemy.model.records import Op, Put
from alchemy.model.values import ScopeKind
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.holders import lock_view
from alchemy.store.layout import Layout
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from alchemy.testing.clock import ManualClock
from tests.model.rows import row
from tests.store.stage import PATH, Stage

PROD = ScopePath.parse(PATH)
DONE: dict[str, Any] = {"outcome": "done", "counts": {}, "failures": []}


def store_in(root: Path, session: str = "a" * 32) -> LocalStore:
    return LocalStore(Layout(root), session)


def open_in(root: Path, path: ScopePath = PROD, kind: ScopeKind = ScopeKind.STAGE, **more: Any) -> Ledger:
    return asyncio.run(Ledger.open(store_in(root), path, kind, purpose="deploy", timeout=0.0, **more))


def deploy(root: Path, *ids: str, **close: Any) -> Ledger:
    """A run that writes these rows."""
    ledger = open_in(root)

    async def work() -> None:
        for id in ids:
            ledger.backup(f"before {ledger.run}")
            await ledger.intend([Put(row(f"{PATH}/{id}"), "intent", "create")])
            ledger.record([Put(row(f"{PATH}/{id}"), "result", "create")])

    asyncio.run(work())
    ledger.close(**{**DONE, **close})
    return ledger


def backups(root: Path) -> list[dict[str, Any]]:
    directory = Layout(root).backups(PROD)
    return [json.loads((directory / name).read_bytes()) for name in Files().names(directory)]


def verdict(root: Path) -> Verdict:
    return lock_view(Layout(root), Files(), PROD, clock=Clock()).verdict


def test_a_run_holds_its_scope_from_opening_to_closing(tmp_path: Path) -> None:
    ledger = open_in(tmp_path)
    view = lock_view(Layout(tmp_path), Files(), PROD, clock=Clock())
    assert view.verdict is Verdict.LIVE
    assert view.holder is not None
    assert (view.holder.epoch, view.holder.session, view.holder.purpose) == (1, "a" * 32, "deploy")
    with pytest.raises(UsageError, match="already holds my-app/prod"):
        open_in(tmp_path)
    ledger.close(**DONE)
    assert verdict(tmp_path) is Verdict.FREE
    open_in(tmp_path).close(**DONE)


def test_the_first_run_of_a_stage_writes_the_stage(tmp_path: Path) -> None:
    deploy(tmp_path)
    stage = Ledger.read(store_in(tmp_path), PROD, ScopeKind.STAGE).fold.scopes[PATH]
    assert (stage.kind, stage.last_run) == (ScopeKind.STAGE, "")
    deploy(tmp_path, "a")
    stage = Ledger.read(store_in(tmp_path), PROD, ScopeKind.STAGE).fold.scopes[PATH]
    assert stage.last_run == "R-2"


def test_what_was_recorded_without_waiting_is_there_when_the_run_is_closed(tmp_path: Path) -> None:
    ledger = open_in(tmp_path)
    ledger.record([Put(row(f"{PATH}/a"))])
    ledger.emit(Noted(PATH, "hello"))
    ledger.close(**DONE)
    assert Stage(tmp_path).ids == ["a"]


def test_what_is_intended_is_durable_before_the_call_can_be_made(tmp_path: Path) -> None:
    ledger = open_in(tmp_path)
    asyncio.run(ledger.intend([Put(row(f"{PATH}/a"), "intent", "create")]))
    assert Stage(tmp_path).ids == ["a"]
    ledger.close(**DONE)


def test_a_flush_waits_for_everything_before_it(tmp_path: Path) -> None:
    ledger = open_in(tmp_path)
    for n in range(10):
        ledger.record([Put(row(f"{PATH}/r{n}"))])
    asyncio.run(ledger.flush())
    assert len(Stage(tmp_path).ids) == len(ledger.fold.resources) == 10
    ledger.close(**DONE)


def test_reading_takes_no_lock_creates_nothing_and_refuses_to_write(tmp_path: Path) -> None:
    ledger = Ledger.read(store_in(tmp_path), PROD, ScopeKind.STAGE)
    assert not ledger.writable
    ledger.emit(Noted(PATH, "not kept"))
    with pytest.raises(StateInvalid, match="open for reading only"):
        ledger.record([Put(row(f"{PATH}/a"))])
    ledger.close(**DONE)
    assert list(tmp_path.iterdir()) == []


def test_reading_sees_what_a_run_has_written_so_far(tmp_path: Path) -> None:
    ledger = open_in(tmp_path)
    asyncio.run(ledger.intend([Put(row(f"{PATH}/a"))]))
    seen = Ledger.read(store_in(tmp_path), PROD, ScopeKind.STAGE)
    assert seen.row(f"{PATH}/a") is not None
    ledger.close(**DONE)


def test_a_scope_of_another_kind_is_refused_and_the_lock_given_back(tmp_path: Path) -> None:
    deploy(tmp_path, "a")
    with pytest.raises(StateInvalid, match="my-app/prod is a stage scope in the state"):
        open_in(tmp_path, kind=ScopeKind.TEST)
    assert verdict(tmp_path) is Verdict.FREE
    deploy(tmp_path, "b")
    assert Stage(tmp_path).ids == ["a", "b"]


def test_a_damaged_journal_gives_the_lock_back(tmp_path: Path) -> None:
    deploy(tmp_path, "a")
    stage = Stage(tmp_path)
    stage.epoch(1).write_bytes(stage.epoch(1).read_bytes()[:-50])
    with pytest.raises(StateInvalid):
        open_in(tmp_path)
    assert verdict(tmp_path) is Verdict.FREE


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    ledger = deploy(tmp_path, "a")
    before = Stage(tmp_path).epoch(1).read_bytes()
    ledger.close(**DONE)
    assert Stage(tmp_path).epoch(1).read_bytes() == before


def test_the_release_says_how_it_went(tmp_path: Path) -> None:
    declared = {"complete": True, "orphans": [f"{PATH}/a"]}
    deploy(tmp_path, "a", counts={"create": 1}, failures=[["x", "why"]], outcome="failed", declared=declared)
    fold = Stage(tmp_path).load().fold
    body = dict(fold.last_release)
    assert body.pop("took") >= 0
    assert body == {
        "scope": PATH,
        "outcome": "failed",
        "counts": {"create": 1},
        "failures": [["x", "why"]],
        "declared": declared,
        "total": 1,
    }
    assert fold.orphaned(f"{PATH}/a")


def test_a_run_that_changes_nothing_writes_no_row_and_no_backup(tmp_path: Path) -> None:
    deploy(tmp_path, "a")
    stage = Stage(tmp_path)
    serial, view, copies = stage.load().fold.serial, stage.own_view.read_bytes(), len(backups(tmp_path))
    deploy(tmp_path)
    assert stage.load().fold.serial == serial
    assert stage.own_view.read_bytes() == view
    assert len(backups(tmp_path)) == copies


def test_the_first_mutating_run_ends_with_a_backup(tmp_path: Path) -> None:
    deploy(tmp_path)
    assert backups(tmp_path) == []
    deploy(tmp_path, "a")
    (backup,) = backups(tmp_path)
    assert (backup["reason"], backup["counts"]["resources"]) == ("after the first run", 1)
    assert backup["serial"] == Stage(tmp_path).load().fold.serial


def test_a_run_copies_what_was_before_it_changes_it_unless_there_is_such_a_copy(tmp_path: Path) -> None:
    deploy(tmp_path, "a")
    deploy(tmp_path, "b")
    assert [b["reason"] for b in backups(tmp_path)] == ["after the first run"], "it holds exactly what was"
    deploy(tmp_path, "c", "d")
    assert [(b["reason"], b["counts"]["resources"]) for b in backups(tmp_path)] == [
        ("after the first run", 1),
        ("before R-3", 2),
    ]


def test_a_clock_set_back_does_not_hide_the_newest_backup(tmp_path: Path) -> None:
    clock = ManualClock()

    def run(*ids: str) -> None:
        store = LocalStore(Layout(tmp_path), "b" * 32, clock=clock)
        ledger = asyncio.run(Ledger.open(store, PROD, ScopeKind.STAGE, purpose="deploy", timeout=0.0))
        for id in ids:
            ledger.backup(f"before {ledger.run}")
            ledger.record([Put(row(f"{PATH}/{id}"))])
        ledger.close(**DONE)

    run("a")
    run("b")
    clock.move(-86_400)
    run("c")
    assert [b["reason"] for b in backups(tmp_path)] == ["after the first run", "before R-3"]
    assert backups(tmp_path)[1]["taken"] < backups(tmp_path)[0]["taken"]


def test_without_locking_a_later_run_fences_the_earlier_one(tmp_path: Path) -> None:
    from alchemy.errors import Fenced

    first = open_in(tmp_path, locking=False)
    second = open_in(tmp_path, locking=False)
    with pytest.raises(Fenced):
        asyncio.run(first.intend([Put(row(f"{PATH}/a"))]))
    asyncio.run(second.intend([Put(row(f"{PATH}/b"))]))
    with pytest.raises(Fenced):
        first.close(**DONE)
    second.close(**DONE)
    assert Stage(tmp_path).ids == ["b"]


def test_the_copy_before_a_change_is_of_one_moment(tmp_path: Path) -> None:
    """Nested scopes are recorded without waiting: the writer may be at it while the copy is made."""
    deploy(tmp_path, *[f"r{n}" for n in range(30)])
    deploy(tmp_path, "more")
    ledger = open_in(tmp_path)

    def noise() -> Sequence[Op]:
        return [Put(row(f"{PATH}/n{n}", error=str(n))) for n in range(200)]

    for _ in range(5):
        ledger.record(noise())
    assert ledger.backup("before R-3")
    ledger.close(**DONE)
    copy = backups(tmp_path)[-1]
    assert copy["counts"]["resources"] == len(copy["state"]["resources"])
    assert {tuple(item["at"])[1] <= copy["state"]["seq"] for item in copy["state"]["resources"]} == {True}
