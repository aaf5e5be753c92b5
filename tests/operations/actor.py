"""A second process that opens scopes, writes, unlocks and reserves: run as a program it takes orders, a line of JSON
each; `Actor` gives them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alchemy.errors import AlchemyError
from alchemy.model.paths import ScopePath
from alchemy.model.records import Put
from alchemy.model.values import ResourceState, ScopeKind, Status
from alchemy.operations.holding import hold
from alchemy.operations.unlocking import unlock
from alchemy.store.layout import Layout
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from tests.store.lock_peer import CORE, Peer

KINDS = {1: ScopeKind.APPLICATION, 2: ScopeKind.STAGE, 3: ScopeKind.TEST}


def store_in(root: Path, session: str = "") -> LocalStore:
    return LocalStore(Layout(root), session or os.urandom(16).hex())


def row(address: str, status: Status = Status.READY, **changed: Any) -> ResourceState:
    known: dict[str, Any] = {
        "address": address,
        "kind": "test:Lamp",
        "status": status,
        "physical_name": address.replace("/", "-"),
        "token": f"token of {address}",
        "props": {},
        "props_hash": "",
        "outputs": {} if status is Status.CREATING else {"id": f"id of {address}"},
    }
    return ResourceState(**{**known, **changed})


async def open_ledger(store: LocalStore, path: str, *, purpose: str = "deploy", **given: Any) -> Ledger:
    scope = ScopePath.parse(path)
    kind = KINDS[len(scope.parts)]
    store.prepare()
    return await Ledger.open(store, scope, kind, purpose=purpose, **{"timeout": 0.0, **given})


class Actor(Peer):
    """The other end: a real process with a session of its own below `root`."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{CORE}{os.pathsep}{CORE.parent}"},
        )
        self.pid = self._process.pid

    def open(self, path: str, **given: Any) -> str:
        """The token of its run."""
        answer = self.ask("open", path=path, **given)
        assert "token" in answer, answer
        token: str = answer["token"]
        return token


@contextmanager
def actor_in(root: Path) -> Iterator[Actor]:
    actor = Actor(root)
    try:
        yield actor
    finally:
        actor.close()


class _Program:
    def __init__(self, root: Path) -> None:
        self.store = store_in(root)
        self.ledgers: dict[str, Ledger] = {}

    async def do(self, order: dict[str, Any]) -> dict[str, Any]:
        match order.pop("do"):
            case "open":
                held = [ScopePath.parse(path) for path in self.ledgers]
                if nested := order.pop("lock_path", ""):
                    order["lock_path"] = ScopePath.parse(nested)
                ledger = await open_ledger(self.store, held=held, **order)
                self.ledgers[order["path"]] = ledger
                return {"token": f"{ledger.epoch}-{self.store.session[:4]}", "session": self.store.session}
            case "intend":  # a call is announced
                at = order["path"]
                announced = row(f"{at}/{order['id']}", Status.CREATING, run=self.ledgers[at].run)
                await self.ledgers[at].intend([Put(announced, "intent", "create")])
            case "record":  # and answered
                at = order["path"]
                answered = row(f"{at}/{order['id']}", run=self.ledgers[at].run)
                self.ledgers[at].record([Put(answered, "result", "create")])
                if order.get("flush", True):
                    await self.ledgers[at].flush()
            case "close":
                self.ledgers.pop(order["path"]).close(outcome="done", counts={}, failures=[])
            case "unlock":
                report = await unlock(self.store, **order)
                return {
                    "outcome": report.outcome,
                    "freed": list(report.freed),
                    "fenced": [list(f) for f in report.fenced],
                }
            case "hold":
                view = await hold(self.store, **order)
                return {"token": view.token, "verdict": str(view.verdict)}
            case other:
                raise ValueError(other)
        return {"ok": True}


def main() -> None:
    program = _Program(Path(sys.argv[1]))
    for line in sys.stdin:
        try:
            answer = asyncio.run(program.do(json.loads(line)))
        except AlchemyError as error:
            answer = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
