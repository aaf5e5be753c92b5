"""Who is in the way of somebody who wants a lock, in words: the holder of the path, of one above, of one below.

Neighbours: `locks` asks while it waits and when it gives up; `holders` does the looking.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alchemy.errors import StateInvalid, StorageFailed
from alchemy.model.paths import ScopePath
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.holders import in_words, is_gone, is_taken, read_holder
from alchemy.store.layout import Layout
from alchemy.store.lockfiles import flock_pids, stored

_PASSER = "a process that only shares it: it passes by, or its own lock below was opened by force"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Where a try ended: at the lock of `at`, or at its gate, where somebody who waits for `at` goes first."""

    at: ScopePath
    gate: bool = False


@dataclass(frozen=True, slots=True)
class Blocker:
    """`who` holds `path` (or waits for it). Texts are safe to show. `fleeting`: perhaps it only looked or passed by."""

    path: ScopePath
    who: str
    waits: bool = False
    fleeting: bool = False

    def towards(self, wanted: ScopePath) -> str:
        """As the cause of a refusal: `held by ana@laptop, …`, with the path when it is another one."""
        verb = "is awaited by" if self.waits else "is held by"
        if self.path == wanted:
            return f"it {verb} {self.who}"
        side = "above" if self.path.holds(wanted) else "below" if wanted.holds(self.path) else "beside"
        return f"{self.path} {side} it {verb} {self.who}"


def find_blocker(layout: Layout, files: Files, refusal: Refusal, clock: Clock) -> Blocker | None:
    """None: nobody is there any more, so the refusal came from somebody who only looked or passed by."""
    at = refusal.at
    if _is_taken(layout, layout.lock(at)):
        return Blocker(at, _holder_of(layout, files, at, clock))
    below = [path for path in stored(layout, files, at) if _is_taken(layout, layout.lock(path))]
    blocker: Blocker | None = None
    if below:
        # of a nested path and the scope above it that one holder took together, the upper one says more
        first = min(below, key=lambda path: (len(path.parts), path))
        others = sum(1 for path in below if not first.holds(path))
        blocker = Blocker(first, _holder_of(layout, files, first, clock) + (f", and {others} more" if others else ""))
    elif pids := flock_pids(layout.lock(at)):
        blocker = Blocker(at, _unnamed(pids, _PASSER), fleeting=True)
    if refusal.gate and _is_taken(layout, layout.gate(at)):
        who = _unnamed(flock_pids(layout.gate(at)), "a process that asked first")
        return Blocker(at, f"{who}, behind {blocker.who}, on {blocker.path}" if blocker else who, waits=True)
    return None if refusal.gate else blocker


def _is_taken(layout: Layout, file: Path) -> bool:
    try:
        return is_taken(layout, file)
    except (StateInvalid, StorageFailed):  # something else lies there: nobody can hold that, and whoever opens it hears
        return False


def _holder_of(layout: Layout, files: Files, path: ScopePath, clock: Clock) -> str:
    holder = read_holder(layout, files, path)
    if holder and not is_gone(holder):
        return in_words(holder, clock)
    return _unnamed(flock_pids(layout.lock(path)))


def _unnamed(pids: tuple[int, ...], who: str = "a process that left no record") -> str:
    return f"{who} ({'pid' if len(pids) == 1 else 'pids'} {', '.join(map(str, pids))})" if pids else who
