"""Where the ring of an application lies, and how it gets there: whole or not at all, and only one of two that make it.

Neighbours: `keyring` is the ring itself; in object storage the same bytes are an object that is made create-only.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from alchemy.errors import UsageError
from alchemy.model.text import safe_text
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.keyring import KEYS, KeyRing, damaged
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from alchemy.store.store import Store


def ring_file(layout: Layout, application: str) -> Path:
    return layout.scope(application) / KEYS


def open_ring(files: Files, layout: Layout, application: str, password: str | None) -> KeyRing | None:
    """The stored ring of an application; None when it has none."""
    path = ring_file(layout, application)
    try:
        data = files.read(path)
    except FileNotFoundError:
        return None
    ring = KeyRing.unlock(data, password, str(path))
    if ring.application != application:
        raise damaged(str(path), f"it belongs to {safe_text(ring.application, 80)}, not to {application}")
    return ring


def open_or_create_ring(files: Files, layout: Layout, clock: Clock, application: str, password: str | None) -> KeyRing:
    """The stored ring, or a new one, stored before it is returned. Of two processes that create, one wins."""
    found = open_ring(files, layout, application, password)
    if found is not None:
        return found
    path = ring_file(layout, application)
    ring = replace(KeyRing.create(application, password, clock.now()), place=str(path))
    files.make_directory(path.parent)
    with _alone(path.parent):
        if not files.exists(path):
            files.replace(path, ring.to_bytes(), durable=True)  # whole or not there, also after a kill
            return ring
    found = open_ring(files, layout, application, password)
    assert found is not None
    return found


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Two stages of one application may meet their first secret at once; the kernel lets go when a process dies."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def store_ring(files: Files, layout: Layout, ring: KeyRing) -> None:
    """After `rewrap`, `rotate` or `retire`; the caller holds the application's lock, so nobody else writes it."""
    files.replace(ring_file(layout, ring.application), ring.to_bytes(), durable=True)


def ring_of(store: Store, application: str, password: str | None) -> KeyRing:
    """The ring of an application in whichever store, made when there is none."""
    if isinstance(store, LocalStore):
        return open_or_create_ring(store.files, store.layout, store.clock, application, password)
    raise UsageError(
        f"secrets cannot be sealed in {safe_text(store.place)} yet", hint="migrate into local files, then move them"
    )
