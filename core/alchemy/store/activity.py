"""Whether anything happened at a place between two looks: told by who wrote which lock, which is one request.

Runs that take no lock are not told of: whoever relies on this looks at everything now and then. Neighbours: `store`
hands these out, `operations.workspace` compares them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Activity:
    """`marks`: of every path that has a lock, what its last write is known by; "" while somebody has it."""

    marks: Mapping[str, str]

    def since(self, before: Activity) -> frozenset[str]:
        """Paths whose lock was written meanwhile, or is somebody's: what was stored there may be another by now."""
        now, then = self.marks, before.marks
        return frozenset(path for path in now.keys() | then.keys() if not now.get(path) or now[path] != then.get(path))


def touches(moved: Collection[str], path: str) -> bool:
    """A lock on a path above or below it is one on what its journal holds."""
    return any(f"{each}/".startswith(f"{path}/") or f"{path}/".startswith(f"{each}/") for each in moved)
