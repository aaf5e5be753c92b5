"""A run that somebody took over while it slept: what it still wants to do to the cloud is not done any more."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

from typing import Any

import pytest

from alchemy import Context, Fenced, Outputs, Scope
from alchemy.model.paths import ScopePath
from alchemy.model.values import ScopeKind
from alchemy.store.layout import Layout
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from tests.scenarios.world import PROD, Body, Cloud, Thing, World

TAKEN: list[World] = []  # by whom the scope is taken over while the first try fails


class Overtaken(Thing, kind="world:Overtaken"):
    """Its first update fails; before the next try somebody else has deployed."""

    async def update(self, ctx: Context, before: Any) -> Outputs:
        if TAKEN:
            await take_over(TAKEN.pop())
            raise ConnectionError("reset by peer")
        return await super().update(ctx, before)


async def take_over(world: World) -> None:
    """Without asking for the lock, as after an unlock by force."""
    store = LocalStore(Layout(world.state), "f" * 32)
    later = await Ledger.open(store, ScopePath.parse(PROD), ScopeKind.STAGE, purpose="deploy", timeout=0, locking=False)
    later.close(outcome="done", counts={}, failures=[])


def thing(size: int) -> Body[None]:
    async def body(scope: Scope) -> None:
        await Overtaken("db", size=size)

    return body


def test_a_woken_run_does_not_try_its_call_again(world: World, cloud: Cloud) -> None:
    world.deploy(thing(1))
    TAKEN.append(world)
    with pytest.raises(Fenced):
        world.deploy(thing(2), max_retries=3)
    assert cloud.calls("update") == [], "the second try would have undone what the later run did"


def test_nothing_new_is_begun_once_somebody_took_over(world: World, cloud: Cloud) -> None:
    async def body(scope: Scope) -> None:
        first = Thing("first")
        await first
        await take_over(world)
        with pytest.raises(Exception, match="took over"):
            await Thing("second")

    with pytest.raises(Fenced):
        world.deploy(body)
    assert cloud.calls("create") == ["first"]
