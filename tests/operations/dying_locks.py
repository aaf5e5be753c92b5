"""Forks commands on locks that die at their k-th file operation, and the processes around them. Run as a program it
takes orders, a line of JSON each; `Theatre` gives them and `test_dying_locks.py` says which."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from alchemy.errors import AlchemyError, Fenced
from alchemy.model.records import Put
from alchemy.model.values import Status
from alchemy.operations.holding import hold
from alchemy.operations.recovering import recover
from alchemy.operations.unlocking import unlock
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from tests.crash.stepping import Dying
from tests.operations.actor import CORE, open_ledger, row  # type: ignore[attr-defined]

PROD = "my-app/prod"


def act(store: LocalStore, what: str, given: dict[str, Any]) -> None:
    """The command that dies."""
    if what == "unlock":
        asyncio.run(unlock(store, PROD, **given))
    elif what == "hold":
        asyncio.run(hold(store, PROD, **given))
    elif what == "recover":
        asyncio.run(recover(store, **given))
    else:
        asyncio.run(deploy(store, what))


async def deploy(store: LocalStore, id: str) -> None:
    ledger = await open_ledger(store, PROD, timeout=5.0)
    if id:
        await ledger.intend([Put(row(f"{PROD}/{id}", run=ledger.run), "result", "create")])
    ledger.close(outcome="done", counts={}, failures=[])


class Holder:
    """A child that has opened the stage and announced a call; `write` is one more, told as ok or Fenced."""

    def __init__(self, root: Path) -> None:
        (reading, self._say), (self._hear, writing) = os.pipe(), os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                self._live(root, reading, writing)
            finally:
                os._exit(0)
        os.close(reading)
        os.close(writing)
        self.token = self._answer()

    def _answer(self) -> str:
        ready, _, _ = select.select([self._hear], [], [], 20)
        assert ready, "the holder does not answer"
        return os.read(self._hear, 100).decode()

    def _live(self, root: Path, reading: int, writing: int) -> None:
        store = LocalStore(Layout(root), os.urandom(16).hex())

        async def opened() -> Ledger:
            ledger = await open_ledger(store, PROD)
            await ledger.intend([Put(row(f"{PROD}/db", Status.CREATING, run=ledger.run), "intent", "create")])
            return ledger

        ledger = asyncio.run(opened())
        os.write(writing, f"{ledger.epoch}-{store.session[:4]}".encode())
        while os.read(reading, 1):
            ledger.record([Put(row(f"{PROD}/db", run=ledger.run), "result", "create")])
            try:
                asyncio.run(ledger.flush())
                said = "ok"
            except Fenced:
                said = "Fenced"
            os.write(writing, said.encode())

    def write(self) -> str:
        os.write(self._say, b"w")
        return self._answer()

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._say)
        os.close(self._hear)


def forked(root: Path, what: str, given: dict[str, Any], die_at: int) -> tuple[int, int]:
    """(exit code, places where it could have died) of a child."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _run(root, what, given, die_at, writing)
    os.close(writing)
    with open(reading) as pipe:
        places = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), int(places or 0)


def _run(root: Path, what: str, given: dict[str, Any], die_at: int, answer: int) -> NoReturn:
    code = 1
    files: Files = Dying(die_at)
    try:
        act(LocalStore(Layout(root), os.urandom(16).hex(), files), what, given)
        code = 0
    except AlchemyError as error:
        code = error.exit_code
        print(f"{what} {given} at {die_at}: {error.message}", file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        os.write(answer, str(getattr(files, "places", 0)).encode())
        os._exit(code)


def main() -> None:
    holders: dict[str, Holder] = {}
    for line in sys.stdin:
        order = json.loads(line)
        root, do = Path(order["root"]), order["do"]
        answer: dict[str, Any] = {}
        if do == "hold open":
            holders[str(root)] = Holder(root)
            answer["token"] = holders[str(root)].token
        elif do == "write":
            answer["said"] = holders[str(root)].write()
        elif do == "kill":
            holders.pop(str(root)).kill()
        else:
            answer["code"], answer["places"] = forked(root, order["what"], order["given"], order["die_at"])
        print(json.dumps(answer), flush=True)


class Theatre:
    """Gives the orders."""

    def __init__(self, directory: Path) -> None:
        self.errors = directory / "dying.err"
        with open(self.errors, "wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.operations.dying_locks"],
                env={**os.environ, "PYTHONPATH": f"{CORE}{os.pathsep}{CORE.parent}"},
                cwd=CORE.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def _ask(self, root: Path, do: str, **more: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"root": str(root), "do": do, **more}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self.errors.read_text()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def hold_open(self, root: Path) -> str:
        """The token of a holder that has announced the creation of `db`."""
        token: str = self._ask(root, "hold open")["token"]
        return token

    def write(self, root: Path) -> str:
        """What the holder's next write comes to: ok or Fenced."""
        said: str = self._ask(root, "write")["said"]
        return said

    def kill(self, root: Path) -> None:
        self._ask(root, "kill")

    def run(self, root: Path, what: str, *, die_at: int = -1, **given: Any) -> tuple[int, int]:
        """(exit code, places). `what`: unlock, hold, recover, or a deploy of the resource of that id."""
        answer = self._ask(root, "run", what=what, given=given, die_at=die_at)
        return answer["code"], answer["places"]

    def do(self, root: Path, what: str, **given: Any) -> None:
        """What must go well."""
        code, _ = self.run(root, what, **given)
        assert code == 0, self.errors.read_text()

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait(10)


if __name__ == "__main__":
    main()
