"""What a run did, counted from its events: for those that ended without saying so, or say it in a sentence.

Neighbours: `source` gives the events; `present.run` says the counts; the app asks for those that are on screen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from alchemy.model.events import Noted, Restored, RunEnded
from alchemy.model.runview import RunView
from alchemy.operations.shapes import RunSummary
from alchemy_tui.store.source import Source

LIMIT = 100_000  # entries of a run that are counted
ORDINARY = ("deploy", "destroy", "cleanup", "test", "plan", "save")


@dataclass(frozen=True, slots=True)
class Tally:
    """`doubtful`: calls that were announced and whose end nobody recorded. `said`: its own words, if it has any."""

    counts: Mapping[str, int] = field(default_factory=dict)
    doubtful: int = 0
    said: str = ""


def is_due(summary: RunSummary) -> bool:
    """Its own summary counts nothing, and that may not be all there was."""
    if summary.counts or summary.outcome == "running":
        return False
    return summary.outcome != "done" or summary.purpose not in ORDINARY


def tally(source: Source, scope: str, run: str) -> Tally:
    """Reads the run's events; in the source's thread."""
    view, said = RunView(scope), ""
    for entry in source.entries(scope, run, LIMIT):
        view.apply(entry)
        if isinstance(entry.event, Noted):
            said = entry.event.text
        elif isinstance(entry.event, Restored):
            said = f"as in {entry.event.file}"
        elif isinstance(entry.event, RunEnded) and entry.event.failures and not said:
            said = entry.event.failures[0][1]
    return Tally(dict(view.counts), view.running, said)
