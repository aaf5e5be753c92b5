"""A cloud of our own over real HTTP, built to punish whoever forgets: names are not unique, each POST makes a new id.

A creation is done 10 ms after its request came in, whether or not the client still listens, and is answered after
20 ms. Runs on a loop in a thread of the test; programs in other processes talk to it (`program.py`).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

EXISTS_AFTER = 0.010
ANSWER_AFTER = 0.020
GIVE_UP = 30.0  # seconds that a test waits for something before it fails


@dataclass
class Fault:
    """What goes wrong with the next `times` requests of `method`.

    error: done, then 500 · drop: done, then the connection closes · slow: done, answered after `seconds` ·
    throttle: not done, 429 with Retry-After · refuse: not done, 403.
    """

    method: str
    what: str
    times: int = 1
    seconds: float = 0.0


@dataclass
class Call:
    """One request as it came in."""

    method: str
    path: str
    body: dict[str, Any]
    at: float


@dataclass
class Cloud:
    """What exists, and everything that was ever asked for. Read it from the test's thread when all is quiet."""

    url: str = ""
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    _made: list[str] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _changed: threading.Condition = field(default_factory=threading.Condition)

    # -- for tests ----------------------------------------------------------------------------------------------

    @property
    def created(self) -> Counter[str]:
        """How often each name was created."""
        return Counter(self._made)

    @property
    def names(self) -> list[str]:
        return sorted(item["name"] for item in self.items.values())

    def count(self, *methods: str) -> int:
        return sum(1 for call in self.calls if not methods or call.method in methods)

    def wait_for(self, number: int, *methods: str, since: int = 0, unless: Callable[[], bool] = lambda: False) -> None:
        """Until `number` requests of `methods` came in after the first `since` calls, or `unless` says to go on."""

        def enough() -> bool:
            return unless() or sum(1 for call in self.calls[since:] if not methods or call.method in methods) >= number

        with self._changed:
            until = time.monotonic() + GIVE_UP
            while not enough():
                assert time.monotonic() < until, f"{number} {methods} never came: {self.count(*methods)}"
                self._changed.wait(0.2)

    def settle(self) -> None:
        """Until nothing is under way any more."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self.in_flight, GIVE_UP), "requests never ended"

    def fail(self, method: str, what: str, times: int = 1, seconds: float = 0.0) -> None:
        self.faults.append(Fault(method, what, times, seconds))

    # -- serving ------------------------------------------------------------------------------------------------

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, kept alive; a client that dies in the middle is no news."""
        try:
            while head := await reader.readline():
                method, target, _ = head.decode().split(" ", 2)
                length = 0
                while (line := (await reader.readline()).strip()) != b"":
                    name, _, value = line.decode().partition(":")
                    if name.lower() == "content-length":
                        length = int(value)
                body = json.loads(await reader.readexactly(length)) if length else {}
                if not await self._answer(method, target, body, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ValueError):
            pass  # cut off by a kill or by the end of the test: what was asked is under way all the same
        finally:
            writer.close()

    async def _answer(self, method: str, target: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        """False when the connection is to be closed."""
        url = urllib.parse.urlsplit(target)
        self._note(Call(method, url.path, body, time.monotonic()))
        fault = self._take_fault(method)
        what = fault.what if fault else ""
        try:
            if what == "throttle":
                return await _send(writer, 429, {}, f"Retry-After: {fault.seconds if fault else 0:g}\r\n")
            if what == "refuse":
                return await _send(writer, 403, {"error": "refused"})
            answer = asyncio.ensure_future(self._do(method, url, body))
            status, result = await asyncio.shield(answer)
            if what == "drop":
                return False
            if fault and what == "slow":
                await asyncio.sleep(fault.seconds)
            return await _send(writer, 500 if what == "error" else status, result)
        finally:
            with self._changed:
                self.in_flight -= 1
                self._changed.notify_all()

    def _note(self, call: Call) -> None:
        with self._changed:
            self.calls.append(call)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            self._changed.notify_all()

    def _take_fault(self, method: str) -> Fault | None:
        for fault in self.faults:
            if fault.method == method and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    async def _do(self, method: str, url: urllib.parse.SplitResult, body: dict[str, Any]) -> tuple[int, Any]:
        id = url.path.rpartition("/")[2]
        if method == "GET":
            wanted = urllib.parse.parse_qs(url.query).get("name", [""])[0]
            return 200, [item for item in self.items.values() if item["name"] == wanted]
        await asyncio.sleep(EXISTS_AFTER)
        if method == "POST":
            id = f"item-{next(self._ids):06d}"
            self.items[id] = {**body, "id": id}
            self._made.append(body["name"])
            await asyncio.sleep(ANSWER_AFTER - EXISTS_AFTER)
            return 201, self.items.get(id, {**body, "id": id})
        if id not in self.items:
            return 404, {"error": "no such item"}
        if method == "DELETE":
            return 200, self.items.pop(id)
        self.items[id].update(body)
        return 200, self.items[id]


async def _send(writer: asyncio.StreamWriter, status: int, body: Any, headers: str = "") -> bool:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n{headers}\r\n"
    writer.write(head.encode() + data)
    await writer.drain()
    return True


@contextmanager
def running_cloud() -> Iterator[Cloud]:
    """On a free port of the loopback address, until the block is left."""
    cloud = Cloud()
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(cloud.serve, "127.0.0.1", 0)
        cloud.url = "http://{}:{}".format(*server.sockets[0].getsockname())
        ready.set()
        await stop.wait()
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0.01)  # for the loop to close the connections that their tasks gave up

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(GIVE_UP)
    try:
        yield cloud
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(GIVE_UP)
        loop.close()
