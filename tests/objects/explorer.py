"""A bucket behind a network that loses, repeats and delays, and clients that are steps: one seed is one schedule.

The same generators run here that `perform` runs in production. Every request takes a random time to arrive and another
to be answered; it may be refused, be executed without an answer, arrive late, or arrive twice. Clients may crash.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from alchemy.errors import AlchemyError, StorageFailed
from alchemy.store.objects.port import Changed, Found, Listed, Taken, Unknown
from alchemy.store.objects.requests import Create, Delete, Fetch, Get, List, Pause, Replace


@dataclass(frozen=True)
class Act:
    """A call to the cloud that is on its way, whatever becomes of the client: `call` happens at a random moment."""

    call: Callable[[], None]


@dataclass(frozen=True)
class Network:
    """How bad it is. `delays`: seconds a message may take, one is drawn for each."""

    faults: float = 0.25  # of all writes
    silence: float = 0.01  # of all readings: no answer at all
    delays: tuple[float, ...] = (0.1, 0.1, 0.1, 1.0, 30.0)
    overwrites: bool = False  # the store ignores conditions


DROWSY = Network(faults=0.1, silence=0.0, delays=(*[0.1] * 6, 100.0))  # mostly quick, and now and then asleep
CALM = Network(faults=0.0, silence=0.0, delays=(0.1,))


SILENCE = "no reading is answered"


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass(eq=False)
class Client:
    name: str
    steps: Generator[Any, Any, Any]
    alive: bool = True
    done: bool = False
    value: Any = None
    error: AlchemyError | None = None


@dataclass
class World:
    dice: random.Random
    network: Network = Network()
    now: float = 0.0
    objects: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    clients: list[Client] = field(default_factory=list)
    requests: int = 0
    on_create: Callable[[str, bytes], None] = lambda key, body: None
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _ticket: count[int] = field(default_factory=count)

    # -- clients ------------------------------------------------------------------------------------------------

    def start(self, name: str, steps: Generator[Any, Any, Any], at: float = 0.0) -> Client:
        client = Client(name, steps)
        self.clients.append(client)
        self.after(at, lambda: self._resume(client, None))
        return client

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._ticket), what))

    def crash(self, client: Client) -> None:
        client.alive = False

    def run(self, until: float = float("inf")) -> None:
        """Until nothing is under way any more."""
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, what = heapq.heappop(events)
            what()

    def _resume(self, client: Client, answer: Any, error: BaseException | None = None) -> None:
        if not client.alive:
            return
        try:
            request = client.steps.send(answer) if error is None else client.steps.throw(error)
            while type(request) is Pause and not request.seconds:
                request = client.steps.send(self.now)
        except StopIteration as end:
            client.done, client.value = True, end.value
            return
        except AlchemyError as failure:
            client.done, client.error = True, failure
            return
        self._send(client, request)

    # -- the network --------------------------------------------------------------------------------------------

    def _delay(self) -> float:
        roll, delays = self.dice.random(), self.network.delays
        return delays[int(roll * len(delays))] * self.dice.random()

    def _send(self, client: Client, request: Any) -> None:
        if type(request) is Pause:
            self.after(request.seconds + self._delay(), lambda: self._resume(client, self.now))
            return
        self.requests += 1
        if type(request) is Act:
            self.after(self._delay(), request.call)
            self.after(self._delay() + 0.01, lambda: self._resume(client, None))
        elif type(request) is Fetch:
            self._fetch(client, request.keys, [])
        elif type(request) is Delete:
            self._delete(client, request.keys)
        elif type(request) is Get or type(request) is List:
            if self.dice.random() < self.network.silence:
                self._answer(client, None, StorageFailed(SILENCE))
            else:
                self.after(self._delay(), lambda: self._execute(client, request))
        else:
            self._write(client, request)

    def _write(self, client: Client, request: Any) -> None:
        """Create, Replace or the deletion of one key, and its fate."""
        if self.dice.random() >= self.network.faults:
            self.after(self._delay(), lambda: self._execute(client, request))
            return
        match int(self.dice.random() * (5 if type(request) is Create else 4)):
            case 0:  # refused
                self._answer(client, None, Unknown("no answer"))
            case 1:  # executed, and nobody hears of it
                self.after(self._delay(), lambda: self._execute(client, request, lost=True))
            case 2:  # given up, and still on its way
                self._answer(client, None, Unknown("no answer"))
                self.after(self._delay() * 5, lambda: self._execute(None, request))
            case 3:  # executed, and once more later
                self.after(self._delay(), lambda: self._execute(client, request))
                self.after(self._delay() * 5, lambda: self._execute(None, request))
            case 4:  # a conflict with something in progress, reported as if the object were there
                self._answer(client, None, Taken("409"))

    def _answer(self, client: Client | None, answer: Any, error: BaseException | None = None) -> None:
        if client is not None:
            self.after(self._delay(), lambda: self._resume(client, answer, error))

    def _execute(self, client: Client | None, request: Any, *, lost: bool = False) -> None:
        try:
            answer = self.apply(request)
        except (Taken, Changed) as refusal:
            self._answer(client, None, Unknown("no answer") if lost else refusal)
        else:
            self._answer(client, answer, Unknown("no answer") if lost else None)

    def _fetch(self, client: Client, keys: tuple[str, ...], found: list[Found | None]) -> None:
        def step() -> None:
            found.append(self.apply(Get(keys[len(found)])))
            self._fetch(client, keys, found)

        if len(found) == len(keys):
            self._answer(client, found)
        else:
            self.after(self._delay() if not found or self.dice.random() < 0.2 else 0.0, step)

    def _delete(self, client: Client, keys: tuple[str, ...]) -> None:
        """One after the other; some never arrive, some late, some twice."""
        at = 0.0
        for key in keys:
            at += self._delay()
            for again in range(int(self.dice.random() * 2.2)):
                self.after(at + again * self._delay() * 5, lambda key=key: self.apply(Delete((key,))))  # type: ignore[misc]
        self.after(at, lambda: self._resume(client, None))

    # -- the bucket ---------------------------------------------------------------------------------------------

    def apply(self, request: Any) -> Any:
        """At this moment, at once."""
        objects = self.objects
        match request:
            case Create(key, body):
                if key in objects and not self.network.overwrites:
                    raise Taken("412")
                self.on_create(key, body)
                return self._put(key, body)
            case Replace(key, body, etag):
                if key not in objects or (objects[key][1] != etag and not self.network.overwrites):
                    raise Changed("412")
                return self._put(key, body)
            case Get(key):
                return Found(*objects[key]) if key in objects else None
            case Fetch(keys):
                return [self.apply(Get(key)) for key in keys]
            case List(prefix, after):
                found = sorted(key for key in objects if key.startswith(prefix) and key > after)
                return [Listed(key, len(objects[key][0])) for key in found]
            case Delete(keys):
                for key in keys:
                    objects.pop(key, None)
                return None
        raise TypeError(request)

    def _put(self, key: str, body: bytes) -> str:
        etag = str(hash(body))  # of the content, as everywhere: equal bytes have equal ones
        self.objects[key] = (body, etag)
        return etag
