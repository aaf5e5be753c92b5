"""The events of one run: read once, then only what is new, each entry once.

Neighbours: `source` reads them (from any process's run); the Events pane draws them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from alchemy.model.events import Entry
from alchemy_tui.store.source import Follow, Source

WINDOW = 10_000  # entries kept


@dataclass(slots=True)
class Feed:
    """Used in the source's thread only; `entries` is copied out for drawing. `run` "" follows the newest run."""

    source: Source
    scope: str
    run: str = ""
    entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _follow: Follow | None = None
    _seen: int = 0  # sequence number of the newest entry; they rise over the whole journal

    def poll(self) -> list[Entry]:
        """Everything known, oldest first."""
        if self._follow is None:
            self._follow = self.source.follow(self.scope)
            self._follow.poll()  # from here on; what was before comes from `entries`
            self._take(self.source.entries(self.scope, self.run, WINDOW))
        elif not self.run or (self.entries and self.entries[-1].run == self.run):
            self._take(self._follow.poll())
        return list(self.entries)

    def _take(self, new: list[Entry]) -> None:
        """Entries of one batch share its number, so what counts is the last number seen before this call."""
        seen = self._seen
        for entry in new:
            if (self.run and entry.run != self.run) or (entry.seq and entry.seq <= seen):
                continue
            if not self.run and self.entries and entry.run != self.entries[-1].run:
                self.entries.clear()  # a newer run began
            self._seen = max(self._seen, entry.seq)
            self.entries.append(entry)
