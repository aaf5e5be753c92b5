"""After an answer was lost: what may exist is looked for, as often as the kind says, and is what the state says."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

from typing import Any

import pytest

from alchemy import Context, Outputs, RunFailed, Scope
from tests.scenarios.world import Body, Cloud, Thing, World, nothing


class Slow(Thing, kind="world:Slow"):
    """What was made shows up only after some looks."""

    settle = 1.0

    unseen = 0

    async def read(self, ctx: Context) -> Outputs | None:
        if Slow.unseen:
            Slow.unseen -= 1
            return None
        return await super().read(ctx)


class Forgetful(Thing, kind="world:Forgetful"):
    """Its create makes the object, then loses the answer, when `lose` says so."""

    lose = False

    async def create(self, ctx: Context) -> Outputs:
        made = await super().create(ctx)
        if Forgetful.lose:
            raise ConnectionError("the answer was lost")
        return made


def one(kind: type[Thing], **props: Any) -> Body[None]:
    async def body(app: Scope) -> None:
        kind("db", **props)

    return body


def test_an_orphan_that_may_exist_is_looked_for_as_long_as_its_kind_says(
    world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.lost.add("create db")
    with pytest.raises(RunFailed):
        world.deploy(one(Slow), timeout=0.05, max_retries=0)
    assert (cloud.ids(), world.rows()["db"].status) == (["db"], "creating")
    monkeypatch.setattr(Slow, "unseen", 2)
    world.deploy(nothing)
    assert cloud.calls("delete") == ["db"], "absent at first, then it showed up"
    assert cloud.objects == {}
    assert world.rows() == {}


def test_what_the_state_says_is_what_was_last_sent_when_every_answer_was_lost(
    world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.fail("create db", ConnectionError("lost before it arrived"))
    with pytest.raises(RunFailed):
        world.deploy(one(Forgetful, size=1), max_retries=0)
    assert cloud.objects == {}
    monkeypatch.setattr(Forgetful, "lose", True)
    with pytest.raises(RunFailed):
        world.deploy(one(Forgetful, size=2), max_retries=0)
    assert world.rows()["db"].props["size"] == 2, "what may exist now was made with 2"
    monkeypatch.setattr(Forgetful, "lose", False)
    world.deploy(one(Forgetful, size=1))
    (made,) = cloud.objects.values()
    assert made["size"] == world.rows()["db"].props["size"] == 1
    assert cloud.calls("create") == ["db", "db"]
    assert cloud.calls("update") == ["db"]


def test_what_was_made_by_an_earlier_wish_is_found_before_the_row_says_another(world: World, cloud: Cloud) -> None:
    cloud.lost.add("create db")
    with pytest.raises(RunFailed):
        world.deploy(one(Thing, size=1), timeout=0.05, max_retries=0)
    cloud.lost.clear()
    world.deploy(one(Thing, size=2))
    assert cloud.log[-2:] == ["read db", "update db"]
    (made,) = cloud.objects.values()
    assert made["size"] == 2
