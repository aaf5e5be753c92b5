"""A scope that a person reserved stays shut for runs, from any process, until then or until somebody unlocks it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from alchemy.errors import LockHeld, Refused, UsageError
from alchemy.model.events import LockWaited
from alchemy.model.locks import LockView, Verdict
from alchemy.model.paths import ScopePath
from alchemy.model.records import Put, Reserve
from alchemy.model.values import ScopeKind
from alchemy.operations.holding import hold, let_in
from alchemy.operations.unlocking import unlock
from alchemy.operations.verdicts import explain, keeping_out
from alchemy.operations.workspace import Workspace
from alchemy.store.clock import Clock, stamp
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from tests.model.rows import scope
from tests.operations.actor import Actor, actor_in, open_ledger

PROD = "my-app/prod"


class Later(Clock):
    """Wall-clock time that a test moves."""

    ahead = 0.0

    def now(self) -> str:
        return stamp(self.wall())

    def wall(self) -> float:
        return super().wall() + self.ahead


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / ".alchemy"


@pytest.fixture
def clock() -> Later:
    return Later()


@pytest.fixture
def store(root: Path, clock: Later) -> LocalStore:
    return LocalStore(Layout(root), "5e55" * 8, clock=clock)


@pytest.fixture
def actor(root: Path) -> Iterator[Actor]:
    with actor_in(root) as actor:
        yield actor


def deploy(store: LocalStore, path: str = PROD, **given: Any) -> int:
    async def run() -> int:
        ledger = await open_ledger(store, path, **given)
        ledger.close(outcome="done", counts={}, failures=[])
        return ledger.epoch

    return asyncio.run(run())


def reserve(store: LocalStore, path: str = PROD, **given: Any) -> LockView:
    return asyncio.run(hold(store, path, **{"reason": "database migration", **given}))


def refused(store: LocalStore, path: str = PROD, **given: Any) -> LockHeld:
    with pytest.raises(LockHeld) as caught:
        deploy(store, path, **given)
    return caught.value


def test_runs_stay_out_and_are_told_who_why_and_until_when(store: LocalStore) -> None:
    deploy(store)
    view = reserve(store, seconds=7200)
    assert view.hold is not None
    assert (view.verdict, view.path, view.you) == (Verdict.HELD, PROD, True)
    error = refused(store)
    assert error.exit_code == 3
    until = f"{datetime.fromisoformat(view.hold.until).astimezone():%Y-%m-%d %H:%M}"
    by = f"it is reserved by {view.hold.by} until {until}: database migration"
    assert error.message == f"Failed to acquire lock {PROD}: {by}"
    assert error.hint == f"`alchemy scope unlock {PROD}` gives it free"
    assert store.read_fold(PROD).epoch == 2, "who was refused left no run behind"
    asyncio.run(unlock(store, PROD, token=view.token, reason="it is done"))
    assert explain(store, PROD).verdict is Verdict.FREE
    assert deploy(store) == 4


def test_it_is_over_when_its_time_is(store: LocalStore, clock: Later) -> None:
    deploy(store)
    reserve(store, seconds=60)
    clock.ahead = 59
    refused(store)
    clock.ahead = 61
    assert explain(store, PROD).verdict is Verdict.FREE
    assert deploy(store) == 3


def test_reserving_again_replaces_it_and_says_in_whose_place(store: LocalStore, clock: Later) -> None:
    deploy(store)
    first = reserve(store, seconds=60)
    second = reserve(store, reason="it takes longer", seconds=600)
    assert second.token != first.token
    clock.ahead = 61
    assert "it takes longer" in refused(store).message
    workspace = Workspace(store)
    workspace.refresh()
    texts = [getattr(entry.event, "text", "") for entry in workspace.entries(PROD)]
    assert any("it takes longer, in place of" in text and "database migration" in text for text in texts)
    with pytest.raises(Refused, match=f"but by {second.token}"):
        asyncio.run(unlock(store, PROD, token=first.token))
    assert explain(store, PROD).verdict is Verdict.HELD


def test_a_reservation_that_was_replaced_while_it_was_given_free_stays(store: LocalStore) -> None:
    deploy(store)
    seen = reserve(store)
    reserve(store, reason="another")
    with pytest.raises(Refused, match="reserved anew"):
        asyncio.run(let_in(store, ScopePath.parse(PROD), seen, ""))
    assert store.read_fold(PROD).epoch == 3


def test_it_shows_among_the_locks_and_in_the_view_until_it_is_over(store: LocalStore, clock: Later) -> None:
    deploy(store)
    workspace = Workspace(store)
    assert workspace.refresh().locks == ()
    reserve(store, seconds=60)
    view = workspace.refresh()
    assert [(lock.path, lock.verdict, lock.hold is not None) for lock in view.locks] == [(PROD, Verdict.HELD, True)]
    assert workspace.refresh() is view
    clock.ahead = 61
    assert workspace.refresh().locks == ()


def test_a_nested_scope_reserves_the_one_its_journal_is_in(store: LocalStore) -> None:
    async def nested() -> None:
        ledger = await open_ledger(store, PROD)
        ledger.record([Put(scope(f"{PROD}/database", ScopeKind.NESTED))])
        ledger.close(outcome="done", counts={}, failures=[])

    asyncio.run(nested())
    view = reserve(store, f"{PROD}/database")
    assert view.path == PROD
    assert [found.path for found in keeping_out(store, f"{PROD}/database")] == [PROD]
    refused(store)


def test_a_reserved_application_keeps_runs_out_of_its_stages_and_tests(store: LocalStore) -> None:
    deploy(store)
    deploy(store, "my-app/test/unit-1")
    deploy(store, "other/prod")
    view = reserve(store, "my-app")
    assert Workspace(store).refresh().applications == ("my-app", "other")
    for path in (PROD, "my-app/test/unit-1", "my-app/dev"):
        message = refused(store, path).message
        assert message.startswith(f"Failed to acquire lock {path}: my-app above it is reserved by ")
    assert deploy(store, "other/prod") == 2
    assert not (store.root / "my-app/dev/journal").exists()
    asyncio.run(unlock(store, "my-app", token=view.token))
    assert deploy(store) == 2


def test_it_waits_until_nobody_is_at_work(store: LocalStore, actor: Actor) -> None:
    actor.open(PROD)
    with pytest.raises(LockHeld, match=f"pid {actor.pid}"):
        reserve(store, timeout=0.2)
    actor.ask("close", path=PROD)
    assert reserve(store, timeout=0.2).verdict is Verdict.HELD


def test_who_waits_for_a_lock_is_told_of_a_reservation_at_once(root: Path, store: LocalStore, actor: Actor) -> None:
    """Whoever holds the lock of a reserved scope is changing the reservation, or has waited longer."""
    deploy(store)
    reserve(store)
    lease = asyncio.run(store.acquire(ScopePath.parse(PROD), timeout=0))
    started = time.monotonic()
    answer = actor.ask("open", path=PROD, timeout=20.0)
    lease.release()
    assert "it is reserved by" in answer["message"]
    assert time.monotonic() - started < 5.0


def test_a_reservation_needs_a_reason_a_scope_and_a_time_below_a_year(store: LocalStore) -> None:
    deploy(store)
    with pytest.raises(UsageError, match="needs a reason"):
        reserve(store, reason=" ")
    with pytest.raises(UsageError, match="at most a year"):
        reserve(store, seconds=1e9)
    with pytest.raises(UsageError, match="my-app/nowhere is not in the state"):
        reserve(store, "my-app/nowhere")
    assert store.read_fold(PROD).epoch == 1


def test_hostile_reasons_are_shown_harmless(store: LocalStore) -> None:
    deploy(store)
    reserve(store, reason="\x1b[2J\u202e migration \udc80")
    assert "migration" in refused(store).message
    assert not {"\x1b", "\u202e", "\udc80"} & set(refused(store).message)


def test_a_stage_whose_application_has_a_damaged_journal_can_be_deployed(store: LocalStore) -> None:
    deploy(store)
    reserve(store, "my-app")
    (store.root / "my-app/journal/000001.jsonl").write_bytes(b"damaged\n" * 3)
    assert deploy(store) == 2


def test_how_long_a_run_waited_is_in_its_log(root: Path, store: LocalStore, actor: Actor) -> None:
    actor.open(PROD)

    async def wait() -> None:
        task = asyncio.create_task(open_ledger(store, PROD, timeout=20.0))
        await asyncio.sleep(0.4)
        actor.ask("close", path=PROD)
        (await task).close(outcome="done", counts={}, failures=[])

    asyncio.run(wait())
    workspace = Workspace(store)
    workspace.refresh()
    (waited,) = [entry.event for entry in workspace.entries(PROD) if isinstance(entry.event, LockWaited)]
    assert f"pid {actor.pid}" in waited.holder
    assert 0.3 < waited.took < 5.0


def test_a_reservation_of_somebody_else_stands_unless_that_is_meant(store: LocalStore) -> None:
    deploy(store)
    reserve(store, over_others=False)
    mine = reserve(store, over_others=False).hold
    assert mine is not None
    theirs = replace(mine, by="bea@elsewhere", reason="a migration")

    async def write() -> None:
        ledger = await open_ledger(store, PROD, held_by_person=True)
        ledger.record([Reserve(theirs)])
        ledger.close(outcome="reserved", counts={}, failures=[])

    asyncio.run(write())
    with pytest.raises(Refused, match=r"reserved by bea@elsewhere.*: a migration") as caught:
        reserve(store, over_others=False)
    assert "--force" in caught.value.hint
    assert store.read_fold(PROD).hold == theirs
    assert reserve(store).hold != theirs
