"""A rollback stands in the log as what it is: what failed, what was undone, what is left."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import io

import pytest

from alchemy import Scope, alchemy
from alchemy.cli import tones
from alchemy.cli.scope.logs import told
from alchemy.cli.terminal import signs
from alchemy.model.events import Entry, RollbackEnded, RollbackStarted
from alchemy.operations import history
from tests.scenarios.world import PROD, Broken, Cloud, Thing, World

BLOCK = f"{PROD}/shop"


async def failing(scope: Scope) -> None:
    async with alchemy.run("shop"):
        db = await Thing("db")
        await Thing("api", uses=db)
        await Thing("safe", protect=True)
        raise KeyError("no such plan")


def logged(world: World) -> list[Entry]:
    entries = history.entries_of(history.run_records(world.store, PROD, f"R-{world.fold().epoch}"))
    return [entry for entry in entries if isinstance(entry.event, RollbackStarted | RollbackEnded)]


def lines(world: World) -> list[str]:
    """As `alchemy scope logs` prints them, without the times."""
    said = [piece for entry in logged(world) for piece in told(entry, signs(io.StringIO()), set())]
    return [" ".join(tones.joined(pieces, colour=False).split()[1:]) for pieces in said]


def test_a_rollback_says_what_failed_what_was_undone_and_what_stays(world: World, cloud: Cloud) -> None:
    with pytest.raises(KeyError):
        world.deploy(failing)
    began, ended = (entry.event for entry in logged(world))
    assert began == RollbackStarted(BLOCK, "KeyError: 'no such plan'", [f"{BLOCK}/api", f"{BLOCK}/db"])
    assert isinstance(ended, RollbackEnded)
    assert (ended.undone, ended.left) == ([f"{BLOCK}/api", f"{BLOCK}/db"], [[f"{BLOCK}/safe", "protected"]])
    assert cloud.ids() == ["safe"]
    assert [text.rpartition(" 0")[0] or text for text in lines(world)] == [
        "@ rollback my-app/prod/shop 2 created in this run: KeyError: 'no such plan'",
        "! undone my-app/prod/shop 2 deleted again, 1 left",
    ]


def test_what_could_not_be_undone_is_named_with_its_reason(world: World, cloud: Cloud) -> None:
    cloud.fail("delete api", Broken("still busy"), times=9)
    with pytest.raises(KeyError):
        world.deploy(failing, max_retries=0)
    _, ended = (entry.event for entry in logged(world))
    assert isinstance(ended, RollbackEnded)
    assert ended.undone == []
    assert [address for address, _ in ended.left] == [f"{BLOCK}/api", f"{BLOCK}/db", f"{BLOCK}/safe"]
    assert ended.left[0][1].endswith("still busy")
    assert sorted(world.rows()) == ["shop/api", "shop/db", "shop/safe"]


def test_a_block_that_went_well_has_no_rollback(world: World, cloud: Cloud) -> None:
    async def fine(scope: Scope) -> None:
        async with alchemy.run("shop"):
            await Thing("db")

    world.deploy(fine)
    assert logged(world) == []
