"""The switches, log and counters of a running server for other processes: plain JSON below one path that is no bucket.

`GET` gives {"log": [[verb, key, status]], "counts": {verb: n}}; `POST` takes {"fault": {…}}, {"clear": true},
{"forget": true} (empties the log) or {"page": n}. Neighbours: `server` routes here, `Remote` is the other end.
"""

from __future__ import annotations

import http.client
import json
from typing import Any, Protocol
from urllib.parse import urlsplit

from alchemy.testing.s3.faults import Fault, Faults
from alchemy.testing.s3.wire import Answer, Request

PATH = "/.control"


class Controlled(Protocol):
    """What a server lets itself be told."""

    faults: Faults
    log: list[Any]
    page: int

    def counts(self) -> dict[str, int]: ...


def answer(server: Controlled, request: Request) -> Answer:
    if request.method == "GET":
        log = [[entry.verb, entry.key, entry.status] for entry in server.log]
        return _document(200, {"log": log, "counts": server.counts()})
    try:
        told = json.loads(request.body)
        fault = Fault(**told["fault"]) if "fault" in told else None
    except (ValueError, TypeError) as error:
        return _document(400, {"error": str(error)})
    if told.get("clear"):
        server.faults.clear()
    if told.get("forget"):
        server.log.clear()
    if fault is not None:
        server.faults.add(fault)
    server.page = int(told.get("page", server.page))
    return _document(200, {})


def _document(status: int, content: Any) -> Answer:
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})


class Remote:
    """A server in another process, told the same things as one in this."""

    def __init__(self, endpoint: str) -> None:
        self._host = urlsplit(endpoint).netloc

    def fault(
        self, kind: str, *, times: int = 0, after: int = 0, key: str = "*", verb: str = "", milliseconds: int = 0
    ) -> None:
        self._tell({"fault": Fault(kind, times, key, verb, milliseconds, after).document()})

    def clear(self) -> None:
        self._tell({"clear": True})

    def forget(self) -> None:
        self._tell({"forget": True})

    def set_page(self, page: int) -> None:
        self._tell({"page": page})

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self._tell(None)["counts"]
        return counts

    def log(self) -> list[tuple[str, str, int]]:
        return [(verb, key, status) for verb, key, status in self._tell(None)["log"]]

    def _tell(self, content: Any) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._host, timeout=10)
        try:
            connection.request(*(("GET", PATH) if content is None else ("POST", PATH, json.dumps(content))))
            reply = connection.getresponse()
            document: dict[str, Any] = json.loads(reply.read())
        finally:
            connection.close()
        if reply.status != 200:
            raise ValueError(document.get("error", reply.reason))
        return document
