"""A second process for tests of locks: run as a program it takes orders, a line of JSON each; `Peer` gives them."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import portalocker  # noqa: F401  # before `acquire_as_nobody` gives up the right to read it

from alchemy.errors import AlchemyError, LockHeld, UsageError
from alchemy.model.locks import LockView, Verdict
from alchemy.model.paths import ScopePath
from alchemy.model.values import Holder
from alchemy.store import identity
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.holders import lock_view
from alchemy.store.layout import Layout
from alchemy.store.locks import Lease, LocalLocks

CORE = Path(__file__).parents[2] / "core"


def locks_in(root: Path) -> LocalLocks:
    return LocalLocks(Layout(root), Files(), Clock())


def p(text: str) -> ScopePath:
    return ScopePath.parse(text)


def holder(path: str, epoch: int = 1, **changed: Any) -> Holder:
    """What this process would say of itself."""
    pid = os.getpid()
    known: dict[str, Any] = {
        "path": path,
        "epoch": epoch,
        "session": f"{pid:032x}",
        "pid": pid,
        "process_start": identity.process_start(pid),
        "boot_id": identity.boot_id(),
        "host": identity.host(),
        "user": "ana",
        "command": "alchemy deploy",
        "since": Clock().now(),
        "purpose": "deploy",
    }
    return Holder(**{**known, **changed})


def take(root: Path, path: str, timeout: float = 0.0, owner: str = "", held: tuple[str, ...] = ()) -> Lease:
    wanted = locks_in(root).acquire(
        p(path), timeout=timeout, owner=p(owner) if owner else None, held=[p(other) for other in held]
    )
    return asyncio.run(wanted)


def refused(root: Path, path: str, timeout: float = 0.0, owner: str = "") -> LockHeld:
    try:
        lease = take(root, path, timeout, owner)
    except LockHeld as error:
        return error
    lease.release()
    raise AssertionError(f"{path} was granted")


def record(of: Holder) -> bytes:
    return json.dumps(of.to_json()).encode()


def view_of(root: Path, path: str) -> LockView:
    return lock_view(Layout(root), Files(), path, clock=Clock())


def verdict(root: Path, path: str) -> Verdict:
    return view_of(root, path).verdict


def eventually(holds: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Looks again and again until `holds()` or the time is up."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


class Peer:
    """The other end: a real process below `root`."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(CORE)},
        )
        self.pid = self._process.pid

    def send(self, order: str, **given: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": order, **given}) + "\n")
        self._process.stdin.flush()

    def reply(self, seconds: float = 20.0) -> dict[str, Any]:
        out = self._process.stdout
        assert out
        ready, _, _ = select.select([out], [], [], seconds)
        assert ready, "the other process does not answer"
        answer: dict[str, Any] = json.loads(out.readline())
        return answer

    def ask(self, order: str, **given: Any) -> dict[str, Any]:
        self.send(order, **given)
        return self.reply()

    def hold(self, path: str, **given: Any) -> None:
        assert self.ask("acquire", path=path, **given) == {"ok": True}

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self._process.kill()  # also ends a stopped one
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()
        self._process.wait()


@contextmanager
def peer_in(root: Path) -> Iterator[Peer]:
    peer = Peer(root)
    try:
        yield peer
    finally:
        peer.close()


class _Program:
    def __init__(self, root: Path) -> None:
        self.locks = locks_in(root)
        self.leases: list[Lease] = []

    def do(self, order: dict[str, Any]) -> dict[str, Any]:
        match order.pop("do"):
            case "acquire":
                return self.acquire(**order)
            case "now":
                return self.now(**order)
            case "publish":
                self.leases[-1].publish(holder("", **order))
            case "release":
                self.leases.pop().release()
            case "fork":  # a child that does nothing but live, and says how many descriptors below the root it has
                return self.fork(release=order["release"])
            case "fork_unseen":  # as a library written in C does: no hook of Python runs
                return {"pid": self.fork_unseen()}
            case "publish_in_child":
                return {"child": self.publish_in_child()}
            case "acquire_as_nobody":
                if os.geteuid() == 0:
                    os.seteuid(65534)
                return self.acquire(**order)
            case "spawn":  # a program started with every descriptor that may be inherited
                return {"pid": subprocess.Popen(["sleep", "60"], close_fds=False).pid}
            case "hammer":
                return self.hammer(**order)
            case other:
                raise ValueError(other)
        return {"ok": True}

    def acquire(self, path: str, timeout: float = 0.0, owner: str = "", record: bool = True) -> dict[str, Any]:
        told: list[str] = []
        wanted = self.locks.acquire(
            p(path), timeout=timeout, owner=p(owner) if owner else None, held=self.held(), waiting=told.append
        )
        lease = asyncio.run(wanted)
        if record:
            lease.publish(holder(path))
        self.leases.append(lease)
        return {"ok": True, "told": told} if told else {"ok": True}

    def now(self, path: str, owner: str = "") -> dict[str, Any]:
        lease = self.locks.acquire_now(p(path), owner=p(owner) if owner else None, held=self.held())
        if lease:
            self.leases.append(lease)
        return {"ok": lease is not None}

    def held(self) -> list[ScopePath]:
        return [path for lease in self.leases for path in lease.exclusive]

    def fork(self, release: bool) -> dict[str, Any]:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            if release:
                self.leases[-1].release()
            root = str(self.locks.layout.root)
            links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
            inherited = [link for link in links if os.path.islink(link) and os.readlink(link).startswith(root)]
            os.write(write, str(len(inherited)).encode())
            if release:
                os._exit(0)
            time.sleep(60)
            os._exit(0)
        count = int(os.read(read, 16))
        os.close(read)
        os.close(write)
        if release:
            os.waitpid(child, 0)
        return {"pid": child, "inherited": count}

    def fork_unseen(self) -> int:
        libc = ctypes.CDLL(None)
        read, write = os.pipe()
        child = int(libc.fork())
        while child == 0:
            self.leases[-1].release()
            os.write(write, b"released")
            libc.pause()
        os.read(read, 8)
        os.close(read)
        os.close(write)
        return child

    def publish_in_child(self) -> str:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                self.leases[-1].publish(holder(""))
            except UsageError as error:
                os.write(write, f"UsageError: {error.message}".encode())
            finally:
                os._exit(0)
        os.close(write)
        with open(read, "rb") as said:
            text = said.read().decode()
        os.waitpid(child, 0)
        return text

    def hammer(self, log: str, seconds: float, paths: list[list[str]], **how: Any) -> dict[str, Any]:
        """One child for each list of paths: takes one of them at random, notes begin and end, again and again."""
        children = []
        for number, choice in enumerate(paths):
            child = os.fork()
            if child == 0:
                os._exit(_hammer(self.locks, log, number, seconds, choice, **how))
            children.append(child)
        ended = [os.waitpid(child, 0)[1] for child in children]
        return {"ok": not any(ended)}


def _hammer(
    locks: LocalLocks,
    log: str,
    number: int,
    seconds: float,
    paths: list[str],
    hold: float,
    pause: float,
) -> int:
    dice = random.Random(number)
    notes = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    end = time.monotonic() + seconds

    async def work() -> None:
        while time.monotonic() < end:
            path = dice.choice(paths)
            lease = await locks.acquire(p(path), timeout=20.0)
            os.write(notes, f"begin {number} {path}\n".encode())  # one write: lines of several processes never mix
            await asyncio.sleep(hold * dice.uniform(0.5, 1.5))
            os.write(notes, f"end {number} {path}\n".encode())
            lease.release()
            if pause:
                await asyncio.sleep(pause * dice.random())

    try:
        asyncio.run(work())
    except BaseException as error:
        os.write(notes, f"failed {number} {error!r}\n".encode())
        return 1
    return 0


def main() -> None:
    program = _Program(Path(sys.argv[1]))
    for line in sys.stdin:
        try:
            answer = program.do(json.loads(line))
        except AlchemyError as error:
            answer = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
