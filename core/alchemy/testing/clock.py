"""A clock that stands still until it is moved. Neighbour: `store.clock`, the real one."""

from __future__ import annotations

from alchemy.store.clock import Clock, stamp


class ManualClock(Clock):
    """Starts at `wall` (seconds since 1970). `sleep` moves it and returns at once."""

    def __init__(self, wall: float = 1_705_314_600.0) -> None:  # 2024-01-15T10:30:00Z
        self._wall = wall
        self._elapsed = 0.0

    def move(self, seconds: float) -> None:
        """Both clocks; negative seconds set only the wall clock back, as people do."""
        self._wall += seconds
        self._elapsed += max(0.0, seconds)

    def now(self) -> str:
        return stamp(self._wall)

    def wall(self) -> float:
        return self._wall

    def elapsed(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        self.move(seconds)
