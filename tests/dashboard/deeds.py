"""Deeds on a hand-made world: comparisons to look at, and a list of what was asked to be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from alchemy.errors import AlchemyError, Refused
from alchemy.model.records import Put
from alchemy.model.values import ScopeKind, ScopeState, Status
from alchemy.operations.shapes import (
    BackupInfo,
    Comparison,
    FieldChange,
    Finding,
    LockView,
    RestoreReport,
    RowChange,
    UnlockReport,
    Verdict,
)
from tests.dashboard.worlds import HandMade

PROD = "shop/prod"


def shop(file: str = "state-2026-09-20T06-53-10-000Z.json") -> Comparison:
    """Back to two hours ago: one row returns, one leaves, one changes."""
    old = RowChange(f"{PROD}/database/db-tmp", "cloudflare:D1Database", "shop-prod-database-db-tmp-77", Status.READY)
    new = RowChange(f"{PROD}/storage/outbox", "cloudflare:Queue", "shop-prod-storage-outbox", Status.READY)
    fields = (
        FieldChange("props.lifecycle", "30 days", "7 days"),
        FieldChange("props.token", "•••", "•••", secret=True),
        FieldChange("props.public", True, None, in_then=False),
    )
    bucket = RowChange(
        f"{PROD}/storage/uploads", "cloudflare:R2Bucket", "shop-prod-uploads", Status.READY, fields=fields
    )
    return Comparison(
        scope=PROD,
        owner=PROD,
        file=file,
        taken="2026-09-20T06:53:10.000Z",
        serial_now=41,
        serial_then=40,
        appear=(old,),
        vanish=(new,),
        change=(bucket,),
        consequences=(
            "db-tmp returns: R-16 deleted its object, so the next deploy looks for it and creates it again",
            "outbox leaves the state and stays in the cloud: nobody will delete it",
        ),
        ops=(Put(ScopeState(path=PROD, kind=ScopeKind.STAGE, created_at="", updated_at="")),),
    )


@dataclass
class HandMadeDeeds:
    """`done` is what was asked for; `failing` is raised instead of doing it."""

    source: HandMade
    done: list[tuple[Any, ...]] = field(default_factory=list)
    failing: AlchemyError | None = None
    comparison: Comparison | None = None  # in place of `shop`

    def _do(self, *what: Any) -> None:
        if self.failing:
            raise self.failing
        self.done.append(what)

    def timeline(self, scope: str, *, verify: bool = False) -> Sequence[BackupInfo]:
        return self.source.backups(scope)

    def compare(self, scope: str, file: str) -> Comparison:
        return replace(self.comparison or shop(file), scope=scope, file=file)

    def undoes(self, scope: str) -> str:
        raise Refused(f"nothing was restored in {scope}", hint="choose a backup")

    def explain(self, path: str) -> LockView:
        found = [lock for lock in self.source.world.locks if lock.path == path]
        return found[0] if found else LockView(path, Verdict.FREE, None)

    def validate(self, scope: str) -> Sequence[Finding]:
        return [one for one in self.source.world.findings if not scope or one.scope.startswith(scope)]

    def pin(self, scope: str, file: str, why: str | None) -> BackupInfo:
        self._do("pin", scope, file, why)
        return self.source.backups(scope)[0]

    async def unlock(self, path: str, *, token: str, reason: str, force: bool) -> UnlockReport:
        self._do("unlock", path, token, reason, force)
        return UnlockReport(path, "unlocked", self.explain(path), next=(f"alchemy deploy --stage {path[5:]}",))

    async def hold(self, path: str, *, reason: str, seconds: float = 0.0) -> LockView:
        self._do("hold", path, reason, seconds)
        return LockView(path, Verdict.HELD, None)

    async def back_up(self, scope: str, note: str) -> BackupInfo:
        self._do("back_up", scope, note)
        return self.source.backups(scope)[0]

    async def restore(self, scope: str, file: str, *, expect_serial: int) -> RestoreReport:
        self._do("restore", scope, file, expect_serial)
        return RestoreReport(scope, scope, file, "R-18", 41, 42, 2, 1, before="state-x.json")
