"""Every order in which a few clients can take overlapping paths, request by request, one of them dying anywhere.

A generator cannot be copied, so a state is reached again by repeating the choices that led to it. Two states are the
same when the bucket holds the same claims and every client stands at the same line knowing the same things; an ETag is
only ever current or not. Time stands still: nobody is held for dead but who is.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable
from dataclasses import dataclass
from typing import Any

from alchemy.model.paths import ScopePath
from alchemy.store.objects.claims import Claim, is_free
from alchemy.store.objects.keys import Keys
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.locking import Acquisition, InTheWay, Watcher
from alchemy.store.objects.port import Changed, Found, Listed, Taken
from alchemy.store.objects.requests import Create, Fetch, Get, List, Pause, Replace, Steps

KEYS = Keys()
LIMITS = Limits(gap=0.0)
CRASH = -1  # the choice "the client of the other number dies"


@dataclass(eq=False)
class Client:
    path: ScopePath
    acquisition: Acquisition
    steps: Generator[Any, Any, Any]
    request: Any = None
    inside: bool = False
    done: bool = False
    dead: bool = False


class Place:
    """The bucket, and the clients as they are after some choices."""

    def __init__(self, paths: tuple[str, ...], maker: type[Acquisition]) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.version = 0
        self.clients: list[Client] = []
        for number, path in enumerate(paths):
            claim = Claim(path, str(number), str(number))
            watcher = Watcher(KEYS, LIMITS, self._alive)
            acquisition = maker(KEYS, claim, LIMITS, watcher, ())
            self.clients.append(Client(acquisition.path, acquisition, iter(())))  # type: ignore[arg-type]
        for client in self.clients:
            client.steps = self._visit(client)
            client.request = self._skip(client, next(client.steps))

    def _alive(self, claim: Claim) -> bool | None:
        return False if claim.session.isdigit() and self.clients[int(claim.session)].dead else None

    def _visit(self, client: Client) -> Steps[None]:
        blocker = yield from client.acquisition.acquire(1e9, lambda blocker: None)
        assert blocker is None
        client.inside = True
        yield Pause(1.0)
        client.inside = False
        yield from client.acquisition.own.free()

    def _skip(self, client: Client, request: Any) -> Any:
        """To the next request that others can notice: time stands still."""
        while isinstance(request, Pause) and not request.seconds:
            request = client.steps.send(0.0)
        return request

    def choices(self, crashes: int) -> list[tuple[int, int]]:
        able = [n for n, client in enumerate(self.clients) if not client.done and not client.dead]
        dead = sum(client.dead for client in self.clients)
        return [(n, 0) for n in able] + [(n, CRASH) for n in able if dead < crashes]

    def step(self, choice: tuple[int, int]) -> None:
        number, what = choice
        client = self.clients[number]
        if what == CRASH:
            client.dead, client.inside = True, False
            return
        try:
            try:
                answer = self._answer(client.request)
            except (Taken, Changed) as refusal:
                request = client.steps.throw(refusal)
            else:
                request = client.steps.send(answer)
            client.request = self._skip(client, request)
        except StopIteration:
            client.done = True

    def _answer(self, request: Any) -> Any:
        match request:
            case Pause():
                return 0.0
            case Create(key, body):
                if key in self.objects:
                    raise Taken(key)
                return self._put(key, body)
            case Replace(key, body, etag):
                if key not in self.objects or self.objects[key][1] != etag:
                    raise Changed(key)
                return self._put(key, body)
            case Get(key):
                return Found(*self.objects[key]) if key in self.objects else None
            case Fetch(keys):
                return [self._answer(Get(key)) for key in keys]
            case List(prefix, after):
                found = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
                return [Listed(key, len(self.objects[key][0])) for key in found]
        raise TypeError(request)

    def _put(self, key: str, body: bytes) -> str:
        self.version += 1
        self.objects[key] = (body, str(self.version))
        return str(self.version)

    # -- what is the same ---------------------------------------------------------------------------------------

    def picture(self) -> Hashable:
        bucket = tuple(sorted((key, self._claimant(body)) for key, (body, _) in self.objects.items()))
        return bucket, tuple(self._stand(client) for client in self.clients)

    def _claimant(self, body: bytes) -> str:
        return "" if is_free(Found(body, "")) else body.partition(b'"session":"')[2][:1].decode()

    def _stand(self, client: Client) -> Hashable:
        if client.done or client.dead:
            return client.done, client.dead
        frames: list[Hashable] = []
        steps: Any = client.steps
        while steps is not None and hasattr(steps, "gi_frame"):
            frame = steps.gi_frame
            known = {name: value for name, value in frame.f_locals.items() if name not in ("self", "client", "said")}
            frames.append((frame.f_code.co_name, frame.f_lasti, self._known(known)))
            steps = steps.gi_yieldfrom
        own = client.acquisition.own
        return (
            client.inside,
            own.stands,
            self._etag(own.key, own._etag),
            tuple(frames),
            self._known({"r": client.request}),
        )

    def _known(self, names: dict[str, Any]) -> Hashable:
        return tuple((name, self._value(name, value)) for name, value in sorted(names.items()))

    def _value(self, name: str, value: Any) -> Hashable:
        if name == "etag":
            return any(value == current for _, current in self.objects.values())
        match value:
            case float():
                return 0.0  # pauses grow, and mean nothing here
            case bytes():
                return self._claimant(value)
            case Found(body, etag):
                return self._claimant(body), any(etag == current for _, current in self.objects.values())
            case Replace(key, body, etag):
                return key, self._claimant(body), self._etag(key, etag)
            case Create(key, body):
                return key, self._claimant(body)
            case Pause():
                return "pause"
            case InTheWay():
                return "somebody"
            case Listed(key, _):
                return key, is_free(value)
            case list() | tuple():
                return tuple(self._value("", item) for item in value)
            case dict():
                return self._known(value)
        text = str(value)
        return "" if " at 0x" in text else text

    def _etag(self, key: str, etag: str) -> bool:
        return key in self.objects and self.objects[key][1] == etag


def overlaps(place: Place) -> list[str]:
    inside = [client.path for client in place.clients if client.inside]
    return [f"{a} and {b}" for a in inside for b in inside if a is not b and a.holds(b)]


@dataclass
class Outcome:
    """What was seen of all states: pairs that were held at one time, states from which somebody never gets in."""

    states: int
    overlaps: list[str]
    stuck: int


def explore_all(paths: tuple[str, ...], *, crashes: int, maker: type[Acquisition] = Acquisition) -> Outcome:
    numbers: dict[Hashable, int] = {}
    before: dict[int, list[int]] = {}  # from where a state is reached without a death
    finished: list[int] = []
    found: list[str] = []
    todo: list[tuple[int, tuple[tuple[int, int], ...]]] = [(-1, ())]
    while todo:
        came_from, trail = todo.pop()
        place = Place(paths, maker)
        for choice in trail:
            place.step(choice)
        while True:  # down one way without beginning again; the others are for later
            seen = place.picture()
            new = seen not in numbers
            here = numbers.setdefault(seen, len(numbers))
            if came_from >= 0 and trail[-1][1] != CRASH:
                before.setdefault(here, []).append(came_from)
            if not new:
                break
            found += overlaps(place)
            choices = place.choices(crashes)
            if not choices:
                finished.append(here)
                break
            todo += [(here, (*trail, choice)) for choice in choices[1:]]
            place.step(choices[0])
            came_from, trail = here, (*trail, choices[0])
    good = set(finished)
    while finished:
        for earlier in before.get(finished.pop(), ()):
            if earlier not in good:
                good.add(earlier)
                finished.append(earlier)
    return Outcome(len(numbers), found, len(numbers) - len(good))
