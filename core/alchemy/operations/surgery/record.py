"""The one record that every act of surgery is: lock, look again, back up, write all or nothing, say who did it.

A kill at any moment leaves the state as it was or as it shall be. Neighbours: `moving`, `forgetting`, `importing` and
`taking` say what is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from alchemy.errors import Refused, StateInvalid, UsageError
from alchemy.model.events import BackupTaken, Noted
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Emit, Op
from alchemy.model.text import safe_text
from alchemy.model.values import ResourceState, ScopeKind, ScopeState
from alchemy.operations.auditing import note
from alchemy.operations.backups import Subject
from alchemy.operations.shapes import View
from alchemy.operations.workspace import Workspace
from alchemy.settings import Options
from alchemy.store.keyring import KeyRing
from alchemy.store.ledger import Ledger
from alchemy.store.store import Store


@dataclass(frozen=True, slots=True)
class Written:
    """`before`: the backup that undoes it, "" where there was nothing to keep."""

    scope: str
    run: str
    before: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What is done to the journal of `owner`. `said` is the line in the log, `detail` is for the audit."""

    name: str  # move, forget, import
    owner: ScopePath
    kind: ScopeKind
    said: str
    counts: Mapping[str, int]
    detail: Mapping[str, Any] = field(default_factory=dict)


async def write(
    store: Store,
    act: Act,
    options: Options,
    *,
    refuse: Callable[[Fold], None],
    make: Callable[[Ledger], Awaitable[Sequence[Op]]],
    declared: Callable[[dict[str, Any], Fold], dict[str, Any]] = lambda was, _: was,
) -> Written:
    """`refuse` sees what is stored before anything is written, `make` says what is to be.

    `declared` makes of what runs had left behind, and of the rows now, what the release says of it.
    """
    store.prepare()
    ledger = await Ledger.open(
        store,
        act.owner,
        act.kind,
        purpose=act.name,
        timeout=options.lock_timeout,
        locking=options.enable_locking,
        refuse=refuse,
    )
    before, outcome, said = "", "failed", None
    try:
        ops = await make(ledger)
        reason = f"before {act.said}"
        before = ledger.backup(reason) or max(store.backups(act.owner), default="")
        if before:
            ledger.emit(BackupTaken(str(act.owner), before, reason))
        was = ledger.fold.left_behind()
        await ledger.commit("commit", [*ops, Emit(Noted(str(act.owner), act.said))], {"surgery": act.name})
        outcome, said = "done", declared(was, ledger.fold)
    except (asyncio.CancelledError, KeyboardInterrupt):
        outcome = "interrupted"
        raise
    finally:
        counts = {name: number for name, number in act.counts.items() if number}
        ledger.close(outcome=outcome, counts=counts if outcome == "done" else {}, failures=[], declared=said)
    note(store, act.name, str(act.owner), "done", act.said, **act.detail, run=ledger.run, backup=before)
    return Written(str(act.owner), ledger.run, before)


# -- what is there


def look(store: Store) -> tuple[Workspace, View]:
    workspace = Workspace(store)
    return workspace, workspace.refresh()


def owner_of(store: Store, workspace: Workspace, subject: str) -> tuple[ScopePath, ScopeKind, Fold]:
    """The journal that holds `subject`. StateInvalid when it cannot be read."""
    owner = ScopePath.parse(workspace.owner_of(subject))
    fold = store.read_fold(owner)
    return owner, fold.kind or Subject(owner, str(owner)).kind, fold


def not_stored(subject: str, view: View) -> UsageError:
    import difflib

    close = difflib.get_close_matches(subject, [*view.scopes, *view.resources], n=1)
    hint = f"did you mean {safe_text(close[0], 200)}?" if close else "`alchemy scope list` shows what is"
    return UsageError(f"{safe_text(subject, 200)} is not in the state", hint=hint)


def changed_meanwhile(owner: ScopePath) -> Refused:
    return Refused(
        f"{owner} changed meanwhile: something else is stored than what was shown",
        hint="run the same command again to see what it would do now",
    )


# -- rows and scopes


def stamped(row: ResourceState, ledger: Ledger) -> ResourceState:
    now = ledger.store.clock.now()
    return replace(row, run=ledger.run, updated_at=now)


def missing_scopes(fold: Fold, paths: Sequence[str]) -> list[str]:
    """Nested scopes that `paths` need and nobody stored yet, outermost first."""
    found: dict[str, None] = {}
    for path in paths:
        parts = path.split("/")
        for count in range(len(fold.path.split("/")) + 1, len(parts) + 1):
            above = "/".join(parts[:count])
            if above not in fold.scopes:
                found[above] = None
    return list(found)


def nested(path: str, now: str, run: str) -> ScopeState:
    return ScopeState(path=path, kind=ScopeKind.NESTED, created_at=now, updated_at=now, last_run=run)


def refuse_place(store: Store, fold: Fold, owner: ScopePath, path: str) -> None:
    """`path` can be a nested scope of the journal of `owner`, or the owner itself. Names are checked already."""
    parsed = ScopePath.parse(path)
    for above in (*parsed.ancestors, parsed):
        name = str(above)
        if not owner.holds(above) or above == owner:
            continue
        if name in fold.resources:
            raise Refused(f"{safe_text(name, 200)} is a resource: nothing can be in it", hint="choose another scope")
        parent = str(above.parent)
        names = {other.rpartition("/")[2] for other in fold.scopes if other.rpartition("/")[0] == parent}
        for other in {*names, *(store.siblings(above) if above.parent == owner else ())}:
            if other != above.name and other.lower() == above.name.lower():
                said = f"{safe_text(name, 200)} and {safe_text(other, 80)} differ only in case"
                raise Refused(said, hint="choose another name")
        if owner.parent is None and len(above.parts) == 2 and above.name.lower() == "test":
            raise Refused(f"{name} is where test scopes are", hint="choose another name")


# -- secrets


def opened_ring(store: Store, application: str, password: str | None, why: str) -> KeyRing:
    """MissingPassword, WrongPassword, or StateInvalid when there is no ring."""
    from alchemy.store.keyfiles import open_ring
    from alchemy.store.keyring import MissingPassword

    if not password:
        raise MissingPassword(
            f"{why}, and no password is given: nothing was done",
            hint="set ALCHEMY_PASSWORD to the password that they were sealed with",
        )
    ring = open_ring(store, application, password)
    if ring is None:
        raise StateInvalid(
            f"{application} has sealed values and no keys.json",
            hint="copy keys.json back; or set the secrets again in the program and deploy",
        )
    return ring
