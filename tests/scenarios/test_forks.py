"""A process forked from one that holds a scope: it writes nothing, and what it leaves behind is whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from alchemy.operations.validate import validate
from tests.scenarios.world import World

REPOSITORY = Path(__file__).parents[2]

# The parent waits without its loop: asyncio's is shared with the child in parts, and breaks when that one closes it.
FORKING = """
import asyncio, os, sys, time, warnings
from pathlib import Path
from alchemy import UsageError, alchemy
from alchemy.model.events import Noted
from tests.scenarios.world import CLOUD, Cloud, Thing

warnings.simplefilter("ignore")  # Python says itself that forking with threads is odd
CLOUD.set(Cloud())

def journal():
    return [file.read_bytes() for file in sorted(Path(".alchemy/my-app/prod/journal").iterdir())]

def wait(pid):
    for _ in range(100):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "hangs"

async def main():
    async with alchemy("my-app", stage="prod", quiet=True) as app:
        await Thing("before")
        await app.run_state.ledger.flush()
        before = journal()
        pid = os.fork()
        if not pid:
            {child}
        said = wait(pid)
        print("child", said, "left the journal" if journal() == before else "wrote", flush=True)
        {parent}

asyncio.run(main())
"""

WRITES = """
            try:
                app.run_state.ledger.emit(Noted("my-app/prod", "of the child"))
            except UsageError as error:
                print(error, flush=True)
                os._exit(5)
            os._exit(0)
"""


def run(world: World, child: str, parent: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", FORKING.format(child=child, parent=parent)],
        cwd=world.root,
        env={"PYTHONPATH": f"{REPOSITORY / 'core'}:{REPOSITORY}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_child_that_leaves_the_scope_writes_nothing(world: World) -> None:
    said = run(world, "sys.exit(7)", "os._exit(0)")
    assert said.endswith("left the journal\n"), said
    assert list(world.rows()) == ["before"]
    assert not world.fold().released, "it is the parent's to release"
    assert [found.file for found in validate(world.state)] == ["locks/my-app/prod.lock.holder.json"], "it died"


def test_a_child_that_writes_is_refused_and_its_parent_goes_on(world: World) -> None:
    said = run(world, WRITES, 'await Thing("after")')
    assert "it cannot write its state" in said
    assert "child 5 left the journal" in said
    assert sorted(world.rows()) == ["after", "before"]
    assert world.fold().last_release["outcome"] == "done"
    assert validate(world.state) == []
