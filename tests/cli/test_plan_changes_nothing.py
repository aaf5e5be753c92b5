"""A plan acts on nothing: the state is byte for byte the same afterwards, and the local cloud the same by its dump."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from alchemy.testing.s3 import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server
from tests.cli.driver import Call, Done, alchemy, forked

PROGRAM = """
import asyncio

from alchemy import D1Database, KVNamespace, Queue, R2Bucket, Resource, Context, Outputs, alchemy


class Note(Resource, kind="test:Note"):
    text: str = ""

    async def create(self, ctx: Context) -> Outputs:
        return {{}}

    async def read(self, ctx: Context) -> Outputs | None:
        return None

    async def delete(self, ctx: Context) -> None:
        pass


async def main() -> None:
    async with alchemy("shop", stage="prod") as app:
{body}
"""
FIRST = """
db = D1Database("db")
Queue("jobs", name="jobs")
async with alchemy.run("files"):
    R2Bucket("files")
KVNamespace("gone")
"""
CHANGED = """
db = D1Database("db", location_hint="weur")
Queue("jobs", name="jobs", delivery_delay=5)
new = KVNamespace("new")
Queue("adopted", name="jobs-of-others", adopt=True)
"""
FAILING = """
db = await D1Database("db", location_hint="weur")
int(db.database_id)
"""
COMMANDS = (
    "plan",
    "plan --json",
    "plan --adopt",
    "plan --adopt --detailed-exitcode",
    "plan -v --plain",
    "plan --out ../p",
)


def write(directory: Path, body: str) -> None:
    indented = "".join(f"        {text}\n" for text in body.strip().splitlines())
    (directory / "alchemy_run.py").write_text(PROGRAM.format(body=indented))


def tree(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Names, times, modes and bytes of the state; the local cloud has a dump of its own."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if not name.startswith("local-cloud"):
            shape = path.stat()
            found[name] = shape.st_mtime_ns, shape.st_mode, path.read_bytes() if path.is_file() else b""
    return found


def dump(root: Path) -> dict[str, str]:
    """Every table of the local cloud in SQL, every other file as it is."""
    found = {}
    for path in sorted((root / "local-cloud").rglob("*")):
        if path.suffix == ".sqlite":
            with sqlite3.connect(path) as connection:
                found[path.name] = "\n".join(connection.iterdump())
            connection.close()
        elif path.is_file() and not path.name.endswith(("-wal", "-shm")):
            found[path.name] = path.read_bytes().hex()
    return found


def planned(directory: Path, *commands: str, **extra: str) -> list[Done]:
    return forked([Call(tuple(command.split()), tuple(extra.items())) for command in commands], directory)


def test_with_everything_that_a_plan_can_hold(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    write(home, FIRST)
    assert alchemy("deploy", cwd=home).code == 0
    before, cloud = tree(home / ".alchemy"), dump(home / ".alchemy")
    assert len(before) > 10
    assert any("CREATE TABLE" in text for text in cloud.values())
    for body, codes in (
        (CHANGED, [0, 0, 0, 2, 0, 0]),
        (FAILING, [1] * 6),
        ("pass", [0, 0, 0, 2, 0, 0]),
        (FIRST, [0] * 6),
    ):
        write(home, body)
        done = planned(home, *COMMANDS)
        assert [each.code for each in done] == codes, done
        assert tree(home / ".alchemy") == before
        assert dump(home / ".alchemy") == cloud
    write(home, CHANGED)
    (shown,) = planned(home, "plan")
    assert "adopted  Queue  no such object to adopt: jobs-of-others" in shown.out
    assert "± replace  shop/prod/db  D1Database  fixed prop changed: location_hint" in shown.out


@pytest.mark.parametrize("body", [CHANGED, FAILING], ids=["changed", "failing"])
def test_where_there_is_nothing_nothing_is_made(tmp_path: Path, body: str) -> None:
    """No state directory, and no local cloud: adoption looks into none."""
    home = tmp_path / "home"
    home.mkdir()
    write(home, body)
    done = planned(home, *COMMANDS)
    assert {each.code for each in done} == ({0, 2} if body is CHANGED else {1})
    assert [path.name for path in home.iterdir() if path.name != "__pycache__"] == ["alchemy_run.py"]


def test_in_a_bucket_no_object_is_written(tmp_path: Path) -> None:
    with Server() as server:
        extra = {
            "R2_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "R2_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "R2_BUCKET_NAME": "state",
            "R2_ENDPOINT": server.endpoint,
        }
        home = tmp_path / "home"
        home.mkdir()
        write(home, 'Note("one")\nNote("two")')
        assert alchemy("deploy", cwd=home, **extra).code == 0
        before, counts = server.bodies(), server.counts()
        assert len(before) > 1
        write(home, 'Note("one", text="new")\nNote("three", adopt=True)')
        done = planned(home, "plan", "plan --json", "plan --detailed-exitcode", "plan --out ../p", **extra)
        assert [each.code for each in done] == [0, 0, 2, 0], done
        assert server.bodies() == before
        asked = {verb for verb, number in server.counts().items() if number != counts.get(verb, 0)}
        assert asked <= {"GET", "HEAD", "LIST"}, "nothing else was even tried"
        assert alchemy("deploy", "--plan", "../p", cwd=home, **extra).code == 0
        assert server.bodies() != before
