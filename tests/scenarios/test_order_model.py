"""A thousand resources with random edges, and calls that fail at random, against a model that knows only the order."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from alchemy import Context, Outputs, Resource, RunFailed, Scope, output, prop
from tests.scenarios.world import World, nothing

MANY = 1000


@dataclass
class Object:
    """Something that exists. It breaks when what it uses goes before it."""

    id: str
    uid: str
    uses: frozenset[str]  # uids: exactly these objects
    after: frozenset[str]  # ids: any object of these


@dataclass
class Model:
    """What exists by name, what every call may rely on, and which calls go wrong."""

    random: Random
    objects: dict[str, Object] = field(default_factory=dict)
    hopeless: set[str] = field(default_factory=set)  # "create n7" never works
    flaky: set[str] = field(default_factory=set)  # works at the second try
    lossy: set[str] = field(default_factory=set)  # works, and the answer to the first try is lost
    calls: Counter[str] = field(default_factory=Counter)  # by verb
    failed: set[str] = field(default_factory=set)  # for good, in this run
    wrong: list[str] = field(default_factory=list)
    most: int = 0
    now: int = 0

    def begin(self, **faults: set[str]) -> None:
        self.calls.clear()
        self.failed.clear()
        self.hopeless, self.flaky, self.lossy = (faults.get(name, set()) for name in ("hopeless", "flaky", "lossy"))

    @asynccontextmanager
    async def call(self, verb: str, id: str) -> AsyncIterator[None]:
        what = f"{verb} {id}"
        self.calls[verb] += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            for _ in range(self.random.randrange(4)):
                await asyncio.sleep(0)
            if what in self.hopeless:
                self.failed.add(what)
                raise ValueError(f"{what}: no")
            if what in self.flaky:
                self.flaky.discard(what)
                raise ConnectionError("not even heard")
            yield
            if what in self.lossy:
                self.lossy.discard(what)
                raise ConnectionError("the answer was lost")
        finally:
            self.now -= 1

    def put(self, name: str, new: Object) -> None:
        uids = {each.uid for each in self.objects.values()}
        ids = {each.id for each in self.objects.values()}
        if not new.uses <= uids or not new.after <= ids:
            self.wrong.append(f"{new.id} came before {sorted(new.uses - uids)} {sorted(new.after - ids)}")
        self.objects[name] = new

    def drop(self, name: str) -> None:
        gone = self.objects.pop(name)
        if self.failed and not any(what.startswith("delete ") for what in self.failed):
            self.wrong.append(f"{gone.id} was deleted next to {sorted(self.failed)[:3]}")
        successor = any(each.id == gone.id for each in self.objects.values())
        for each in self.objects.values():
            if gone.uid in each.uses or (gone.id in each.after and not successor):
                self.wrong.append(f"{gone.id} went before {each.id}, which uses it")


MODEL: ContextVar[Model] = ContextVar("MODEL")


class Node(Resource, kind="order:Node"):
    """`uses` are resources, `after` the ids of those it comes after without using an output."""

    size: int = 1
    region: str = prop(default="eu", fixed=True)
    uses: Any = None
    after: tuple[str, ...] = ()
    uid: str = output()

    def made(self, uid: str) -> Object:
        return Object(self.id, uid, frozenset(self.uses or ()), frozenset(self.after))

    async def create(self, ctx: Context) -> Outputs:
        model = MODEL.get()
        async with model.call("create", self.id):
            assert ctx.name not in model.objects, "made twice"
            model.put(ctx.name, self.made(f"uid-of-{ctx.name}"))
        return {"uid": f"uid-of-{ctx.name}"}

    async def read(self, ctx: Context) -> Outputs | None:
        async with MODEL.get().call("read", self.id):
            found = MODEL.get().objects.get(ctx.name)
        return {"uid": found.uid} if found else None

    async def update(self, ctx: Context, before: Any) -> Outputs:
        async with MODEL.get().call("update", self.id):
            MODEL.get().put(ctx.name, self.made(self.outputs["uid"]))
        return {}

    async def delete(self, ctx: Context) -> None:
        async with MODEL.get().call("delete", self.id):
            MODEL.get().drop(ctx.name)


@dataclass(frozen=True)
class Wish:
    """One resource of a program: what it uses comes before it in the program."""

    id: str
    size: int
    region: str
    uses: tuple[str, ...]
    after: tuple[str, ...]


Program = list[Wish]


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


def deploy(world: World, program: Program, **options: Any) -> None:
    async def body(app: Scope) -> None:
        made: dict[str, Node] = {}
        for wish in program:
            made[wish.id] = Node(
                wish.id,
                size=wish.size,
                region=wish.region,
                uses=[made[id].uid for id in wish.uses],
                after=wish.after,
                depends_on=[made[id] for id in wish.after],
            )

    world.deploy(body, destroy_strategy="parallel", max_retries=2, **options)


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
