"""The ways out that nothing waits on: the end of the interpreter, a second Ctrl-C, a cancelled opening."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from alchemy.model.records import Put
from alchemy.model.values import ScopeKind
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.port import Listed
from alchemy.store.objects.store import ObjectStore
from alchemy.testing.objects import MemoryObjects
from tests.crash.test_power_cut import PATH, row

FULL = """
import asyncio, os, resource, signal
from alchemy import Resource, alchemy, output
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

class Topic(Resource, kind="acme:Topic"):
    arn: str = output()
    async def create(self, ctx):
        journal = os.path.join(".alchemy", "my-app", "prod", "journal", "000001.jsonl")
        size = os.stat(journal).st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        return {"arn": "arn:one"}
    async def read(self, ctx): return None
    async def delete(self, ctx): pass

async def main():
    await alchemy("my-app", stage="prod")
    await Topic("one")
    await asyncio.sleep(0.5)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_program_that_never_finalizes_fails_when_its_state_could_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(FULL)
    core = Path(__file__).parents[2] / "core"
    environment = {**os.environ, "PYTHONPATH": str(core), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "alchemy scope recover" in done.stderr
    (spill,) = (tmp_path / ".alchemy" / "spill").iterdir()
    assert "arn:one" in spill.read_text()


class Stuck(Files):
    """A disk that does not answer once `stuck`, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = False
        self.reached, self.go_on = threading.Event(), threading.Event()

    def sync(self, descriptor: int, path: Path) -> None:
        if self.stuck and path.suffix == ".jsonl":
            self.reached.set()
            assert self.go_on.wait(30)
        super().sync(descriptor, path)


def test_what_the_cloud_said_is_put_aside_when_nobody_waits_for_the_disk(tmp_path: Path) -> None:
    async def run() -> None:
        files = Stuck()
        ledger = await Ledger.open(
            LocalStore(Layout(tmp_path), "a" * 32, files), PATH, ScopeKind.STAGE, purpose="deploy", timeout=0
        )
        files.stuck = True
        ledger.record([Put(row("one"), "result", "create")])
        assert await asyncio.to_thread(files.reached.wait, 30)
        ledger.record([Put(row("two"), "result", "create")])
        hint = ledger.rescue("left in a hurry")
        assert "alchemy scope recover" in hint
        (spill,) = (tmp_path / "spill").iterdir()
        rows = [op["row"]["address"] for op in json.loads(spill.read_bytes())["ops"]]
        assert rows == [f"{PATH}/one", f"{PATH}/two"]
        files.go_on.set()
        ledger.close(outcome="done", counts={}, failures=[])

    asyncio.run(run())


class Late(MemoryObjects):
    """A bucket whose lists come late, once it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.late = False
        self.asked, self.go_on = threading.Event(), threading.Event()

    def list(self, prefix: str, *, after: str = "") -> Sequence[Listed]:
        if self.late and "/journal/" in prefix:
            self.asked.set()
            assert self.go_on.wait(30)
        return super().list(prefix, after=after)


def test_whoever_is_interrupted_while_a_bucket_opens_opens_nothing(tmp_path: Path) -> None:
    objects = Late()

    def store(session: str) -> ObjectStore:
        return ObjectStore(objects, tmp_path, session * 32, limits=Limits(gap=0.0))

    async def run() -> None:
        objects.late = True
        opening = asyncio.create_task(Ledger.open(store("a"), PATH, ScopeKind.STAGE, purpose="deploy", timeout=5))
        assert await asyncio.to_thread(objects.asked.wait, 30)
        opening.cancel()
        await asyncio.sleep(0.05)
        assert not opening.done(), "the thread is still at it: the lock must not be given back yet"
        objects.late = False
        objects.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await opening
        ledger = await Ledger.open(store("b"), PATH, ScopeKind.STAGE, purpose="deploy", timeout=5)
        assert ledger.epoch == 1, "nobody opened anything before"
        ledger.close(outcome="done", counts={}, failures=[])

    asyncio.run(run())
