"""Any program after any other: what the plan says is what the deploy held to it does, no more and no less."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import os
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alchemy import Resource, Scope, alchemy
from alchemy.engine.agreement import Agreement
from alchemy.model.plans import SavedPlan
from alchemy.operations.planning import make_plan
from tests.scenarios.world import CLOUD, Body, Cloud, Named, Solid, Thing, World

IDS = "abcde"
DONE = {"create": "create", "adopt": "update", "update": "update"}


@dataclass(frozen=True)
class Wish:
    """One resource of a program; it uses an earlier one as a whole, or an output of it that an update changes."""

    kind: int
    size: int
    region: str
    nested: bool
    uses: int
    whole: bool


wishes = st.builds(
    Wish,
    kind=st.integers(0, 2),
    size=st.integers(1, 2),
    region=st.sampled_from(["eu", "us"]),
    nested=st.booleans(),
    uses=st.integers(-1, 3),
    whole=st.booleans(),
)
programs = st.lists(wishes | st.none(), min_size=len(IDS), max_size=len(IDS))


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Wish | None], list[Wish | None]]:
    """A program, and what it became: much of it stays, else nothing would follow anything."""
    before = draw(programs)
    after = list(before)
    for place in draw(st.sets(st.integers(0, len(IDS) - 1), min_size=1, max_size=3)):
        wish = after[place]
        grown = [replace(wish, size=3 - wish.size)] * 3 if wish else []
        after[place] = draw(st.sampled_from([*grown, None]) | wishes)
    return before, after


def program(wanted: list[Wish | None]) -> Body[None]:
    async def body(app: Scope) -> None:
        made: dict[int, Resource] = {}
        for place, wish in enumerate(wanted):
            if wish is None:
                continue
            used = made.get(wish.uses)
            given: dict[str, Any] = {"size": wish.size, "region": wish.region}
            given["uses"] = used if wish.whole or not isinstance(used, Thing) else used.area
            kind = [Thing, Solid, Named][wish.kind]
            if kind is Solid:
                del given["region"]
            if wish.nested:
                async with alchemy.run("inner"):
                    made[place] = kind(IDS[place], **given)
            else:
                made[place] = kind(IDS[place], **given)

    return body


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_a_plan_is_carried_out_to_the_letter(history: tuple[list[Wish | None], list[Wish | None]]) -> None:
    before, after = history
    cloud = Cloud()
    token, back = CLOUD.set(cloud), os.getcwd()
    with tempfile.TemporaryDirectory() as directory:
        try:
            os.chdir(directory)
            world = World(Path(directory), cloud)
            world.deploy(program(before))
            file = Path(directory, "alchemy_run.py")
            file.write_text("")
            plan = make_plan(world.plan_pass(program(after)), file, stage="", adopt=False)
            plan = SavedPlan.from_bytes(plan.to_bytes(), "plan")
            cloud.log.clear()
            world.deploy(program(after), asked={"agreed": Agreement(plan)})
            _compare(plan, cloud)
            cloud.log.clear()
            world.deploy(program(after))
            assert cloud.calls() == [], "and then there is nothing left to do"
        finally:
            os.chdir(back)
            CLOUD.reset(token)


def _compare(plan: SavedPlan, cloud: Cloud) -> None:
    """Every call was planned; every step that was certain was made."""
    certain: Counter[str] = Counter()
    possible: Counter[str] = Counter()
    for scope in plan.scopes:
        for change in scope.changes:
            id = change.address.rpartition("/")[2]  # in two scopes two of one name: their calls are added up
            steps = [f"create {id}", f"delete {id}"] if change.action == "replace" else []
            steps = [f"{DONE[change.action]} {id}"] if change.action in DONE else steps
            (possible if change.open else certain).update(steps)
            if change.follows == "replace":
                possible.update([f"create {id}", f"delete {id}"])
            elif change.open or change.follows:
                possible[f"update {id}"] += 1
        certain.update(f"delete {step.address.rpartition('/')[2]}" for step in scope.deletions if not step.blocked)
    done = Counter(cloud.calls())
    assert certain <= done, (certain, done)
    assert done <= certain + possible, (certain, possible, done)
