"""Another password for an application's secrets, or another key: every sealed value of all its scopes sealed again.

The new key is in the ring before anything is sealed with it, and the old one leaves it after nothing names it: no row,
no backup. Killed anywhere, everything opens, and the same command finishes. Neighbour: `store.keyring` is the ring.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from alchemy.engine.props import step_below
from alchemy.errors import StateInvalid, UsageError
from alchemy.model.canonical import Json
from alchemy.model.events import BackupTaken, Noted
from alchemy.model.fold import Fold
from alchemy.model.masking import hash_props, is_sealed
from alchemy.model.paths import ScopePath
from alchemy.model.records import Op, Put
from alchemy.model.values import ResourceState, ScopeKind
from alchemy.operations.destroying import owners_in
from alchemy.operations.spills import spills
from alchemy.settings import Options
from alchemy.store.keyfiles import open_ring, ring_path, store_ring
from alchemy.store.keyring import KeyRing, WrongPassword
from alchemy.store.ledger import Ledger, make_holder
from alchemy.store.sealing import Where
from alchemy.store.shelf import shelf_of
from alchemy.store.store import Store

PURPOSE = "rekey"
_ROTATING = "rotating"  # in the ring, from the new key to the last row: there is something to finish
_NAMED = re.compile(rb'"v1\.([0-9a-f]{8})\.')


@dataclass(frozen=True, slots=True)
class Sealed:
    """What one journal holds: `values` sealed values in `rows` rows."""

    scope: ScopePath
    kind: ScopeKind
    rows: int
    values: int


@dataclass(frozen=True, slots=True)
class RekeyReport:
    """`key`: the id of the one that seals from now on. `left`: places whose value does not open, and stays as it is."""

    application: str
    key: str
    rotated: bool
    password_changed: bool
    resealed: tuple[tuple[str, int], ...]  # (scope, rows)
    retired: tuple[str, ...]
    kept: tuple[str, ...]  # older keys that a backup, a spill or a row still names
    left: tuple[str, ...]


def look(store: Store, application: str) -> list[Sealed]:
    """What would be sealed again, without password or lock. UsageError when the application has no secrets."""
    path = ScopePath.parse(application)
    if shelf_of(store).read(ring_path(path.app)) is None:
        raise UsageError(f"{path.app} has no secrets: there is no {ring_path(path.app)}", hint="`alchemy scope list`")
    found: list[Sealed] = []
    for owner, kind in owners_in(store, ScopePath((path.app,))):
        counts = [sum(1 for _ in _sealed_in(row)) for row in store.read_fold(owner).resources.values()]
        found.append(Sealed(owner, kind, sum(map(bool, counts)), sum(counts)))
    return found


async def rekey(
    store: Store, application: str, options: Options, *, password: str, new_password: str = "", rotate: bool = False
) -> RekeyReport:
    """`new_password` wraps the keys anew; `rotate` makes another key. Nobody may deploy a scope of it meanwhile."""
    path = ScopePath((ScopePath.parse(application).app,))
    store.prepare()
    lease = await store.acquire(path, timeout=options.lock_timeout) if options.enable_locking else None
    try:
        if lease is not None:
            lease.publish(make_holder(store, path, 0, PURPOSE))
        ring, changed = _unlocked(store, path.app, password, new_password)
        if rotate and not ring.extra.get(_ROTATING):
            ring.rotate(store.clock.now())
        unfinished = bool(ring.extra.get(_ROTATING))
        if not (rotate or new_password or unfinished):
            raise UsageError("nothing is to be done", hint="--new-password-env VARIABLE, or --rotate")
        if changed or rotate:
            ring.extra |= {_ROTATING: True} if rotate else {}
            store_ring(store, ring)
        return await _seal_again(store, path, ring, options, rotated=rotate or unfinished, password_changed=changed)
    finally:
        if lease is not None:
            lease.release()


def _unlocked(store: Store, application: str, password: str, new_password: str) -> tuple[KeyRing, bool]:
    """The ring with the new password set, and whether that has to be stored. It may have it: killed after that."""
    try:
        ring = open_ring(store, application, password)
    except WrongPassword:
        if not new_password:
            raise
        ring = open_ring(store, application, new_password)
        assert ring is not None
        return ring, False
    assert ring is not None
    if new_password:
        ring.rewrap(new_password)
    return ring, bool(new_password)


async def _seal_again(
    store: Store, path: ScopePath, ring: KeyRing, options: Options, *, rotated: bool, password_changed: bool
) -> RekeyReport:
    done: list[tuple[str, int]] = []
    left: list[str] = []
    owners = owners_in(store, path)
    if rotated:
        for owner, kind in owners:
            rows = await _seal_scope(store, owner, kind, ring, left)
            done += [(str(owner), rows)] if rows else []
    named = _named(store, path, [owner for owner, _ in owners])
    retired = ring.retire(named if named is not None else ring.created)
    finished = ring.extra.pop(_ROTATING, None)
    if retired or finished:
        store_ring(store, ring)
    kept = tuple(sorted(ring.created.keys() - {ring.current}))
    return RekeyReport(
        path.app, ring.current, rotated, password_changed, tuple(done), retired, kept, tuple(sorted(left))
    )


async def _seal_scope(store: Store, owner: ScopePath, kind: ScopeKind, ring: KeyRing, left: list[str]) -> int:
    """All rows of one journal in one record, after a backup. How many."""
    if not list(_resealed(store.read_fold(owner), ring, left)):
        return 0
    ledger = await Ledger.open(store, owner, kind, purpose=PURPOSE, timeout=0, locking=False)
    outcome = "failed"
    try:
        file = ledger.backup("before a rekey")
        if file:
            ledger.emit(BackupTaken(str(owner), file, "before a rekey"))
        now = store.clock.now()
        rows = [replace(row, run=ledger.run, updated_at=now) for row in _resealed(ledger.fold, ring, [])]
        ops: list[Op] = [Put(row, reason="sealed again with another key") for row in rows]
        await ledger.intend(ops)
        ledger.emit(Noted(str(owner), f"{len(rows)} rows sealed again with the key {ring.current}"))
        outcome = "done"
    finally:
        ledger.close(outcome=outcome, counts={}, failures=[])
    return len(rows)


def _resealed(fold: Fold, ring: KeyRing, left: list[str]) -> Iterator[ResourceState]:
    """The rows with a value that another key sealed."""
    for row in fold.resources.values():

        def again(sealed: dict[str, Any], pointer: str, row: ResourceState = row) -> Json:
            where = Where(fold.lineage, fold.path, row.scope, row.id, pointer)
            try:
                value = ring.open(sealed, where)
            except StateInvalid:
                left.append(str(where))
                return sealed
            return sealed if _names(sealed, ring.current) else ring.seal(value, where)

        changed = _walked(row, again)
        if changed != row:
            same = row.props_hash == hash_props(row.props)
            yield replace(changed, props_hash=hash_props(changed.props)) if same else changed


def _walked(row: ResourceState, again: Any) -> ResourceState:
    """Props, outputs, announced props (sealed for the place they will have) and what a migration kept."""
    extra = {**row.extra}
    if "origin" in extra:
        extra["origin"] = _walk(extra["origin"], "/origin", again)
    return replace(
        row,
        props=_walk(row.props, "/props", again),
        outputs=_walk(row.outputs, "/outputs", again),
        pending=None if row.pending is None else _walk(row.pending, "/props", again),
        extra=extra,
    )


def _walk(value: Json, pointer: str, again: Any) -> Json:
    if is_sealed(value):
        return again(value, pointer)
    if isinstance(value, dict):
        return {key: _walk(item, step_below(pointer, key), again) for key, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, step_below(pointer, number), again) for number, item in enumerate(value)]
    return value


def _names(sealed: dict[str, Any], kid: str) -> bool:
    return str(sealed.get("$secret", "")).startswith(f"v1.{kid}.")


def _sealed_in(row: ResourceState) -> Iterator[str]:
    found: list[str] = []

    def note(sealed: dict[str, Any], pointer: str) -> Json:
        found.append(pointer)
        return sealed

    _walked(row, note)
    yield from found


def _named(store: Store, path: ScopePath, owners: list[ScopePath]) -> set[str] | None:
    """Keys that something stored names; None when a spill waits, which may name any."""
    import orjson

    if spills(store, path.app):
        return None
    found: set[bytes] = set()
    for owner in owners:
        fold = store.read_fold(owner)
        found |= {kid for row in fold.resources.values() for kid in _NAMED.findall(orjson.dumps(row.to_json()))}
        for name in store.backups(owner):
            found |= set(_NAMED.findall(store.read_backup(owner, name)[0]))
    return {kid.decode() for kid in found}
