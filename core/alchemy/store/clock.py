"""The only place that knows the time. `Clock` is real; a manual one ships in `alchemy.testing`."""

from __future__ import annotations

import time


class Clock:
    """now(): ISO-8601 UTC with milliseconds. elapsed(): seconds that also pass while a laptop sleeps."""

    def now(self) -> str:
        return stamp(time.time())

    def wall(self) -> float:
        """Seconds since the epoch, for ages shown to people only."""
        return time.time()

    def elapsed(self) -> float:
        try:
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        except (AttributeError, OSError):
            # Of macOS, this one goes on while it sleeps, and the one behind `time.monotonic` does not.
            return time.clock_gettime(time.CLOCK_MONOTONIC)

    async def sleep(self, seconds: float) -> None:
        import asyncio

        await asyncio.sleep(seconds)


def stamp(wall: float) -> str:
    """`2024-01-15T10:30:00.000Z`."""
    whole = int(wall)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int((wall - whole) * 1000):03d}Z"
