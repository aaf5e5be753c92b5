"""A process that forks restores which die at their k-th file operation. Orders come as lines of JSON, answers too.

Neighbour: `test_restore_every_step.py` gives the orders.
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

from alchemy.operations.restoring import restore
from alchemy.operations.shapes import RestoreReport
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from tests.crash.runs import CORE
from tests.crash.stepping import Dying


def go_back(root: Path, scope: str, file: str, files: Files | None = None) -> RestoreReport:
    """As the command line does it with --force."""
    store = LocalStore(Layout(root), os.urandom(16).hex(), files or Files())
    return asyncio.run(restore(store, scope, file, timeout=5.0, over_damage=True))


def run(order: dict[str, Any], answer: int) -> NoReturn:
    """In the forked child."""
    code, files = 1, Dying(order["die_at"])
    try:
        go_back(Path(order["root"]), order["scope"], order["file"], files)
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


class Returner:
    """Gives the orders."""

    def __init__(self, directory: Path) -> None:
        self.errors = directory / "returning.err"
        environment = {**os.environ, "PYTHONPATH": f"{CORE}{os.pathsep}{CORE.parent}"}
        with open(self.errors, "wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.returning"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def restore(self, root: Path, scope: str, file: str, die_at: int = -1) -> tuple[int, int]:
        """(exit code, places where it could have died)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"root": str(root), "scope": scope, "file": file, "die_at": die_at}
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
