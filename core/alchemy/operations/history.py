"""What happened in a journal: its runs, one run's entries, and following a run that is going on.

Reading only. Neighbours: `owners` reads what is stored now, `workspace` puts both together.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime

from alchemy.errors import StateInvalid
from alchemy.model.events import Entry
from alchemy.model.records import Record, entries
from alchemy.model.runview import RunView
from alchemy.model.values import Holder
from alchemy.operations.shapes import RunSummary
from alchemy.store.store import Store

NEWEST_RUNS = 50  # shown for each journal; older ones stay on disk


class Runs:
    """The newest runs of one journal. Ended epochs are read once."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._ended: dict[int, RunSummary] = {}

    def newest(self, *, live: bool, now: float) -> tuple[RunSummary, ...]:
        """Newest first. `live`: somebody is at the newest one now; `now` is wall-clock seconds."""
        numbers = self._store.epochs(self._owner)
        out: list[RunSummary] = []
        for epoch in reversed(numbers[-NEWEST_RUNS:]):
            summary = self._ended.get(epoch)
            if summary is None:
                with suppress(StateInvalid):  # a link in the place of its file hides no other run
                    summary = self._summarise(epoch, live and epoch == numbers[-1], now)
                if summary is None:
                    continue
                if summary.outcome not in ("running", "lost"):
                    self._ended[epoch] = summary
            out.append(summary)
        return tuple(out)

    def _summarise(self, epoch: int, live: bool, now: float) -> RunSummary | None:
        records = self._store.read_epoch(self._owner, epoch)
        if not records or records[0].kind != "open":
            return None
        opener, last = records[0], records[-1]
        holder = Holder.from_json(opener.body["holder"])
        ended = last.kind == "release"
        body = last.body if ended else {}
        counts, failures = body.get("counts", {}), body.get("failures", [])
        if not ended:  # it never summed up what it did
            known = RunView(self._owner)
            for entry in entries_of(records):
                known.apply(entry)
            counts, failures = known.counts, known.failures
        elif not counts:
            counts = _written(records)
        took = float(body.get("took", 0.0)) or max(0.0, (now if live else seconds(last.at)) - seconds(opener.at))
        return RunSummary(
            scope=self._owner,
            run=opener.run,
            epoch=epoch,
            purpose=holder.purpose,
            who=f"{holder.user}@{holder.host}",
            pid=holder.pid,
            command=holder.command,
            started_at=opener.at,
            ended_at=last.at if ended else "",
            outcome=str(body.get("outcome", "")) if ended else "running" if live else "lost",
            took=took,
            counts=counts,
            failures=tuple((str(a), str(m)) for a, m in failures),
            hints=tuple(body.get("hints", [])),
        )


def _written(records: list[Record]) -> dict[str, int]:
    """Of a run that made no calls: the rows that it wrote, as a recovery or a migration does, and took out."""
    ops = [op for record in records if record.kind in ("commit", "restore") for op in record.ops]
    put = {op["row"]["address"] for op in ops if op["op"] == "put" and "address" in op["row"]}
    gone = {op["address"] for op in ops if op["op"] == "drop" and op.get("address") and op.get("action") != "move"}
    return {word: len(rows) for word, rows in (("written", put), ("forget", gone)) if rows}


def seconds(at: str) -> float:
    """Wall-clock seconds of an ISO time; 0 when it is none."""
    try:
        return datetime.fromisoformat(at).timestamp()
    except ValueError:
        return 0.0


def run_records(store: Store, owner: str, run: str) -> list[Record]:
    """Of `R-41`, or of the newest run when `run` is empty."""
    numbers = store.epochs(owner)
    if run:
        wanted = re.fullmatch(r"R-(\d+)", run)
        numbers = [n for n in numbers if wanted and n == int(wanted[1])]
    for epoch in reversed(numbers):
        records = store.read_epoch(owner, epoch)
        if records:
            return records
    return []


def entries_of(records: list[Record]) -> list[Entry]:
    return [entry for record in records for entry in entries(record)]


class Follow:
    """New entries since the last poll, of whatever run is newest, also of another process."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._reader = store.reader(owner)
        self._seq = 0
        self._first = True

    def poll(self) -> list[Entry]:
        """The first poll returns the newest run so far."""
        if not self._reader.poll():
            return []
        if not self._reader.reloaded:
            self._seq = self._reader.fold.seq
            return entries_of(self._reader.records)
        seen, self._seq = self._seq, self._reader.fold.seq
        found: list[Record] = []
        for epoch in reversed(self._store.epochs(self._reader.path)):
            records = [r for r in self._store.read_epoch(self._reader.path, epoch) if r.seq > seen]
            found = records + found
            if self._first and records:
                break
            if not records and not self._first:
                break
        self._first = self._first and not found
        return entries_of(found)
