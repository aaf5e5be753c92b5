"""Unlocking at the same moment as everything else that can happen to a lock."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from alchemy.errors import Refused
from alchemy.model.locks import Verdict
from alchemy.model.paths import ScopePath
from alchemy.operations.unlocking import unlock
from alchemy.operations.verdicts import explain
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.ledger import make_holder
from alchemy.store.local import LocalStore
from tests.crash.runs import chance
from tests.operations.actor import actor_in, open_ledger, store_in
from tests.operations.racing import PROD
from tests.store.lock_peer import CORE


@pytest.mark.slow
def test_32_processes_that_deploy_stop_and_unlock_each_other(tmp_path: Path) -> None:
    root = tmp_path / ".alchemy"
    seed = str(chance(0).random())
    raced = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.operations.racing", str(root), "32", "3", seed],
        env={**os.environ, "PYTHONPATH": f"{CORE}{os.pathsep}{CORE.parent}"},
        cwd=CORE.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = [line.split(" ") for line in (tmp_path / "log").read_text().splitlines()]
    assert [line for line in lines if line[0] == "failed"] == [], raced.stderr
    assert json.loads(raced.stdout) == [0] * 32, raced.stderr

    def tokens(what: str) -> set[str]:
        return {line[1] for line in lines if line[0] == what}

    assert tokens("fenced") <= tokens("asked"), "somebody was broken whom nobody had seen"
    store = store_in(root)
    fold = store.read_fold(PROD)  # raises unless the chain is whole
    assert store.lost_records(fold, thorough=True) is None
    promised = {line[2] for line in lines if line[0] == "ack"}
    assert promised <= fold.resources.keys(), "what was acknowledged is gone"
    records = [record for epoch in store.epochs(PROD) for record in store.read_epoch(PROD, epoch)]
    counted = sorted((record.seq, record.epoch) for record in records)
    assert [epoch for _, epoch in counted] == sorted(epoch for _, epoch in counted), "two runs wrote in turns"
    told = Counter(line[0] for line in lines)
    print(told)
    assert told["fenced"] >= 1
    assert told["unlocked"] >= 3
    assert explain(store, PROD).verdict in (Verdict.FREE, Verdict.STALE)


def test_of_two_who_unlock_at_once_one_fences_and_nobody_who_came_after_is_broken(tmp_path: Path) -> None:
    root = tmp_path / ".alchemy"
    with actor_in(root) as holder, actor_in(root) as other:
        token = holder.open("my-app/prod")
        holder.signal(signal.SIGSTOP)
        other.send("unlock", path="my-app/prod", token=token, force=True)
        mine = ""
        try:
            mine = asyncio.run(unlock(store_in(root), "my-app/prod", token=token, force=True)).outcome
        except Refused as error:
            mine = error.message
        theirs = other.reply()
        outcomes = [mine, theirs.get("outcome", theirs.get("message", ""))]
        assert any(outcome == "unlocked" for outcome in outcomes), outcomes
        for outcome in outcomes:
            assert outcome in ("unlocked", "free") or "R-2 by now" in outcome or "is not held by" in outcome, outcomes
        store = store_in(root)
        assert explain(store, "my-app/prod").verdict is Verdict.FREE
        newcomer = asyncio.run(open_ledger(store, "my-app/prod"))
        assert newcomer.failure is None
        newcomer.close(outcome="done", counts={}, failures=[])


def test_a_newcomer_that_opens_while_the_dead_are_tidied_is_not_turned_away(tmp_path: Path) -> None:
    """The unlock has the next epoch in the moment in which the newcomer, who has the lock, wants it."""
    root = tmp_path / ".alchemy"
    for turn in range(5):
        with actor_in(root) as dead:
            token = dead.open("my-app/prod")
            dead.kill()
        opened: list[int] = []
        start = threading.Barrier(2)

        def come(opened: list[int] = opened, start: threading.Barrier = start) -> None:
            start.wait(5)
            ledger = asyncio.run(open_ledger(store_in(root), "my-app/prod", timeout=5.0))
            ledger.close(outcome="done", counts={}, failures=[])
            opened.append(ledger.epoch)

        newcomer = threading.Thread(target=come)
        newcomer.start()
        start.wait(5)
        with contextlib.suppress(Refused):  # the newcomer was faster
            asyncio.run(unlock(store_in(root), "my-app/prod", token=token))
        newcomer.join(10)
        assert len(opened) == 1, turn
        assert store_in(root).read_fold("my-app/prod").released


class Overtaken(Files):
    """An unlock opens the next epoch between the look and the claim of whoever has the lock by now."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.claims: list[str] = []

    def create(self, path: Path, data: bytes) -> int:
        if path.name == "000002.jsonl" and not self.claims:
            self.claims.append(path.name)
            store, scope = store_in(path.parents[2].parent), ScopePath.parse("my-app/prod")
            journal = store.open_journal(
                scope,
                holder=lambda epoch: make_holder(store, scope, epoch, "unlock"),
                ops=lambda fold: (),
                body={"unlock": {"reason": "runner gone"}},
                seen=1,
            )
            journal.close({"scope": str(scope), "outcome": "unlocked", "counts": {}, "failures": []})
        return super().create(path, data)


def test_a_newcomer_that_meets_the_epoch_of_an_unlock_opens_after_it(tmp_path: Path) -> None:
    root = tmp_path / ".alchemy"
    with actor_in(root) as dead:
        dead.open("my-app/prod")
        dead.kill()
    files = Overtaken(root)
    newcomer = LocalStore(Layout(root), "5e55" * 8, files)
    ledger = asyncio.run(open_ledger(newcomer, "my-app/prod"))
    assert files.claims
    assert (ledger.epoch, ledger.failure) == (3, None)
    ledger.close(outcome="done", counts={}, failures=[])
