"""A run as the front ends draw it: rows by address, totals, failures; folded from entries, one by one."""

from __future__ import annotations

from dataclasses import dataclass, field

from alchemy.model.events import (
    ChangeEnded,
    ChangePlanned,
    ChangeRetried,
    ChangeStarted,
    Entry,
    LockWaited,
    Progressed,
    RunEnded,
    RunStarted,
)

OPEN = frozenset({"planned", "running", "retrying"})


@dataclass(slots=True)
class RunRow:
    """One resource in a run. `state`: planned, running, retrying, done, failed, skipped, blocked."""

    address: str
    kind: str
    action: str
    state: str
    reason: str = ""
    error: str = ""
    started_at: str = ""
    took: float = 0.0  # seconds
    attempt: int = 0
    progress: tuple[float, float] | None = None


@dataclass(slots=True)
class RunView:
    """Mutable on purpose: a run of 10,000 changes is 20,000 entries. `version` rises with each entry."""

    scope: str
    run: str = ""
    purpose: str = ""
    who: str = ""
    pid: int = 0
    command: str = ""
    target: str = ""
    started_at: str = ""
    ended_at: str = ""
    outcome: str = ""  # "" while running
    took: float = 0.0
    rows: dict[str, RunRow] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)  # finished changes by action; "failed", "skipped", "blocked"
    failures: list[tuple[str, str]] = field(default_factory=list)
    waiting_for: str = ""  # the holder of the lock, while waiting
    version: int = 0

    def apply(self, entry: Entry) -> None:
        event = entry.event
        self.version += 1
        if isinstance(event, RunStarted):
            self.run, self.purpose, self.who, self.pid = entry.run, event.purpose, event.who, event.pid
            self.command, self.target, self.started_at, self.waiting_for = event.command, event.target, entry.at, ""
        elif isinstance(event, ChangePlanned | ChangeStarted):
            row = self.rows.get(event.subject)
            if row is None or row.state not in OPEN:
                row = self.rows[event.subject] = RunRow(event.subject, event.kind, event.action, "planned")
            row.kind, row.action, row.reason = event.kind, event.action, event.reason
            if isinstance(event, ChangeStarted):
                row.state, row.started_at = "running", entry.at
        elif isinstance(event, ChangeRetried):
            row = self.rows.get(event.subject)
            if row:
                row.state, row.attempt, row.error = "retrying", event.attempt, event.error
        elif isinstance(event, Progressed):
            row = self.rows.get(event.subject)
            if row:
                row.progress = (event.done, event.total)
        elif isinstance(event, ChangeEnded):
            self._end(event)
        elif isinstance(event, LockWaited):
            self.waiting_for = "" if event.took else event.holder
        elif isinstance(event, RunEnded):
            self.outcome, self.ended_at, self.took = event.outcome, entry.at, event.took
            self.counts = dict(event.counts)
            self.failures = [(address, message) for address, message in event.failures]

    def _end(self, event: ChangeEnded) -> None:
        row = self.rows.get(event.subject)
        if row is None:
            row = self.rows[event.subject] = RunRow(event.subject, event.kind, event.action, "planned")
        row.state, row.action, row.took, row.error = event.outcome, event.action, event.took, event.error
        word = event.action if event.outcome == "done" else event.outcome
        self.counts[word] = self.counts.get(word, 0) + 1
        if event.outcome == "failed":
            self.failures.append((event.subject, event.error))

    @property
    def finished(self) -> int:
        return sum(1 for row in self.rows.values() if row.state not in OPEN)

    @property
    def running(self) -> int:
        return sum(1 for row in self.rows.values() if row.state in ("running", "retrying"))
