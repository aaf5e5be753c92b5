"""Where the ring of an application lies, and how it gets there: whole or not at all, and only one of two that make it.

Neighbours: `keyring` is the ring itself, `shelf` the place, on local disk or in a bucket.
"""

from __future__ import annotations

from alchemy.model.text import safe_text
from alchemy.store.keyring import KEYS, KeyRing, damaged
from alchemy.store.shelf import shelf_of
from alchemy.store.store import Store


def ring_path(application: str) -> str:
    """On the shelf."""
    return f"{application}/{KEYS}"


def open_ring(store: Store, application: str, password: str | None) -> KeyRing | None:
    """The stored ring of an application; None when it has none."""
    path = ring_path(application)
    data = shelf_of(store).read(path)
    if data is None:
        return None
    place = f"{store.place}/{path}"
    ring = KeyRing.unlock(data, password, place)
    if ring.application != application:
        raise damaged(place, f"it belongs to {safe_text(ring.application, 80)}, not to {application}")
    return ring


def open_or_create_ring(store: Store, application: str, password: str | None) -> KeyRing:
    """The stored ring, or a new one, stored before it is returned. Of two processes that create, one wins."""
    found = open_ring(store, application, password)
    if found is not None:
        return found
    path = ring_path(application)
    made = KeyRing.create(application, password, store.clock.now())
    made.place = f"{store.place}/{path}"
    if shelf_of(store).create(path, made.to_bytes()):
        return made
    found = open_ring(store, application, password)
    assert found is not None
    return found


def store_ring(store: Store, ring: KeyRing) -> None:
    """After `rewrap`, `rotate` or `retire`; the caller holds the application's lock, so nobody else writes it."""
    shelf_of(store).replace(ring_path(ring.application), ring.to_bytes())
