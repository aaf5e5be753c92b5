"""Who did what without holding a lock: unlocking and being refused, kept beside the journals and never changed.

Light. Neighbours: `unlocking`, `holding` and `recovering` write entries, front ends list them.
"""

from __future__ import annotations

from typing import Any

from alchemy.operations.shapes import AuditEntry
from alchemy.operations.verdicts import me
from alchemy.store.store import Store


def note(store: Store, act: str, scope: str, outcome: str, reason: str = "", **detail: Any) -> None:
    """`act`: unlock, recover, …; `outcome`: done or refused. `detail` is plain JSON."""
    store.audit({"act": act, "scope": scope, "outcome": outcome, "by": me(), "reason": reason, "detail": detail})


def audit_log(store: Store) -> tuple[AuditEntry, ...]:
    """Oldest first. Texts are as stored: anybody who can write there may have written them."""
    return tuple(_entry(found) for found in store.audits())


def _entry(found: dict[str, Any]) -> AuditEntry:
    def text(name: str) -> str:
        value = found.get(name, "")
        return value if isinstance(value, str) else ""

    detail = found.get("detail")
    return AuditEntry(
        at=text("at"),
        act=text("act"),
        scope=text("scope"),
        outcome=text("outcome"),
        by=text("by"),
        reason=text("reason"),
        detail=detail if isinstance(detail, dict) else {},
    )
