"""`alchemy scope logs`: the runs of a scope and the events of one of them; `--follow` stays until that run ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import click

from alchemy.cli import wording
from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.cli.pages import Page, end_quietly_when_nobody_reads, show_json
from alchemy.cli.scope import documents
from alchemy.cli.scope.inspection import did
from alchemy.cli.scope.subject import find_scope, look, mark, tell_unread, unread
from alchemy.cli.terminal import Signs, ago, clock, duration, signs
from alchemy.cli.tones import Line, coloured, joined, line
from alchemy.errors import UsageError
from alchemy.model.events import (
    BackupTaken,
    ChangeEnded,
    ChangePlanned,
    ChangeRetried,
    ChangeStarted,
    Entry,
    LockLost,
    LockTaken,
    LockWaited,
    Noted,
    Progressed,
    Restored,
    RollbackEnded,
    RollbackStarted,
    RunEnded,
    RunStarted,
)
from alchemy.model.text import safe_text
from alchemy.operations.shapes import RunSummary, View
from alchemy.operations.workspace import Workspace
from alchemy.store.clock import Clock

LOOK = 0.2  # seconds between two looks at the journal
RUNS = 10  # shown above the events
_BELOW = " " * 10  # the time of an entry
EVENTS = 1000  # newest, without --follow


@click.command(cls=Command)
@click.argument("scope")
@click.option("--run", "run", default="", metavar="R-N", help="This run.  [default: the newest]")
@click.option("--follow", "-f", is_flag=True, help="Go on until the newest run ends, or Ctrl-C.")
@as_json
@shared
def logs(given: Given, scope: str, run: str, follow: bool, json_: bool) -> None:
    """Show the runs of SCOPE, then the events of one run, also while it goes on in another process.

    Exit code 4 when the journal cannot be read to its end: what can be read is shown.
    """
    workspace, view = look(given)
    owner = find_scope(view, scope).owner
    runs = view.runs.get(owner, ())
    if run and run not in {found.run for found in runs} and not workspace.entries(owner, run, 1):
        known = f"the newest are {', '.join(found.run for found in runs[:3])}" if runs else "there was none yet"
        raise UsageError(f"{owner} has no run {safe_text(run, 40)!r}", hint=known)
    if follow:
        if run and runs and run != runs[0].run:
            raise UsageError(f"{run} has ended: only the newest run can be followed", hint="leave --follow out")
        _follow(workspace, owner, _printer(given, json_=json_))
        return
    events = workspace.entries(owner, run, EVENTS)
    if json_:
        show_json(
            {
                "format": documents.FORMAT,
                "scope": owner,
                "runs": [documents.run(found) for found in runs],
                "run": run or (runs[0].run if runs else ""),
                "events": [documents.event(entry) for entry in events],
            }
        )
    else:
        if not runs and not given.quiet and not unread(view, owner):
            sys.stderr.write(f"no runs of {owner} yet\n")
        _show(given, view, owner, runs, events)
    tell_unread(view, owner)


def _show(given: Given, view: View, owner: str, runs: tuple[RunSummary, ...], events: list[Entry]) -> None:
    page = Page(plain=given.plain)
    now = Clock().wall()
    if runs:
        page.section(f"Runs of {owner}")
    page.table(
        [
            [
                line(f"  {found.run}"),
                line(found.purpose),
                mark(page.signs, found.outcome),
                line((ago(found.started_at, now), "dim")),
                line((duration(found.took), "dim")),
                line((found.who, "dim")),
                line(did(view, found)),
            ]
            for found in runs[:RUNS]
        ]
    )
    if events:
        page.section(f"Events of {events[-1].run}")
    failed: set[str] = set()
    for entry in events:
        for said in told(entry, page.signs, failed):
            page.say(*said)
    if events and not isinstance(events[-1].event, RunEnded):
        for said in _broken_off(page.signs, events[-1].run, runs):
            page.say(*said)
    page.show()


def _broken_off(marks: Signs, run: str, runs: tuple[RunSummary, ...]) -> Iterator[Line]:
    """The end of the log of a run that said no end: nobody wonders whether there is more to come."""
    names = [found.run for found in runs]
    at = names.index(run) if run in names else -1
    if at < 0 or runs[at].outcome == "running":
        return
    later = runs[at - 1] if at else None
    what = "it was killed, or lost its lock" if later else "its process is gone"
    then = f"{later.run} ({later.purpose}, by {later.who}) took over" if later else "the next run takes over"
    yield line(_BELOW, (f"{marks.warning} ", "warn"), f"the log of {run} ends here: {what}, and {then}")


def _printer(given: Given, *, json_: bool) -> Callable[[Entry], None]:
    """One line, or one JSON document a line, at once."""
    end_quietly_when_nobody_reads()
    marks, colour = signs(sys.stdout), coloured(sys.stdout, plain=given.plain)
    failed: set[str] = set()

    def show(entry: Entry) -> None:
        if json_:
            show_json(documents.event(entry), compact=True)
        else:
            for said in told(entry, marks, failed):
                sys.stdout.write(joined(said, colour=colour) + "\n")
        sys.stdout.flush()

    return show


def _follow(workspace: Workspace, owner: str, show: Callable[[Entry], None]) -> None:
    """Until the run that is the newest now has ended, or its process is gone. Ctrl-C is an ordinary end here."""
    follow = workspace.follow(owner)
    try:
        while True:
            entries = follow.poll()
            for entry in entries:
                show(entry)
            if any(isinstance(entry.event, RunEnded) for entry in entries):
                return
            if not entries and owner not in workspace.refresh().active:
                late = follow.poll()  # what was written between the two looks
                for entry in late:
                    show(entry)
                if not any(isinstance(entry.event, RunEnded) for entry in late):
                    sys.stderr.write(f"{owner}: nothing is going on, and the newest run said no end\n")
                return
            time.sleep(LOOK)
    except KeyboardInterrupt:
        return


def told(entry: Entry, marks: Signs, failed: set[str]) -> Iterator[Line]:
    """`08:41:10  + created  database/main-db  D1Database  0.1s`.

    Below the end of a run what failed before it was announced, and what the causes say to do next. `failed` are the
    addresses that were told so far.
    """
    event = entry.event
    yield (*line((f"  {clock(entry.at)}", "dim")), *_said(entry, marks))
    if isinstance(event, ChangeEnded) and event.outcome in ("failed", "blocked"):
        failed.add(event.subject)
    if isinstance(event, RunEnded):
        for said in wording.failures(
            marks, [(address, why) for address, why in event.failures if address not in failed]
        ):
            yield (*line(_BELOW), *said)
        for hint in event.hints:
            yield line(_BELOW, ("  next: ", "title"), hint)


def _said(entry: Entry, marks: Signs) -> Line:
    event = entry.event
    if isinstance(event, ChangeStarted):
        return wording.started(marks, event)
    if isinstance(event, ChangePlanned):
        return wording.planned(marks, event)
    if isinstance(event, ChangeEnded):
        why = event.error if event.outcome in ("failed", "blocked") else ""
        return (*wording.ended(marks, event), *line((f"  {why}" if why else "", "bad")))
    if isinstance(event, ChangeRetried):
        return wording.retried(marks, event)
    if isinstance(event, BackupTaken):
        return wording.backed_up(marks, event)
    if isinstance(event, Restored):
        return wording.went_back(marks, event)
    if isinstance(event, RunStarted):
        by = f"by {event.who}, pid {event.pid}" if event.who else ""
        return wording.row(marks.arrow, event.purpose, "title", event.subject, event.target, by)
    if isinstance(event, RunEnded):
        return (*line("  "), *wording.result(marks, event, ""))
    if isinstance(event, LockWaited):
        if event.took:
            return wording.row(marks.keep, "waited", "dim", event.subject, f"{duration(event.took)} for {event.holder}")
        return wording.row(marks.keep, "waiting", "warn", event.subject, f"held by {event.holder}")
    if isinstance(event, LockTaken):
        return wording.row(marks.keep, "lock", "dim", event.subject, f"epoch {event.epoch}")
    if isinstance(event, LockLost):
        return wording.row(marks.failed, "lock lost", "bad", event.subject, event.reason)
    if isinstance(event, Progressed):
        return wording.row(marks.keep, "progress", "dim", event.subject, f"{event.done:g} of {event.total:g}")
    if isinstance(event, RollbackStarted):
        return wording.rolling_back(marks, event)
    if isinstance(event, RollbackEnded):
        return wording.rolled_back(marks, event)
    if isinstance(event, Noted):
        if event.level == "error":
            return (*wording.row(marks.failed, event.level, "bad", event.subject), *line((f"  {event.text}", "bad")))
        return wording.row(marks.keep, event.level, "dim", event.subject, event.text)
    return wording.row(marks.keep, type(event).__name__, "dim", event.subject)
