"""Forks migrations, moves and rekeys that die at their k-th file operation. Orders come as lines of JSON, answers too.

An order has root, source, into ("" moves the directory `source` to `root`, ROTATE makes another key below `root`, RING
the first) and `die_at` (-1: live on); the answer has the exit code and the number of places where it could have died.
Neighbours: `test_migrating.py`, `test_moving.py` and `test_rekeying.py` give the orders.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from alchemy.model.paths import ScopePath
from alchemy.operations.migrating import migrate, prepare
from alchemy.operations.moving import move_state, prepare_move
from alchemy.operations.rekeying import rekey
from alchemy.settings import Options
from alchemy.store.files import Files
from alchemy.store.keyfiles import open_or_create_ring
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from tests.crash.stepping import Dying
from tests.operations.trees import PASSWORD

ROTATE, RING = "/rotate", "/ring"


def migration(root: Path, source: Path, into: str, files: Files, password: str | None = PASSWORD) -> str:
    """As the command line does it."""
    store, options = LocalStore(Layout(root), os.urandom(16).hex(), files), Options()
    found = prepare(store, source, ScopePath.parse(into), options)
    return asyncio.run(migrate(store, found, options, source_password=password, password=password))


def move(source: Path, target: Path, files: Files) -> None:
    """Both sides through the same layer."""
    stores = [LocalStore(Layout(root), os.urandom(16).hex(), files) for root in (source, target)]
    asyncio.run(move_state(prepare_move(*stores), Options(), told=lambda text: None))


def rotate(root: Path, files: Files) -> None:
    """Another key for everything, as the command line does it."""
    store = LocalStore(Layout(root), os.urandom(16).hex(), files)
    asyncio.run(rekey(store, "shop", Options(), password=PASSWORD, rotate=True))


def run(order: dict[str, Any], answer: int) -> NoReturn:
    """In the forked child."""
    code, files = 1, Dying(order["die_at"])
    try:
        if order["into"] == RING:
            store = LocalStore(Layout(Path(order["root"])), os.urandom(16).hex(), files)
            open_or_create_ring(store, "shop", PASSWORD)
        elif order["into"] == ROTATE:
            rotate(Path(order["root"]), files)
        elif order["into"]:
            migration(Path(order["root"]), Path(order["source"]), order["into"], files)
        else:
            move(Path(order["source"]), Path(order["root"]), files)
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


class Mortal:
    """Gives the orders. `into` "" moves."""

    def __init__(self, errors: Path) -> None:
        self.errors = errors
        repository = Path(__file__).parents[2]
        path = os.pathsep.join([str(repository / "core"), str(repository)])
        with open(errors, "wb") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.operations.dying"],
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
            )

    def migrate(self, root: Path, source: Path, into: str = "shop/prod", die_at: int = -1) -> tuple[int, int]:
        """(exit code, places where it could have died)."""
        order = {"root": str(root), "source": str(source), "into": into, "die_at": die_at}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
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
