"""A thousand resources with random edges, and calls that fail at random, against a model that knows only the order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest

from alchemy import RunFailed
from tests.scenarios.order import MODEL, Model, Program, Wish, deploy
from tests.scenarios.world import World, nothing

MANY = 1000


def drawn(random: Random, ids: list[str]) -> Program:
    """In a random order, each with up to three edges to what stands before it, some of them far, some near."""
    ids = random.sample(ids, len(ids))
    program = []
    for place, id in enumerate(ids):
        near, far = ids[max(0, place - 20) : place], ids[:place]
        uses = {random.choice(random.choice([near, far])) for _ in range(random.randrange(4)) if far}
        after = {each for each in uses if random.random() < 0.3}
        program.append(Wish(id, 1, "eu", tuple(sorted(uses - after)), tuple(sorted(after))))
    return program


def changed(random: Random, program: Program, new: int) -> Program:
    """Some are gone, some are changed, some have to be replaced, some use something else, some are new."""
    left = [wish for wish in program if random.random() < 0.8]
    there: list[str] = []
    result = []
    for wish in left:
        wish = replace(wish, uses=tuple(set(wish.uses) & set(there)), after=tuple(set(wish.after) & set(there)))
        if random.random() < 0.1:
            wish = replace(wish, size=wish.size + 1)
        if random.random() < 0.05:
            wish = replace(wish, region="us" if wish.region == "eu" else "eu")
        if there and random.random() < 0.1:
            wish = replace(wish, uses=tuple({*wish.uses, random.choice(there)} - {*wish.after}))
        wish = replace(wish, uses=tuple(sorted(wish.uses)), after=tuple(sorted(wish.after)))
        result.append(wish)
        there.append(wish.id)
    for number in range(new):
        uses = {random.choice(there) for _ in range(random.randrange(3)) if there}
        result.append(Wish(f"m{number}", 1, "eu", tuple(sorted(uses)), ()))
        there.append(f"m{number}")
    return result


def needed_by(program: Program, ids: set[str]) -> set[str]:
    """`ids` and everything that uses one of them, however far."""
    bad = set(ids)
    for wish in program:
        if bad & {*wish.uses, *wish.after}:
            bad.add(wish.id)
    return bad


def faults(random: Random, verb: str, ids: list[str], share: float) -> set[str]:
    return {f"{verb} {id}" for id in ids if random.random() < share}


@pytest.fixture
def model() -> Iterator[Model]:
    model = Model(Random(0))
    token = MODEL.set(model)
    yield model
    MODEL.reset(token)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [4])
def test_a_thousand_resources_come_and_go_in_order_whatever_fails(world: World, model: Model, seed: int) -> None:
    print(f"seed {seed}")
    random = model.random = Random(seed)
    ids = [f"n{number}" for number in range(MANY)]
    program = drawn(random, ids)

    hopeless = set(random.sample([f"create {id}" for id in ids], 15))
    model.begin(hopeless=hopeless, flaky=faults(random, "create", ids, 0.03), lossy=faults(random, "create", ids, 0.03))
    with pytest.raises(RunFailed):
        deploy(world, program)
    assert model.wrong == []
    assert model.calls["delete"] == 0, "nothing is deleted next to a failure"
    bad = needed_by(program, {what.removeprefix("create ") for what in hopeless})
    assert 15 < len(bad) < MANY
    assert {each.id for each in model.objects.values()} == {*ids} - bad, "and all the others are there"
    assert model.most <= 10

    model.begin()
    deploy(world, program)
    assert (model.calls["create"], model.calls["update"], model.calls["delete"]) == (len(bad), 0, 0)

    other = changed(random, program, new=100)
    mine = [wish.id for wish in other]
    hopeless = set(random.sample([f"update {id}" for id in mine], 100))
    model.begin(
        hopeless=hopeless, flaky=faults(random, "update", mine, 0.05), lossy=faults(random, "create", mine, 0.1)
    )
    with pytest.raises(RunFailed):
        deploy(world, other)
    assert model.failed
    assert (model.wrong, model.calls["delete"]) == ([], 0)

    model.begin(lossy=faults(random, "delete", ids, 0.05), flaky=faults(random, "delete", ids, 0.05))
    deploy(world, other)
    assert model.wrong == []
    assert sorted(each.id for each in model.objects.values()) == sorted(mine), "old incarnations are gone"
    by_id = {each.id: each for each in model.objects.values()}
    for wish in other:
        assert by_id[wish.id].uses == {by_id[id].uid for id in wish.uses}
        assert by_id[wish.id].after == {*wish.after}
    model.begin()
    deploy(world, other)
    assert model.calls == {}, "and then there is nothing to do"

    hopeless = set(random.sample([f"delete {id}" for id in mine], 15))
    model.begin(hopeless=hopeless, lossy=faults(random, "delete", mine, 0.05))
    with pytest.raises(RunFailed):
        world.deploy(nothing, phase="destroy", destroy_strategy="parallel", max_retries=1)
    assert model.wrong == [], "what could not go keeps what it uses"
    stuck = {what.removeprefix("delete ") for what in hopeless}
    left = set(stuck)
    for wish in reversed(other):
        if wish.id in left:
            left |= {*wish.uses, *wish.after}
    assert {each.id for each in model.objects.values()} == left, "and everything else went"

    model.begin()
    world.deploy(nothing, phase="destroy", destroy_strategy="parallel")
    assert (model.wrong, model.objects, world.fold().resources) == ([], {}, {})
