"""The error of a run that somebody took over from: who, when, why, as the journal of the later run says.

Neighbours: `localjournal` and `objects.epochs` raise it, `operations.unlocking` is the usual reason.
"""

from __future__ import annotations

from datetime import datetime

from alchemy.errors import Fenced
from alchemy.model.records import Record
from alchemy.model.text import safe_text


def fenced(scope: str, epoch: int, opener: Record | None) -> Fenced:
    """`epoch` is the later run's, `opener` its first record, when it has one yet."""
    who = f": {_who(opener)}" if opener is not None else ""
    return Fenced(
        f"this run may not write {scope} any more: a later run took over (R-{epoch}){who}",
        hint=f"`alchemy scope locks` shows who has it now, `alchemy scope logs {scope}` what was done; nothing that "
        "this run does from here on counts",
    )


def _who(opener: Record) -> str:
    holder, unlock = opener.body.get("holder"), opener.body.get("unlock")
    said = holder if isinstance(holder, dict) else {}
    person = f"{safe_text(said.get('user', '?'), 80)}@{safe_text(said.get('host', '?'), 80)} at {_moment(opener.at)}"
    if not isinstance(unlock, dict):
        return f"{safe_text(said.get('purpose', 'run'), 40)} by {person}"
    reason = safe_text(unlock.get("reason", ""), 300)
    return f"unlocked by {person}" + (f": {reason}" if reason else "")


def _moment(at: str) -> str:
    """Local time; with the date, since the run that reads it may have slept for days."""
    try:
        return f"{datetime.fromisoformat(at).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError):
        return safe_text(at, 40)
