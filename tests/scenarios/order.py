"""A cloud that knows what uses what and tells when an order was wrong, a kind on it, and programs of that kind.

Neighbours: `test_order_model` plays it large, `test_stateful` small and in any sequence.
"""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random
from typing import Any

from alchemy import Context, Outputs, Resource, Scope, output, prop
from tests.scenarios.world import Body, World


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
                raise ValueError(f"{what}: no room")
            if what in self.flaky:
                self.flaky.discard(what)
                raise ConnectionError(f"{what}: not even heard")
            yield
            if what in self.lossy:
                self.lossy.discard(what)
                raise ConnectionError(f"{what}: the answer was lost")
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
        if any(not what.startswith("delete ") for what in self.failed):
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


def declared(program: Iterable[Wish]) -> Body[None]:
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

    return body


def deploy(world: World, program: Iterable[Wish], **options: Any) -> None:
    world.deploy(declared(program), **{"destroy_strategy": "parallel", "max_retries": 2, **options})
