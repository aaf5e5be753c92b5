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

    def over(self, now: float) -> bool:
        """After a try that told nothing; `now` is what the own clock shows."""
        last = min(max(now - self._now, 0.0), self._longest)
        self._now = now
        self._spent += last
        return self._spent + last > self._seconds
