"""Destroying what runs left behind in a scope: orphans, former incarnations, what interrupted ones did not finish.

The same plan and the same steps as a destroy, with other survivors. Neighbour: `destroying` takes everything.
"""

from __future__ import annotations

from alchemy import wiring
from alchemy.engine import finalize, kinds
from alchemy.engine.dead_tests import died
from alchemy.engine.entering import open_owner
from alchemy.engine.finalize import Report
from alchemy.engine.leaving import abandon
from alchemy.engine.scope import Scope
from alchemy.engine.session import Listener, Session
from alchemy.errors import Failure, Interrupted, Refused, RunFailed
from alchemy.model import deletions
from alchemy.model.deletions import DeletionPlan
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.model.values import ScopeKind
from alchemy.operations.destroying import forget_test, load_kinds, owners_in, stored_session
from alchemy.operations.workspace import Workspace
from alchemy.settings import Options, Project, find_project
from alchemy.store.store import Store


def plan_cleanup(store: Store, path: ScopePath, project: Project | None = None) -> DeletionPlan:
    """What `cleanup` would delete, without lock or writing. Of an application: of its stages and tests too."""
    load_kinds(project or find_project())
    plans = [
        deletions.plan_cleanup(store.read_fold(owner), str(scope), died=is_dead_test(store, owner, kind))
        for owner, kind, scope in subjects(store, path)
    ]
    return deletions.block(deletions.merge(str(path), plans), kinds.obstacle())


def find_waiting(store: Store, path: ScopePath) -> list[str]:
    """Addresses that the last deploy did not declare, and that no cleanup offers: it failed, and may not mean it."""
    found: list[str] = []
    for owner, _, scope in subjects(store, path):
        fold = store.read_fold(owner)
        said = fold.last_release.get("declared", {}) if fold.released and fold.last_release else {}
        offered = {step.row.key for step in deletions.plan_cleanup(fold, str(scope)).deletions}
        stored = (fold.resources.get(key) for key in said.get("undeclared", ()) if key not in offered)
        found += [row.address for row in stored if row and not row.kept and row.address.startswith(f"{scope}/")]
    return found


async def cleanup(
    store: Store,
    path: ScopePath,
    options: Options,
    *,
    project: Project,
    listener: Listener | None = None,
    agreed: DeletionPlan | None = None,
) -> Report:
    """What `plan_cleanup` says; RunFailed lists what is left.

    Refused when something is to go by now that `agreed` does not hold. A protected orphan is blocked, the rest goes.
    """
    session = stored_session(store, options, project, "destroy", listener)
    report = Report(str(path))
    failures: list[Failure] = []
    for owner, kind, scope in subjects(store, path):
        failures += await _clean(session, owner, kind, scope, options, agreed, report)
    if failures:
        raise RunFailed(
            f"cleanup of {path} failed: {len(failures)} could not be deleted; what is left keeps its row",
            failures,
            hint="mend the cause and clean up again: what is gone stays gone",
        )
    return report


def subjects(store: Store, path: ScopePath) -> list[tuple[ScopePath, ScopeKind, ScopePath]]:
    """(owner of the journal, its kind, what of it is meant), innermost first. UsageError when nothing is stored."""
    found = owners_in(store, path)
    if found:
        return [(owner, kind, owner) for owner, kind in reversed(found)]
    workspace = Workspace(store)
    view = workspace.refresh()
    owner = workspace.owner_of(str(path))
    return [(ScopePath.parse(owner), view.scopes[owner].kind, path)]


def is_dead_test(store: Store, owner: ScopePath, kind: ScopeKind) -> bool:
    """A test scope whose process died in it. One that runs now is left alone, and so is one that was kept."""
    return kind is ScopeKind.TEST and died(store, owner)


async def _clean(
    session: Session,
    owner: ScopePath,
    kind: ScopeKind,
    path: ScopePath,
    options: Options,
    agreed: DeletionPlan | None,
    report: Report,
) -> list[Failure]:
    """One journal's part. Fills `report`; nothing is opened where there is nothing to do."""
    died = is_dead_test(session.store, owner, kind)
    if not deletions.plan_cleanup(session.store.read_fold(owner), str(path), died=died).deletions:
        return []
    _, target = wiring.describe_target(session.store, options)
    lock_path = path if path != owner else None
    scope = await open_owner(session, owner, kind, options, target=target, purpose="cleanup", lock_path=lock_path)
    try:
        await scope.run_state.ledger.flush()
        fold = scope.run_state.ledger.fold
        plan = deletions.block(deletions.plan_cleanup(fold, str(path), died=died), kinds.obstacle())
        _refuse_more(plan, agreed)
        await finalize.carry_out(scope.run_state, plan, options, report)
    except BaseException as error:
        await abandon(scope, error)
        raise
    await _leave(scope, report)
    forget_test(session.store, owner, kind)
    return scope.run_state.failures


async def _leave(scope: Scope, report: Report) -> None:
    failed = bool(scope.run_state.failures)
    await scope.leave("interrupted" if report.stopped else "failed" if failed else "done")
    if report.stopped:
        raise Interrupted


def _refuse_more(plan: DeletionPlan, agreed: DeletionPlan | None) -> None:
    if agreed is None:
        return
    known = {(step.row.key, step.action) for step in agreed.deletions}
    more = [step.address for step in plan.deletions if (step.row.key, step.action) not in known]
    if more:
        raise Refused(
            f"{plan.scope} changed meanwhile: {safe_text(', '.join(more), 300)} would go too",
            hint=f"`alchemy scope cleanup {plan.scope} --dry-run` shows what would go now",
        )
