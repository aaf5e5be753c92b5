"""Calls to the cloud: a permit each, a time limit each, tries with growing pauses, and a stop that waits for them.

A call in flight is never cancelled by a sibling's failure: the id it would have returned would be lost.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from alchemy.errors import AlchemyError, CloudError
from alchemy.model.text import safe_text

T = TypeVar("T")
LONGEST_PAUSE = 30.0  # seconds between two tries
LONGEST_ASKED = 300.0  # seconds that we wait when the cloud asks for it
GRACE = 6.0  # seconds that calls get after the first signal; CI runners kill after ten


class Stopped(Exception):
    """The run is being interrupted: nothing more is started, the outcome of a call may be unknown."""


class CallTimedOut(AlchemyError):
    """No answer within the resource's timeout: the outcome is unknown, the next try looks up first."""


class CallCancelled(AlchemyError):
    """A verb ended in a way that says nothing about its outcome."""


class Calls:
    """All calls of one session. `stopping` is set once and never cleared. `told` gets what is said to people."""

    def __init__(self, permits: int, told: Callable[[str], None] = lambda text: None) -> None:
        self._permits = asyncio.Semaphore(permits)
        self._turns = asyncio.Semaphore(permits)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._told = told
        self._said: set[str] = set()
        self._changes = 0  # begun or waiting for their turn
        self._verbs = 0  # called or waiting for a permit
        self.stopping = asyncio.Event()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """For one change from its intent to its answer: what is only waiting is not announced yet."""
        self._changes += 1
        try:
            async with self._turns:
                if self.stopping.is_set():
                    raise Stopped
                yield
        finally:
            self._changes -= 1

    async def make(self, call: Callable[[], Coroutine[Any, Any, T]], timeout: float) -> T:
        """Holds a permit only while calling. Stopped, CallTimedOut, or what the call raises."""
        self._verbs += 1
        try:
            async with self._permits:
                if self.stopping.is_set():
                    raise Stopped
                return await self._make(call, timeout)
        finally:
            self._verbs -= 1

    async def _make(self, call: Callable[[], Coroutine[Any, Any, T]], timeout: float) -> T:
        held = _Held(self)
        before = _held.set(held)
        task = asyncio.create_task(call())
        _held.reset(before)
        self._tasks.add(task)
        task.add_done_callback(_hear)
        try:
            await asyncio.wait({task}, timeout=timeout)
            while not task.done() and (more := held.since_last()):
                await asyncio.wait({task}, timeout=more)
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=1.0)
                if not task.done() or task.cancelled() or task.exception():
                    raise CallTimedOut(
                        f"no answer within {timeout:g} s: whether it happened is not known",
                        hint="run again: the next try looks before it acts; `timeout=` allows more time",
                    )
            return self._answer(task)
        finally:
            self._tasks.discard(task)
            if not task.done():
                task.cancel()

    def _answer(self, task: asyncio.Task[T]) -> T:
        """What the call returned or raised. Only a stop of the run makes a cancelled call Stopped."""
        if task.cancelled():
            if self.stopping.is_set():
                raise Stopped
            raise CallCancelled(
                "the call cancelled itself: whether it happened is not known", hint="run again: it looks"
            )
        error = task.exception()
        if error is None or isinstance(error, Exception | SystemExit | KeyboardInterrupt):
            return task.result()
        raise CallCancelled(f"the call raised {type(error).__name__}: {error}") from error

    async def drain(self, grace: float = GRACE) -> None:
        """Waits for what is in flight, then cancels the rest: their intents stay on disk."""
        self.stopping.set()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=grace)
        for task in list(self._tasks):
            task.cancel()

    def say(self, once: str, text: Callable[[int], str]) -> None:
        """Tells, once for each `once`, why nothing moves. `text` is given how many calls that concerns."""
        if once not in self._said:
            self._said.add(once)
            self._told(text(max(self._changes, self._verbs)))

    async def pause(self, seconds: float) -> None:
        """Sleeps; Stopped as soon as the run is interrupted."""
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return
        raise Stopped


class _Held:
    """How long one call stood still at our own gate: that is not the time of the cloud."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self._gates = 0  # of its requests, how many wait now
        self._began = self._total = 0.0

    async def wait(self, seconds: float) -> None:
        now = asyncio.get_running_loop().time
        if not self._gates:
            self._began = now()
        self._gates += 1
        try:
            await self.calls.pause(seconds)
        finally:
            self._gates -= 1
            if not self._gates:
                self._total += now() - self._began

    def since_last(self) -> float:
        """Seconds held since this was last asked; more than none while it still is."""
        total, self._total = self._total, 0.0
        if self._gates:
            now = asyncio.get_running_loop().time()
            total, self._began = max(total + now - self._began, _LOOK_AGAIN), now
        return total


_LOOK_AGAIN = 0.05  # seconds; a call whose time ran out at the gate is not asked after every moment
_held: ContextVar[_Held | None] = ContextVar("held", default=None)


async def hold(seconds: float, once: str = "", why: Callable[[int], str] | None = None) -> None:
    """For a cloud's client: the call at hand stands still, and its time with it; `why` is said once to people.

    Stopped as soon as the run is interrupted. Outside a call it just sleeps.
    """
    held = _held.get()
    if held is None:
        await asyncio.sleep(seconds)
        return
    if why is not None:
        held.calls.say(once, why)
    if seconds > 0.0:
        await held.wait(seconds)


def _hear(task: asyncio.Task[Any]) -> None:
    """What a call raises after its time was up is nobody's error any more: asyncio shall not print it."""
    if not task.cancelled():
        task.exception()


def transient(error: BaseException) -> bool:
    """Worth another try whatever the kind: throttled, a fault on their side, no connection, no answer."""
    if isinstance(error, CloudError):
        return error.transient
    if isinstance(error, CallTimedOut | TimeoutError | ConnectionError):
        return True
    status = getattr(getattr(error, "response", None), "status_code", 0)  # httpx.HTTPStatusError of a custom kind
    if isinstance(status, int) and (status == 429 or status >= 500):
        return True
    return type(error).__module__.startswith("httpx") and type(error).__name__ in _NO_ANSWER


_NO_ANSWER = frozenset(
    ["ConnectError", "ConnectTimeout", "ReadError", "ReadTimeout", "WriteError", "WriteTimeout"]
    + ["PoolTimeout", "CloseError", "RemoteProtocolError"]
)


def describe(error: BaseException) -> str:
    """One safe line for people."""
    if isinstance(error, AlchemyError):
        return safe_text(error.message, 500)
    return safe_text(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, 500)


def hint_of(error: BaseException) -> str:
    """What `error` says to do next, as safe; empty when it says nothing."""
    return safe_text(error.hint, 500) if isinstance(error, AlchemyError) else ""


def pause_before(attempt: int, delay: float, error: BaseException) -> float:
    """Seconds before try `attempt` + 1: doubling, with jitter, never less than what the cloud asked for."""
    doubled: float = min(LONGEST_PAUSE, delay * 2.0**attempt)
    jittered = doubled * random.uniform(0.75, 1.25)
    return max(jittered, _asked_for(error))


def _asked_for(error: BaseException) -> float:
    """Seconds that the cloud wants us to wait: our clients' errors say it, those of httpx have it in a header."""
    asked = getattr(error, "retry_after", None)
    if asked is None:
        headers = getattr(getattr(error, "response", None), "headers", {})
        asked = headers.get("retry-after") if hasattr(headers, "get") else None
    try:
        return min(float(asked or 0), LONGEST_ASKED)
    except ValueError:  # a date: rare, and the doubling pauses do as well
        return 0.0


async def retrying(
    calls: Calls,
    attempt: Callable[[int], Awaitable[T]],
    *,
    retries: int,
    delay: float,
    worth: Callable[[BaseException], bool],
    announce: Callable[[int, float, str], None],
) -> T:
    """`attempt(n)` until it returns; n is 0 for the first. `announce(n, seconds, why)` before each pause."""
    number = 0
    while True:
        try:
            return await attempt(number)
        except Stopped:
            raise
        except Exception as error:
            if number >= retries or not worth(error):
                raise
            seconds = pause_before(number, delay, error)
            announce(number + 1, seconds, describe(error))
            await calls.pause(seconds)
            number += 1
