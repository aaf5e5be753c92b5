"""Drift: what the cloud has against what the state says, row by row. Reads only: no lock, no epoch, nothing written.

A row that cannot be asked about never hides the others. Neighbours: `engine.drifting` looks at one, a deploy with
`refresh` heals what is found here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from alchemy import wiring
from alchemy.engine import kinds
from alchemy.engine.calls import describe, hint_of
from alchemy.engine.drifting import sight
from alchemy.engine.resource import Resource
from alchemy.engine.session import Listener, Run, Session, different_target
from alchemy.errors import AlchemyError, StateInvalid, UsageError
from alchemy.model import drift
from alchemy.model.changes import Difference
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.model.values import ResourceState, ScopeKind, Status
from alchemy.operations.destroying import load_kinds
from alchemy.operations.shapes import ScopeNode
from alchemy.operations.workspace import Workspace
from alchemy.settings import Options, Project
from alchemy.store.ledger import Ledger
from alchemy.store.store import Store

SAME, CHANGED, MISSING, UNKNOWN, UNFINISHED = "same", "changed", "missing", "unknown", "not finished"
Progress = Callable[[int, int], None]  # rows that were asked about, of how many


@dataclass(frozen=True, slots=True, kw_only=True)
class RowDrift:
    """`differences` lead from what is stored to what the cloud has. `heals`: what a refreshing deploy would do.

    `why` and `hint`: of an unknown one, and of one that is not finished.
    """

    address: str
    kind: str
    outcome: str
    physical_name: str = ""
    differences: tuple[Difference, ...] = ()
    heals: str = ""
    why: str = ""
    hint: str = ""

    @property
    def words(self) -> str:
        return drift.words(self.differences) if self.differences else self.why


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """Of everything below `scope`, by address. `target` in words."""

    scope: str
    target: str
    rows: tuple[RowDrift, ...] = field(default=())

    @property
    def drifted(self) -> tuple[RowDrift, ...]:
        return self._of(CHANGED, MISSING)

    @property
    def unasked(self) -> tuple[RowDrift, ...]:
        """Whether they drifted is not known."""
        return self._of(UNKNOWN)

    @property
    def unfinished(self) -> tuple[RowDrift, ...]:
        return self._of(UNFINISHED)

    def _of(self, *outcomes: str) -> tuple[RowDrift, ...]:
        return tuple(row for row in self.rows if row.outcome in outcomes)


def find_drift(
    store: Store,
    subject: str,
    options: Options,
    *,
    project: Project,
    progress: Progress | None = None,
    listener: Listener | None = None,
) -> DriftReport:
    """Of a scope with what is below it, or of one resource. UsageError when nothing of it is stored.

    Not from inside a running loop: `look_for_drift` is for there.
    """
    look = look_for_drift(store, subject, options, project=project, progress=progress, listener=listener)
    return asyncio.run(look)


async def look_for_drift(
    store: Store,
    subject: str,
    options: Options,
    *,
    project: Project,
    progress: Progress | None = None,
    listener: Listener | None = None,
) -> DriftReport:
    """The same for who has a loop. `listener` hears of retries."""
    load_kinds(project)
    words, _ = wiring.describe_target(store, options)
    session = Session(store, "plan", options, wiring.connect_to_look, listener, words)
    asking = _Asking(session, options, progress)
    try:
        owners = _owners(store, subject)
        for owner, kind in owners:
            await asking.add(owner, kind, subject, alone=len(owners) == 1)
        rows = await asking.all()
    finally:
        for owner in asking.owners:
            await session.end(owner)
    return DriftReport(scope=subject, target=words, rows=tuple(sorted(rows, key=lambda row: row.address)))


def _owners(store: Store, subject: str) -> list[tuple[ScopePath, ScopeKind]]:
    """Journals at or below `subject`, else the one that it is in."""
    workspace = Workspace(store)
    view = workspace.refresh()
    nodes: Iterable[ScopeNode] = view.scopes.values()
    below = [node for node in nodes if node.path == node.owner and f"{node.path}/".startswith(f"{subject}/")]
    if not below and subject not in view.scopes and subject not in view.resources:
        raise UsageError(f"{safe_text(subject, 200)} is not in the state", hint="`alchemy scope list` shows what is")
    owners = below or [view.scopes[workspace.owner_of(subject)]]
    return [(ScopePath.parse(node.path), node.kind) for node in sorted(owners, key=lambda node: node.path)]


class _Asking:
    """Every row of some journals, side by side under the session's permits."""

    def __init__(self, session: Session, options: Options, progress: Progress | None) -> None:
        self.session = session
        self.options = options
        self.progress = progress
        self.owners: list[ScopePath] = []
        self.unread: list[RowDrift] = []  # journals
        self.obstacle = kinds.obstacle()
        self.rows: list[tuple[Run, ResourceState]] = []
        self.done = 0

    async def add(self, owner: ScopePath, kind: ScopeKind, subject: str, *, alone: bool) -> None:
        """StateInvalid when nothing else is asked about, and its journal cannot be read."""
        store = self.session.store
        try:
            fold = store.read_fold(owner)
        except StateInvalid as error:
            if alone:
                raise
            lost = RowDrift(address=str(owner), kind="", outcome=UNKNOWN, why=describe(error), hint=hint_of(error))
            self.unread.append(lost)
            return
        run = Run(self.session, Ledger(store, owner, kind, fold))
        self.owners.append(owner)
        await self.session.secrets.admit(owner, fold)
        mine = [row for row in fold.resources.values() if f"{row.address}/".startswith(f"{subject}/")]
        self.rows += [(run, row) for row in mine]

    async def all(self) -> list[RowDrift]:
        self._tell()
        return [*self.unread, *await asyncio.gather(*(self._counted(run, row) for run, row in self.rows))]

    async def _counted(self, run: Run, row: ResourceState) -> RowDrift:
        found = await self._one(run, row)
        self.done += 1
        self._tell()
        return found

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(self.done, len(self.rows))

    async def _one(self, run: Run, row: ResourceState) -> RowDrift:
        if row.former:
            return _told(row, UNFINISHED, "replaced, and waiting to be deleted", "alchemy deploy, or scope cleanup")
        if row.status is not Status.READY:
            why = f"still {row.status}: a run was interrupted, or it failed"
            return _told(row, UNFINISHED, why, "finish it: alchemy deploy, or alchemy scope resume")
        try:
            return await self._look(run, row)
        except AlchemyError as error:
            return _told(row, UNKNOWN, describe(error), hint_of(error))
        except Exception as error:  # a kind may raise anything, and the other rows count
            return _told(row, UNKNOWN, describe(error))

    async def _look(self, run: Run, row: ResourceState) -> RowDrift:
        obstacle = self.obstacle(row)
        cls = kinds.find(row.kind) if not obstacle else None
        if cls is None:
            return _told(row, UNKNOWN, obstacle)
        if cls.cloud:
            _refuse_other_target(run)
        sighting = await sight(run, row, cls, self.options)
        if not sighting.missing and not sighting.differences:
            return _told(row, SAME)
        fixed = frozenset(name for name, declared in cls._fields.items() if declared.fixed)
        return RowDrift(
            address=row.address,
            kind=row.kind,
            outcome=MISSING if sighting.missing else CHANGED,
            physical_name=row.physical_name,
            differences=sighting.differences,
            heals=drift.remedy(sighting, fixed, updatable=cls.update is not Resource.update),
        )


def _refuse_other_target(run: Run) -> None:
    stored = run.ledger.fold.target
    _, target = wiring.describe_target(run.session.store, run.session.options)
    if stored is not None and (target is None or stored.account != target.account):
        raise different_target(str(run.ledger.path), stored, str(target) if target else "a local cloud that is empty")


def _told(row: ResourceState, outcome: str, why: str = "", hint: str = "") -> RowDrift:
    return RowDrift(
        address=row.address,
        kind=row.kind,
        outcome=outcome,
        physical_name=row.physical_name,
        why=safe_text(why, 500),
        hint=safe_text(hint, 500),
    )
