"""A cloud in a dict, kinds of resource on it, and a project folder: what every scenario plays in.

The kinds are ordinary user code: they use the public names only. `World` runs programs and reads back what is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from alchemy import Context, Outputs, Resource, ResourceState, Scope, alchemy, output, prop
from alchemy.engine.session import Run, recorded_runs
from alchemy.model.changes import Change
from alchemy.model.events import ChangeEnded, Entry, Event
from alchemy.model.fold import Fold
from alchemy.settings import Invocation, invocation
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from alchemy.store.opening import load

T = TypeVar("T")
PROD = "my-app/prod"


class Broken(Exception):
    """What the cloud says when a test told it to."""


class Cloud:
    """Objects by physical name. `log` says what was called, `most` how many calls overlapped at once."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.log: list[str] = []
        self.tokens: list[str] = []
        self.names: list[str] = []
        self.errors: dict[str, list[Exception]] = {}  # "create db" -> what the next calls raise
        self.lost: set[str] = set()  # "create db": it happens, and the answer gets lost
        self.gates: dict[str, asyncio.Event] = {}  # "create db" waits for it
        self.now = 0
        self.most = 0
        self.crowd = 1  # a call waits until as many overlapped once, for two seconds at the longest
        self._count = 0

    @asynccontextmanager
    async def call(self, verb: str, id: str) -> AsyncIterator[None]:
        what = f"{verb} {id}"
        self.log.append(what)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            for turn in range(2000):
                await asyncio.sleep(0 if turn < 5 else 0.001)  # one too many would show up in these turns
                if turn > 5 and self.most >= self.crowd:
                    break
            if what in self.gates:
                await self.gates[what].wait()
            if self.errors.get(what):
                raise self.errors[what].pop(0)
            yield
            if what in self.lost:
                await asyncio.Event().wait()
        finally:
            self.now -= 1

    async def until(self, true: Callable[[], bool]) -> None:
        """Lets the others work until it is so."""
        while not true():  # noqa: ASYNC110 - what is waited for is a number, and nobody else changes it
            await asyncio.sleep(0.001)

    def fail(self, what: str, *errors: Exception, times: int = 1) -> None:
        self.errors[what] = [*errors] or [Broken("no room")] * times

    def uid(self) -> str:
        self._count += 1
        return f"uid-{self._count:08d}"

    def calls(self, verb: str = "") -> list[str]:
        """Ids in the order of calls of one verb, or every call; lookups are left out of the latter."""
        if verb:
            return [what.split(" ", 1)[1] for what in self.log if what.split(" ")[0] == verb]
        return [what for what in self.log if not what.startswith("read ")]

    def ids(self) -> list[str]:
        return sorted(o["id"] for o in self.objects.values())


CLOUD: ContextVar[Cloud] = ContextVar("CLOUD")


class Thing(Resource, kind="world:Thing"):
    """An object with a size that can change, a region that cannot, and anything it uses."""

    size: int = 1
    region: str = prop(default="eu", fixed=True)
    uses: Any = None
    uid: str = output()
    area: int = output()

    def made(self, uid: str) -> dict[str, Any]:
        return {"id": self.id, "uid": uid, "size": self.size, "region": self.region}

    async def create(self, ctx: Context) -> Outputs:
        cloud = CLOUD.get()
        cloud.tokens.append(ctx.token)
        cloud.names.append(ctx.name)
        async with cloud.call("create", self.id):
            if ctx.name in cloud.objects:
                raise Broken(f"{ctx.name} exists")
            cloud.objects[ctx.name] = self.made(cloud.uid())
        return {"uid": cloud.objects[ctx.name]["uid"], "area": self.size}

    async def read(self, ctx: Context) -> Outputs | None:
        cloud = CLOUD.get()
        async with cloud.call("read", self.id):
            found = cloud.objects.get(ctx.name)
        return {"uid": found["uid"], "area": found["size"]} if found else None

    async def update(self, ctx: Context, before: Any) -> Outputs:
        cloud = CLOUD.get()
        async with cloud.call("update", self.id):
            cloud.objects[ctx.name] = self.made(cloud.objects[ctx.name]["uid"])
        return {"area": self.size}

    async def delete(self, ctx: Context) -> None:
        cloud = CLOUD.get()
        async with cloud.call("delete", self.id):
            cloud.objects.pop(ctx.name, None)


class Named(Thing, kind="world:Named"):
    """A thing that may be given its name."""

    name: str | None = None


class Solid(Resource, kind="world:Solid"):
    """A thing that cannot be updated."""

    size: int = 1
    uses: Any = None
    uid: str = output()

    async def create(self, ctx: Context) -> Outputs:
        cloud = CLOUD.get()
        async with cloud.call("create", self.id):
            cloud.objects[ctx.name] = {"id": self.id, "uid": cloud.uid(), "size": self.size}
        return {"uid": cloud.objects[ctx.name]["uid"]}

    async def read(self, ctx: Context) -> Outputs | None:
        cloud = CLOUD.get()
        async with cloud.call("read", self.id):
            found = cloud.objects.get(ctx.name)
        return {"uid": found["uid"]} if found else None

    async def delete(self, ctx: Context) -> None:
        cloud = CLOUD.get()
        async with cloud.call("delete", self.id):
            cloud.objects.pop(ctx.name, None)


Body = Callable[[Scope], Awaitable[T]]


class World:
    """A project folder with its state directory, and the cloud."""

    def __init__(self, root: Path, cloud: Cloud) -> None:
        self.root = root
        self.state = root / ".alchemy"
        self.layout = Layout(self.state)
        self.store = LocalStore(self.layout, "a" * 32)
        self.cloud = cloud
        self.events: list[Event] = []

    def listen(self, entry: Entry) -> None:
        self.events.append(entry.event)

    def run(self, main: Callable[[], Awaitable[T]], **asked: Any) -> T:
        """A program, as `python program.py` runs it; `asked` is what a command line would ask."""
        self.events.clear()

        async def program() -> T:
            return await main()

        token = invocation.set(Invocation(listener=self.listen, **asked))
        try:
            return asyncio.run(program())
        finally:
            invocation.reset(token)

    def deploy(
        self,
        body: Body[T],
        *,
        stage: str | None = "prod",
        phase: str = "up",
        asked: dict[str, Any] | None = None,
        **options: Any,
    ) -> T:
        """`body` in a scope of its own; one try after the first without a pause, so that failures are quick."""

        async def main() -> T:
            async with alchemy("my-app", stage=stage, phase=phase, **{"retry_delay": 0.0, **options}) as scope:
                return await body(scope)

        return self.run(main, **(asked or {}))

    def planned(self, body: Body[Any], **options: Any) -> list[Change]:
        """What a plan of it finds, in the order of the program."""
        return [change for run in self.plan_pass(body, **options) for change in run.planned]

    def plan_pass(self, body: Body[Any], **options: Any) -> list[Run]:
        """One Run for each journal, as `alchemy plan` gets them."""
        runs: list[Run] = []
        token = recorded_runs.set(runs)
        try:
            self.deploy(body, phase="plan", **options)
        finally:
            recorded_runs.reset(token)
        return runs

    def fold(self, path: str = PROD) -> Fold:
        return load(Files(), self.layout, path).fold

    def rows(self, path: str = PROD) -> dict[str, ResourceState]:
        """Current incarnations by their address inside the scope."""
        stored = self.fold(path).resources.values()
        return {row.address.removeprefix(path + "/"): row for row in stored if not row.former}

    def formers(self, path: str = PROD) -> list[str]:
        return sorted(row.address.removeprefix(path + "/") for row in self.fold(path).resources.values() if row.former)

    def outcomes(self) -> list[str]:
        """`create db done` for everything that ended in the last run, in order."""
        return [
            f"{e.action} {e.subject.rpartition('/')[2]} {e.outcome}" for e in self.events if isinstance(e, ChangeEnded)
        ]

    def tree(self) -> dict[str, tuple[int, bytes]]:
        """Every file of the state directory: when it was changed and what is in it."""
        return {
            str(path.relative_to(self.root)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
            for path in sorted(self.root.rglob("*"))
        }


async def nothing(scope: Scope) -> None:
    """A program that declares nothing any more."""
