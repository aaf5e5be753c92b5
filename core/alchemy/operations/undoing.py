"""Which backup undoes the newest restore, and why there is none. Synchronous, reading only.

Neighbour: `restoring` goes back to it.
"""

from __future__ import annotations

from collections.abc import Iterator

from alchemy.errors import Refused
from alchemy.model.backup import BEFORE_RESTORE, Header
from alchemy.model.paths import ScopePath
from alchemy.model.records import Record
from alchemy.operations.backups import find_subject
from alchemy.store.backups import headers
from alchemy.store.store import Store

PURPOSE = "restore"  # of the run


def undoes(store: Store, scope: str) -> str:
    """The backup that `undo` goes back to."""
    owner = find_subject(store, scope).owner
    found = [h for h in headers(store, owner) if h.reason.startswith(BEFORE_RESTORE) and not h.problem]
    header = next((h for h in found if not _died(store, owner, h)), None)
    if header is None:
        raise Refused(
            f"nothing was restored in {owner}: there is nothing to undo",
            hint=f"`alchemy scope backups {owner}` lists what can be restored",
        )
    serial = store.read_fold(owner).serial
    told, undone = header.serial, False
    since: list[str] = []
    for records in _since(store, owner, header):
        if not undone and _purpose(records) == PURPOSE:
            undone = _wrote(records, header) or not any(record.kind == PURPOSE for record in records)
            if not undone:
                since.append(f"{records[0].run} restore")
        elif records[-1].serial != told:
            since.append(f"{records[0].run} {_purpose(records)}")
        told = records[-1].serial
    if since or told != serial or not undone:
        raise Refused(
            f"{', '.join(since) or 'something'} ran in {owner} since the restore: undoing it would undo that too",
            hint=f"`alchemy scope restore {owner} --backup {header.file}` does it all the same",
        )
    return header.file


def _since(store: Store, owner: ScopePath, header: Header) -> Iterator[list[Record]]:
    """The runs that wrote something after the backup, oldest first."""
    for epoch in store.epochs(owner):
        records = store.read_epoch(owner, epoch) if epoch >= header.epoch else []
        if records and records[0].kind == "open" and records[-1].seq > header.seq:
            yield records


def _died(store: Store, owner: ScopePath, header: Header) -> bool:
    """The restore that took it was ended before its record: it changed nothing, and an earlier one is the newest."""
    if header.epoch not in store.epochs(owner):
        return False  # of a journal in whose place another began
    records = store.read_epoch(owner, header.epoch)
    takes = bool(records) and records[0].kind == "open" and records[0].seq == header.seq
    return takes and _purpose(records) == PURPOSE and not _wrote(records, header)


def _wrote(records: list[Record], header: Header) -> bool:
    return any(record.kind == PURPOSE and record.body.get("before") == header.file for record in records)


def _purpose(records: list[Record]) -> str:
    return str(records[0].body["holder"].get("purpose", ""))
