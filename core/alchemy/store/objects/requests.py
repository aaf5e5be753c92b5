"""What the protocol asks of a bucket, as values: the same steps run against a real store and under a test's scheduler.

A step is a generator that yields requests and is sent the answers; Taken, Changed and Unknown are thrown into it.
`perform` runs one to its end, blocking. Neighbours: `log`, `epochs`, `claims` are made of steps; `port` is the store.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from alchemy.store.clock import Clock
from alchemy.store.objects.port import Objects

T = TypeVar("T")
R = TypeVar("R")
ABREAST = 8  # objects read at a time


@dataclass(frozen=True, slots=True)
class Create:
    """Answer: the ETag."""

    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Replace:
    """Answer: the new ETag."""

    key: str
    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Get:
    """Answer: Found or None."""

    key: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """Answer: a list of Found or None, one for each key; they are read at different moments."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class List:
    """Answer: a list of Listed."""

    prefix: str
    after: str = ""


@dataclass(frozen=True, slots=True)
class Folders:
    """Answer: a list of names."""

    prefix: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Answer: None. Garbage only, in no order."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pause:
    """Answer: what the own clock shows afterwards, in seconds. With 0 it only looks at the clock."""

    seconds: float = 0.0


Request = Create | Replace | Get | Fetch | List | Folders | Delete | Pause
Steps = Generator[Any, Any, T]


class Stopped(Exception):
    """Whoever waited for this does not want it any more. Thrown once: what has to be tidied up is still done."""


def perform(objects: Objects, clock: Clock, steps: Steps[T], stop: threading.Event | None = None) -> T:
    """Runs the steps here and now. `stop` ends a pause, and what would come after it, with Stopped."""
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            request = steps.throw(error) if error is not None else steps.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value
        answer = error = None
        try:
            if stop is not None and stop.is_set():
                stop = None
                raise Stopped
            answer = _ask(objects, clock, request, stop)
        except BaseException as raised:  # the steps decide what it means, and pass on what they do not know
            error = raised


def _ask(objects: Objects, clock: Clock, request: Request, stop: threading.Event | None) -> Any:
    match request:
        case Create(key, body):
            return objects.create(key, body)
        case Replace(key, body, etag):
            return objects.replace(key, body, etag)
        case Get(key):
            return objects.get(key)
        case Fetch(keys):
            return abreast(objects.get, keys)
        case List(prefix, after):
            return objects.list(prefix, after=after)
        case Folders(prefix):
            return objects.folders(prefix)
        case Delete(keys):
            abreast(objects.delete, keys)
            return None
        case Pause(seconds):
            if seconds > 0 and stop is not None:
                stop.wait(seconds)  # the next request tells
            elif seconds > 0:
                time.sleep(seconds)
            return clock.elapsed()


def abreast(read: Callable[[str], R], keys: Sequence[str]) -> list[R]:
    """Several readings at a time, in threads."""
    if len(keys) <= 1:
        return [read(key) for key in keys]
    try:
        with ThreadPoolExecutor(min(ABREAST, len(keys)), thread_name_prefix="objects") as pool:
            asked = [pool.submit(read, key) for key in keys]
    except RuntimeError:  # the interpreter ends, and a run that was never finalized ends with it: no threads any more
        return [read(key) for key in keys]
    return [each.result() for each in asked]
