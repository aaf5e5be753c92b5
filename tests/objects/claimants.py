"""Many who want overlapping paths, with heartbeats and a clock that all share: nobody conflicting holds at one time.

Here time counts: messages take seconds, never a lease, unless a client is dead. Whoever is not heard of for `give_up`
seconds stops by itself, and nobody breaks a claim that moved within `lease`: so exclusion holds to the letter.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from alchemy.errors import StorageFailed
from alchemy.model.paths import ScopePath
from alchemy.store.objects.claims import Claim, decode_claim
from alchemy.store.objects.keys import Keys
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.locking import Acquisition, InTheWay, Watcher
from alchemy.store.objects.requests import Pause, Steps
from tests.objects.explorer import Client, Network, Violation, World

KEYS = Keys()
PATHS = ("a", "a/p", "a/p/x", "a/p/x/y", "a/d")
LIMITS = Limits()
SHAKY = Network(faults=0.1, silence=0.0, delays=(0.1, 0.1, 2.0))

Maker = Callable[..., Acquisition]


@dataclass
class Scene:
    """Who holds what, as they themselves see it."""

    world: World
    visitors: list[Visitor] = field(default_factory=list)
    entered: list[tuple[float, str]] = field(default_factory=list)

    def enter(self, visitor: Visitor) -> None:
        for other in self.visitors:
            overlap = other.path.holds(visitor.path) or visitor.path.holds(other.path)
            if other is not visitor and overlap and other.believes(self.world.now):
                raise Violation(f"{visitor.name} holds {visitor.path} while {other.name} holds {other.path}")
        self.entered.append((self.world.now, visitor.name))


class Visitor:
    """Takes a path, stays for a while, gives it back."""

    def __init__(self, scene: Scene, name: str, path: str, stay: float, maker: Maker = Acquisition) -> None:
        self.scene = scene
        self.name = name
        self.path = ScopePath.parse(path)
        self.stay = stay
        claim = Claim(path, name, name)
        watcher = Watcher(KEYS, LIMITS, lambda claim: None)
        self.acquisition = maker(KEYS, claim, LIMITS, watcher, ())
        self.client: Client | None = None
        self.inside = self.left = False
        self.stands = True  # its claim, as far as it was told
        self.beating = False
        self.got_at: float | None = None

    def start(self, at: float) -> Client:
        self.client = self.scene.world.start(self.name, self.visit(), at)
        return self.client

    def believes(self, now: float) -> bool:
        """It would act as the holder: it lives, nobody told it otherwise, and it was heard of not long ago."""
        alive = self.client is not None and self.client.alive
        return alive and self.inside and self.stands and now - self.acquisition.own.alive < LIMITS.give_up

    def visit(self) -> Steps[None]:
        blocker = yield from self.acquisition.acquire(1e9, self.waiting)
        assert blocker is None
        self.inside = True
        self.got_at = self.scene.world.now
        self.scene.enter(self)
        self.scene.world.start(f"{self.name} beats", self.beat())
        yield Pause(self.stay)
        self.inside, self.left = False, True
        while self.beating:
            yield Pause(0.5)
        with suppress(StorageFailed):  # a farewell is short: what it could not free ends like the claim of one who died
            yield from self.acquisition.own.free()

    def waiting(self, blocker: InTheWay) -> None:
        pass

    def beat(self) -> Steps[None]:
        """What a thread of its own does."""
        while self.stands:
            yield Pause(LIMITS.heartbeat)
            if self.left or not (self.client and self.client.alive):
                return
            self.beating = True
            self.stands = yield from self.acquisition.own.beat()
            self.beating = False


def explore_claims(seed: int, maker: Maker = Acquisition, *, crashes: bool = True) -> Scene:
    """One schedule: 3 to 7 visitors, up to two of them die. Violation also when somebody never gets in."""
    dice = random.Random(seed)
    random.seed(seed)
    scene = Scene(World(dice, SHAKY))
    for n in range(dice.randint(3, 7)):
        visitor = Visitor(scene, f"v{n}", dice.choice(PATHS), dice.random() * 20, maker)
        client = visitor.start(dice.random() * dice.choice((0.5, 10.0)))
        scene.visitors.append(visitor)
        if crashes and n < 2 and dice.random() < 0.5:
            scene.world.after(dice.random() * 30, lambda client=client: scene.world.crash(client))  # type: ignore[misc]
    scene.world.run(until=1000.0)
    for visitor in scene.visitors:
        assert visitor.client is not None
        if visitor.client.alive and not visitor.client.done:
            raise Violation(f"{visitor.name} never gets {visitor.path}")
        if visitor.client.error:
            raise Violation(f"{visitor.name}: {visitor.client.error}")
    return scene


def claimed(world: World, path: str) -> str:
    """Whose claim is on `path`: the session, "" when it is free."""
    body, _ = world.objects.get(KEYS.lock(path), (b"", ""))
    return decode_claim(path, body).session
