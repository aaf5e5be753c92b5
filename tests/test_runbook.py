"""Each symptom of docs/recovery.md is produced here for real, and then the commands of its section are typed.

A section with commands has a function below, under its heading; neighbour: `test_readme` follows a page.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from alchemy.testing.s3 import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server
from tests.test_readme import REPOSITORY, blocks, follow, prepare

PAGE = (REPOSITORY / "docs" / "recovery.md").read_text()
PROGRAM = """
import asyncio
from pathlib import Path

from alchemy import Context, Outputs, Resource, alchemy, output

BROKER = Path("broker")


class Topic(Resource, kind="acme:Topic"):
    partitions: int = 3
    arn: str = output()

    async def create(self, ctx: Context) -> Outputs:
        BROKER.mkdir(exist_ok=True)
        (BROKER / ctx.name).write_text(str(self.partitions))
        await self.hang()
        return {"arn": f"arn:{ctx.name}"}

    async def read(self, ctx: Context) -> Outputs | None:
        return {"arn": f"arn:{ctx.name}"} if (BROKER / ctx.name).exists() else None

    async def list_names(self, ctx: Context) -> list[str]:
        return [file.name for file in BROKER.iterdir()]

    async def update(self, ctx: Context, before: "Topic") -> Outputs:
        (BROKER / ctx.name).write_text(str(self.partitions))
        await self.hang()
        return {"arn": self.arn}

    async def delete(self, ctx: Context) -> None:
        (BROKER / ctx.name).unlink()

    async def hang(self) -> None:
        while Path("hang").exists():
            await asyncio.sleep(0.02)


async def main() -> None:
    async with alchemy("my-app"):
        async with alchemy.run("database"):
            Topic("db-main")


if __name__ == "__main__":
    asyncio.run(main())
"""


@dataclass
class Place:
    """A project with one stage of one resource: `work` is where the reader sits."""

    directory: Path
    environment: dict[str, str]
    stack: ExitStack

    @property
    def work(self) -> Path:
        return self.directory / "work"

    @property
    def root(self) -> Path:
        return self.work / ".alchemy"

    @property
    def stage(self) -> Path:
        return self.root / "my-app" / "prod"

    @property
    def view(self) -> Path:
        return self.stage / "database" / "resources" / "db-main" / "state.json"

    def alchemy(self, *arguments: str) -> str:
        done = subprocess.run(
            ["alchemy", *arguments],
            cwd=self.work,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    def deploy(self) -> None:
        self.alchemy("deploy", "--stage", "prod", "--quiet")

    def hanging(self) -> subprocess.Popen[bytes]:
        """A deploy that has announced a creation, made it, and waits: of a stage that is not there yet."""
        (self.work / "hang").touch()
        run = subprocess.Popen(
            ["alchemy", "deploy", "--stage", "prod"],
            cwd=self.work,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.stack.callback(run.wait)
        self.stack.callback(run.kill)
        end = time.monotonic() + 30
        while not list((self.work / "broker").glob("*")):
            assert run.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        return run

    def go_on(self) -> None:
        (self.work / "hang").unlink()

    def remember_token(self) -> None:
        (lock,) = json.loads(self.alchemy("scope", "locks", "--json"))["locks"]
        self.environment["T"] = lock["token"]

    def bucket(self) -> Server:
        server = self.stack.enter_context(Server())
        self.environment |= {"R2_ACCESS_KEY_ID": ACCESS_KEY_ID, "R2_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY}
        self.environment |= {"R2_BUCKET_NAME": "state", "R2_ENDPOINT": server.endpoint}
        return server


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    environment = prepare(tmp_path)
    for name in [name for name in environment if name.startswith(("R2_", "CLOUDFLARE_", "ALCHEMY_"))]:
        del environment[name]
    with ExitStack() as stack:
        place = Place(tmp_path, environment, stack)
        (place.work / "alchemy_run.py").write_text(PROGRAM)
        yield place


def sound(place: Place) -> None:
    place.deploy()


def held(place: Place) -> None:
    run = place.hanging()
    run.send_signal(signal.SIGSTOP)
    place.remember_token()
    place.go_on()


def reserved(place: Place) -> None:
    place.deploy()
    place.alchemy("scope", "lock", "my-app/prod", "--reason", "database migration", "--for", "2h")
    place.remember_token()


def died(place: Place) -> None:
    run = place.hanging()
    run.kill()
    run.wait()
    place.go_on()


def fenced(place: Place) -> None:
    run = place.hanging()
    place.remember_token()
    place.alchemy("scope", "unlock", "my-app/prod", "--token", place.environment["T"], "--force", "--yes")
    place.go_on()
    assert run.wait(30) == 3


def damaged(place: Place) -> None:
    place.deploy()
    journal = place.stage / "journal" / "000001.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"partitions":3', b'"partitions":4', 1))


def journal_gone(place: Place) -> None:
    place.deploy()
    shutil.rmtree(place.stage / "journal")


def set_aside(place: Place) -> None:
    place.deploy()
    (place.stage / "journal").rename(place.stage / "journal.damaged-1")


def torn_then_edited(place: Place) -> None:
    """Two at once would be one finding: the edit comes just before the command that accepts it."""
    place.deploy()
    data = place.view.read_bytes()
    edited = data.replace(b'"partitions": 3', b'"partitions": 12')
    assert edited != data
    place.view.write_bytes(data[:100])
    (place.directory / "edited").write_bytes(edited)
    launcher = place.directory / "bin" / "alchemy"
    tool = launcher.rename(launcher.with_name("alchemy-itself"))
    launcher.write_text(
        f'#!/bin/sh\ncase "$*" in *--accept-edit*) cp {place.directory}/edited {place.view};; esac\nexec {tool} "$@"\n'
    )
    launcher.chmod(0o755)


def restored(place: Place) -> None:
    place.deploy()
    program = place.work / "alchemy_run.py"
    program.write_text(PROGRAM.replace('Topic("db-main")', 'Topic("db-main", partitions=5)'))
    place.deploy()
    place.alchemy("scope", "restore", "my-app/prod", "--backup", "latest", "--yes", "--quiet")


def all_gone(place: Place) -> None:
    place.deploy()
    shutil.rmtree(place.root)


def full(place: Place) -> None:
    """A disk of 64 kB, where the system lets us have one."""
    place.root.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place.root)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a disk of its own needs root")
    place.stack.callback(subprocess.run, ["umount", str(place.root)], check=True)
    place.root.chmod(0o700)
    (place.root / "ballast").write_bytes(bytes(shutil.disk_usage(place.root).free))


def open_to_all(place: Place) -> None:
    place.deploy()
    place.root.chmod(0o777)


def linked(place: Place) -> None:
    place.deploy()
    (place.stage / "database").rename(place.work / "database")
    (place.stage / "database").symlink_to(place.work / "database")


def moved(place: Place) -> None:
    place.deploy()
    before = dict(place.environment)
    place.bucket()
    place.alchemy("scope", "migrate", "--to", "r2")
    place.environment.clear()
    place.environment |= before


def careless(place: Place) -> None:
    place.bucket().fault("ignore-if-none-match")


def damaged_in_a_bucket(place: Place) -> None:
    server = place.bucket()
    place.deploy()
    server.put("my-app/prod/journal/0000000000000002.json", b"?")


SYMPTOMS: dict[str, Callable[[Place], None]] = {
    "When something went wrong": sound,
    '"Failed to acquire lock …: it is held by …"': held,
    '"…: it is reserved by …"': reserved,
    "A run died: kill -9, power cut, closed laptop": died,
    '"this run may not write … any more: a later run took over"': fenced,
    '"the journal is damaged"': damaged,
    '"… a journal that is missing"': journal_gone,
    '"the journal of … was set aside …, and no other has begun in its place"': set_aside,
    "A `state.json` is torn, empty or was edited": torn_then_edited,
    "I restored the wrong backup, or regret an edit": restored,
    "The whole state directory is gone": all_gone,
    '"cannot write to …: No space left on device"': full,
    '"… can be written by everybody on this machine", "… belongs to …"': open_to_all,
    '"… is a symbolic link"': linked,
    '"the state of … was moved to …"': moved,
    "The bucket cannot be used": careless,
    "The journal in a bucket is damaged": damaged_in_a_bucket,
    "Nothing helps: start over": sound,
}


def sections() -> dict[str, str]:
    """By heading; the beginning of the page is one too."""
    parts = re.split(r"^##? (.+)\n", PAGE, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_section_with_commands_has_its_symptom() -> None:
    assert {heading for heading, text in sections().items() if "$ alchemy" in text} == set(SYMPTOMS)


@pytest.mark.slow
@pytest.mark.parametrize("heading", SYMPTOMS)
def test_what_the_runbook_says_is_seen_and_helps(heading: str, place: Place) -> None:
    SYMPTOMS[heading](place)
    assert blocks(sections()[heading])
    assert follow(sections()[heading], place.directory, place.environment) == []
