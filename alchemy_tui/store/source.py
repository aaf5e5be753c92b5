"""The seam between the dashboard and the state: what `operations.workspace.Workspace` gives, and nothing more.

Synchronous on purpose: the store calls it from one thread of its own. Tests put a hand-made source in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from alchemy.model.events import Entry
from alchemy.operations.shapes import BackupInfo, View


class Follow(Protocol):
    """A run log that grows: `poll` gives what is new since the last poll, also when another process writes it."""

    def poll(self) -> list[Entry]: ...


class Source(Protocol):
    """Not safe to call from two threads at once; whoever calls it sees to that."""

    @property
    def root(self) -> Path: ...

    @property
    def pace(self) -> float:
        """Seconds between two looks when nothing says that one is due."""
        ...

    def refresh(self, *, full: bool = False) -> View:
        """Reads what changed; the same View object when nothing did. `full` also compares every view on disk."""
        ...

    def watch_paths(self) -> Sequence[Path]:
        """The directories whose changes matter now; they may not exist."""
        ...

    def entries(self, scope: str, run: str = "", limit: int = 1000) -> list[Entry]:
        """Newest last. Of one run ("" is the newest) of the scope that owns `scope`'s journal."""
        ...

    def backups(self, scope: str) -> Sequence[BackupInfo]: ...

    def state_text(self, subject: str) -> str:
        """The JSON document of a scope or resource, as stored; the raw text where it is torn."""
        ...

    def follow(self, scope: str) -> Follow: ...
