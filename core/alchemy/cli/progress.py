"""When the live view of a run is up: after a moment, so that short runs never load rich, until the last run has ended.

Neighbours: `live` draws it, `narration` says what is printed above it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from alchemy.cli.tones import Line

if TYPE_CHECKING:
    from alchemy.cli.live import Live
    from alchemy.cli.narration import Narrator

PATIENCE = 0.15  # seconds a run may take before it gets a live view
TICK = 0.1  # seconds between two pictures


class Progress:
    """A thread of its own: the run never waits for the terminal."""

    def __init__(self, narrator: Narrator) -> None:
        self._narrator = narrator
        self._live: Live | None = None
        self._queue: list[Line] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def say(self, pieces: Line) -> None:
        """Printed at once, or above the view with its next picture."""
        with self._narrator.lock:
            if self._live is not None:
                self._queue.append(pieces)
                return
        self._narrator.print(pieces)

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        if self._live is not None:
            self._live.draw(self._taken(), over=True)
            self._live.stop()

    def _run(self) -> None:
        if self._over.wait(PATIENCE):
            return
        from alchemy.cli.live import Live

        live = Live(self._narrator)
        with self._narrator.lock:
            self._live = live
        while not self._over.wait(TICK):
            live.draw(self._taken())

    def _taken(self) -> list[Line]:
        with self._narrator.lock:
            queue, self._queue = self._queue, []
        return queue
