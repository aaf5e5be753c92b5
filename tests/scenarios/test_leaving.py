"""Leaving that is cut short: by a time limit, by a signal, by a second one. The lock is given back, or lets go."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alchemy import Scope, alchemy
from alchemy.model.locks import Verdict
from alchemy.model.paths import ScopePath
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.holders import lock_view
from tests.scenarios.world import PROD, Cloud, Thing, World

REPOSITORY = Path(__file__).parents[2]


def verdict(world: World) -> Verdict:
    return lock_view(world.layout, Files(), ScopePath.parse(PROD), clock=Clock()).verdict


def start(world: World, program: str, *command: str) -> subprocess.Popen[str]:
    file = world.root / "program.py"
    file.write_text(program)
    return subprocess.Popen(
        [sys.executable, "-W", "error", *command, str(file)],
        cwd=world.root,
        env={"PYTHONPATH": f"{REPOSITORY / 'core'}:{REPOSITORY}", "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def heard(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()


# -- a time limit around the scope ------------------------------------------------------------------------------


def test_a_time_limit_that_ends_while_the_scope_waits_gives_the_lock_back(world: World, cloud: Cloud) -> None:
    scopes: list[Scope] = []

    async def slow() -> None:
        async with asyncio.timeout(None) as limit, alchemy("my-app", stage="prod") as app:
            scopes.append(app)
            Thing("slow")
            await cloud.until(lambda: cloud.now == 1)
            limit.reschedule(asyncio.get_running_loop().time() + 0.05)

    async def main() -> None:
        cloud.gates["create slow"] = asyncio.Event()
        with pytest.raises(TimeoutError):
            await slow()
        assert verdict(world) is Verdict.FREE, "before the program ends"
        cloud.gates.clear()
        async with alchemy("my-app", stage="prod"):
            Thing("next")

    world.run(main)
    assert scopes[0].closed
    assert cloud.ids() == ["next"], "nothing is made by a scope that was left"
    assert list(world.rows()) == ["next"]


def test_a_time_limit_that_ends_while_orphans_go_gives_the_lock_back(world: World, cloud: Cloud) -> None:
    async def main() -> None:
        cloud.gates["delete old"] = asyncio.Event()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), alchemy("my-app", stage="prod"):
                pass
        assert verdict(world) is Verdict.FREE

    async def before(app: Scope) -> None:
        Thing("old")

    world.deploy(before)
    world.run(main)
    assert world.rows()["old"].status == "deleting"
    assert world.fold().last_release["outcome"] == "interrupted"


# -- signals ----------------------------------------------------------------------------------------------------

BLOCKING = """
import asyncio, time
from alchemy import alchemy
from tests.scenarios.world import Thing

class Blocking(Thing, kind="world:Blocking"):
    async def create(self, ctx):
        print("blocking", flush=True)
        time.sleep(60)

async def main():
    async with alchemy("my-app", stage="prod"):
        await Blocking("db")

asyncio.run(main())
"""


def test_the_second_signal_leaves_at_once_though_a_verb_blocks_the_loop(world: World) -> None:
    running = start(world, BLOCKING)
    try:
        assert heard(running) == "blocking"
        running.send_signal(signal.SIGINT)
        time.sleep(0.2)
        assert running.poll() is None, "the first one lets calls in flight finish"
        since = time.monotonic()
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=20) == 130
        assert time.monotonic() - since < 1.0
    finally:
        running.kill()
        running.communicate()
    assert verdict(world) is Verdict.STALE, "the lock goes with its process"
    assert world.rows()["db"].status == "creating", "the intent is on disk"


TIDYING = """
import asyncio, socket, sys
from alchemy import alchemy

async def main():
    opened = socket.socket()
    try:
        async with alchemy("my-app", stage="prod"):
            print("open", flush=True)
            await asyncio.sleep(60)
    finally:
        print("tidying up", flush=True)
        await asyncio.sleep(60)
        opened.close()

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("command", [[], ["-m", "alchemy.cli", "deploy"]], ids=["python", "alchemy"])
def test_the_second_signal_leaves_at_once_though_the_program_tidies_up(world: World, command: list[str]) -> None:
    """Nothing is open any more; what the program had open is nothing to complain about."""
    running = start(world, TIDYING, *command)
    try:
        assert heard(running) == "open"
        running.send_signal(signal.SIGINT)
        assert heard(running) == "tidying up"
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=20)
    finally:
        running.kill()
        running.communicate()
    assert running.returncode == 130
    assert "Traceback" not in errors
    assert verdict(world) is Verdict.FREE
    assert world.fold().last_release["outcome"] == "interrupted"


COLLECTING = """
import asyncio
from alchemy import alchemy
from tests.scenarios.world import CLOUD, Cloud, Thing

class Slow(Thing, kind="world:Slow"):
    async def delete(self, ctx):
        print("deleting", flush=True)
        await asyncio.sleep(0.3)

async def main():
    CLOUD.set(Cloud())
    async with alchemy("my-app", stage="prod"):
        Slow("old")
    try:
        async with alchemy("my-app", stage="prod"):
            pass
    finally:
        for _ in range(20):
            await asyncio.sleep(0.01)
        print("tidied up", flush=True)

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", [[], ["-m", "alchemy.cli", "deploy"]], ids=["python", "alchemy"])
def test_the_programs_own_finally_is_not_cut_off_after_the_scope_was_left(
    world: World, command: list[str], number: signal.Signals
) -> None:
    """The scope ends with the last call; whoever waited for the calls as well is late, and has nothing to stop."""
    running = start(world, COLLECTING, *command)
    try:
        assert heard(running) == "deleting"
        running.send_signal(number)
        said, errors = running.communicate(timeout=20)
    finally:
        running.kill()
        running.communicate()
    assert (running.returncode, said.strip()) == (130, "tidied up"), errors
    assert "Traceback" not in errors
    assert world.fold().last_release["outcome"] == "interrupted"


CLOSING = """
import asyncio, os, signal
from alchemy import alchemy

async def main():
    def pressed(entry):
        if type(entry.event).__name__ == "RunEnded":
            os.kill(os.getpid(), signal.NUMBER)

    try:
        async with alchemy("my-app", stage="prod") as scope:
            scope.session.listeners.append(pressed)
    finally:
        for _ in range(20):
            await asyncio.sleep(0.01)
        print("tidied up", flush=True)
    print("went on", flush=True)

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("command", [[], ["-m", "alchemy.cli", "deploy"]], ids=["python", "alchemy"])
def test_a_signal_at_the_last_moment_of_a_scope_lets_the_program_tidy_up(
    world: World, command: list[str], number: str
) -> None:
    """Everything was done: it is said so, and the program is left all the same."""
    running = start(world, CLOSING.replace("NUMBER", number), *command)
    said, errors = running.communicate(timeout=20)
    assert (running.returncode, said.strip()) == (130, "tidied up"), errors
    assert "Traceback" not in errors
    assert world.fold().last_release["outcome"] == "done"


ENDING = """
import threading, time

async def main():
    threading.Thread(target=time.sleep, args=(60,)).start()
    print("waiting for a thread", flush=True)
    raise KeyboardInterrupt
"""


def test_ctrl_c_while_the_interpreter_ends_is_no_traceback(world: World) -> None:
    running = start(world, ENDING, "-m", "alchemy.cli", "deploy")
    try:
        assert heard(running) == "waiting for a thread"
        time.sleep(0.5)
        assert running.poll() is None
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=20)
    finally:
        running.kill()
        running.communicate()
    assert running.returncode == 130
    assert "Traceback" not in errors


TWICE = """
import asyncio
from alchemy import alchemy
from tests.scenarios.world import CLOUD, Cloud, Thing

async def hold():
    async with alchemy("my-app", stage="prod"):
        print("first", flush=True)
        await asyncio.sleep(60)

async def again():
    CLOUD.set(Cloud())
    async with alchemy("my-app", stage="prod"):
        await Thing("db")
        print("second", flush=True)
        await asyncio.sleep(60)

try:
    asyncio.run(hold())
except SystemExit as left:
    print("left with", left.code, flush=True)
try:
    asyncio.run(again())
finally:
    print("left in order", flush=True)
"""


def test_a_signal_of_one_run_is_not_counted_for_the_next_in_the_same_process(world: World) -> None:
    running = start(world, TWICE)
    try:
        assert heard(running) == "first"
        running.send_signal(signal.SIGINT)
        assert heard(running) == "left with 130"
        assert heard(running) == "second"
        running.send_signal(signal.SIGINT)
        said, errors = running.communicate(timeout=20)
    finally:
        running.kill()
        running.communicate()
    assert (running.returncode, said.strip()) == (130, "left in order"), errors
    assert "Traceback" not in errors
    assert verdict(world) is Verdict.FREE
    assert world.fold().last_release["outcome"] == "interrupted"
    assert world.rows()["db"].status == "ready"
