"""Infrastructure as code for Cloudflare, in scopes. `from alchemy import alchemy, Worker, D1Database`.

Importing this loads nothing heavy: each name brings its module when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alchemy.cloudflare import D1Database, KVNamespace, Queue, R2Bucket, Worker
    from alchemy.cloudflare import D1Database as Database
    from alchemy.engine.context import Context
    from alchemy.engine.finalize import Report
    from alchemy.engine.resource import Outputs, Resource, output, prop
    from alchemy.engine.scope import Scope
    from alchemy.errors import (
        AlchemyError,
        Ambiguous,
        CloudError,
        Fenced,
        Interrupted,
        InvalidName,
        LockHeld,
        NotYetKnown,
        Refused,
        ResourceFailed,
        RunFailed,
        StateInvalid,
        StorageFailed,
        UnknownKind,
        UsageError,
    )
    from alchemy.model.secrets import Secret
    from alchemy.model.values import ResourceState, ScopeState
    from alchemy.operations.states import StateManager
    from alchemy.program import alchemy

__version__ = "0.1.0"

_HOME = {
    "alchemy": "program",
    "Resource": "engine.resource",
    "Outputs": "engine.resource",
    "prop": "engine.resource",
    "output": "engine.resource",
    "Context": "engine.context",
    "Scope": "engine.scope",
    "Report": "engine.finalize",
    "Secret": "model.secrets",
    "StateManager": "operations.states",
    "ResourceState": "model.values",
    "ScopeState": "model.values",
    **dict.fromkeys(["D1Database", "Worker", "KVNamespace", "R2Bucket", "Queue"], "cloudflare"),
    **dict.fromkeys(
        ["AlchemyError", "Ambiguous", "CloudError", "Fenced", "Interrupted", "InvalidName", "LockHeld", "NotYetKnown"]
        + ["Refused", "ResourceFailed", "RunFailed", "StateInvalid", "StorageFailed", "UnknownKind", "UsageError"],
        "errors",
    ),
}
__all__ = [
    "AlchemyError",
    "Ambiguous",
    "CloudError",
    "Context",
    "D1Database",
    "Database",
    "Fenced",
    "Interrupted",
    "InvalidName",
    "KVNamespace",
    "LockHeld",
    "NotYetKnown",
    "Outputs",
    "Queue",
    "R2Bucket",
    "Refused",
    "Report",
    "Resource",
    "ResourceFailed",
    "ResourceState",
    "RunFailed",
    "Scope",
    "ScopeState",
    "Secret",
    "StateInvalid",
    "StateManager",
    "StorageFailed",
    "UnknownKind",
    "UsageError",
    "Worker",
    "alchemy",
    "output",
    "prop",
]


def __getattr__(name: str) -> object:
    home = _HOME.get("D1Database" if name == "Database" else name)
    if home is None:
        raise AttributeError(f"module 'alchemy' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"alchemy.{home}"), "D1Database" if name == "Database" else name)
    globals()[name] = value
    return value
