"""Rows and wishes for tests of decisions: everything has a plain default, a test says what matters."""

from __future__ import annotations

from typing import Any

from alchemy.model.canonical import digest
from alchemy.model.values import Desired, ResourceState, ScopeKind, ScopeState, Status

AT = "2024-01-15T10:30:00.000Z"


def row(address: str, *uses: str, status: Status = Status.READY, **changed: Any) -> ResourceState:
    """A stored resource that depends on `uses`."""
    props = changed.pop("props", {})
    known: dict[str, Any] = {
        "address": address,
        "kind": "acme:Topic",
        "status": status,
        "physical_name": address.replace("/", "-"),
        "token": "t0",
        "props": props,
        "props_hash": digest(props, 32),
        "outputs": {},
        "depends_on": uses,
    }
    return ResourceState(**{**known, **changed})


def wish(address: str, *uses: str, **changed: Any) -> Desired:
    """What a program declares."""
    props = changed.pop("props", {})
    known: dict[str, Any] = {
        "address": address,
        "kind": "acme:Topic",
        "props": props,
        "props_hash": digest(props, 32),
        "depends_on": uses,
    }
    return Desired(**{**known, **changed})


def scope(path: str, kind: ScopeKind = ScopeKind.NESTED) -> ScopeState:
    return ScopeState(path=path, kind=kind, created_at=AT, updated_at=AT)
