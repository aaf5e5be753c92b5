"""How long an unclear answer is asked about again. Time in which a laptop slept is not counted.

Neighbours: `epochs`, `claims`, `writes` ask; `limits` has the numbers.
"""

from __future__ import annotations

from alchemy.store.objects.limits import Limits


class Patience:
    """Ends before `seconds` are over, when one more try could last as long as the last one did."""

    def __init__(self, limits: Limits, now: float, seconds: float | None = None) -> None:
        self._seconds = limits.patience if seconds is None else seconds
        self._longest = limits.longest_request
        self._now = now
        self._spent = 0.0
        self._before = 0.0  # of it, before this try

    def look(self, now: float) -> None:
        """In the middle of a try, between two requests. `now` is what the own clock shows."""
        self._spent += min(max(now - self._now, 0.0), self._longest)
        self._now = now

    def over(self, now: float) -> bool:
        """After a try that told nothing."""
        self.look(now)
        last, self._before = self._spent - self._before, self._spent
        return self._spent + last > self._seconds
