"""Destroying what is stored, without running the program: its rows, its kinds, its order, all from the state."""

from __future__ import annotations

from alchemy import telemetry, wiring
from alchemy.engine import kinds
from alchemy.engine.entering import open_owner
from alchemy.engine.finalize import Report, refuse_protected
from alchemy.engine.leaving import abandon
from alchemy.engine.scope import Scope
from alchemy.engine.session import Listener, Session
from alchemy.errors import Failure, RunFailed, UsageError
from alchemy.model import deletions
from alchemy.model.deletions import DeletionPlan, block
from alchemy.model.paths import ScopePath
from alchemy.model.values import ScopeKind
from alchemy.operations.programs import import_for_kinds
from alchemy.operations.workspace import Workspace
from alchemy.settings import Options, Project, find_project
from alchemy.store.ledger import make_holder
from alchemy.store.store import Store


def owners_in(store: Store, path: ScopePath) -> list[tuple[ScopePath, ScopeKind]]:
    """The stored scopes with a journal at or below `path`, the outermost first. UsageError when nothing is stored."""
    view = Workspace(store).refresh()
    found = [
        (ScopePath.parse(node.path), node.kind)
        for node in view.scopes.values()
        if node.path == node.owner and path.holds(ScopePath.parse(node.path))
    ]
    if not found and str(path) not in view.scopes:
        raise UsageError(f"{path} is not in the state", hint="`alchemy scope list` shows what is")
    return sorted(found, key=lambda pair: pair[0].parts)


async def destroy_stored(
    store: Store, path: ScopePath, options: Options, *, project: Project, listener: Listener | None = None
) -> list[Report]:
    """Everything in `path`; an application takes its stages and tests with it. RunFailed lists what is left."""
    session = stored_session(store, options, project, "destroy", listener)
    found = owners_in(store, path)
    if not found:
        return [await _destroy_nested(session, path, options)]
    _, target = wiring.describe_target(store, options)
    opened: list[Scope] = []
    try:
        if path not in [owner for owner, _ in found]:
            await hold(session, path, options)
        for owner, kind in found:
            opened.append(await open_owner(session, owner, kind, options, target=target, purpose="destroy"))
        for scope in opened:
            refuse_protected(scope.deletion_plan(destroy=True))
        reports, failures = await _destroy_all(opened, options)
        for owner, kind in found:
            forget_test(store, owner, kind)
    except BaseException as error:
        for scope in reversed(opened):
            if not scope.closed:
                await abandon(scope, error)
        raise
    finally:
        for lease in session.leases:
            lease.release()
    if failures:
        raise RunFailed(
            f"destroy of {path} failed: {len(failures)} could not be deleted; what is left keeps its row",
            failures,
            hint="mend the cause and destroy again: what is gone stays gone",
        )
    forget_application(session, path)
    return reports


async def _destroy_all(opened: list[Scope], options: Options) -> tuple[list[Report], list[Failure]]:
    """Innermost first; one that fails does not keep the others. (reports, what is left)"""
    reports: list[Report] = []
    failures: list[Failure] = []
    for scope in reversed(opened):
        try:
            reports.append(await scope.destroy(options))
        except RunFailed as error:
            failures += [each for each in error.each if each not in failures]
    return reports, failures


async def hold(session: Session, path: ScopePath, options: Options) -> None:
    """The application's lock alone: it has no journal, but nobody may deploy a stage of it meanwhile."""
    if options.enable_locking:
        lease = await session.store.acquire(path, timeout=options.lock_timeout)
        session.leases.append(lease)
        lease.publish(make_holder(session.store, path, 0, "destroy"))


async def _destroy_nested(session: Session, path: ScopePath, options: Options) -> Report:
    """A nested scope: under its owner's lock, in its owner's journal."""
    workspace = Workspace(session.store)
    workspace.refresh()
    owner = ScopePath.parse(workspace.owner_of(str(path)))
    kind = workspace.refresh().scopes[str(owner)].kind
    _, target = wiring.describe_target(session.store, options)
    scope = await open_owner(
        session, owner, kind, options, target=target, purpose="destroy", lock_path=path if path != owner else None
    )
    try:
        inner = Scope(session, scope.run_state, path, ScopeKind.NESTED, options, scope)
        report = await inner.destroy(options)
    except BaseException as error:
        await abandon(scope, error)
        raise
    failures = scope.run_state.failures
    await scope.leave("failed" if failures else "done")
    if failures:
        raise RunFailed(
            f"destroy of {path} failed: {len(failures)} left; their rows are kept",
            failures,
            hint="mend the cause and destroy again: what is gone stays gone",
        )
    return report


def plan_destroy(store: Store, path: ScopePath, project: Project | None = None) -> list[DeletionPlan]:
    """What `destroy_stored` would delete, without lock or writing; the order in which the owners would go."""
    load_kinds(project or find_project())
    obstacle = kinds.obstacle()
    plans: list[DeletionPlan] = []
    owners = [owner for owner, _ in owners_in(store, path)]
    if not owners:
        workspace = Workspace(store)
        workspace.refresh()
        owners = [ScopePath.parse(workspace.owner_of(str(path)))]
    for owner in reversed(owners):
        prefix = str(path) if owner.holds(path) else str(owner)
        plans.append(block(deletions.plan_destroy(store.read_fold(owner), prefix), obstacle))
    return plans


def stored_session(store: Store, options: Options, project: Project, phase: str, listener: Listener | None) -> Session:
    """A session over what is stored; kinds come from us, the project's modules, installed packages, the program."""
    words, _ = wiring.describe_target(store, options)
    load_kinds(project)
    session = Session(store, phase, options, wiring.connect, listener, words)
    session.listeners += telemetry.listeners()
    return session


def load_kinds(project: Project) -> None:
    """From here on what is stored can be deleted, as far as the project knows how; nothing is imported yet."""

    def from_program(_: str) -> None:
        if project.program.is_file():
            import_for_kinds(project.program)

    kinds.add_loader(wiring.load_kind)
    kinds.set_program(from_program)


def forget_test(store: Store, owner: ScopePath, kind: ScopeKind) -> None:
    """A test that is gone leaves no trace, as when it ends by itself."""
    if kind is ScopeKind.TEST and not store.read_fold(owner).resources:
        store.forget(owner)


def forget_application(session: Session, path: ScopePath) -> None:
    """The application's own row goes with its last stage."""
    if path.parent is None and not session.store.has_journal(path):
        session.store.forget(path)
