"""Unlocking, reserving and recovering where the state is in object storage: the same operations, the same answers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from alchemy.errors import Fenced, LockHeld, Refused
from alchemy.model.locks import Verdict
from alchemy.model.paths import ScopePath
from alchemy.model.records import Put
from alchemy.model.values import ScopeKind, Status
from alchemy.operations.auditing import audit_log
from alchemy.operations.holding import hold
from alchemy.operations.recovering import recover
from alchemy.operations.spills import spills
from alchemy.operations.states import StateManager
from alchemy.operations.unlocking import unlock
from alchemy.operations.verdicts import explain
from alchemy.operations.workspace import Workspace
from alchemy.store.ledger import Ledger
from alchemy.store.store import Store
from alchemy.testing.objects import MemoryObjects
from tests.operations.actor import KINDS, row
from tests.store.places import InObjects

PROD = "my-app/prod"
DB = f"{PROD}/db"


@pytest.fixture
def place(tmp_path: Path) -> InObjects:
    return InObjects(tmp_path / ".alchemy", MemoryObjects())


async def opened(store: Store, path: str = PROD, **given: object) -> Ledger:
    scope = ScopePath.parse(path)
    kind = KINDS[len(scope.parts)]
    return await Ledger.open(store, scope, kind, purpose="deploy", **{"timeout": 0.0, **given})  # type: ignore[arg-type]


def end(ledger: Ledger) -> None:
    ledger.close(outcome="done", counts={}, failures=[])


def test_a_holder_is_fenced_freed_and_what_it_knew_is_recovered(place: InObjects) -> None:
    async def scene() -> None:
        mine, yours, next = place.store(), place.store(), place.store()
        old = await opened(mine)
        await old.intend([Put(row(DB, Status.CREATING, run="R-1"), "intent", "create")])
        view = explain(yours, PROD)
        assert view.holder is not None
        assert view.verdict in (Verdict.LIVE, Verdict.UNKNOWN)
        with pytest.raises(Refused, match="alive"):
            await unlock(yours, PROD, token=view.token)
        with pytest.raises(LockHeld):
            await opened(next)
        report = await unlock(yours, PROD, token=view.token, force=True, reason="it hangs")
        assert (report.outcome, report.fenced, report.freed) == ("unlocked", ((PROD, "R-2"),), (PROD,))
        newcomer = await opened(next)
        old.record([Put(row(DB, run="R-1"), "result", "create")])
        with pytest.raises(Fenced):
            await old.flush()
        with pytest.raises(Fenced):
            end(old)
        assert newcomer.failure is None
        assert explain(yours, PROD).token == f"3-{next.session[:4]}", "the newcomer's claim is its own"
        end(newcomer)
        (info,) = spills(yours)
        done = await recover(yours, info.file)
        assert (done.written, done.run) == (1, "R-4")
        found = yours.read_fold(PROD).resources[DB]
        assert (found.status, found.outputs, found.verify) == (Status.READY, {"id": f"id of {DB}"}, True)
        assert spills(yours) == ()
        acts = [(entry.act, entry.outcome) for entry in audit_log(yours)]
        assert acts == [("unlock", "refused"), ("unlock", "done"), ("recover", "done")]

    asyncio.run(scene())


def test_a_script_learns_at_the_end_that_its_lock_was_taken(place: InObjects) -> None:
    async def scene(taken: bool) -> None:
        manager = StateManager(place.root)
        manager.store = place.store()
        async with manager.lock(PROD):
            assert explain(place.store(), PROD).holder is not None
            if taken:
                place.store().free(ScopePath.parse(PROD), manager.store.session)

    with pytest.raises(Fenced, match="was not locked to the end"):
        asyncio.run(scene(True))
    asyncio.run(scene(False))
    assert explain(place.store(), PROD).verdict is Verdict.FREE


def test_only_the_holder_that_was_seen_is_broken(place: InObjects) -> None:
    async def scene() -> None:
        first = place.store()
        ledger = await opened(first)
        token = explain(place.store(), PROD).token
        end(ledger)
        newcomer = await opened(place.store())
        with pytest.raises(Refused, match="is not held by"):
            await unlock(place.store(), PROD, token=token, force=True)
        await newcomer.intend([Put(row(DB))])
        end(newcomer)

    asyncio.run(scene())


def test_an_application_is_opened_with_the_stages_of_its_holder(place: InObjects) -> None:
    async def scene() -> None:
        mine, yours = place.store(), place.store()
        end(await opened(mine, "my-app/dev"))
        app = await opened(mine, "my-app")
        stage = await opened(mine, "my-app/dev", held=[app.path])
        token = explain(yours, "my-app").token
        report = await unlock(yours, "my-app", token=token, force=True)
        assert {path for path, _ in report.fenced} == {"my-app", "my-app/dev"}
        assert set(report.freed) == {"my-app", "my-app/dev"}
        for ledger in (stage, app):
            with pytest.raises(Fenced):
                await ledger.intend([Put(row(f"{ledger.path}/x"))])
            with pytest.raises(Fenced):
                end(ledger)
        end(await opened(yours, "my-app/dev"))

    asyncio.run(scene())


def test_a_reservation_keeps_runs_out_of_an_application_and_is_shown(place: InObjects) -> None:
    async def scene() -> None:
        store = place.store()
        end(await opened(store))
        view = await hold(store, "my-app", reason="freeze", seconds=3600)
        assert (view.verdict, view.path) == (Verdict.HELD, "my-app")
        with pytest.raises(LockHeld, match=r"my-app above it is reserved by .*: freeze"):
            await opened(place.store())
        shown = Workspace(place.store()).refresh()
        assert [(lock.path, lock.verdict) for lock in shown.locks] == [("my-app", Verdict.HELD)]
        assert shown.scopes["my-app"].kind is ScopeKind.APPLICATION
        await unlock(place.store(), "my-app", token=view.token)
        end(await opened(place.store()))

    asyncio.run(scene())


def test_who_waits_is_told_of_a_reservation_at_once_and_leaves_no_claim(place: InObjects) -> None:
    async def scene() -> None:
        store = place.store()
        end(await opened(store))
        view = await hold(store, PROD, reason="freeze")
        lease = await store.acquire(ScopePath.parse(PROD), timeout=0)
        began = time.monotonic()
        with pytest.raises(LockHeld, match=r"it is reserved by .*: freeze"):
            await opened(place.store(), timeout=20.0)
        assert time.monotonic() - began < 5.0
        lease.release()
        await unlock(place.store(), PROD, token=view.token)
        end(await opened(place.store()))

    asyncio.run(scene())
