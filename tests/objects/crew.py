"""Many processes that deploy to overlapping scopes of one bucket: arguments are the endpoint, a folder and how many.

Each takes a lock at random, opens the journals below it, writes rows, releases, again and again; it notes what it does
in one file, a line at a time. Orders on standard input: `kill N`, `stop N`, `go N`, `end`. Forked from one that has
loaded the library but not used it, since so many interpreters take longer than the whole race.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import obstore.store  # noqa: F401 - loaded once, before the forks

from alchemy.errors import AlchemyError, Fenced, LockHeld
from alchemy.model.paths import ScopePath
from alchemy.model.records import Put
from alchemy.model.values import ScopeKind
from alchemy.store.ledger import Ledger
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.store import ObjectStore
from tests.model import rows
from tests.objects.buckets import bucket_at

LIMITS = Limits(heartbeat=0.4, lease=5.0, give_up=3.0, gap=0.02, pause=0.02, poll=0.1, longest_poll=0.6)
STAGES = [ScopePath.parse(f"app/{name}") for name in ("prod", "dev", "qa")]
WHOLE = ScopePath.parse("app")
NESTED = ScopePath.parse("app/prod/database")


class Worker:
    def __init__(self, endpoint: str, folder: Path, number: int, ended: Callable[[], bool]) -> None:
        self.number = number
        self.folder = folder
        self.endpoint = endpoint
        self.ended = ended
        self.dice = random.Random(number)
        self.notes = os.open(folder / "notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.made = 0

    def note(self, *words: object) -> None:
        """One write: lines of several processes never mix."""
        os.write(self.notes, (" ".join(map(str, (self.number, *words))) + "\n").encode())

    def work(self) -> None:
        objects, beats = (bucket_at(self.endpoint, timeout=20.0) for _ in range(2))
        while not self.ended():
            session = os.urandom(16).hex()
            store = ObjectStore(objects, self.folder / str(self.number), session, beats=beats, limits=LIMITS)
            try:
                asyncio.run(self.deploy(store))
            except LockHeld:
                continue
            except Fenced:
                self.note("fenced")
            except AlchemyError as error:
                self.note("failed", repr(error.message))

    async def deploy(self, store: ObjectStore) -> None:
        wanted = self.dice.choice([*STAGES, *STAGES, NESTED, WHOLE])
        owner = ScopePath(wanted.parts[:2]) if wanted == NESTED else None
        lease = await store.acquire(wanted, owner=owner, timeout=8.0)
        paths = STAGES if wanted == WHOLE else [owner or wanted]
        self.note("begin", wanted)
        try:
            for path in paths:
                ledger = await Ledger.open(store, path, ScopeKind.STAGE, purpose="deploy", timeout=1.0, locking=False)
                for _ in range(self.dice.randint(1, 3)):
                    self.made += 1
                    address = f"{path}/r{self.number}-{self.made}"
                    await ledger.intend([Put(rows.row(address))])
                    self.note("ack", path, ledger.epoch, address)
                    await asyncio.sleep(self.dice.random() * 0.02)
                ledger.close(outcome="done", counts={}, failures=[])
        finally:
            self.note("end", wanted)
            lease.release()


def main() -> None:
    endpoint, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    flag = folder / "ended"
    notes = os.open(folder / "notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    pids: dict[int, int] = {}

    def start(number: int) -> None:
        pids[number] = os.fork()
        if pids[number] == 0:
            with suppress(BaseException):
                Worker(endpoint, folder, number, flag.exists).work()
                os._exit(0)
            os._exit(1)

    for number in range(count):
        start(number)
    for line in sys.stdin:
        verb, _, number_text = line.strip().partition(" ")
        if verb == "end":
            break
        number = int(number_text)
        os.write(notes, f"{number} {verb}\n".encode())
        match verb:
            case "kill":
                pid = pids.pop(number)
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                start(number + 1000)
            case "stop":
                os.kill(pids[number], signal.SIGSTOP)
            case "go":
                os.kill(pids[number], signal.SIGCONT)
    flag.touch()
    end = time.monotonic() + 3.0
    for number, pid in pids.items():  # who still waits for a lock is not waited for
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.write(notes, f"{number} kill\n".encode())
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                break
            time.sleep(0.02)


if __name__ == "__main__":
    main()
