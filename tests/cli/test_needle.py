"""Secrets go in everywhere, everything is run and looked at, and then every byte that came out is searched for them."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from urllib.parse import quote

import pytest

from alchemy.operations.workspace import Workspace
from tests.cli.driver import Done, alchemy, python
from tests.dashboard.driving import LARGE, dashboard

pytestmark = pytest.mark.slow
PASSWORD = "sesame-of-the-house"
NEEDLE = 'nEEdle-7/"x"&é?'  # what JSON, addresses and Python write in another way

KINDS = """
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alchemy import Context, Outputs, Resource, alchemy, output, prop


class Door(Resource, kind="house:Door"):
    key: str = prop(secret=True)
    env: Mapping[str, Any] = prop(default={})
    uses: Any = None
    broken: str = ""
    uid: str = output()
    token: str = output(secret=True)

    async def create(self, ctx: Context) -> Outputs:
        assert self.key.startswith("nEEdle"), "the verb gets the value"
        ctx.note(f"opened with {self.key} and {self.env}")
        self._fail()
        return {"uid": f"uid-of-{self.id}", "token": self.key + "-token"}

    async def read(self, ctx: Context) -> Outputs | None:
        return {"uid": f"uid-of-{self.id}", "token": self.key + "-token"} if self.outputs else None

    async def update(self, ctx: Context, before: Any) -> Outputs:
        ctx.note(f"from {before.key!r} to {self.key}")
        self._fail()
        return {}

    async def delete(self, ctx: Context) -> None:
        self._fail()

    def _fail(self) -> None:
        if self.broken:
            import base64, json
            from urllib.parse import quote

            said = [self.key, quote(self.key, safe=""), json.dumps(self.key), repr(self.key)]
            said.append(base64.b64encode(f"user:{self.key}".encode()).decode())
            raise RuntimeError("400 from the API: " + " ".join(said) + " " + "x" * 480 + self.key)
"""
PROGRAM = """
import asyncio
import os

from kinds import Door
from alchemy import alchemy, Worker

async def main() -> None:
    async with alchemy("house", stage="prod", max_retries=0):
        key = alchemy.secret.env("NEEDLE")
        front = Door("front", key=key, env={"deep": [{"a": key, "all": alchemy.secret({"b": key.value})}]})
        Door("side", key=front.token, uses=front)
        Worker("api", entrypoint="api.js", env={"KEY": key, "PLAIN": "x"}, bindings={"TOKEN": front.token})
        await front
        async with alchemy.run("cellar"):
            Door("back", key=os.environ["NEEDLE"] + os.environ.get("MORE", ""), env={"url": f"https://{front.token}@h"})
        if "BROKEN" in os.environ:
            Door("broken", key=key, broken="yes")
        if "RAISE" in os.environ:
            raise ValueError(f"the program says {key.value} and {front.token}")

if __name__ == "__main__":
    asyncio.run(main())
"""


def looks() -> list[bytes]:
    """Every form in which a part of the needle could lie somewhere."""
    raw = NEEDLE.encode()
    found = [b"nEEdle", b"nEEdle".hex().encode(), quote(NEEDLE, safe="").encode()]
    for before in range(3):
        found.append(base64.b64encode(bytes(before) + raw)[4:14])
    return [*found, PASSWORD.encode()]


def found_in(data: bytes) -> list[bytes]:
    return [look for look in looks() if look in data]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Done]]:
    """The folder, and what each command said."""
    directory = tmp_path_factory.mktemp("needle")
    (directory / "kinds.py").write_text(KINDS)
    (directory / "alchemy_run.py").write_text(PROGRAM)
    (directory / "api.js").write_text("export default { async fetch() { return new Response('hi') } }")
    (directory / "pyproject.toml").write_text('[tool.alchemy]\nkinds = ["kinds"]\n')
    given = {"ALCHEMY_PASSWORD": PASSWORD, "NEEDLE": NEEDLE}
    said: dict[str, Done] = {}

    def run(*arguments: str, code: int = 0, **extra: str) -> None:
        done = alchemy(*arguments, cwd=directory, **given, **extra)
        assert done.code == code, (arguments, done.out, done.err)
        said[" ".join([*arguments, *sorted(extra)])] = done

    run("plan")
    run("deploy")
    run("plan", "--json", MORE="-more")
    run("plan", MORE="-more")
    run("deploy", "-v", MORE="-more")
    run("deploy", "-v", code=1, BROKEN="1", MORE="-more")
    run("deploy", code=1, RAISE="1", MORE="-more")
    run("deploy", "-v", code=1, RAISE="1")
    for name, extra in (("python", {}), ("python raises", {"RAISE": "1"})):
        done = python("alchemy_run.py", cwd=directory, **given, **extra)
        assert done.code == (1 if extra else 0), done.err
        said[name] = done
    run("scope", "list", "--json")
    run("scope", "inspect", "house/prod/front")
    run("scope", "inspect", "house/prod", "--json")
    run("scope", "state", "house/prod", "front")
    run("scope", "state", "house/prod", "--json")
    run("scope", "logs", "house/prod")
    run("scope", "logs", "house/prod", "--json", "--run", "R-3")
    run("scope", "backup", "house/prod")
    run("scope", "diff", "house/prod", "--json")
    run("scope", "rekey", "house", "--rotate", "--yes")
    run("scope", "validate")
    run("destroy", "house/prod/cellar", "--yes")
    return directory, said


def test_nothing_that_was_said_holds_it(house: tuple[Path, dict[str, Done]]) -> None:
    for command, done in house[1].items():
        assert found_in(done.out.encode()) == [], (command, done.out)
        assert found_in(done.err.encode()) == [], (command, done.err)
    assert "the program says ••• and •••" in house[1]["python raises"].err
    assert "400 from the API: •••" in house[1]["deploy -v BROKEN MORE"].err
    assert '"•••"' in house[1]["scope state house/prod front"].out


def test_no_file_of_the_project_holds_it(house: tuple[Path, dict[str, Done]]) -> None:
    files = [file for file in house[0].rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc")]
    assert len(files) > 20
    assert [(file, found) for file in files if (found := found_in(file.read_bytes()))] == []


def test_the_dashboard_shows_dots(house: tuple[Path, dict[str, Done]]) -> None:
    async def look() -> list[str]:
        shown: list[str] = []
        root = house[0] / ".alchemy"
        async with dashboard(Workspace(root), LARGE, root=root) as driver:
            await driver.sees("front")
            for _ in range(7):
                for tab in "12345":
                    await driver.press(tab)
                    shown.append(driver.text)
                    shown.append(driver.app.export_screenshot())
                await driver.press("j")
        return shown

    shown = asyncio.run(look())
    assert any("•••" in text for text in shown)
    assert [found for text in shown if (found := found_in(text.encode()))] == []
    assert not any("$secret" in text for text in shown)
