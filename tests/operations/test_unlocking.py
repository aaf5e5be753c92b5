"""Unlocking breaks exactly the holder that was seen, and keeps it from writing before anybody else gets in."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alchemy.errors import Fenced, Refused
from alchemy.model.locks import Verdict
from alchemy.model.paths import ScopePath
from alchemy.model.values import ScopeKind
from alchemy.operations.auditing import audit_log
from alchemy.operations.shapes import UnlockReport
from alchemy.operations.states import StateManager
from alchemy.operations.unlocking import unlock
from alchemy.operations.verdicts import explain
from alchemy.operations.workspace import Workspace
from alchemy.store.store import Store
from tests.model.rows import scope as scope_row
from tests.operations.actor import Actor, actor_in, open_ledger, store_in

PROD = "my-app/prod"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / ".alchemy"


@pytest.fixture
def store(root: Path) -> Store:
    return store_in(root)


@pytest.fixture
def actor(root: Path) -> Iterator[Actor]:
    with actor_in(root) as actor:
        yield actor


def unlocked(store: Store, path: str = PROD, **given: Any) -> UnlockReport:
    return asyncio.run(unlock(store, path, **given))


def deploy(root: Path, path: str = PROD, **given: Any) -> int:
    """A whole run that changes nothing; its epoch."""

    async def run() -> int:
        ledger = await open_ledger(store_in(root), path, **given)
        ledger.close(outcome="done", counts={}, failures=[])
        return ledger.epoch

    return asyncio.run(run())


def test_a_dead_run_is_closed_and_its_lock_is_tidied(root: Path, store: Store, actor: Actor) -> None:
    token = actor.open(PROD)
    actor.ask("intend", path=PROD, id="db")
    actor.kill()
    assert explain(store, PROD).verdict is Verdict.STALE
    report = unlocked(store, token=token, reason="runner gone")
    assert (report.outcome, report.freed, report.fenced) == ("unlocked", (PROD,), ((PROD, "R-2"),))
    assert [(left.address, left.status, left.run) for left in report.interrupted] == [(f"{PROD}/db", "creating", "R-1")]
    assert report.next == ("alchemy deploy --stage prod",)
    assert explain(store, PROD).verdict is Verdict.FREE
    fold = store.read_fold(PROD)
    assert (fold.released, fold.epoch) == (True, 2)
    release = fold.last_release
    assert (release["outcome"], release["reason"]) == ("unlocked", "runner gone")
    assert release["broken"]["pid"] == actor.pid
    assert deploy(root) == 3


def test_a_stopped_holder_needs_force_and_can_write_nothing_afterwards(root: Path, store: Store, actor: Actor) -> None:
    token = actor.open(PROD)
    actor.ask("intend", path=PROD, id="one")
    actor.signal(signal.SIGSTOP)
    with pytest.raises(Refused, match=r"pid \d+, which is alive") as refused:
        unlocked(store, token=token)
    assert f"--force --token {token}" in refused.value.hint
    assert store.read_fold(PROD).epoch == 1
    unlocked(store, token=token, reason="it hangs", force=True)
    assert explain(store, PROD).verdict is Verdict.FREE
    newcomer = asyncio.run(open_ledger(store_in(root), PROD))
    actor.signal(signal.SIGCONT)
    answer = actor.ask("intend", path=PROD, id="two")
    assert answer["error"] == "Fenced"
    assert f"{PROD}/two" not in store.read_fold(PROD).resources
    assert actor.ask("close", path=PROD)["error"] == "Fenced"
    assert explain(store, PROD).verdict is Verdict.LIVE, "the newcomer's lock is its own"
    newcomer.close(outcome="done", counts={}, failures=[])


def test_who_is_fenced_is_told_who_took_over_and_why(store: Store, actor: Actor) -> None:
    token = actor.open(PROD)
    unlocked(store, token=token, reason="it \x1b[31mhangs", force=True)
    answer = actor.ask("intend", path=PROD, id="one")
    assert answer["error"] == "Fenced"
    who = audit_log(store)[-1].by
    assert f"a later run took over (R-2): unlocked by {who}" in answer["message"]
    assert "hangs" in answer["message"]
    assert "\x1b" not in answer["message"]


def test_another_holder_than_the_one_that_was_seen_is_not_broken(root: Path, store: Store, actor: Actor) -> None:
    actor.open(PROD)
    actor.ask("close", path=PROD)
    later = actor.open(PROD)
    for token in ("1-aaaa", "2-zzzz", "", later.replace("2-", "1-")):
        with pytest.raises(Refused, match=f"is not held by .*, but by {later}: deploy by "):
            unlocked(store, token=token, force=True)
    assert actor.ask("intend", path=PROD, id="one") == {"ok": True}
    entries = audit_log(store)
    assert [(entry.act, entry.outcome) for entry in entries] == [("unlock", "refused")] * 4
    assert entries[0].detail["token"] == "1-aaaa"


def test_nothing_to_unlock_is_no_error(store: Store, actor: Actor) -> None:
    token = actor.open(PROD)
    actor.ask("close", path=PROD)
    assert unlocked(store, token=token).outcome == "free"
    assert store.read_fold(PROD).epoch == 1
    assert audit_log(store) == ()


def test_the_run_that_unlocked_is_in_the_log_with_its_reason(store: Store, actor: Actor) -> None:
    token = actor.open(PROD)
    actor.kill()
    unlocked(store, token=token, reason="runner gone")
    workspace = Workspace(store)
    runs = workspace.refresh().runs[PROD]
    assert [(run.run, run.purpose, run.outcome) for run in runs] == [
        ("R-2", "unlock", "unlocked"),
        ("R-1", "deploy", "lost"),
    ]
    texts = [getattr(entry.event, "text", "") for entry in workspace.entries(PROD)]
    assert any("runner gone; broken: R-1, deploy by " in text for text in texts)


def test_a_nested_lock_is_opened_with_the_scope_that_owns_its_journal(root: Path, store: Store, actor: Actor) -> None:
    deploy(root)
    token = actor.open(PROD, lock_path=f"{PROD}/database")
    actor.signal(signal.SIGSTOP)
    report = unlocked(store, f"{PROD}/database", token=token, force=True)
    assert report.freed == (f"{PROD}/database", PROD)
    assert report.fenced == ((PROD, "R-3"),)
    assert deploy(root) == 4


def test_an_application_is_opened_with_every_stage_its_holder_has(root: Path, store: Store, actor: Actor) -> None:
    deploy(root, "my-app/dev")
    deploy(root, "my-app/test/unit-1")
    token = actor.open("my-app", purpose="destroy")
    actor.open("my-app/dev", purpose="destroy")
    actor.signal(signal.SIGSTOP)
    with pytest.raises(Refused, match="holds my-app too: my-app/dev alone cannot be given free"):
        unlocked(store, "my-app/dev", token=explain(store, "my-app/dev").token, force=True)
    report = unlocked(store, "my-app", token=token, force=True)
    assert report.fenced == (("my-app", "R-2"), ("my-app/dev", "R-3"))
    assert report.freed == ("my-app/dev", "my-app")
    assert report.next == ("alchemy destroy my-app",)
    assert deploy(root, "my-app/dev") == 4
    actor.signal(signal.SIGCONT)
    assert actor.ask("open", path="my-app/test/unit-1")["error"] == "Fenced", "what it held gives it nothing any more"
    assert actor.ask("intend", path="my-app/dev", id="a")["error"] == "Fenced"
    assert store.read_fold("my-app/test/unit-1").epoch == 1


def test_one_stage_of_a_holder_of_two_is_opened_alone(root: Path, store: Store, actor: Actor) -> None:
    actor.open("my-app/dev")
    token = actor.open(PROD)
    unlocked(store, token=token, force=True)
    assert actor.ask("intend", path="my-app/dev", id="a") == {"ok": True}
    assert actor.ask("intend", path=PROD, id="a")["error"] == "Fenced"


def test_a_holder_that_is_asked_stops_by_itself(store: Store, actor: Actor) -> None:
    token = actor.open(PROD)
    report = unlocked(store, token=token, signal=True)  # it ends at the signal and leaves its lock behind
    assert report.outcome == "unlocked"
    assert report.fenced == ((PROD, "R-2"),)
    assert explain(store, PROD).verdict is Verdict.FREE


def test_an_unlock_that_died_half_way_is_finished_by_the_next_one(
    root: Path, store: Store, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = actor.open(PROD)
    actor.signal(signal.SIGSTOP)
    half = store_in(root)
    monkeypatch.setattr(half, "free", lambda path, session: None)
    unlocked(half, token=token, force=True)
    view = explain(store, PROD)
    assert view.verdict is Verdict.LIVE
    assert "it cannot write any more: run R-2 took over, unlock by " in view.evidence[-1]
    report = unlocked(store, token=token, force=True)
    assert (report.fenced, report.freed) == ((), (PROD,))
    assert deploy(root) == 3


def test_an_epoch_that_was_claimed_and_never_opened_is_nobodys(root: Path, store: Store, actor: Actor) -> None:
    token = actor.open(PROD)
    actor.kill()
    (root / PROD / "journal" / "000002.jsonl").touch()
    report = unlocked(store, token=token)
    assert report.fenced == ((PROD, "R-3"),)
    assert deploy(root) == 4


def test_a_lock_without_a_record_is_not_broken(root: Path, store: Store, actor: Actor) -> None:
    token = actor.open(PROD)
    (root / "locks" / f"{PROD}.lock.holder.json").unlink()
    with pytest.raises(Refused, match=f"left no record.*the system names pid {actor.pid}"):
        unlocked(store, token=token, force=True)
    assert actor.ask("intend", path=PROD, id="a") == {"ok": True}


def test_a_lock_without_a_journal_is_opened_too(root: Path, store: Store, actor: Actor) -> None:
    """As a script takes it: nothing was opened under it."""

    async def locked() -> str:
        from alchemy.store.ledger import make_holder

        script = store_in(root)
        lease = await script.acquire(ScopePath.parse("my-app"), timeout=0)
        lease.publish(make_holder(script, ScopePath.parse("my-app"), 0, "lock"))
        token = explain(store, "my-app").token
        assert token == f"0-{script.session[:4]}"
        report = await unlock(store, "my-app", token=token, force=True)
        assert (report.fenced, report.freed) == ((), ("my-app",))
        assert not lease.mine
        return token

    asyncio.run(locked())
    assert explain(store, "my-app").verdict is Verdict.FREE


def test_a_script_whose_lock_was_opened_by_force_saves_nothing(root: Path, store: Store) -> None:
    """It holds no epoch that could be fenced: without the look it would open the next one, over whoever came after."""

    async def script() -> None:
        manager = StateManager(root)
        state = scope_row(PROD, ScopeKind.STAGE)
        await manager.save_state(PROD, state)
        assert await manager.acquire_lock(PROD)
        await unlock(store, PROD, token=explain(store, PROD).token, force=True)
        newcomer = await open_ledger(store_in(root), PROD)
        with pytest.raises(Fenced, match="was opened by force while this manager held it"):
            await manager.save_state(PROD, state)
        assert newcomer.failure is None
        newcomer.close(outcome="done", counts={}, failures=[])
        with pytest.raises(Fenced, match="was not locked to the end"):
            await manager.release_lock(PROD)

    asyncio.run(script())
    assert store.read_fold(PROD).epoch == 2


def test_a_script_learns_at_the_end_that_its_lock_was_opened(root: Path, store: Store) -> None:
    reached: list[str] = []

    async def script(fails: bool) -> None:
        manager = StateManager(root)
        async with manager.lock(PROD):
            await unlock(store, PROD, token=explain(store, PROD).token, force=True)
            reached.append("the end")
            if fails:
                raise KeyError("its own")

    with pytest.raises(Fenced, match="was not locked to the end"):
        asyncio.run(script(False))
    with pytest.raises(KeyError):
        asyncio.run(script(True))
    assert len(reached) == 2
