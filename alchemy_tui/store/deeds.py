"""What the dashboard can have done: the core's operations, as one narrow seam. `source` is the half that only looks.

`Operations` is the real one. Looking (compare, explain, backups) is synchronous and belongs into the reader's thread;
doing is a coroutine that the app runs in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from alchemy.operations.shapes import (
    BackupInfo,
    Comparison,
    Finding,
    LockView,
    RestoreReport,
    UnlockReport,
)
from alchemy.operations.workspace import Workspace


class Deeds(Protocol):
    """Errors are those of the core, with a hint."""

    def timeline(self, scope: str, *, verify: bool = False) -> Sequence[BackupInfo]: ...

    def compare(self, scope: str, file: str) -> Comparison: ...

    def undoes(self, scope: str) -> str:
        """The backup that undoes the newest restore; raises when there is nothing to undo."""
        ...

    def explain(self, path: str) -> LockView: ...

    def validate(self, scope: str) -> Sequence[Finding]:
        """Of the scope and what is below it; "" of everything. Reads every file of it."""
        ...

    def pin(self, scope: str, file: str, why: str | None) -> BackupInfo: ...

    async def unlock(self, path: str, *, token: str, reason: str, force: bool) -> UnlockReport: ...

    async def hold(self, path: str, *, reason: str, seconds: float = 0.0) -> LockView:
        """0 seconds: until somebody unlocks."""
        ...

    async def back_up(self, scope: str, note: str) -> BackupInfo: ...

    async def restore(self, scope: str, file: str, *, expect_serial: int) -> RestoreReport: ...


class Operations:
    """`alchemy.operations`, imported when first needed: the first picture does not wait for them."""

    def __init__(self, workspace: Workspace) -> None:
        self._store = workspace.store

    def timeline(self, scope: str, *, verify: bool = False) -> Sequence[BackupInfo]:
        from alchemy.operations import backups

        return backups.timeline(self._store, scope, verify=verify)

    def compare(self, scope: str, file: str) -> Comparison:
        from alchemy.operations import backups

        return backups.compare(self._store, scope, file)

    def undoes(self, scope: str) -> str:
        from alchemy.operations import undoing

        return undoing.undoes(self._store, scope)

    def explain(self, path: str) -> LockView:
        from alchemy.operations import verdicts

        return verdicts.explain(self._store, path)

    def validate(self, scope: str) -> Sequence[Finding]:
        from alchemy.operations import validate

        return validate.validate(self._store, scope or None)

    def pin(self, scope: str, file: str, why: str | None) -> BackupInfo:
        from alchemy.operations import backups

        return backups.set_pin(self._store, scope, file, why)

    async def unlock(self, path: str, *, token: str, reason: str, force: bool) -> UnlockReport:
        from alchemy.operations import unlocking

        return await unlocking.unlock(self._store, path, token=token, reason=reason, force=force)

    async def hold(self, path: str, *, reason: str, seconds: float = 0.0) -> LockView:
        from alchemy.operations import holding

        return await holding.hold(self._store, path, reason=reason, seconds=seconds, timeout=5.0)

    async def back_up(self, scope: str, note: str) -> BackupInfo:
        from alchemy.operations import backups

        return backups.take(self._store, scope, note=note)

    async def restore(self, scope: str, file: str, *, expect_serial: int) -> RestoreReport:
        from alchemy.operations import restoring

        return await restoring.restore(self._store, scope, file, expect_serial=expect_serial, timeout=5.0)
