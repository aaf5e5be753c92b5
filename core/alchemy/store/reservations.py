"""Scopes that a person keeps runs out of, as whoever opens one meets it.

Reading only, light. Neighbours: `waiting` waits for a lock; `operations.holding` reserves scopes.
"""

from __future__ import annotations

from datetime import datetime

from alchemy.errors import LockHeld, StateInvalid
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.model.values import Hold
from alchemy.store.store import Store


def until(hold: Hold) -> str:
    """` until 2026-03-01 14:00` in local time, or nothing: it stays until somebody unlocks."""
    if not hold.until:
        return ""
    try:
        at = datetime.fromisoformat(hold.until).astimezone()
    except (ValueError, OverflowError):
        return f" until {safe_text(hold.until, 40)}"
    return f" until {at:%Y-%m-%d %H:%M}"


def refuse_held(fold: Fold, now: str, wanted: ScopePath | None = None) -> None:
    """LockHeld while a person keeps runs out of the scope, or, with `wanted`, of what is below it."""
    hold = fold.hold
    if hold is None or not hold.active(now):
        return
    who, why = safe_text(hold.by, 80), safe_text(hold.reason, 300)
    what = "it" if wanted is None or str(wanted) == fold.path else f"{fold.path} above it"
    raise LockHeld(
        f"Failed to acquire lock {wanted or fold.path}: {what} is reserved by {who}{until(hold)}: {why}",
        hint=f"`alchemy scope unlock {fold.path}` gives it free",
    )


def refuse_held_above(store: Store, path: ScopePath) -> None:
    """What is reserved as an application keeps runs out of its stages and tests too."""
    if path.parent is None:
        return
    app = path.ancestors[0]
    if not store.has_journal(app):
        return
    try:
        fold = store.read_fold(app)
    except StateInvalid:  # its own damage is its own: the stages of an application stand by themselves
        return
    refuse_held(fold, store.clock.now(), path)
