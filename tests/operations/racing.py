"""Many processes that deploy one stage, stop in the middle, and unlock each other by force, all at once. Run as a
program it races in the directory given and prints one line of JSON; `test_lock_races.py` starts it.

Each notes in one log what it was promised: `ack`, `fenced`, `asked` before it unlocks, `unlocked`, `failed`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from alchemy.errors import Fenced, LockHeld, Refused
from alchemy.model.locks import Verdict
from alchemy.model.records import Put
from alchemy.operations.unlocking import unlock
from alchemy.operations.verdicts import explain
from alchemy.store.ledger import Ledger
from tests.operations.actor import open_ledger, row, store_in

PROD = "race/prod"


class Racer:
    def __init__(self, root: Path, number: int, seconds: float, seed: str) -> None:
        self.root = root
        self.number = number
        self.dice = random.Random(f"{seed}:{number}")
        self.end = time.monotonic() + seconds
        self.log = os.open(root.parent / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, *words: object) -> None:
        os.write(self.log, (" ".join(map(str, words)) + "\n").encode())  # one write: lines never mix

    async def deploy(self) -> None:
        turn = 0
        while time.monotonic() < self.end:
            turn += 1
            store = store_in(self.root)
            try:
                ledger = await open_ledger(store, PROD, timeout=30.0)
            except Fenced as error:
                self.note("failed", "fenced before it began:", error.message)
                continue
            token = f"{ledger.epoch}-{store.session[:4]}"
            try:
                await self.work(ledger, token, turn)
                ledger.close(outcome="done", counts={}, failures=[])
            except Fenced:
                self.note("fenced", token)
                with suppress(Fenced):
                    ledger.close(outcome="failed", counts={}, failures=[])

    async def work(self, ledger: Ledger, token: str, turn: int) -> None:
        self.note("open", token)
        for step in range(self.dice.randint(1, 3)):
            address = f"{PROD}/r{self.number}-{turn}-{step}"
            await ledger.intend([Put(row(address, run=ledger.run))])
            self.note("ack", token, address)
            if self.dice.random() < 0.3:
                os.kill(os.getpid(), signal.SIGSTOP)  # whoever started the race wakes it after a while

    async def force(self) -> None:
        store = store_in(self.root)
        while time.monotonic() < self.end:
            view = explain(store, PROD)
            if view.verdict in (Verdict.FREE, Verdict.HELD) or view.holder is None:
                await asyncio.sleep(0.01)
                continue
            await asyncio.sleep(self.dice.choice((0, 0.002, 0.02)))
            self.note("asked", view.token)
            try:
                report = await unlock(store, PROD, token=view.token, force=True, reason=f"by {self.number}")
                self.note("unlocked" if report.outcome == "unlocked" else "free", view.token)
            except Refused:
                self.note("refused", view.token)

    def run(self, forcing: bool) -> int:
        try:
            asyncio.run(self.force() if forcing else self.deploy())
        except LockHeld as error:
            self.note("failed", "LockHeld", error.message)
            return 1
        except BaseException as error:
            self.note("failed", repr(error))
            return 1
        return 0


def main(root: Path, many: int, seconds: float, seed: str) -> None:
    asyncio.run(_first(root))
    children = []
    for number in range(many):
        child = os.fork()
        if not child:
            os._exit(Racer(root, number, seconds, seed).run(forcing=number % 4 == 0))
        children.append(child)
    codes = []
    while children:
        time.sleep(0.05)
        for child in list(children):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                children.remove(child)
                codes.append(os.waitstatus_to_exitcode(status))
            elif random.random() < 0.3:
                os.kill(child, signal.SIGCONT)
    print(json.dumps(codes))


async def _first(root: Path) -> None:
    (await open_ledger(store_in(root), PROD)).close(outcome="done", counts={}, failures=[])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
