"""The strict S3 server itself: one thread, one request after the other, conditions exact, misbehaving only when told.

Neighbours: `wire` reads and spells, `signing` checks who asks, `shelf` holds the objects, `faults` the switches.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from alchemy.testing.s3 import control, signing
from alchemy.testing.s3.faults import REFUSALS, Fault, Faults
from alchemy.testing.s3.shelf import Shelf, Stored
from alchemy.testing.s3.wire import Answer, Malformed, Request, listing, read_request, refusal

HOST = "127.0.0.1"
ACCESS_KEY_ID = "loopback-key"
SECRET_ACCESS_KEY = "loopback-secret"


@dataclass(frozen=True, slots=True)
class Logged:
    """A request that was answered (status 0: with a cut connection). `key` of a listing is its prefix."""

    verb: str
    key: str
    status: int


class Cut(Exception):
    """No answer: the connection is closed after `seconds`."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds


class Server:
    """Serves from a thread of its own between `with` and its end; `faults`, `log` and `page` may be used meanwhile.

    With `directory` the objects outlive it. `page` is the most that one answer to a listing holds.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        buckets: tuple[str, ...] = ("state",),
        directory: Path | None = None,
        secrets: Mapping[str, str] | None = None,
        page: int = 1000,
    ) -> None:
        self.faults = Faults()
        self.log: list[Logged] = []
        self.last: Request | None = None  # as it came
        self.page = page
        self._shelves = {name: Shelf(directory / name if directory else None) for name in buckets}
        self._secrets = dict(secrets or {ACCESS_KEY_ID: SECRET_ACCESS_KEY})
        self._written: dict[str, float] = {}  # key -> when: for throttling
        self._socket = socket.create_server((HOST, port), backlog=256)
        self._loop = asyncio.new_event_loop()
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="s3", daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self._socket.getsockname()[1]}"

    def fault(
        self, kind: str, *, times: int = 0, after: int = 0, key: str = "*", verb: str = "", milliseconds: int = 0
    ) -> None:
        """Switch it on; `self.faults.clear()` switches all off."""
        self.faults.add(Fault(kind, times, key, verb, milliseconds, after))

    def counts(self) -> dict[str, int]:
        """Requests so far, by verb."""
        verbs = [entry.verb for entry in list(self.log)]
        return {verb: verbs.count(verb) for verb in dict.fromkeys(verbs)}

    def bodies(self, bucket: str = "state") -> dict[str, bytes]:
        """What is stored, without asking over the wire."""
        return self._shelves[bucket].bodies()

    def put(self, key: str, body: bytes, bucket: str = "state") -> None:
        """As somebody else would, past the wire and every condition."""
        self._shelves[bucket].put(key, body)

    def __enter__(self) -> Self:
        self._thread.start()
        self._serving.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(RuntimeError):  # closed already
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            server = self._loop.run_until_complete(asyncio.start_server(self._meet, sock=self._socket))
            self._loop.call_soon(self._serving.set)
            self._loop.run_forever()
            server.close()
            self._loop.run_until_complete(asyncio.sleep(0))
            while tasks := asyncio.all_tasks(self._loop):  # also of who was accepted just now, and is in no list yet
                for task in tasks:
                    task.cancel()
                self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.run_until_complete(asyncio.sleep(0))  # transports close in the next turn
        finally:
            self._loop.close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(Malformed, ConnectionError, asyncio.CancelledError):
                while (request := await read_request(reader)) is not None:
                    try:
                        answer = await self._answer(request)
                    except Cut as cut:
                        await asyncio.sleep(cut.seconds)
                        writer.transport.abort()
                        return
                    writer.write(answer.spell(head=request.method == "HEAD"))
                    await writer.drain()
        finally:
            writer.transport.abort() if writer.transport.is_closing() else writer.close()

    async def _answer(self, request: Request) -> Answer:
        if request.path.startswith(control.PATH):
            return control.answer(self, request)
        self.last = request
        bucket, _, key = unquote(request.path).removeprefix("/").partition("/")
        asked = request.parameters
        verb = request.method if key else "LIST" if request.method == "GET" else request.method
        name = key or asked.get("prefix", "")
        try:
            answer = await self._judge(request, verb, bucket, name)
        except Cut:
            self.log.append(Logged(verb, name, 0))
            raise
        self.log.append(Logged(verb, name, answer.status))
        return answer

    async def _judge(self, request: Request, verb: str, bucket: str, key: str) -> Answer:
        """What is wrong before anything is done, then what is done, then what is said about it."""
        faults = self.faults.take(verb, key)
        if delay := faults.get("delay"):
            await asyncio.sleep(delay.milliseconds / 1000)
        code = signing.find_fault(
            request.method, request.path, request.query, request.headers, request.body, self._secrets
        )
        if code:
            return refusal(403, code, "Access denied.")
        shelf = self._shelves.get(bucket)
        if shelf is None:
            return refusal(404, "NoSuchBucket", "The specified bucket does not exist.")
        for status in faults.keys() & REFUSALS.keys():
            told = REFUSALS[status]
            return refusal(int(status), told, "As told.") if told else Answer(int(status), b"<html>Not here.</html>")
        if "drop" in faults or "hang" in faults:
            raise Cut(faults["hang"].milliseconds / 1000 if "hang" in faults else 0.0)
        if "throttle" in faults:
            now = time.monotonic()
            if now - self._written.get(key, -1.0) < 1:
                return refusal(429, "TooManyRequests", "Reduce your concurrent request rate for the same object.")
            self._written[key] = now
        if late := faults.get("late"):
            asyncio.get_running_loop().call_later(late.milliseconds / 1000, self._do, shelf, verb, key, request, faults)
            raise Cut
        answer = self._do(shelf, verb, key, request, faults)
        if "commit-then-drop" in faults:
            raise Cut
        if "commit-then-hang" in faults:
            raise Cut(faults["commit-then-hang"].milliseconds / 1000)
        if "commit-then-500" in faults:
            return refusal(500, "InternalError", "We encountered an internal error. Please try again.")
        if "commit-then-412" in faults:
            return refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
        return answer

    def _do(self, shelf: Shelf, verb: str, key: str, request: Request, faults: Mapping[str, Fault]) -> Answer:
        """Never awaits: a condition and the write it protects are one step."""
        if verb == "LIST":
            return self._list(shelf, request, newest="stale-list" not in faults)
        if not key or len(key.encode()) > 1024 or request.method == "POST":
            return refusal(400, "InvalidRequest", "Not something this server does.")
        stored = shelf.find(key)
        if verb == "PUT":
            refused = _weigh(stored, request.headers, faults)
            if refused is not None and "commit-then-412" not in faults:
                return refused
            return Answer(200, b"", {"ETag": f'"{shelf.put(key, request.body).etag}"'})
        if verb == "DELETE":
            shelf.delete(key)
            return Answer(204)
        if stored is None:
            return refusal(404, "NoSuchKey", "The specified key does not exist.")
        if "stale-get" in faults and stored.before is not None:
            stored = Stored(stored.before, stored.etag, stored.modified, stored.number)
        headers = {"ETag": f'"{stored.etag}"', "Last-Modified": formatdate(stored.modified, usegmt=True)}
        return Answer(200, stored.body, {**headers, "Content-Type": "application/octet-stream"})

    def _list(self, shelf: Shelf, request: Request, *, newest: bool) -> Answer:
        asked = request.parameters
        if asked.get("list-type") != "2":
            return refusal(400, "InvalidRequest", "Only ListObjectsV2.")
        most = min(self.page, int(asked.get("max-keys", "1000")))
        token = asked.get("continuation-token", "")
        page = shelf.page(
            asked.get("prefix", ""),
            asked.get("delimiter", ""),
            asked.get("start-after", ""),
            token,
            most,
            newest=newest,
        )
        objects = [(key, f'"{stored.etag}"', len(stored.body), stored.iso) for key, stored in page.objects]
        bucket = unquote(request.path).strip("/")
        return listing(bucket, asked, objects, page.folders, page.token)


def _weigh(stored: Stored | None, headers: Mapping[str, str], faults: Mapping[str, Fault]) -> Answer | None:
    """What the conditions of a PUT forbid, or None."""
    failed = refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
    everything = "ignore-conditions" in faults
    absent, match = headers.get("if-none-match"), headers.get("if-match")
    if absent is not None and not everything and "ignore-if-none-match" not in faults:
        if absent != "*":
            return refusal(501, "NotImplemented", "If-None-Match takes * only.")
        if stored is not None:
            return failed
    if match is not None and not everything and "ignore-if-match" not in faults:
        if "refuse-unquoted" in faults and not match.startswith('"'):
            return refusal(500, "InternalError", "Unquoted ETag.")
        if stored is None:
            return refusal(404, "NoSuchKey", "No such key.") if "missing-is-404" in faults else failed
        if match != (stored.etag if "refuse-quoted" in faults else f'"{stored.etag}"'):
            return failed
    return None
