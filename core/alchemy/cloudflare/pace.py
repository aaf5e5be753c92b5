"""How fast Cloudflare is asked: one budget for all calls with one token, one pause for all when it asks for one.

A user has 1,200 requests in five minutes, over all programs; past that everything is refused for five minutes more.
The hooks are for an httpx client: `wiring` puts them in. Neighbours: `failures` reads the wait, `engine.calls` waits.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from alchemy.cloudflare.failures import asked_wait
from alchemy.engine.calls import hold

if TYPE_CHECKING:
    import httpx

BURST = 250  # requests at once after a quiet time
RATE = 3.0  # a second after those: 250 and 300 times 3 are 1,150 in five minutes
_WORTH_TELLING = 5.0  # seconds: shorter waits for the budget are not announced
_SAME_PAUSE = 5.0  # seconds by which answers of one moment may differ in what they ask for


class Budget:
    """A bucket of `burst` requests that fills up again at `rate` a second. Times are given: there is no clock here."""

    def __init__(self, burst: int = BURST, rate: float = RATE) -> None:
        self._every = 1.0 / rate
        self._ahead = (burst - 1) * self._every
        self._paid = float("-inf")  # up to when the requests taken so far have used the rate

    def take(self, now: float) -> float:
        """When the next request may go, at or after `now`. Whoever asks first goes first."""
        at = max(now, self._paid - self._ahead)
        self._paid = max(self._paid, at) + self._every
        return at


class Pace:
    """`budget` None: only what is asked for is waited. It outlives sessions, and belongs to no event loop."""

    def __init__(self, budget: Budget | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget = budget
        self._clock = clock
        self.until = float("-inf")  # by the clock; nothing is sent before
        self._asked = (0, 0.0)  # which pause it is, and its length in seconds

    async def before(self, request: httpx.Request) -> None:
        """Waits until `request` may go. Stopped when the run is interrupted meanwhile."""
        free = self._budget.take(self._clock()) if self._budget else float("-inf")
        while True:
            now = self._clock()
            if self.until > now:
                await hold(self.until - now, *self._notice())
            elif free > now + _WORTH_TELLING:
                await hold(free - now, "budget", _notice_of_budget)
            elif free > now:
                await hold(free - now)
            else:
                return

    async def after(self, response: httpx.Response) -> None:
        """What the answer says about the next ones."""
        seconds = _until_refilled(response)
        if response.status_code == 429:
            seconds = asked_wait(response) or seconds
        now = self._clock()
        if not seconds or now + seconds <= self.until:
            return
        if now + seconds > self.until + _SAME_PAUSE:
            self._asked = (self._asked[0] + 1, seconds)
        self.until = now + seconds
        await hold(0.0, *self._notice())

    def _notice(self) -> tuple[str, Callable[[int], str]]:
        number, seconds = self._asked
        return f"pause {number}", lambda waiting: f"Cloudflare asks to wait {seconds:.0f} s: {_calls(waiting)}"


def _notice_of_budget(waiting: int) -> str:
    return f"staying below Cloudflare's limit of 1,200 requests in 5 minutes: {_calls(waiting)}"


def _calls(waiting: int) -> str:
    return "1 call waits" if waiting == 1 else f"{waiting} calls wait"


def _until_refilled(response: httpx.Response) -> float | None:
    """Seconds until there is something left, when the answer says that this one was the last."""
    headers = response.headers
    if headers.get("x-ratelimit-remaining", "").strip() == "0":
        return _seconds(headers.get("x-ratelimit-reset", ""))
    for limit in headers.get("ratelimit", "").split(","):  # "default";r=0;t=30
        fields = dict(part.strip().partition("=")[::2] for part in limit.split(";")[1:])
        if fields.get("r") == "0":
            return _seconds(fields.get("t", ""))
    return None


def _seconds(text: str) -> float | None:
    """None for what is no duration of at most five minutes: a point in time, for example."""
    with suppress(ValueError):
        seconds = float(text)
        return seconds if 0.0 < seconds <= 300.0 else None
    return None


_paces: dict[str, Pace] = {}


def pace_of(base_url: str, token: str, *, limited: bool) -> Pace:
    """One for all sessions of this process that ask one API with one token."""
    key = hashlib.sha256(f"{base_url}\n{token}".encode()).hexdigest()
    return _paces.setdefault(key, Pace(Budget() if limited else None))
