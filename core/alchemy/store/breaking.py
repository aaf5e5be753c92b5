"""Opening a lock by force, exactly: the one of the session that was broken, never that of somebody who came after.

The file is replaced, so that whoever holds the old one holds nothing. Everybody who takes a path alone passes its gate,
clears the record of an earlier holder away, and looks again whether the gate is still the same: so while the gate is
ours, the record of a session that stands there proves that nobody else has the lock, or can get it. Neighbour: `locks`.
"""

from __future__ import annotations

import time

from alchemy.errors import LockHeld
from alchemy.model.paths import ScopePath
from alchemy.store.files import Files
from alchemy.store.flocks import Flock, take
from alchemy.store.holders import read_holder
from alchemy.store.layout import Layout

PATIENCE = 5.0  # seconds for another unlock, or for those who keep coming back for the gate
_PAUSE = 0.002


def break_lock(layout: Layout, files: Files, path: ScopePath, session: str) -> bool:
    """Takes the lock on `path` from `session`; False when it has not got it (any more). Blocks for milliseconds.

    Whoever waits for the path keeps waiting and gets it now, in no particular order.
    """
    files.make_directory(layout.lock(path).parent)
    others = _others_wait(layout, files, path)
    try:
        gate = _shut(layout, files, path)
        try:
            holder = read_holder(layout, files, path)
            if holder is None or holder.session != session:
                return False
            files.replace(layout.lock(path), b"")
            files.remove(layout.holder(path))  # after it: killed in between, the next unlock finds the record again
            return True
        finally:
            gate.release()
    finally:
        others.release()


def _others_wait(layout: Layout, files: Files, path: ScopePath) -> Flock:
    """One unlock at a time: two of them would take the gate from each other."""
    end = time.monotonic() + PATIENCE
    while (flock := take(layout, files, layout.unlocking, alone=True)) is None:
        if time.monotonic() > end:
            raise LockHeld(
                f"another unlock has been at work for {PATIENCE:g} s, and {path} has to wait for it",
                hint="see whether that process is stopped, then run the same command again",
            )
        time.sleep(_PAUSE)
    return flock


def _shut(layout: Layout, files: Files, path: ScopePath) -> Flock:
    """The gate, also when somebody who waits keeps it: a new one in its place, and ours before anybody else's."""
    end = time.monotonic() + PATIENCE
    while (gate := take(layout, files, layout.gate(path), alone=True)) is None:
        if time.monotonic() > end:
            raise LockHeld(f"the gate of {path} changes hands too fast to be shut", hint="run the same command again")
        files.replace(layout.gate(path), b"")
    return gate
