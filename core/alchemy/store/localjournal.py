"""The journal of one scope on local disk: one append-only file a run, which is commit point, run log and fence in one.

Neighbours: `journal` groups the records that are put here, `opening` reads them, `views` shows the rows to people.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

from alchemy.errors import AlchemyError, LockHeld, Refused
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Op, Record
from alchemy.model.values import Holder
from alchemy.store.beginnings import Beginning
from alchemy.store.clock import Clock
from alchemy.store.copies import wants_snapshot, write_snapshot
from alchemy.store.evidence import read_records
from alchemy.store.fencing import fenced
from alchemy.store.files import Files
from alchemy.store.journal import Journal
from alchemy.store.layout import Layout
from alchemy.store.opening import Loaded, load, load_again, lost_records
from alchemy.store.reader import read_epoch
from alchemy.store.salvage import set_aside
from alchemy.store.spill import Spill
from alchemy.store.views import Views

_LOOKS = 5  # at the opener of whoever came before us
_PAUSE = 0.02  # seconds between them


class EpochFile:
    """The `Medium` of an epoch: append, sync, look for a later epoch; then the views."""

    linger = 0.05

    def __init__(self, files: Files, layout: Layout, fold: Fold, epoch: int, descriptor: int, *, recheck: bool) -> None:
        self._files = files
        self._layout = layout
        self._fold = fold
        self._path = layout.epoch(fold.path, epoch)
        self._next = layout.epoch(fold.path, epoch + 1)
        self._later = epoch + 1
        self._descriptor = descriptor
        self._began = False  # a row was changed in this run
        self._recheck = recheck
        self._views = Views(files, layout, fold)

    def put(self, record: Record, line: bytes) -> None:
        self._files.append(self._descriptor, line, self._path)
        self._files.sync(self._descriptor, self._path)
        # Its own file gone from its place: the journal was set aside, and another one has begun.
        if self._files.exists(self._next) or not self._files.exists(self._path):
            opener = _opener_of(self._files, self._layout, self._fold.path, self._later)
            raise fenced(self._fold.path, self._later, opener)

    def folded(self, rows: Collection[str], scopes: Collection[str], *, changed: bool) -> None:
        if changed and not self._began:
            self._began = True
            self._views.begin()
        self._views.touch(rows, scopes)

    @property
    def doubtful(self) -> bool:
        return self._files.exists(self._next)

    def opened(self) -> None:
        if self._recheck:
            self._views.check_all()

    @property
    def behind(self) -> bool:
        return self._views.behind

    def catch_up(self) -> None:
        # A view is a copy: the journal has it all, and `validate` names a file that is not as it should be.
        with suppress(AlchemyError, OSError):
            self._views.write_one()

    def released(self) -> None:
        if wants_snapshot(self._fold):
            write_snapshot(self._files, self._layout, self._fold)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._files.close(descriptor)


def _opener_of(files: Files, layout: Layout, path: ScopePath | str, epoch: int) -> Record | None:
    """Of a run that claimed its epoch just now: it writes it right after that."""
    for _ in range(_LOOKS):
        with suppress(AlchemyError):
            records = read_epoch(files, layout, path, epoch)
            if records:
                return records[0]
        time.sleep(_PAUSE)
    return None


def open_local(
    files: Files,
    layout: Layout,
    clock: Clock,
    path: ScopePath,
    *,
    session: str,
    holder: Callable[[int], Holder],
    ops: Callable[[Fold], Sequence[Op]],
    body: dict[str, Any],
    refuse: Callable[[Fold], None] | None = None,
    seen: int | None = None,
) -> Journal:
    """Claims the next epoch and writes its opener durably: `Store.open_journal` on local disk."""
    before = load(files, layout, path)
    error = lost_records(files, layout, before.fold, thorough=not before.clean)
    if error is not None:
        raise error
    if refuse is not None:
        refuse(before.fold)
    newest = before.epochs[-1] if before.epochs else before.fold.epoch
    if seen is not None and newest != seen:
        raise overtaken(path, seen, newest)
    files.make_directory(layout.journal(path))
    epoch = newest + 1
    try:
        descriptor = files.create(layout.epoch(path, epoch), b"")
    except FileExistsError:
        if seen is not None:
            raise overtaken(path, seen, epoch) from None
        opener = _opener_of(files, layout, path, epoch)
        if opener is not None and "unlock" in opener.body:  # it closed the run of somebody else, and is gone again
            given = (files, layout, clock, path)
            return open_local(*given, session=session, holder=holder, ops=ops, body=body, refuse=refuse)
        raise LockHeld(
            f"Failed to acquire lock {path}: another run opened it at this moment",
            hint="`alchemy scope locks` shows who; run the command again",
        ) from None
    try:
        # Read again: the claim fixed what counts of the epochs before, and the seal says how much that is.
        loaded = load_again(files, layout, path, before, below=epoch)
        fold = loaded.fold
        full = {**body, "holder": holder(epoch).to_json(), "seals": _seal(files, layout, path, loaded)}
        full["lineage"] = fold.lineage or uuid.uuid4().hex
        rebooted = fold.holder is not None and fold.holder.boot_id != full["holder"]["boot_id"]
        recheck = rebooted or not loaded.clean or not Views(files, layout, fold).complete
        medium = EpochFile(files, layout, fold, epoch, descriptor, recheck=recheck)
        opening = list(ops(fold))
    except BaseException:
        files.close(descriptor)
        raise
    spill = Spill(files, layout.spill, str(layout.root), fold, epoch, session)
    journal = Journal(fold, epoch, session, clock, medium, spill)
    journal.start(opening, full)
    return journal


def begin_local(
    files: Files,
    layout: Layout,
    clock: Clock,
    path: ScopePath,
    *,
    session: str,
    holder: Callable[[int], Holder],
    beginning: Beginning,
    body: dict[str, Any],
) -> Journal:
    """Sets the journal aside and begins another with what `beginning` holds: `Store.begin_journal` on local disk."""
    aside = set_aside(files, layout, path)
    if read_records(files, layout, path).seq > beginning.seq:
        raise Refused(
            f"somebody wrote to {path} meanwhile: what they wrote is in {aside or 'the journal that was set aside'}",
            hint="nothing is lost: run the same command again",
        )
    files.make_directory(layout.journal(path))
    epoch = beginning.epoch + 1
    try:
        descriptor = files.create(layout.epoch(path, epoch), b"")
    except FileExistsError:
        raise overtaken(path, beginning.epoch, epoch) from None
    fold = beginning.fold(path)
    full = {**body, **beginning.body, "holder": holder(epoch).to_json(), "seals": {}}
    full["lineage"] = fold.lineage or uuid.uuid4().hex
    medium = EpochFile(files, layout, fold, epoch, descriptor, recheck=True)
    spill = Spill(files, layout.spill, str(layout.root), fold, epoch, session)
    journal = Journal(fold, epoch, session, clock, medium, spill)
    journal.start(beginning.ops, full)
    return journal


def _seal(files: Files, layout: Layout, path: ScopePath, loaded: Loaded) -> dict[str, int]:
    """How many bytes of each epoch that nobody sealed count."""
    seals = {str(e): loaded.end if e == loaded.last else 0 for e in loaded.unsealed}
    for sealed, size in seals.items():
        if size:  # its run may have been killed before it synced what we read and are going to build on
            files.sync_file(layout.epoch(path, int(sealed)))
    return seals


def overtaken(path: ScopePath, seen: int, newest: int) -> Refused:
    """Somebody opened the scope between the look and the forced opening."""
    return Refused(
        f"{path} is at run R-{newest} by now, not at R-{seen} that was to be broken: somebody opened it meanwhile",
        hint="`alchemy scope locks` shows who holds it now; nothing was changed",
    )
