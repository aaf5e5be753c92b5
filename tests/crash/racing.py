"""Many processes that open, write and give back overlapping scopes of one local store; some are killed, others follow.

Run as a program with the state directory, the log, how many acknowledgements are wanted, the number of processes at
once, `locks` or `no-locks`, and a seed. The log has a line each for `begin`, `ack` and `end` in the order in which they
happened, and `dying` before a kill. Neighbours: `test_races.py` reads it.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import random
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from alchemy.errors import Fenced, LockHeld
from alchemy.model.paths import ScopePath
from alchemy.model.records import Op, Put
from alchemy.model.values import ScopeKind, Status
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from tests.model.rows import row

KILLS = 10
PATIENCE = 40.0

# the scope that owns the journal, what is named in the lock as well, and its kind
SCOPES = [
    ("app", "app", ScopeKind.APPLICATION),
    ("app/prod", "app/prod", ScopeKind.STAGE),
    ("app/prod", "app/prod/database", ScopeKind.STAGE),
    ("app/dev", "app/dev", ScopeKind.STAGE),
    ("app/qa", "app/qa", ScopeKind.STAGE),
    ("other/prod", "other/prod", ScopeKind.STAGE),
]


class Racer:
    """One process: a row of its own in each journal it writes, with a number that only rises."""

    def __init__(self, root: Path, log: int, number: int, locking: bool, dice: random.Random) -> None:
        self._root = root
        self._log = log
        self._number = number
        self._locking = locking
        self._dice = dice
        self._count = 0

    def say(self, what: str) -> None:
        os.write(self._log, f"{what}\n".encode())

    async def race(self, over: mmap.mmap) -> None:
        while not over[0]:
            owner, named, kind = self._dice.choice(SCOPES)
            with suppress(LockHeld, Fenced):
                await self._hold(ScopePath.parse(owner), ScopePath.parse(named), kind)
            await asyncio.sleep(self._dice.uniform(0, 0.05))

    async def _hold(self, owner: ScopePath, named: ScopePath, kind: ScopeKind) -> None:
        store = LocalStore(Layout(self._root), os.urandom(16).hex(), Files(self._root))
        ledger = await Ledger.open(
            store, owner, kind, purpose="race", timeout=20, lock_path=named, locking=self._locking
        )
        self.say(f"begin {self._number} {owner} {ledger.epoch}")
        try:
            for _ in range(self._dice.randint(1, 3)):
                self._count += 1
                await ledger.intend([self._op(owner)])
                self.say(f"ack {self._number} {owner} {self._count}")
                await asyncio.sleep(self._dice.uniform(0, 0.004))
        finally:
            self.say(f"end {self._number} {owner}")
            ledger.close(outcome="done", counts={}, failures=[])

    def _op(self, owner: ScopePath) -> Op:
        address = f"{owner}/r{self._number}"
        return Put(row(address, status=Status.CREATING, outputs={"count": self._count}), "intent", "create")


def run(racer: Racer, over: mmap.mmap) -> NoReturn:
    """In the forked child."""
    code = 1
    try:
        asyncio.run(racer.race(over))
        code = 0
    except BaseException:
        racer.say(f"failed {racer._number} {traceback.format_exc()!r}")
    finally:
        os._exit(code)


def main(root: Path, log_file: Path, wanted: int, most: int, locking: bool, seed: str) -> None:
    """Until so much was acknowledged and KILLS were killed, for PATIENCE seconds at the longest."""
    dice = random.Random(seed)
    log = os.open(log_file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    over = mmap.mmap(-1, 1)  # shared with the children
    until = time.monotonic() + PATIENCE
    children: dict[int, int] = {}
    killed = 0

    def start(number: int) -> None:
        child = os.fork()
        if not child:
            run(Racer(root, log, number, locking, random.Random(f"{seed}:{number}")), over)
        children[child] = number

    for number in range(most):
        start(number)
    while time.monotonic() < until and (killed < KILLS or log_file.read_bytes().count(b"ack ") < wanted):
        time.sleep(dice.uniform(0.02, 0.1))
        child = dice.choice(list(children))
        os.write(log, f"dying {children.pop(child)}\n".encode())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        start(most + killed)
        killed += 1
    over[0] = 1
    for child in children:
        os.waitpid(child, 0)
    os.write(log, b"over\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "locks", sys.argv[6])
