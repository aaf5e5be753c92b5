"""Calls that end in ways nobody planned: they count as failures, and next to a failure nothing is collected."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alchemy import RunFailed, Scope
from alchemy.model.events import ChangeEnded, Entry, Noted
from tests.scenarios.world import PROD, Body, Cloud, Thing, World, nothing

REPOSITORY = Path(__file__).parents[2]


class Odd(BaseException):
    """No Exception: as what some libraries raise to get out of everything."""


# What the call ends with -> what is said of it.
ODD: Any = [
    pytest.param(asyncio.CancelledError(), "the call cancelled itself: whether it happened is not known", id="cancel"),
    pytest.param(Odd("out of everything"), "the call raised Odd: out of everything", id="no exception"),
]


def one(id: str, **props: Any) -> Body[None]:
    async def body(app: Scope) -> None:
        Thing(id, **props)

    return body


@pytest.mark.parametrize(("ending", "why"), ODD)
def test_a_create_that_ends_oddly_is_a_failure_and_nothing_is_collected(
    world: World, cloud: Cloud, ending: Any, why: str
) -> None:
    world.deploy(one("old"))
    cloud.fail("create new", ending)
    with pytest.raises(RunFailed) as error:
        world.deploy(one("new"))
    assert error.value.failures == ((f"{PROD}/new", why),)
    assert error.value.exit_code == 1
    assert cloud.ids() == ["old"]
    assert world.rows()["new"].status == "creating", "it may have happened: the next run looks"
    assert world.fold().last_release["outcome"] == "failed"
    world.deploy(one("new"))
    assert cloud.ids() == ["new"]


@pytest.mark.parametrize(("ending", "why"), ODD)
def test_an_update_that_ends_oddly_is_a_failure_and_is_sent_again(
    world: World, cloud: Cloud, ending: Any, why: str
) -> None:
    world.deploy(one("db"))
    cloud.fail("update db", ending)
    with pytest.raises(RunFailed) as error:
        world.deploy(one("db", size=2))
    assert error.value.failures == ((f"{PROD}/db", why),)
    world.deploy(one("db", size=2))
    assert cloud.calls("update") == ["db", "db"]
    assert world.rows()["db"].status == "ready"


@pytest.mark.parametrize(("ending", "why"), ODD)
def test_a_delete_that_ends_oddly_is_a_failure_and_keeps_its_row(
    world: World, cloud: Cloud, ending: Any, why: str
) -> None:
    world.deploy(one("old"))
    cloud.fail("delete old", ending)
    with pytest.raises(RunFailed) as error:
        world.deploy(nothing, max_retries=0)
    assert error.value.failures == ((f"{PROD}/old", why),)
    assert list(world.rows()) == ["old"]
    assert world.fold().last_release["outcome"] == "failed"
    world.deploy(nothing)
    assert cloud.objects == {}


@pytest.mark.parametrize(("ending", "why"), ODD)
def test_what_needs_a_call_that_ended_oddly_is_skipped(world: World, cloud: Cloud, ending: Any, why: str) -> None:
    async def body(app: Scope) -> None:
        Thing("api", uses=Thing("db"))
        Thing("alone")

    cloud.fail("create db", ending)
    with pytest.raises(RunFailed):
        world.deploy(body)
    assert sorted(world.outcomes()) == ["create alone done", "create api skipped", "create db failed"]


@pytest.mark.parametrize("change", [one("old", size=5), nothing], ids=["update", "delete"])
def test_without_the_copy_of_what_was_nothing_is_changed(world: World, cloud: Cloud, change: Body[None]) -> None:
    world.deploy(one("old"))
    backups = world.layout.scope(PROD) / "backups"
    shutil.rmtree(backups)
    backups.write_text("no directory")
    with pytest.raises(RunFailed) as error:
        world.deploy(change)
    ((address, why),) = error.value.failures
    assert (address, "backups" in why) == (f"{PROD}/old", True)
    assert cloud.calls() == ["create old"]
    assert world.rows()["old"].status == "ready"
    assert world.fold().last_release["outcome"] == "failed"
    backups.unlink()
    world.deploy(change)
    assert len(cloud.calls()) == 2


def test_a_listener_that_raises_is_asked_no_more_and_the_run_goes_on(world: World, cloud: Cloud) -> None:
    heard: list[str] = []

    def broken(entry: Entry) -> None:
        heard.append(type(entry.event).__name__)
        if isinstance(entry.event, ChangeEnded):
            raise BrokenPipeError(32, "Broken pipe")

    async def body(app: Scope) -> None:
        Thing("api", uses=Thing("db"))

    world.listen = broken  # type: ignore[method-assign]
    world.deploy(body)
    assert cloud.ids() == ["api", "db"]
    assert {row.status for row in world.rows().values()} == {"ready"}
    assert heard.count("ChangeEnded") == 1


@pytest.mark.parametrize("phase", ["plan", "read", "destroy"])
def test_in_no_phase_does_it_matter_that_nobody_can_be_told(world: World, cloud: Cloud, phase: str) -> None:
    async def body(app: Scope) -> None:
        Thing("db")

    def broken(entry: Entry) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    world.deploy(body)
    world.listen = broken  # type: ignore[method-assign]
    world.deploy(body, phase=phase)
    assert cloud.ids() == ([] if phase == "destroy" else ["db"])


HOLDER = """
import asyncio, sys
from alchemy import alchemy

async def main():
    async with alchemy("my-app", stage="prod", quiet=True):
        print("holds", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

asyncio.run(main())
"""


def test_waiting_for_the_lock_goes_on_when_nobody_can_be_told(world: World, cloud: Cloud) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        cwd=world.root,
        env={"PYTHONPATH": f"{REPOSITORY / 'core'}:{REPOSITORY}", "PATH": "/usr/bin:/bin"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    heard: list[str] = []

    def broken(entry: Entry) -> None:
        heard.append(type(entry.event).__name__)
        holder.communicate("\n", timeout=20)
        raise BrokenPipeError(32, "Broken pipe")

    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holds\n"
        world.listen = broken  # type: ignore[method-assign]
        world.deploy(one("db"))
    finally:
        holder.kill()
        holder.communicate()
    assert heard == ["LockWaited"]
    assert cloud.ids() == ["db"]


def test_ids_that_look_alike_are_told_apart_and_told(world: World) -> None:
    async def body(app: Scope) -> None:
        for id in ("worker", "w\u043erker", "Worker", "other"):
            Thing(id)

    world.deploy(body)
    told = [event.text for event in world.events if isinstance(event, Noted)]
    assert told == [
        r"'w\u043erker' and 'worker' look alike: give one another id if that is not meant",
        "'Worker' and 'worker' look alike: give one another id if that is not meant",
    ]
    assert len(world.fold(PROD).resources) == 4
    world.deploy(body)
    assert {outcome.split()[0] for outcome in world.outcomes()} == {"keep"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may use a state directory of somebody else")
def test_root_is_warned_of_a_state_directory_that_is_another_users(world: World) -> None:
    world.state.mkdir(mode=0o700)
    os.chown(world.state, 12345, -1)
    world.deploy(one("a"))
    told = [event for event in world.events if isinstance(event, Noted)]
    assert [event.level for event in told] == ["warning"]
    assert "belongs to user 12345, and this process runs as root" in told[0].text
