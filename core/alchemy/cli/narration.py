"""What a run says while it goes: lines on stderr, or a live view on a terminal. One narrator for a process.

`attach_to_program` is for programs run with python: `program` names it, and it stays light (no click, no rich).
Neighbours: `wording` has the words, `progress` the live view, `failures` what is said about errors.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from alchemy.cli import wording
from alchemy.cli.terminal import is_terminal, signs
from alchemy.cli.tones import Line, coloured, joined, line
from alchemy.model import scrubbing
from alchemy.model.events import (
    BackupTaken,
    ChangeEnded,
    ChangePlanned,
    ChangeRetried,
    ChangeStarted,
    Entry,
    LockLost,
    LockWaited,
    Noted,
    Restored,
    RollbackEnded,
    RollbackStarted,
    RunEnded,
    RunStarted,
)
from alchemy.model.runview import RunView
from alchemy.store.clock import Clock

if TYPE_CHECKING:
    from alchemy.cli.progress import Progress
    from alchemy.settings import Options


class Narrator:
    """A listener. `told` are the addresses whose failure was shown; whoever reports the error leaves them out."""

    def __init__(
        self,
        stream: TextIO,
        *,
        plain: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        shows_plan: bool = False,
    ) -> None:
        self.stream = stream
        self.signs = signs(stream)
        self.quiet = quiet
        self.verbose = verbose
        self.shows_plan = shows_plan  # nobody else prints the plan
        self.told: set[str] = set()
        self.runs: dict[str, RunView] = {}  # open ones, by owner
        self.began: dict[str, float] = {}  # address -> Clock.elapsed() when its change started
        self.lock = threading.RLock()  # the live view reads from a thread of its own
        self.clock = Clock()
        self._colour = coloured(stream, plain=plain)
        self._moves = is_terminal(stream) and not plain and not quiet
        self._progress: Progress | None = None
        self._mute = False

    def __call__(self, entry: Entry) -> None:
        event = entry.event
        with self.lock:
            if isinstance(event, RunStarted):
                self.runs[event.subject] = RunView(event.subject)
            view = self._run_of(event.subject)
            if view is not None:
                view.apply(entry)
            if isinstance(event, ChangeStarted):
                self.began[event.subject] = self.clock.elapsed()
        if isinstance(event, ChangeStarted) and self._moves and self._progress is None:
            from alchemy.cli.progress import Progress

            self._progress = Progress(self)
        if isinstance(event, RunEnded):
            self._end(event)
        elif not self.quiet:
            for said in self._lines(entry, view.purpose if view else ""):
                self.say(said)

    def _run_of(self, subject: str) -> RunView | None:
        """The innermost open run that holds the subject."""
        while subject:
            if subject in self.runs:
                return self.runs[subject]
            subject = subject.rpartition("/")[0]
        return None

    def _lines(self, entry: Entry, purpose: str) -> list[Line]:
        event, marks = entry.event, self.signs
        if isinstance(event, RunStarted):
            if purpose == "read" or (purpose == "plan" and not self.shows_plan):
                return []
            where = "" if event.purpose == "restore" else f", target: {event.target or 'unknown'}"
            return [line((event.subject, "title"), f" {event.purpose}{where}")]
        if isinstance(event, ChangePlanned):
            doomed = purpose == "destroy" and event.action in ("delete", "forget")
            return [wording.planned(marks, event)] if self.shows_plan and (doomed or purpose == "plan") else []
        if isinstance(event, ChangeStarted):
            return [] if self._progress else [wording.started(marks, event)]
        if isinstance(event, ChangeEnded):
            if event.outcome == "done" and event.action == "keep" and not self.verbose:
                return []
            return [wording.ended(marks, event)]
        if isinstance(event, ChangeRetried):
            return [wording.retried(marks, event)]
        if isinstance(event, LockWaited):
            most = f" (for {event.most:g} s at most)" if event.most else ""
            return [line((f"  waiting for the lock of {event.subject}: held by {event.holder}{most}", "warn"))]
        if isinstance(event, LockLost):
            return [line((f"  {marks.failed} lost the lock of {event.subject}: {event.reason}", "bad"))]
        if isinstance(event, BackupTaken):
            return [wording.backed_up(marks, event)] if self.verbose or purpose == "restore" else []
        if isinstance(event, Restored):
            return [wording.went_back(marks, event)]
        if isinstance(event, RollbackStarted):
            return [wording.rolling_back(marks, event)]
        if isinstance(event, RollbackEnded):
            return [wording.rolled_back(marks, event)]
        if isinstance(event, Noted):
            warning = event.level == "warning"
            return [
                line(
                    (f"  {marks.warning if warning else marks.keep} ", "warn" if warning else "dim"),
                    f"{event.subject}: {event.text}",
                )
            ]
        return []

    def _end(self, event: RunEnded) -> None:
        with self.lock:
            view = self.runs.pop(event.subject, None)
        if not self.runs:
            self.finish()
        purpose = view.purpose if view else "run"
        if purpose == "read" or (purpose == "plan" and not event.failures):
            return
        self.say(wording.result(self.signs, event, purpose, _stayed(view) if view else ()))
        for said in wording.failures(self.signs, [(address, why) for address, why in event.failures]):
            self.say(said)
        self.told.update(address for address, _ in event.failures)

    def say(self, pieces: Line) -> None:
        if self._progress is not None:
            self._progress.say(pieces)
        else:
            self.print(pieces)

    def print(self, pieces: Line) -> None:
        self.write(joined(pieces, colour=self._colour))

    def write(self, text: str) -> None:
        if self._mute:
            return
        try:
            self.stream.write(text + "\n")
            self.stream.flush()
        except (OSError, ValueError):  # the reader of stderr is gone: the run goes on, and its log is on disk
            self._mute = True

    def finish(self) -> None:
        """Takes the live view down; what it still had to say is said."""
        progress, self._progress = self._progress, None
        if progress is not None:
            progress.stop()


def _stayed(view: RunView) -> list[str]:
    """Where things were to go: what somebody keeps."""
    if view.purpose not in ("destroy", "cleanup"):
        return []
    return sorted(row.address for row in view.rows.values() if (row.action, row.state) == ("kept", "done"))


def show_calls(say: Callable[[Line], None]) -> None:
    """For -v: one line for each request; httpx logs method, address and status, never headers."""
    import logging

    class Calls(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(line((f"    {record.getMessage()}", "dim")))

    logger = logging.getLogger("httpx")
    logger.setLevel(logging.INFO)
    logger.addHandler(Calls())


_attached: Narrator | None = None


def attach_to_program(options: Options) -> Narrator | None:
    """For a program run with python: its narrator, unless it is quiet, and errors without tracebacks either way."""
    global _attached
    report_errors()
    if options.quiet:
        return None
    moved = _attached is not None and _attached.stream is not sys.stderr and not _attached.runs
    if _attached is None or moved:  # a test runner gives each test a stderr of its own
        import atexit

        _attached = Narrator(sys.stderr, verbose=options.verbose, shows_plan=True)
        atexit.register(_attached.finish)  # a scope that is never finalized ends no run
        if options.verbose:
            show_calls(_attached.say)
    return _attached


_installed = False


def report_errors() -> None:
    """Our errors as text, with their exit code; others keep their traceback."""
    global _installed
    if _installed:
        return
    _installed = True
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: object) -> None:
        from alchemy.cli import failures

        code = failures.of_program(error, _attached.told if _attached else set())
        if code is None and before is sys.__excepthook__ and scrubbing.knows_any():
            import traceback

            sys.stderr.write(scrubbing.scrub("".join(traceback.format_exception(error))))
        elif code is None:
            before(kind, error, error.__traceback__)
        elif code != 1:
            sys.stderr.flush()
            raise SystemExit(code)  # the interpreter leaves with it, after its exit handlers gave locks back

    sys.excepthook = hook
