"""A cloud in memory and the files of a deploy, recorded in one order: what was where at every moment of a run.

Whatever is recorded can be had again as of any moment: the disk as a kill leaves it, or a power cut; and the cloud as
it was then. Names are not unique in this cloud and each creation makes a new id, as in `server`. Neighbours: `cuts`
records files, `test_every_moment.py` goes through the moments.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from alchemy import Context, Outputs, Resource, alchemy, output, prop
from alchemy.engine.blocks import Opening
from alchemy.engine.entering import open_owner
from alchemy.engine.session import Session
from alchemy.model.values import ScopeKind
from alchemy.settings import Options
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from alchemy.store.store import Store
from tests.crash.cuts import Disk, Recorder, Remains, Step
from tests.crash.runs import PROD


@dataclass(frozen=True)
class Item:
    """As it is in the cloud."""

    name: str
    size: int
    region: str


@dataclass
class Memory:
    """The cloud. `tell` hears of each effect before it happens."""

    items: dict[str, Item] = field(default_factory=dict)
    created: Counter[str] = field(default_factory=Counter)
    tell: Callable[[Step], None] = lambda step: None
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def put(self, id: str, item: Item) -> str:
        await asyncio.sleep(0)
        if not id:
            id = f"item-{next(self._ids):04d}"
        self.do(Step("api", Path(id), f"{item.name} {item.size} {item.region}".encode()))
        await asyncio.sleep(0)
        return id

    async def drop(self, id: str) -> None:
        await asyncio.sleep(0)
        if id in self.items:
            self.do(Step("api", Path(id)))
        await asyncio.sleep(0)

    def do(self, step: Step) -> None:
        self.tell(step)
        self.replay(step)

    def replay(self, step: Step) -> None:
        id = step.path.name
        if not step.data:
            del self.items[id]
            return
        name, size, region = step.data.decode().split(" ")
        self.created[name] += id not in self.items
        self.items[id] = Item(name, int(size), region)

    def copied(self) -> Memory:
        """The same again; its ids go on elsewhere, so that none is given twice."""
        return Memory(dict(self.items), Counter(self.created), _ids=itertools.count(1000))


CLOUD: ContextVar[Memory] = ContextVar("CLOUD")


class Thing(Resource, kind="crash:Thing"):
    """An item in the memory."""

    size: int = 1
    region: str = prop(default="eu", fixed=True)
    after: str = ""
    item_id: str = output()

    async def create(self, ctx: Context) -> Outputs:
        return {"item_id": await CLOUD.get().put("", Item(ctx.name, self.size, self.region))}

    async def read(self, ctx: Context) -> Outputs | None:
        found = [id for id, item in CLOUD.get().items.items() if item.name == ctx.name]
        return {"item_id": found[0]} if found else None

    async def observe(self, ctx: Context) -> dict[str, Any] | None:
        item = CLOUD.get().items.get(self.item_id)
        return {"size": item.size, "region": item.region} if item else None

    async def update(self, ctx: Context, before: Thing) -> Outputs:
        return {"item_id": await CLOUD.get().put(self.item_id, Item(ctx.name, self.size, self.region))}

    async def delete(self, ctx: Context) -> None:
        await CLOUD.get().drop(self.item_id)


@dataclass(frozen=True)
class Wish:
    """What a program declares: `n` things, and `blocks` nested scopes of two each with one more scope in it."""

    n: int = 3
    size: int = 1
    region: str = "eu"
    blocks: int = 0
    one_by_one: bool = False
    phase: str = "up"
    refresh: bool = False

    @property
    def count(self) -> int:
        return 0 if self.phase == "destroy" else self.n + 3 * self.blocks

    async def declare(self) -> None:
        before: list[Thing] = []
        for number in range(self.n):
            before.append(Thing(f"t{number}", size=self.size, region=self.region, depends_on=before[-1:]))
            if self.one_by_one:
                _ = await before[-1]
            else:
                before.clear()
        for number in range(self.blocks):
            async with alchemy.run(f"b{number}"):
                outer = [Thing(f"o{each}", size=self.size, region=self.region) for each in range(2)]
                async with alchemy.run("inner"):
                    outer.append(Thing("n", size=self.size, region=self.region, after=outer[0].item_id))


DESTROY = Wish(phase="destroy")
NOTHING = Wish(n=0)


def no_cloud(store: Store, options: Options) -> NoReturn:
    raise AssertionError("these things are kept in memory")


def on_store(root: Path, files: Files) -> LocalStore:
    return LocalStore(Layout(root), os.urandom(16).hex(), files)


def run(root: Path, cloud: Memory, wish: Wish, files: Files | None = None) -> None:
    """One whole run of a program."""

    async def deploy() -> None:
        options = Options(retry_delay=0.0, refresh=wish.refresh)
        session = Session(on_store(root, files or Files(root)), wish.phase, options, no_cloud, None, "memory")
        async with Opening(lambda: open_owner(session, PROD, ScopeKind.STAGE, options)):
            await wish.declare()

    with_cloud(cloud, deploy)


def with_cloud(cloud: Memory, main: Callable[[], Awaitable[None]]) -> None:
    async def program() -> None:
        await main()

    token = CLOUD.set(cloud)
    try:
        asyncio.run(program())
    finally:
        CLOUD.reset(token)


@dataclass
class Moment:
    """After `number` steps; `said` is the last of them."""

    number: int
    said: str
    disk: Disk
    cloud: Memory


class Recording:
    """Everything from the first file on, in one order. `begin` marks what the moments are wanted of."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.recorder = Recorder()
        self.cloud = Memory(tell=self.recorder.note)
        self._start = 0
        root.mkdir()

    def run(self, wish: Wish) -> None:
        run(self.root, self.cloud, wish, self.recorder)

    def begin(self) -> None:
        self._start = len(self.recorder.steps)

    @property
    def steps(self) -> list[Step]:
        return self.recorder.steps[self._start :]

    def moments(self) -> Iterator[Moment]:
        """After each step since `begin`; in the middle of each write as well."""
        disk, cloud = Disk(self.root), Memory()
        for number, step in enumerate(self.recorder.steps):
            wanted = number >= self._start
            said = f"{step.verb} {step.path.name}"
            if wanted and step.verb == "write" and len(step.data) > 1:
                half = len(step.data) // 2
                disk.do(replace(step, data=step.data[:half]))
                yield Moment(number, f"half of {said}", disk, cloud)
                disk.do(replace(step, data=step.data[half:]))
            elif step.verb == "api":
                cloud.replay(step)
            else:
                disk.do(step)
            if wanted:
                yield Moment(number, said, disk, cloud)


def restore(files: dict[Path, bytes], old: Path, new: Path) -> None:
    """What was left, on the real disk."""
    new.mkdir(mode=0o700)
    Remains(files).write_out(old, new)
