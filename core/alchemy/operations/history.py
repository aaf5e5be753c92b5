"""What happened in a journal: its runs, one run's entries, its backups, and following a run that is going on.

Reading only. Neighbours: `owners` reads what is stored now, `workspace` puts both together.
"""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path

from alchemy.model.events import Entry
from alchemy.model.records import Record, entries
from alchemy.model.values import Holder
from alchemy.operations.shapes import BackupInfo, RunSummary
from alchemy.store.copies import BACKUP
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.opening import epoch_numbers
from alchemy.store.reader import JournalReader, read_epoch

NEWEST_RUNS = 50  # shown for each journal; older ones stay on disk
_HEAD = 2000  # bytes of a backup that hold its header


class Runs:
    """The newest runs of one journal. Ended epochs are read once."""

    def __init__(self, files: Files, layout: Layout, owner: str) -> None:
        self._files = files
        self._layout = layout
        self._owner = owner
        self._ended: dict[int, RunSummary] = {}

    def newest(self, *, live: bool, now: float) -> tuple[RunSummary, ...]:
        """Newest first. `live`: somebody is at the newest one now; `now` is wall-clock seconds."""
        numbers = epoch_numbers(self._files, self._layout, self._owner)
        out: list[RunSummary] = []
        for epoch in reversed(numbers[-NEWEST_RUNS:]):
            summary = self._ended.get(epoch)
            if summary is None:
                summary = self._summarise(epoch, live and epoch == numbers[-1], now)
                if summary is None:
                    continue
                if summary.outcome in ("done", "failed", "interrupted"):
                    self._ended[epoch] = summary
            out.append(summary)
        return tuple(out)

    def _summarise(self, epoch: int, live: bool, now: float) -> RunSummary | None:
        records = read_epoch(self._files, self._layout, self._owner, epoch)
        if not records or records[0].kind != "open":
            return None
        opener, last = records[0], records[-1]
        holder = Holder.from_json(opener.body["holder"])
        ended = last.kind == "release"
        body = last.body if ended else {}
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
            counts=body.get("counts", {}),
            failures=tuple((str(a), str(m)) for a, m in body.get("failures", [])),
        )


def seconds(at: str) -> float:
    """Wall-clock seconds of an ISO time; 0 when it is none."""
    try:
        return datetime.fromisoformat(at).timestamp()
    except ValueError:
        return 0.0


def run_records(files: Files, layout: Layout, owner: str, run: str) -> list[Record]:
    """Of `R-41`, or of the newest run when `run` is empty."""
    numbers = epoch_numbers(files, layout, owner)
    if run:
        wanted = re.fullmatch(r"R-(\d+)", run)
        numbers = [n for n in numbers if wanted and n == int(wanted[1])]
    for epoch in reversed(numbers):
        records = read_epoch(files, layout, owner, epoch)
        if records:
            return records
    return []


def entries_of(records: list[Record]) -> list[Entry]:
    return [entry for record in records for entry in entries(record)]


class Follow:
    """New entries since the last poll, of whatever run is newest, also of another process."""

    def __init__(self, files: Files, layout: Layout, owner: str) -> None:
        self._files = files
        self._layout = layout
        self._reader = JournalReader(files, layout, owner)
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
        for epoch in reversed(epoch_numbers(self._files, self._layout, self._reader.path)):
            records = [r for r in read_epoch(self._files, self._layout, self._reader.path, epoch) if r.seq > seen]
            found = records + found
            if self._first and records:
                break
            if not records and not self._first:
                break
        self._first = self._first and not found
        return entries_of(found)


def backups(files: Files, layout: Layout, owner: str) -> tuple[BackupInfo, ...]:
    """Newest first, from their headers only."""
    directory = layout.backups(owner)
    return tuple(
        _backup(directory / name, owner) for name in reversed(files.names(directory)) if BACKUP.fullmatch(name)
    )


def _backup(path: Path, owner: str) -> BackupInfo:
    size = 0
    try:
        size = path.stat().st_size
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            head = os.read(descriptor, _HEAD).decode("utf-8", "replace")
        finally:
            os.close(descriptor)
    except OSError as error:
        return BackupInfo(owner, path.name, "", "", 0, 0, size, f"it cannot be read: {error.strerror}")

    def field(name: str, pattern: str) -> str:
        found = re.search(rf'"{name}": {pattern}', head)
        return found[1] if found else ""

    taken, serial = field("taken", r'"([^"\\]*)"'), field("serial", r"(\d+)")
    problem = "" if taken and serial else "its header is damaged"
    reason = field("reason", r'"([^"\\]*)"')
    return BackupInfo(
        owner, path.name, taken, reason, int(serial or 0), int(field("resources", r"(\d+)") or 0), size, problem
    )
