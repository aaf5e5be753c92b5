"""A process that forks deploys which die at their k-th file operation. Orders come as lines of JSON, answers too.

An order is the environment of `program.py` and `die_at` (-1: live on); the answer has the exit code and the number
of places where it could have died. Neighbours: `test_every_step.py` gives the orders.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

from alchemy.engine.blocks import Opening
from alchemy.engine.entering import open_owner
from alchemy.engine.session import Session
from alchemy.model.values import ScopeKind
from alchemy.settings import Options
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from alchemy.store.store import Store
from tests.crash import mending, program
from tests.crash.runs import CORE, PROD

DEAD = -signal.SIGKILL


class Dying(Files):
    """Dies before each operation that changes something, in the middle of each write and after it."""

    def __init__(self, die_at: int) -> None:
        self.die_at = die_at
        self.places = 0
        self._lock = threading.Lock()

    def _place(self) -> None:
        with self._lock:
            if self.places == self.die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            self.places += 1

    def make_directory(self, path: Path, *, durable: bool = True) -> None:
        if not path.is_dir():
            self._place()
        super().make_directory(path, durable=durable)

    def create(self, path: Path, data: bytes) -> int:
        self._place()
        return super().create(path, data)

    def append(self, descriptor: int, data: bytes, path: Path) -> None:
        self._place()
        half = len(data) // 2
        super().append(descriptor, data[:half], path)
        self._place()
        super().append(descriptor, data[half:], path)
        self._place()

    def sync(self, descriptor: int, path: Path) -> None:
        self._place()
        super().sync(descriptor, path)

    def sync_directory(self, directory: Path) -> None:
        self._place()
        super().sync_directory(directory)

    def exists(self, path: Path) -> bool:
        self._place()
        return super().exists(path)

    def replace(self, path: Path, data: bytes, *, durable: bool = False) -> None:
        self._place()
        super().replace(path, data, durable=durable)

    def move(self, path: Path, name: str) -> None:
        self._place()
        super().move(path, name)

    def remove(self, path: Path) -> None:
        self._place()
        super().remove(path)


def no_cloud(store: Store, options: Options) -> NoReturn:
    raise AssertionError("these kinds talk to their own server")


async def deploy(files: Files) -> None:
    options = Options(retry_delay=0.02, destroy_strategy=os.environ.get("ITEMS_STRATEGY", "parallel"))
    root = Path(os.environ["ALCHEMY_STATE_DIR"])
    store = LocalStore(Layout(root), os.urandom(16).hex(), files)
    session = Session(store, os.environ.get("ITEMS_PHASE", "up"), options, no_cloud, None, "our own server")
    try:
        async with Opening(lambda: open_owner(session, PROD, ScopeKind.STAGE, options)):
            await program.declare()
    finally:
        for each in program._clients:
            await each.aclose()


def run(order: dict[str, Any], answer: int) -> NoReturn:
    """In the forked child."""
    code = 1
    files = Dying(order.pop("die_at"))
    act = order.pop("act")
    try:
        os.environ.update(order)
        asyncio.run(mending.ACTS[act](files) if act else deploy(files))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os.write(answer, str(files.places).encode())
        os._exit(code)


def main() -> None:
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            run(json.loads(line), writing)
        os.close(writing)
        with open(reading) as pipe:
            places = pipe.read()
        _, status = os.waitpid(child, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status), "places": int(places or 0)}), flush=True)


class Stepper:
    """Gives the orders."""

    def __init__(self, directory: Path) -> None:
        self.errors = directory / "stepping.err"
        environment = {**os.environ, "PYTHONPATH": f"{CORE}{os.pathsep}{CORE.parent}"}
        with open(self.errors, "wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.stepping"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def deploy(
        self, root: Path, url: str, *, die_at: int = -1, phase: str = "up", act: str = "", **settings: str
    ) -> tuple[int, int]:
        """(exit code, places where it could have died). `act`: one of `mending` instead of a deploy."""
        order: dict[str, Any] = {"ALCHEMY_STATE_DIR": str(root), "ITEMS_URL": url, "ITEMS_PHASE": phase, "act": act}
        order |= {f"ITEMS_{name.upper()}": value for name, value in settings.items()}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**order, "die_at": die_at}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self.errors.read_text()
        answer = json.loads(line)
        return answer["code"], answer["places"]

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait(10)


if __name__ == "__main__":
    main()
