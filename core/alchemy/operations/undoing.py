"""Which backup undoes the newest restore, and why there is none. Synchronous, reading only.

Neighbour: `restoring` goes back to it.
"""

from __future__ import annotations

from alchemy.errors import Refused
from alchemy.model.backup import BEFORE_RESTORE
from alchemy.operations.backups import find_subject
from alchemy.store.backups import headers
from alchemy.store.store import Store

PURPOSE = "restore"  # of the run


def undoes(store: Store, scope: str) -> str:
    """The backup that `undo` goes back to."""
    owner = find_subject(store, scope).owner
    header = next((h for h in headers(store, owner) if h.reason.startswith(BEFORE_RESTORE) and not h.problem), None)
    if header is None:
        raise Refused(
            f"nothing was restored in {owner}: there is nothing to undo",
            hint=f"`alchemy scope backups {owner}` lists what can be restored",
        )
    fold = store.read_fold(owner)
    since: list[str] = []
    undone = False
    serial = -1
    for epoch in store.epochs(owner):
        records = store.read_epoch(owner, epoch) if epoch >= header.epoch else []
        if not records or records[0].kind != "open":
            continue
        purpose = str(records[0].body["holder"].get("purpose", ""))
        if not undone:
            undone = purpose == PURPOSE
        elif records[-1].serial != serial:
            since.append(f"{records[0].run} {purpose}")
        serial = records[-1].serial
    if since or fold.serial != serial:
        raise Refused(
            f"{', '.join(since) or 'something'} ran in {owner} since the restore: undoing it would undo that too",
            hint=f"`alchemy scope restore {owner} --backup {header.file}` does it all the same",
        )
    return header.file
