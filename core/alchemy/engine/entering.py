"""Opening scopes: the lock and the journal for those that own one, a row and a name check for nested ones."""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

from alchemy.engine.asked import listen
from alchemy.engine.calls import describe
from alchemy.engine.scope import Scope
from alchemy.engine.session import Run, Session, different_target, held_in_process, open_sessions
from alchemy.engine.signals import interrupts
from alchemy.errors import AlchemyError, InvalidName, Refused, StorageFailed, UsageError
from alchemy.model.events import Entry, LockWaited, Noted, RunStarted, ScopeEntered
from alchemy.model.paths import ScopePath
from alchemy.model.records import Put
from alchemy.model.values import ScopeKind, ScopeState, Target
from alchemy.settings import Options, invocation
from alchemy.store import identity
from alchemy.store.afar import apart
from alchemy.store.ledger import Ledger

PURPOSES = {"up": "deploy"}


async def open_owner(
    session: Session,
    path: ScopePath,
    kind: ScopeKind,
    options: Options,
    *,
    parent: Scope | None = None,
    target: Target | None = None,
    purpose: str = "",
    lock_path: ScopePath | None = None,
) -> Scope:
    """An application, stage or test scope. Phases `plan` and `read` take no lock and create nothing."""
    if session.terms.agreed is not None:
        session.terms.agreed.check_scope(path, session.target, target.account if target else "")
    if session.phase in ("plan", "read"):
        await apart(session.store, lambda: _check_kind(session, path, kind))
        ledger = await apart(session.store, lambda: Ledger.read(session.store, path, kind))
    else:
        interrupts.install()
        try:
            await apart(session.store, lambda: _check_kind(session, path, kind))
            ledger = await _open_ledger(session, path, kind, options, purpose, lock_path)
        except BaseException:
            interrupts.remove()
            raise
    run = Run(session, ledger)
    stored = ledger.fold.target
    elsewhere = stored is not None and (target is None or stored.account != target.account)
    if stored is not None and elsewhere and session.phase != "read":
        if ledger.writable:
            ledger.close(outcome="failed", counts={}, failures=[[str(path), "another target"]])
            interrupts.remove()
        raise different_target(str(path), stored, str(target) if target else "a local cloud that is empty")
    try:
        await session.secrets.admit(path, ledger.fold)
    except BaseException as error:
        if ledger.writable:
            ledger.close(outcome="failed", counts={}, failures=[[str(path), describe(error)]])
            interrupts.remove()
        raise
    session.begin(run)
    if ledger.writable:
        _arm_exit()
        listen(run)
    holder = ledger.fold.holder
    run.emit(
        RunStarted(
            str(path),
            purpose or PURPOSES.get(session.phase, session.phase),
            session.target,
            f"{identity.user()}@{identity.host()}",
            holder.pid if holder and ledger.writable else 0,
            identity.command(),
        )
    )
    if ledger.writable and session.store.warning:
        run.emit(Noted(str(path), session.store.warning, "warning"))
    if ledger.writable and not options.enable_locking:
        text = "no lock is taken: of two runs at once, the later one wins and the earlier one is stopped"
        run.emit(Noted(str(path), text, "warning"), durable=True)
    return Scope(session, run, path, kind, options, parent)


async def _open_ledger(
    session: Session, path: ScopePath, kind: ScopeKind, options: Options, purpose: str, lock_path: ScopePath | None
) -> Ledger:
    await apart(session.store, session.store.prepare)
    for other in held_in_process(session.store):
        if path.holds(other):
            what = "open already" if path == other else f"above {other}, which is open"
            raise UsageError(
                f"{path} is {what} in this process: it could only wait for itself",
                hint="finalize the inner scope first, or open the outer one before it",
            )

    most = session.store.lock_timeout if options.lock_timeout is None else options.lock_timeout

    def waiting(who: str) -> None:
        session.tell(Entry("", 0, session.store.clock.now(), LockWaited(str(path), who, most=most)))

    agreed = session.terms.agreed
    ledger = await Ledger.open(
        session.store,
        path,
        kind,
        purpose=purpose or PURPOSES.get(session.phase, session.phase),
        target=session.target,
        timeout=most,
        held=session.held,
        locking=options.enable_locking,
        waiting=waiting,
        lock_path=lock_path,
        refuse=agreed.check_state if agreed else None,
    )
    try:
        if agreed is not None:
            agreed.check_opened(ledger.fold)
    except Refused as error:
        ledger.close(outcome="failed", counts={}, failures=[[str(path), describe(error)]])
        raise
    return ledger


def _check_kind(session: Session, path: ScopePath, kind: ScopeKind) -> None:
    """A stage and a nested scope of one name below an application would share a directory."""
    stored = stored_kind(session, path)
    if stored is not None and stored is not kind:
        raise InvalidName(
            f"{path} is a {stored} scope already, and the program opens it as a {kind} scope",
            hint="give one of the two another name",
        )
    for name in session.store.siblings(path):
        if name != path.name and name.lower() == path.name.lower():
            raise InvalidName(
                f"{path} and {name} differ only in case: on many disks they would be one directory",
                hint="give one of the two another name",
            )


def stored_kind(session: Session, path: ScopePath) -> ScopeKind | None:
    """From what this session has open, else from the store; None when nothing is stored or it cannot be told."""
    for run in list(session.runs.values()):
        if run.ledger.path == path:
            return run.ledger.kind
        if str(path) in run.members:
            return ScopeKind.NESTED
    return session.store.stored_kind(path)


def open_nested(parent: Scope, name: str, options: dict[str, Any]) -> Scope:
    """A `run` block: nested in `parent`, in the same journal."""
    path = parent.path.child(name)
    if parent.kind is ScopeKind.APPLICATION and name.lower() == "test":
        raise InvalidName("a scope directly below an application cannot be called 'test'", hint="choose another name")
    if parent.closed:
        raise UsageError(f"{parent.path} is finalized: nothing can be opened in it")
    given = parent.options.but(f"run({name!r})", **options)
    if not parent.session.same_cloud(given):
        raise UsageError(
            f"run({name!r}) cannot go to another account than its scope",
            hint="pass api_token, account_id and api_base_url to alchemy(...)",
        )
    _check_kind(parent.session, path, ScopeKind.NESTED)
    if parent.session.store.has_journal(path):
        raise InvalidName(f"{path} was a stage: its journal is still there", hint="choose another name")
    parent.members.claim_child(parent.path, name)
    run = parent.run_state
    given = parent.options.but(f"run({name!r})", **options).but("command line", **invocation.get().options)
    scope = Scope(parent.session, run, path, ScopeKind.NESTED, given, parent)
    ledger = run.ledger
    if ledger.writable and str(path) not in ledger.fold.scopes:
        now = ledger.store.clock.now()
        ledger.record([Put(ScopeState(path=str(path), kind=ScopeKind.NESTED, created_at=now, updated_at=now))])
    run.emit(ScopeEntered(str(path)))
    return scope


_armed = False


def _arm_exit() -> None:
    global _armed
    if not _armed:
        _armed = True
        atexit.register(_leave)


def give_back() -> list[AlchemyError]:
    """At exit: a scope never finalized collects nothing, gives its lock back, and says so. Returns what failed."""
    errors: list[AlchemyError] = []
    for session in open_sessions():
        for path, run in sorted(session.runs.items(), reverse=True):
            session.forget(path)
            if not run.ledger.writable:
                continue
            if not interrupts.count:
                text = "never finalized: nothing was collected, its lock is given back"
                run.emit(Noted(str(path), text, "warning"), durable=True)
            try:
                run.ledger.close(outcome="interrupted", counts=dict(run.counts), failures=[])
            except Exception as error:  # one scope that cannot be closed does not keep the others open
                known = error if isinstance(error, AlchemyError) else StorageFailed(f"{path} is not closed: {error}")
                run.emit(Noted(str(path), f"{known.message}: {known.hint}" if known.hint else known.message, "warning"))
                errors.append(known)
    return errors


def _leave() -> None:
    """The interpreter is ending, so nothing can be raised any more: only this way does the exit code tell."""
    errors = give_back()
    if errors:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(max(error.exit_code for error in errors))
