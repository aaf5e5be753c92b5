"""`alchemy_scope` as a user meets it: a project of its own, pytest and unittest in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
KINDS = """
import asyncio
from pathlib import Path
from alchemy import Resource, output

CLOUD = Path(__file__).parent / "cloud"
CLOUD.mkdir(exist_ok=True)

class Box(Resource, kind="files:Box"):
    size: int = 1
    path: str = output()

    async def create(self, ctx):
        (CLOUD / ctx.name).write_text(str(self.size))
        await asyncio.sleep(60 if self.size == 60 else 0)  # killed before it has answered
        return {"path": ctx.name}

    async def read(self, ctx):
        return {"path": ctx.name} if (CLOUD / ctx.name).exists() else None

    async def delete(self, ctx):
        (CLOUD / ctx.name).unlink(missing_ok=True)
"""
ASYNC = """
import os, signal, pytest
from boxes import CLOUD, Box

async def test_a_box(alchemy_scope):
    box = await Box("one", size=3)
    assert (CLOUD / box.path).read_text() == "3"
    assert str(alchemy_scope.path).startswith("shop/test/")

@pytest.fixture
def size():
    return 5

@pytest.mark.alchemy(prefix="feature")
@pytest.mark.parametrize("name", ["a", "b"])
async def test_with_fixtures(alchemy_scope, name, size):
    box = await Box(name, size=size)
    assert alchemy_scope.name.startswith("feature-") and (CLOUD / box.path).exists()

def test_no_coroutine(alchemy_scope):
    async def body(scope):
        return (await Box("two")).path
    assert alchemy_scope.run(body)
    assert not list(CLOUD.iterdir())

async def test_that_fails(alchemy_scope):
    await Box("three")
    assert False, "on purpose"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[tool.alchemy]\napp = "shop"\n')
    (tmp_path / "boxes.py").write_text(KINDS)
    return tmp_path


def start(project: Path, *arguments: str) -> subprocess.Popen[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "ALCHEMY"))}
    path = os.pathsep.join([str(REPOSITORY / "core"), str(REPOSITORY), str(project)])
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=project,
        env={**known, "PYTHONPATH": path, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(project: Path, *arguments: str) -> tuple[int, str]:
    process = start(project, *arguments)
    output, _ = process.communicate(timeout=120)
    return process.returncode, output


def in_pytest(*arguments: str) -> list[str]:
    """The plugin comes by its entry point, as in every environment that Alchemy Scope is installed in."""
    return ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--strict-markers", *arguments]


def left(project: Path) -> list[str]:
    return sorted(path.name for path in (project / "cloud").iterdir())


def scopes_left(project: Path) -> list[Path]:
    return list((project / ".alchemy" / "shop" / "test").glob("*"))


def test_each_test_has_a_scope_of_its_own_and_leaves_nothing(project: Path) -> None:
    (project / "test_boxes.py").write_text(ASYNC)
    code, output = run(project, *in_pytest())
    assert (code, "1 failed, 4 passed" in output, "on purpose" in output) == (1, True, True), output
    assert left(project) == []
    assert scopes_left(project) == []


def test_pytest_loads_nothing_of_ours_before_a_test_asks_for_a_scope(project: Path) -> None:
    (project / "test_plain.py").write_text(
        "import sys\ndef test_plain():\n    assert not {'asyncio.runners', 'httpx', 'alchemy.engine'} & "
        "{name for name in sys.modules if name.startswith(('alchemy.engine', 'httpx'))}\n"
    )
    code, output = run(project, *in_pytest())
    assert code == 0, output


def test_whoever_uses_the_scope_unopened_is_told_how_to_open_it(project: Path) -> None:
    (project / "test_closed.py").write_text("def test_closed(alchemy_scope):\n    alchemy_scope.path\n")
    code, output = run(project, *in_pytest())
    assert (code, "the test scope is not open: it has no path yet" in output) == (1, True), output


def until_created(project: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not left(project):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_test_that_is_stopped_is_destroyed_at_once_or_by_the_next_one(project: Path, how: int) -> None:
    (project / "cloud").mkdir()
    (project / "test_sleepy.py").write_text(
        "import asyncio\nfrom boxes import Box\n\n"
        "async def test_sleepy(alchemy_scope):\n    await Box('one')\n    await asyncio.sleep(60)\n\n"
        "def test_never_reached():\n    raise AssertionError\n"
    )
    process = start(project, *in_pytest())
    until_created(project, process)
    process.send_signal(how)
    output, _ = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert (process.returncode, "KeyboardInterrupt" in output) == (2, True), output
    else:
        assert len(left(project)) == 1
        (project / "test_sleepy.py").write_text(
            "from boxes import Box, CLOUD\n\nasync def test_next(alchemy_scope):\n"
            "    box = await Box('two')\n    assert [p.name for p in CLOUD.iterdir()] == [box.path]\n"
        )
        code, output = run(project, *in_pytest("-s"))
        assert (code, "left by a test that died: it is destroyed now" in output) == (0, True), output
    assert left(project) == []
    assert scopes_left(project) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], ["--all"]])
def test_a_cleanup_takes_what_a_killed_test_left_and_leaves_one_that_runs(project: Path, how: list[str]) -> None:
    (project / "cloud").mkdir()
    (project / "pyproject.toml").write_text('[tool.alchemy]\napp = "shop"\nkinds = ["boxes"]\n')
    (project / "test_sleepy.py").write_text(
        "from boxes import Box\n\nasync def test_sleepy(alchemy_scope):\n    await Box('one', size=60)\n"
    )
    cleanup = ["-m", "alchemy.cli", "scope", "cleanup", "shop", "--yes"]
    process = start(project, *in_pytest())
    until_created(project, process)
    if not how:
        code, output = run(project, *cleanup)
        assert (code, "nothing else to clean up" in output, len(left(project))) == (0, True, 1), output
        assert "alchemy deploy" not in output
    process.kill()
    process.communicate(timeout=60)
    code, output = run(project, *cleanup, *how)
    assert (code, "alchemy deploy" in output) == (0, False), output
    assert left(project) == []
    assert scopes_left(project) == []


@pytest.mark.slow
def test_two_runs_side_by_side_leave_each_other_alone(project: Path) -> None:
    (project / "cloud").mkdir()
    (project / "test_pair.py").write_text(
        "import asyncio\nfrom boxes import Box, CLOUD\n\n"
        "async def test_pair(alchemy_scope):\n    box = await Box('one')\n"
        "    for _ in range(400):\n        if len(list(CLOUD.iterdir())) == 2:\n            break\n"
        "        await asyncio.sleep(0.05)\n    assert (CLOUD / box.path).exists()\n    await asyncio.sleep(1)\n"
        "    assert (CLOUD / box.path).exists()\n"
    )
    both = [start(project, *in_pytest()) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert left(project) == []


def test_unittest_needs_no_plugin(project: Path) -> None:
    (project / "test_case.py").write_text(
        "import unittest\nfrom alchemy import alchemy\nfrom boxes import Box, CLOUD\n\n"
        "class Boxes(unittest.IsolatedAsyncioTestCase):\n"
        "    async def asyncSetUp(self):\n"
        "        self.scope = await self.enterAsyncContext(alchemy.test(__file__, prefix=self._testMethodName))\n\n"
        "    async def test_one(self):\n        box = await Box('one')\n        assert (CLOUD / box.path).exists()\n\n"
        "    async def test_two(self):\n        self.assertEqual(list(CLOUD.iterdir()), [])\n"
        "        await Box('two')\n        self.fail('on purpose')\n"
    )
    code, output = run(project, "-m", "unittest", "test_case")
    assert (code, "FAILED (failures=1)" in output) == (1, True), output
    assert left(project) == []
