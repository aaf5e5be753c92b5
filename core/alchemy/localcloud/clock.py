"""Time and identifiers of the local cloud: the only place here that asks the system for either.

Neighbours: every product module stamps its rows with these.
"""

from __future__ import annotations

import secrets
import time
import uuid
from datetime import UTC, datetime


def timestamp() -> str:
    """Now, as Cloudflare prints it: RFC 3339, UTC, microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def now() -> float:
    """Seconds since the epoch."""
    return time.time()


def stopwatch() -> float:
    """Seconds on a clock that only runs forward; for durations."""
    return time.perf_counter()


def hex_id() -> str:
    """32 hex digits, as KV, queues and accounts use."""
    return secrets.token_hex(16)


def uuid_id() -> str:
    """A dashed version 4 uuid, as D1, versions and deployments use."""
    return str(uuid.uuid4())
