"""What starts fast stays fast: looking at state never loads a cloud client, a server, a dashboard or an event loop."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

HEAVY = {"httpx", "pydantic", "rich", "sqlite3", "starlette", "textual", "uvicorn", "watchfiles"}
READING = {"asyncio", "httpx", "importlib.metadata", "portalocker", "pydantic", "starlette", "textual"}

COMMANDS = [
    ["--help"],
    ["--version"],
    ["scope", "--help"],
    ["scope", "list"],
    ["scope", "list", "--json"],
    ["scope", "inspect", "shop/prod"],
    ["scope", "state", "shop/prod"],
    ["scope", "state", "shop/prod", "--json"],
    ["scope", "export", "shop/prod"],
    ["scope", "locks"],
    ["scope", "list-locks"],
    ["scope", "logs", "shop/prod"],
    ["scope", "logs", "shop/prod", "--follow"],
    ["scope", "backups", "shop/prod"],
    ["scope", "backups", "shop/prod", "--verify"],
    ["scope", "diff", "shop/prod"],
    ["scope", "restore", "shop/prod", "--backup", "latest", "--dry-run"],
    ["scope", "backup", "shop/prod"],
    ["scope", "validate"],
    ["cloud", "--help"],
]
ALLOWED = {"--help": {"importlib.metadata"}}  # it lists the commands that other packages add
IDLE = {"httpx", "pydantic", "rich", "starlette", "textual", "uvicorn", "watchfiles"}

PROGRAM = """
from alchemy import KVNamespace, alchemy

async def main() -> None:
    async with alchemy("shop", stage="prod"):
        async with alchemy.run("storage"):
            KVNamespace("cache")
"""


WITH_A_SECRET = """
import os
from alchemy import Context, Outputs, Resource, alchemy, prop

class Note(Resource, kind="test:Note"):
    text: str = prop(secret=True, default="")
    async def create(self, ctx: Context) -> Outputs:
        return {}
    async def read(self, ctx: Context) -> Outputs | None:
        return None
    async def delete(self, ctx: Context) -> None:
        pass

async def main() -> None:
    async with alchemy("shop", stage="prod"):
        Note("plain")
        if "ALCHEMY_PASSWORD" in os.environ:
            Note("secret", text="kept-to-itself")
"""
RUN_WITH_PASSWORD = (
    "import os, sys; os.environ['ALCHEMY_PASSWORD'] = 'horse'; from alchemy.cli import main; sys.exit(main())"
)


@dataclass(frozen=True)
class Loaded:
    code: int
    output: str
    modules: frozenset[str]


def running(source: str, *arguments: str, cwd: Path) -> Loaded:
    """Run Python code in a fresh interpreter; `-X importtime` names each module it loads, however it ends."""
    path = os.pathsep.join([str(REPOSITORY / "core"), str(REPOSITORY)])
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", source, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    times = [line for line in run.stderr.splitlines() if line.startswith("import time:")]
    said = [line for line in run.stderr.splitlines() if not line.startswith("import time:")]
    modules = frozenset(line.rpartition("|")[2].strip() for line in times)
    return Loaded(run.returncode, "\n".join([run.stdout, *said]), modules)


def alchemy(*arguments: str, cwd: Path) -> Loaded:
    return running("import sys; from alchemy.cli import main; sys.exit(main())", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which one stage with one resource was deployed to the local cloud."""
    directory = tmp_path_factory.mktemp("shop")
    (directory / "alchemy_run.py").write_text(PROGRAM)
    deployed = alchemy("deploy", cwd=directory)
    assert deployed.code == 0, deployed.output
    return directory


def test_the_probe_sees_what_a_process_loads(tmp_path: Path) -> None:
    loaded = running("import importlib.metadata, sys; print('here'); sys.exit(3)", cwd=tmp_path)
    assert (loaded.code, "here" in loaded.output) == (3, True)
    assert "importlib.metadata" in loaded.modules
    assert not loaded.modules & HEAVY


def test_importing_alchemy_is_cheap(tmp_path: Path) -> None:
    loaded = running("import alchemy", cwd=tmp_path)
    assert loaded.code == 0, loaded.output
    assert loaded.modules & (HEAVY | {"asyncio"}) == set()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_that_only_looks_loads_no_machinery(command: list[str], shop: Path) -> None:
    loaded = alchemy(*command, cwd=shop)
    assert loaded.code == 0, loaded.output
    assert loaded.output.strip()
    assert loaded.modules & READING == ALLOWED.get(command[0], set())


def test_a_program_without_secrets_loads_nothing_that_seals_and_one_with_secrets_only_what_seals(
    tmp_path: Path,
) -> None:
    (tmp_path / "alchemy_run.py").write_text(WITH_A_SECRET)
    plain = alchemy("deploy", cwd=tmp_path)
    assert plain.code == 0, plain.output
    assert {module for module in plain.modules if module.split(".")[0] in ("cryptography", "nacl")} == set()
    secret = running(RUN_WITH_PASSWORD, "deploy", cwd=tmp_path)
    assert secret.code == 0, secret.output
    assert "cryptography" in secret.modules
    assert "nacl" not in secret.modules


def test_a_deploy_that_changes_nothing_loads_no_client_and_no_pictures(shop: Path) -> None:
    loaded = alchemy("deploy", cwd=shop)
    assert loaded.code == 0, loaded.output
    assert "nothing changed" in loaded.output
    assert loaded.modules & IDLE == set()
