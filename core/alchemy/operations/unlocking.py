"""Opening a lock that somebody holds, left behind or reserved: fence first, then free; never one who came later.

The journal decides: the next epoch is opened over exactly the one that was seen, so that the holder cannot write any
more, and released at once; only then the lock file is replaced. Neighbours: `verdicts` explains, `holding` reserves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from alchemy.errors import AlchemyError, Fenced, LockHeld, Refused, StateInvalid
from alchemy.model.events import Noted
from alchemy.model.fold import Fold
from alchemy.model.locks import LockView, Verdict
from alchemy.model.paths import ScopePath
from alchemy.model.records import Emit, Op
from alchemy.model.text import safe_text
from alchemy.model.values import Holder
from alchemy.operations import holding, stopping
from alchemy.operations.auditing import note
from alchemy.operations.shapes import OpenIntent, UnlockReport
from alchemy.operations.verdicts import explain, journal_of, me, open_intents, person, took_over
from alchemy.store.holders import is_gone
from alchemy.store.ledger import make_holder
from alchemy.store.store import Store

_CLAIM = 0.5  # seconds after which an epoch that was claimed and not opened is nobody's


async def unlock(
    store: Store,
    path: ScopePath | str,
    *,
    token: str,
    reason: str = "",
    force: bool = False,
    signal: bool = False,
    timeout: float | None = None,
) -> UnlockReport:
    """`token` names what is to be opened, as `explain` showed it: Refused when it is another by now.

    Without `force` only what is STALE or HELD. `signal`: a LIVE holder on this machine is asked to stop first, and
    `force` is needed only when it does not. Unlocking and refusals go to the audit log.
    """
    scope = path if isinstance(path, ScopePath) else ScopePath.parse(path)
    reason = safe_text(reason, 500)
    view = explain(store, scope)
    if view.verdict is Verdict.FREE:
        return UnlockReport(str(scope), "free", view)
    try:
        _check(view, token)
        if view.verdict is Verdict.HELD:
            await holding.let_in(store, scope, view, reason, timeout=timeout)
            note(store, "unlock", str(scope), "done", reason, token=token, verdict=str(view.verdict))
            return UnlockReport(str(scope), "unlocked", view, freed=(str(scope),))
        assert view.holder is not None
        if signal and view.verdict is Verdict.LIVE:
            now = await stopping.ask(store, scope, view.holder)
            if now.verdict is Verdict.FREE or now.token != view.token:
                note(store, "unlock", str(scope), "done", reason, token=token, signalled=view.holder.to_json())
                return _after(store, scope, "stopped", view)
            view = now
        assert view.holder is not None
        if not force and view.verdict is not Verdict.STALE:
            raise needs_force(view, asked=signal)
        _refuse_held_above(store, scope, view.holder)
        breaking = _Breaking(store, scope, view, view.holder, reason)
        await asyncio.to_thread(breaking.carry_out) if store.remote else breaking.carry_out()
    except (Refused, LockHeld) as error:
        note(store, "unlock", str(scope), "refused", reason, token=token, why=error.message)
        raise
    broken = view.holder.to_json()
    note(store, "unlock", str(scope), "done", reason, token=token, verdict=str(view.verdict), broken=broken)
    return _after(store, scope, "unlocked", view, tuple(breaking.fenced), tuple(breaking.freed))


def _check(view: LockView, token: str) -> None:
    if view.holder is None:
        raise Refused(
            f"{view.path} is held by somebody who left no record, so that it cannot be told who is to be broken: "
            + "; ".join(view.evidence),
            hint="end that process: its lock goes with it",
        )
    if token != view.token:
        raise Refused(
            f"{view.path} is not held by {safe_text(token, 60) or 'anybody without a token'}, but by {view.token}: "
            f"{took_over(view.holder)}",
            hint=f"`alchemy scope locks` shows the token: `alchemy scope unlock {view.path} --token {view.token}`",
        )


def needs_force(view: LockView, *, asked: bool = False) -> Refused:
    """Of a holder that is alive, or may be."""
    holder = view.holder
    assert holder is not None
    why = "alive" if view.verdict is Verdict.LIVE else "perhaps alive: " + "; ".join(view.evidence)
    stays = ", and did not stop when it was asked to" if asked else ""
    return Refused(
        f"{view.path} is held by {person(holder)}, pid {holder.pid}, which is {why}{stays}",
        hint=f"wait for it, or ask it to stop: --signal; --force --token {view.token} opens the lock all the same, "
        "and stops the run at its next write",
    )


def _refuse_held_above(store: Store, scope: ScopePath, holder: Holder) -> None:
    """Who holds something above as well keeps everybody out of here, whatever is done here."""
    for above in scope.ancestors:
        found = store.lock_view(above)
        owns = journal_of(store, scope)
        if found.holder and found.holder.session == holder.session and found.verdict is not Verdict.STALE:
            if owns is not None and owns.holds(above):
                continue  # the owner of the nested path: it is opened with it
            raise Refused(
                f"{person(holder)} holds {above} too: {scope} alone cannot be given free",
                hint=f"alchemy scope unlock {above} --token {found.token} --force",
            )


class _Breaking:
    """One unlock of a session's lock. Blocks."""

    def __init__(self, store: Store, scope: ScopePath, view: LockView, holder: Holder, reason: str) -> None:
        self._store = store
        self._scope = scope
        self._view = view
        self._holder = holder
        self._reason = reason
        self.fenced: list[tuple[str, str]] = []
        self.freed: list[str] = []

    def carry_out(self) -> None:
        owner = journal_of(self._store, self._scope)
        top = owner if owner is not None and owner.holds(self._scope) else self._scope
        for path in _journals(self._store, top):
            self._fence(path)
        held = [lock for lock in self._store.lock_views() if top.holds(ScopePath.parse(lock.path))]
        for lock in sorted(held, key=lambda lock: -lock.path.count("/")):
            if lock.holder is not None and lock.holder.session == self._holder.session:
                self._store.free(ScopePath.parse(lock.path), self._holder.session)
                self.freed.append(lock.path)

    def _fence(self, path: ScopePath) -> None:
        """Nothing is opened where the holder cannot write (any more): it ended, or somebody took over."""
        try:
            fold = self._store.read_fold(path)
        except StateInvalid:
            if path == self._scope or not self._scope.holds(path):
                raise
            return  # a damaged stage of an application: nobody can open it, the holder neither
        if fold.released or fold.holder is None or not self._is_of_holder(fold.holder):
            return
        seen = self._newest(path, fold)
        if seen is None:
            return
        with suppress(Fenced):  # somebody opened it right after us: the holder is out all the same
            journal = self._store.open_journal(
                path, holder=self._opener(path), ops=self._ops(path), body={"unlock": self._told()}, seen=seen
            )
            self.fenced.append((str(path), f"R-{journal.epoch}"))
            body: dict[str, Any] = {"scope": str(path), "outcome": "unlocked", "counts": {}, "failures": []}
            journal.close({**body, **self._told(), "total": len(journal.fold.resources)})

    def _is_of_holder(self, other: Holder) -> bool:
        """The session that is broken, or one that died below it: nobody else can be there."""
        return other.session == self._holder.session or bool(is_gone(other))

    def _newest(self, path: ScopePath, fold: Fold) -> int | None:
        """The epoch to open over; None when a newcomer is at it. One that was claimed and never opened is nobody's."""
        newest = max([fold.epoch, *self._store.epochs(path)[-1:]])
        if newest == fold.epoch:
            return newest
        time.sleep(_CLAIM)
        again = self._store.read_fold(path)
        return newest if again.epoch == fold.epoch and self._store.epochs(path)[-1:] == [newest] else None

    def _opener(self, path: ScopePath) -> Any:
        return lambda epoch: make_holder(self._store, path, epoch, "unlock")

    def _told(self) -> dict[str, Any]:
        return {"by": me(), "reason": self._reason, "broken": self._holder.to_json()}

    def _ops(self, path: ScopePath) -> Any:
        holder = self._holder
        why = f": {self._reason}" if self._reason else ""
        text = f"unlocked by {me()}{why}; broken: R-{holder.epoch}, {took_over(holder)}, pid {holder.pid}"
        ops: Sequence[Op] = [Emit(Noted(str(path), f"{text} ({self._view.verdict})", "warning"))]
        return lambda fold: ops


def _journals(store: Store, top: ScopePath) -> list[ScopePath]:
    """`top`'s own and, of an application, those of its stages and tests."""
    if top.parent is not None:
        return [top] if store.has_journal(top) else []
    found = [ScopePath.parse(path) for path in store.owners()]
    return [path for path in found if top.holds(path) and store.has_journal(path)]


def _after(
    store: Store,
    scope: ScopePath,
    outcome: str,
    view: LockView,
    fenced: tuple[tuple[str, str], ...] = (),
    freed: tuple[str, ...] = (),
) -> UnlockReport:
    """What the holder left half done, and what goes on from there."""
    owner = journal_of(store, scope)
    top = owner if owner is not None and owner.holds(scope) else scope
    left: list[OpenIntent] = []
    for path in _journals(store, top):
        with suppress(AlchemyError):  # `validate` tells of it
            left += open_intents(store.read_fold(path))
    return UnlockReport(str(scope), outcome, view, fenced, freed, tuple(left), _next(view, top))


def _next(view: LockView, top: ScopePath) -> tuple[str, ...]:
    return (going_on(view.holder.purpose if view.holder else "", top),)


def going_on(purpose: str, top: ScopePath) -> str:
    """The command that takes up what a run of that purpose left."""
    stage = f" --stage {top.name}" if len(top.parts) == 2 else ""
    commands = {
        "deploy": f"alchemy deploy{stage}",
        "destroy": f"alchemy destroy {top}",
        "cleanup": f"alchemy scope cleanup {top}",
    }
    return commands.get(purpose, f"alchemy scope inspect {top}")


def refuse_unlock(store: Store, path: str, reason: str, error: AlchemyError) -> NoReturn:
    """For front ends that refuse before they ask: it is in the audit log too."""
    note(store, "unlock", path, "refused", reason, why=error.message)
    raise error
