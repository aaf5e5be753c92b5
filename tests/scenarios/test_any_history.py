"""Programs after one another, with calls that fail and answers that get lost: in the end the cloud is the program."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alchemy import AlchemyError, Scope, alchemy
from alchemy.model.values import Status
from tests.scenarios.world import CLOUD, Cloud, Named, Solid, Thing, World, nothing

KINDS: dict[str, type[Any]] = {"thing": Thing, "solid": Solid, "named": Named}


@dataclass(frozen=True)
class Item:
    """A resource of a program; it may use those before it."""

    id: str
    kind: str
    block: str
    size: int
    region: str
    uses: tuple[int, ...]
    how: str  # as a handle, an output, or only by depends_on


@dataclass(frozen=True)
class Turn:
    """One run: a program, what goes wrong, and how it ends."""

    items: tuple[Item, ...]
    fails: tuple[str, ...]
    lost: tuple[str, ...]
    raises: bool
    strategy: str


ids = ["a", "b", "c", "d"]


@st.composite
def programs(draw: st.DrawFn) -> tuple[Item, ...]:
    chosen = draw(st.lists(st.sampled_from(ids), unique=True, max_size=4))
    items = []
    for number, id in enumerate(chosen):
        items.append(
            Item(
                id,
                draw(st.sampled_from(["thing", "thing", "solid", "named"])),
                draw(st.sampled_from(["", "x"])),
                draw(st.integers(1, 2)),
                draw(st.sampled_from(["eu", "eu", "us"])),
                tuple(n for n in range(number) if draw(st.booleans())),
                draw(st.sampled_from(["handle", "output", "edge"])),
            )
        )
    return tuple(items)


calls = st.builds(
    lambda verb, id: f"{verb} {id}", st.sampled_from(["create", "update", "delete"]), st.sampled_from(ids)
)
turns = st.builds(
    Turn,
    programs(),
    st.lists(calls, max_size=2).map(tuple),
    st.lists(calls, max_size=2).map(tuple),
    st.sampled_from([False, False, False, True]),
    st.sampled_from(["sequential", "parallel", "batched"]),
)


def declare(item: Item, made: list[Any], timeout: float) -> Any:
    used = [made[n] for n in item.uses]
    uses: dict[str, Any] = {"depends_on": used} if item.how == "edge" else {"uses": used}
    if item.how == "output":
        uses = {"uses": {"uids": [thing.uid for thing in used]}}
    if item.kind == "solid":
        return Solid(item.id, size=item.size, timeout=timeout, **uses)
    more = {"name": f"the-{item.block}-{item.id}"} if item.kind == "named" else {}
    return KINDS[item.kind](item.id, size=item.size, region=item.region, timeout=timeout, **more, **uses)


def play(world: World, turn: Turn, **options: Any) -> None:
    async def body(app: Scope) -> None:
        made: list[Any] = []
        timeout = 0.05 if turn.lost else 30.0
        for item in turn.items:
            if item.block:
                async with alchemy.run(item.block, on_error="keep"):
                    made.append(declare(item, made, timeout))
            else:
                made.append(declare(item, made, timeout))
        if turn.raises:
            await made[0] if made else None
            raise KeyError("of the program")

    world.deploy(body, destroy_strategy=turn.strategy, **options)


def stored(world: World) -> dict[str, str]:
    return {address: row.kind.rpartition(":")[2].lower() for address, row in world.rows().items()}


def wanted(items: tuple[Item, ...]) -> dict[str, str]:
    return {f"{item.block}/{item.id}" if item.block else item.id: item.kind for item in items}


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(turns, min_size=1, max_size=3), programs())
def test_whatever_happened_before_a_run_without_faults_makes_it_right(
    history: list[Turn], last: tuple[Item, ...]
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        cloud = Cloud()
        token = CLOUD.set(cloud)
        world = World(Path(folder), cloud)
        try:
            for turn in history:
                cloud.errors = {what: [RuntimeError("no")] * 2 for what in turn.fails}
                cloud.lost = set(turn.lost)
                with contextlib.suppress(AlchemyError, KeyError):
                    play(world, turn, max_retries=0)
                assert len({o["id"] for o in cloud.objects.values()}) <= len(world.fold().resources), "nothing unknown"
            cloud.errors, cloud.lost = {}, set()
            play(world, Turn(last, (), (), False, "parallel"))
            assert stored(world) == wanted(last)
            assert {row.status for row in world.rows().values()} <= {Status.READY}
            assert world.formers() == []
            by_id = {item.id: item for item in last}
            assert cloud.ids() == sorted(by_id)
            for thing in cloud.objects.values():
                assert thing["size"] == by_id[thing["id"]].size
                assert thing.get("region", by_id[thing["id"]].region) == by_id[thing["id"]].region
            cloud.log.clear()
            play(world, Turn(last, (), (), False, "sequential"))
            assert cloud.log == [], "and then there is nothing to do"
            world.deploy(nothing, phase="destroy")
            assert cloud.objects == {}
            assert world.fold().resources == {}
        finally:
            CLOUD.reset(token)
