"""The dashboard on state that real deploys write, in other processes, while it looks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alchemy.operations.workspace import Workspace
from tests.dashboard.driving import MEDIUM, SMALL, dashboard

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, os
from pathlib import Path
from alchemy import Context, Outputs, Resource, alchemy, output

class Gate(Resource, kind="acme:Gate"):
    '''Waits until a file with its name appears, so that a test decides how far the run gets.'''
    size: int = 1
    arn: str = output()

    async def _wait(self, ctx: Context) -> Outputs:
        while not (Path("gates") / self.id).exists():
            await asyncio.sleep(0.02)
        if (Path("gates") / self.id).read_text() == "fail":
            raise RuntimeError("no [room] left")
        return {"arn": "arn:" + ctx.name}

    async def create(self, ctx: Context) -> Outputs:
        return await self._wait(ctx)
    async def read(self, ctx: Context) -> Outputs | None:
        return None
    async def update(self, ctx: Context, before: "Gate") -> Outputs:
        return await self._wait(ctx)
    async def delete(self, ctx: Context) -> None:
        await self._wait(ctx)

async def main() -> None:
    async with alchemy("shop", stage="prod", max_retries=0):
        async with alchemy.run("database"):
            for name in os.environ["GATES"].split():
                Gate(name)

if __name__ == "__main__":
    asyncio.run(main())
"""


@contextmanager
def deploying(directory: Path, gates: str) -> Iterator[subprocess.Popen[bytes]]:
    (directory / "alchemy_run.py").write_text(PROGRAM)
    (directory / "gates").mkdir(exist_ok=True)
    path = os.pathsep.join([str(ROOT / "core"), str(ROOT)])
    stderr = os.open(directory / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    process = subprocess.Popen(
        [sys.executable, "alchemy_run.py"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": path, "GATES": gates},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
    )
    os.close(stderr)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def opened(directory: Path, *names: str, word: str = "go") -> None:
    for name in names:
        (directory / "gates" / name).write_text(word)


def deployed(directory: Path, *names: str) -> None:
    (directory / "gates").mkdir(exist_ok=True)
    opened(directory, *names)
    with deploying(directory, " ".join(names)) as process:
        assert process.wait(timeout=60) == 0, (directory / "stderr").read_text()


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=str)
def test_a_deploy_in_another_process_shows_from_its_first_row_to_its_end(tmp_path: Path, size: tuple[int, int]) -> None:
    async def flow() -> None:
        async with dashboard(Workspace(tmp_path / ".alchemy"), size, now=time.time, animate=True) as driver:
            await driver.sees("There is no state directory yet.")
            with deploying(tmp_path, "one two") as process:
                await driver.sees("creating…")
                await driver.sees("deploying")
                await driver.sees("» R-1 0/2")
                await driver.sees("1 lock")
                opened(tmp_path, "one")
                await driver.sees("» R-1 1/2")
                opened(tmp_path, "two")
                await driver.sees("R-1 deploy shop/prod finished")
                await driver.until(lambda: "creating…" not in driver.text, "all is ready")
                await driver.until(lambda: "1 lock" not in driver.lines[0], "the lock is given back")
                assert process.wait(timeout=20) == 0
            driver.browse.scopes.go_to("shop/prod")
            driver.browse.perform("tab.events")
            await driver.sees("2 created")

    asyncio.run(flow())


def test_an_orphan_is_seen_while_it_is_deleted_and_then_no_more(tmp_path: Path) -> None:
    deployed(tmp_path, "kept", "dropped")
    (tmp_path / "gates" / "dropped").unlink()

    async def flow() -> None:
        async with dashboard(Workspace(tmp_path / ".alchemy"), MEDIUM, now=time.time) as driver:
            driver.browse.scopes.go_to("shop/prod/database/dropped")
            await driver.sees("✓ ready")
            with deploying(tmp_path, "kept"):
                await driver.sees("deleting…")
                assert driver.browse.scopes.model.cursor == "shop/prod/database/dropped"
                opened(tmp_path, "dropped")
                await driver.until(lambda: "dropped" not in "".join(driver.lines[1:20]), "its row is gone")
                assert driver.browse.scopes.model.cursor == "shop/prod/database", "the cursor went to its scope"

    asyncio.run(flow())


def test_a_failure_is_told_and_its_reason_is_in_the_details(tmp_path: Path) -> None:
    async def flow() -> None:
        async with dashboard(Workspace(tmp_path / ".alchemy"), MEDIUM, now=time.time) as driver:
            with deploying(tmp_path, "good bad"):
                await driver.sees("creating…")
                opened(tmp_path, "bad", word="fail")
                await driver.sees("R-1 deploy shop/prod: first failure")
                opened(tmp_path, "good")
                await driver.sees("R-1 deploy shop/prod failed")
            assert driver.browse.scopes.go_to("shop/prod/database/bad")
            await driver.sees("✗ failed")
            await driver.sees("no [room] left")

    asyncio.run(flow())


def test_a_run_killed_in_the_middle_is_lost_and_leaves_a_stale_lock_and_half_made_rows(tmp_path: Path) -> None:
    async def flow() -> None:
        async with dashboard(Workspace(tmp_path / ".alchemy"), MEDIUM, now=time.time) as driver:
            with deploying(tmp_path, "one") as process:
                await driver.sees("creating…")
                process.kill()
                process.wait()
            await driver.sees("unfinished")
            await driver.sees("stale lock")
            await driver.sees("lost its process")
            driver.browse.scopes.go_to("shop/prod")
            driver.browse.perform("tab.locks")
            await driver.sees("evidence")
            driver.browse.perform("tab.runs")
            await driver.sees("lost")

    asyncio.run(flow())


def test_a_file_edited_by_hand_and_a_torn_one_are_named_without_a_key(tmp_path: Path) -> None:
    deployed(tmp_path, "one", "two")
    views = sorted((tmp_path / ".alchemy/shop/prod/database/resources").glob("*/state.json"))

    async def flow() -> None:
        async with dashboard(Workspace(tmp_path / ".alchemy"), MEDIUM, now=time.time) as driver:
            await driver.sees("✓ ready")
            views[0].write_text(views[0].read_text().replace('"size": 1', '"size": 7').replace('"size":1', '"size":7'))
            await driver.sees("edited by hand")
            views[1].write_text(views[1].read_text()[:40])
            await driver.sees("corrupt")
            driver.browse.scopes.go_to("shop/prod/database/two")
            driver.browse.perform("tab.state")
            await driver.sees("not valid JSON")

    asyncio.run(flow())


def test_the_state_of_a_real_resource_is_shown_as_stored(tmp_path: Path) -> None:
    deployed(tmp_path, "one")

    async def flow() -> None:
        async with dashboard(Workspace(tmp_path / ".alchemy"), MEDIUM, now=time.time) as driver:
            driver.browse.scopes.go_to("shop/prod/database/one")
            await driver.sees("acme:Gate")
            driver.browse.perform("tab.state")
            await driver.sees('"address": "shop/prod/database/one"')
            driver.browse.perform("tab.backups")
            await driver.settle()
            driver.browse.perform("tab.deps")
            await driver.sees("Needed by")

    asyncio.run(flow())
