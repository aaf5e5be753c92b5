"""What the reading half hands to a front end: frozen values, already free of anything hostile to parse.

Texts inside are as stored: pass each through `safe_text` where it is drawn. `workspace` makes these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from alchemy.model.comparison import Comparison as Comparison
from alchemy.model.comparison import FieldChange as FieldChange
from alchemy.model.comparison import RowChange as RowChange
from alchemy.model.locks import LockView as LockView
from alchemy.model.locks import Verdict as Verdict
from alchemy.model.runview import RunView
from alchemy.model.values import ResourceState, ScopeKind, ScopeState


class Health(StrEnum):
    """A row's one-word state in the tree, worst first when several apply."""

    CORRUPT = "corrupt"  # its file or its journal cannot be read
    EDITED = "edited"  # its view on disk was changed by hand
    FAILED = "failed"  # the last call failed; `ResourceState.error` says why
    UNFINISHED = "unfinished"  # creating, updating, replacing or deleting, and nobody is at it
    WORKING = "working"  # the same while a live run is at it
    ORPHAN = "orphan"  # stored, not declared by the last complete deploy
    OK = "ok"


@dataclass(frozen=True, slots=True)
class ScopeNode:
    """A scope in the tree. `children` and `resources` are in display order."""

    path: str
    kind: ScopeKind
    owner: str  # the application, stage or test whose journal holds it
    row: ScopeState | None
    children: tuple[str, ...] = ()  # scope paths
    resources: tuple[str, ...] = ()  # addresses
    total: int = 0  # resources in it and below
    health: Health = Health.OK  # its own, or the worst below it
    problem: str = ""  # why it is corrupt, in words, with the way out


@dataclass(frozen=True, slots=True)
class ResourceNode:
    """A resource in the tree."""

    state: ResourceState
    owner: str
    health: Health
    problem: str = ""
    used_by: tuple[str, ...] = ()  # addresses of stored resources that depend on it
    view: str = ""  # its state.json, relative to the state directory


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One epoch of a journal. `outcome`: running, done, failed, interrupted, lost (its process is gone)."""

    scope: str
    run: str  # "R-41"
    epoch: int
    purpose: str
    who: str
    pid: int
    command: str
    started_at: str
    ended_at: str
    outcome: str
    took: float  # seconds; so far, while it runs
    counts: Mapping[str, int]
    failures: tuple[tuple[str, str], ...] = ()
    hints: tuple[str, ...] = ()  # what they say to do next, that of the most failures first


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """One file of `backups/`. `problem`: why it cannot be gone back to."""

    scope: str
    file: str
    taken: str
    reason: str
    serial: int
    resources: int
    size: int  # bytes
    problem: str = ""
    note: str = ""
    pinned: bool = False  # retention never removes it
    pin: str = ""  # why, if somebody said so
    by: str = ""  # user@host
    seq: int = 0  # the journal's record it was taken after: what orders backups
    epoch: int = 0
    steps: tuple[int, int, int] | None = None  # rows that appeared, vanished, changed since the backup before, if known


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a restore did. `unchanged`: the state was as in the backup already, and nothing was written."""

    scope: str
    owner: str
    file: str
    run: str  # "R-42"
    serial_before: int
    serial: int
    restored: int  # rows that were set
    forgotten: int  # rows that left the state
    before: str = ""  # the backup that undoes it
    aside: str = ""  # what the damaged journal is called now
    unchanged: bool = False
    consequences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something `scope validate` found. `severity`: error (exit 4) or warning."""

    file: str  # relative to the state directory
    scope: str
    severity: str
    problem: str
    way_out: str


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """A call that was announced and whose end nobody recorded. `run` announced it."""

    address: str
    kind: str
    status: str  # creating, updating, replacing, deleting
    run: str


@dataclass(frozen=True, slots=True)
class UnlockReport:
    """What unlocking did. `outcome`: free (nothing to do), stopped (its holder ended when asked), unlocked."""

    path: str
    outcome: str
    before: LockView
    fenced: tuple[tuple[str, str], ...] = ()  # (journal, "R-8"): the runs that closed those of the holder
    freed: tuple[str, ...] = ()  # locks that are free now
    interrupted: tuple[OpenIntent, ...] = ()
    next: tuple[str, ...] = ()  # commands that go on from here


@dataclass(frozen=True, slots=True)
class SpillInfo:
    """A file with what a run knew and could not write any more. `problem`: why it cannot be read."""

    file: str
    scope: str
    run: str  # "R-41"
    at: str
    why: str
    changes: int
    place: str  # of the state it belongs to
    problem: str = ""


@dataclass(frozen=True, slots=True)
class RecoveryStep:
    """One change that was spilled, against what is stored now. `verdict`: write, stored (already), skip."""

    subject: str
    what: str  # created, updated, deleted, …
    verdict: str
    why: str


@dataclass(frozen=True, slots=True)
class RecoverReport:
    """What recovering a spill did, or, with `dry_run`, would do."""

    file: str
    scope: str
    spilled_by: str  # "R-41"
    why: str  # it was spilled
    steps: tuple[RecoveryStep, ...]
    run: str = ""  # "R-43": the run that wrote it; "" when there was nothing to write
    backup: str = ""
    kept: str = ""  # where the file is now

    @property
    def written(self) -> int:
        return sum(1 for step in self.steps if step.verdict == "write")

    @property
    def skipped(self) -> int:
        return sum(1 for step in self.steps if step.verdict == "skip")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something done without holding a lock."""

    at: str
    act: str  # unlock, recover, reveal, …
    scope: str
    outcome: str  # done, refused
    by: str  # user@host
    reason: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """Everything on screen at one moment. `version` rises with each change."""

    version: int
    root: str
    applications: tuple[str, ...] = ()
    scopes: Mapping[str, ScopeNode] = field(default_factory=dict)
    resources: Mapping[str, ResourceNode] = field(default_factory=dict)
    locks: tuple[LockView, ...] = ()  # only those with a holder or a reservation, live ones first
    runs: Mapping[str, tuple[RunSummary, ...]] = field(default_factory=dict)  # by owner, newest first
    active: Mapping[str, RunView] = field(default_factory=dict)  # by owner: the run that is going on now
    findings: tuple[Finding, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.scopes
