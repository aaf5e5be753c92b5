"""The ways in which the strict server can be told to misbehave: one at a time or together, for some requests or all.

Neighbours: `server` acts on what `Faults.take` returns; `control` sets the same switches from another process.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

WRITES = ("PUT", "DELETE")
EVERY = ("PUT", "GET", "HEAD", "DELETE", "LIST")

# Nothing happens, and this is the answer: a status, and the code that S3 has for it.
REFUSALS = {
    "301": "PermanentRedirect",
    "400": "InvalidRequest",
    "401": "Unauthorized",
    "403": "AccessDenied",
    "404": "",  # a web page: no S3 is there
    "409": "ConditionalRequestConflict",
    "429": "TooManyRequests",
    "500": "InternalError",
    "501": "NotImplemented",
    "503": "SlowDown",
}

# What it does, and which requests it is for unless told.
KINDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(REFUSALS, EVERY),
    "409": ("PUT",),
    "delay": EVERY,  # wait, then do it
    "drop": EVERY,  # nothing happens, the connection is cut
    "hang": EVERY,  # nothing happens, nothing is answered, for `milliseconds`; then the connection is cut
    "late": WRITES,  # the connection is cut now, and `milliseconds` later it is done, as a request still on its way
    "throttle": ("PUT",),  # 429 for a second write to one key within a second, as R2
    "commit-then-500": WRITES,
    "commit-then-drop": WRITES,
    "commit-then-hang": WRITES,
    "commit-then-412": ("PUT",),  # says that the condition failed, and wrote
    "ignore-conditions": ("PUT",),
    "ignore-if-none-match": ("PUT",),
    "ignore-if-match": ("PUT",),
    "refuse-quoted": ("PUT",),  # an If-Match in quotes never matches, as with radosgw
    "refuse-unquoted": ("PUT",),  # 500 for an If-Match without quotes, as miniflare
    "missing-is-404": ("PUT",),  # If-Match on a key that is not there, as AWS
    "stale-list": ("LIST",),  # the newest key is missing
    "stale-get": ("GET", "HEAD"),  # the version before, if there was one
}


@dataclass(frozen=True, slots=True)
class Fault:
    """`times` 0: until cleared. `after`: so many requests that it would be for are let through first.

    `key` is a pattern with `*`; of a listing it is matched against the prefix.
    """

    kind: str
    times: int = 0
    key: str = "*"
    verb: str = ""
    milliseconds: int = 0
    after: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is none of {', '.join(KINDS)}")
        if self.verb and self.verb not in EVERY:
            raise ValueError(f"{self.verb!r} is none of {', '.join(EVERY)}")

    def meets(self, verb: str, key: str) -> bool:
        return verb in ((self.verb,) if self.verb else KINDS[self.kind]) and fnmatchcase(key, self.key)

    def document(self) -> dict[str, Any]:
        return asdict(self)


class Faults:
    """Those in force. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, verb: str, key: str) -> dict[str, Fault]:
        """Those that meet this request, by kind; what is limited in number is used up by it."""
        taken: dict[str, Fault] = {}
        with self._lock:
            left: list[Fault] = []
            for fault in self._faults:
                if fault.kind in taken or not fault.meets(verb, key):
                    left.append(fault)
                    continue
                if fault.after:
                    left.append(replace(fault, after=fault.after - 1))
                    continue
                taken[fault.kind] = fault
                if fault.times != 1:
                    left.append(replace(fault, times=max(0, fault.times - 1)))
            self._faults = left
        return taken
