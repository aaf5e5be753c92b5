"""A journal in a bucket that cannot be read: what is left of it, and a snapshot above it that stands for it.

Records are created once and never moved, so the damaged ones stay where they are, below that snapshot, and compaction
passes over them. Creating the snapshot is the one step that counts. Neighbours: `log` starts from the newest snapshot,
`salvage` (one level up) does the same for files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alchemy.errors import StateInvalid
from alchemy.model.backup import BadBackup
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Newer, Record
from alchemy.store.backups import read_valid
from alchemy.store.beginnings import Beginning, Salvaged
from alchemy.store.clock import Clock
from alchemy.store.objects.keys import Keys, number
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.log import Log
from alchemy.store.objects.port import Found, Listed, Objects
from alchemy.store.objects.requests import Fetch, Get, List, Steps, perform
from alchemy.store.objects.snapshots import encode_snapshot
from alchemy.store.objects.writes import create_whole
from alchemy.store.store import Store


def salvage_log(objects: Objects, clock: Clock, keys: Keys, store: Store, path: ScopePath | str) -> Salvaged:
    """The best that is known: the newest image, and every whole record behind it. StateInvalid for a newer format."""
    log = Log(keys, path)
    perform(objects, clock, log._start())
    image, source = _newest_image(log.fold, store, path)
    seqs = perform(objects, clock, log._list(0))
    made = Salvaged(image, epoch=image.epoch, seq=max([image.seq, *seqs]), serial=image.serial)
    problems = [*log.notes]
    wanted = [seq for seq in seqs if seq > image.seq]
    start, known = image.seq, 0
    for seq, body in zip(wanted, perform(objects, clock, _bodies(keys, path, wanted)), strict=True):
        try:
            record, check = log.decode(seq, body.body if body else b"")
        except StateInvalid as error:
            if isinstance(error.__cause__, Newer):
                raise
            problems.append(error.message)
            continue
        made.epoch, made.serial = max(made.epoch, record.epoch), max(made.serial, record.serial)
        known += 1
        if record.epoch < image.epoch:  # of a run that was fenced by then
            continue
        try:
            image.apply(record, check)
        except (KeyError, TypeError, ValueError, AttributeError):
            problems.append(f"record {seq} has a good checksum and is not of this tool")
    made.missing = made.seq - start - known
    made.sources = dict.fromkeys([*image.resources, *("\x00" + scope for scope in image.scopes)], source)
    made.problems = tuple(problems)
    return made


def _newest_image(snapshot: Fold, store: Store, path: ScopePath | str) -> tuple[Fold, str]:
    for name in reversed(store.backups(path)):
        try:
            fold = read_valid(store, path, name).fold
        except (BadBackup, FileNotFoundError):
            continue
        if not snapshot.lineage or (fold.lineage == snapshot.lineage and fold.seq > snapshot.seq):
            return fold, f"backup {name}"
        break
    return snapshot, "snapshot"


def _bodies(keys: Keys, path: ScopePath | str, seqs: Sequence[int]) -> Steps[list[Found | None]]:
    found: list[Found | None] = (yield Fetch(tuple(keys.record(path, seq) for seq in seqs))) if seqs else []
    return found


def supersede(
    objects: Objects, clock: Clock, keys: Keys, limits: Limits, path: ScopePath, beginning: Beginning
) -> None:
    """From when this returns the state is what `beginning` holds. An epoch is left out: whoever is of one before it
    and still writes meets a later one."""
    perform(objects, clock, _keep_snapshots(keys, limits, path))
    seq = max(1, beginning.seq)
    while True:
        last: Found | None = perform(objects, clock, _get(keys.record(path, seq)))
        fold = replace(beginning.fold(path), epoch=beginning.epoch + 1)
        ops = tuple(op.to_json() for op in beginning.ops)
        serial = beginning.serial + 1
        record = Record(seq, fold.epoch, "", "", "commit", clock.now(), "", serial, ops)
        fold.apply(record, _check_of(keys, path, seq, last))
        body = encode_snapshot(fold, seq, ())
        if perform(objects, clock, create_whole(keys.snapshot(path, seq), body, limits)):
            return
        seq += 1  # what has that name is damaged as well


def _check_of(keys: Keys, path: ScopePath, seq: int, last: Found | None) -> str:
    """What a run of before would go on from, so that its next record is seen for what it is: too late."""
    if last is None:
        return ""
    try:
        return Log(keys, path).decode(seq, last.body)[1]
    except StateInvalid:
        return ""


def _get(key: str) -> Steps[Found | None]:
    found: Found | None = yield Get(key)
    return found


def _keep_snapshots(keys: Keys, limits: Limits, path: ScopePath) -> Steps[None]:
    """Compaction would delete them as older than the new one: copies stay among the backups."""
    folder = keys.snapshots(path)
    listed: Sequence[Listed] = yield List(folder)
    for item in listed:
        found: Found | None = yield Get(item.key)
        if found is not None:
            name = f"superseded-{number(item.key, folder):016d}.json"
            yield from create_whole(keys.backups(path) + name, found.body, limits)
