"""What a lock's verdict means with everything that is stored: reservations, and what the journal says of the holder.

Reading only, light. Neighbours: `unlocking` and `holding` act on it, `owners` shows it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from alchemy.errors import AlchemyError
from alchemy.model.fold import Fold
from alchemy.model.locks import LockView, Verdict
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.model.values import Holder, Status
from alchemy.operations.shapes import OpenIntent
from alchemy.store import identity
from alchemy.store.reservations import until as until
from alchemy.store.store import Store


def explain(store: Store, path: ScopePath | str) -> LockView:
    """The verdict on `path`, with its evidence, its reservation, and whether its holder can still write."""
    scope = path if isinstance(path, ScopePath) else ScopePath.parse(path)
    view = store.lock_view(scope)
    owner = journal_of(store, scope)
    if owner is None:
        return view
    try:
        fold = store.read_fold(owner)
    except AlchemyError as error:
        return replace(view, evidence=(*view.evidence, error.message))
    view = as_in_journal(view, fold)
    if view.holder is not None and view.holder.epoch < fold.epoch:
        newer = f"it cannot write any more: run R-{fold.epoch} took over, {took_over(fold.holder)}"
        view = replace(view, evidence=(*view.evidence, newer))
    return with_hold(view, fold, store) if owner == scope else view


def as_in_journal(view: LockView, fold: Fold) -> LockView:
    """The journal knows the epoch of a run that has not shown it beside its lock yet."""
    shown, known = view.holder, fold.holder
    if shown is None or known is None or fold.released or shown.session != known.session:
        return view
    return replace(view, holder=replace(shown, epoch=known.epoch)) if shown.epoch < known.epoch else view


def keeping_out(store: Store, path: ScopePath | str) -> list[LockView]:
    """Locks above `path`, and on the scope whose journal it is in, that keep runs out of it too."""
    scope = path if isinstance(path, ScopePath) else ScopePath.parse(path)
    found = [explain(store, above) for above in scope.ancestors]
    return [view for view in found if view.verdict is not Verdict.FREE]


def took_over(holder: Holder | None) -> str:
    """`deploy by ana@laptop`."""
    return f"{safe_text(holder.purpose, 40)} by {person(holder)}" if holder else "by somebody unknown"


def person(holder: Holder) -> str:
    return f"{safe_text(holder.user, 80)}@{safe_text(holder.host, 80)}"


def me() -> str:
    return f"{identity.user()}@{identity.host()}"


def with_hold(view: LockView, fold: Fold, store: Store) -> LockView:
    """`view`, also saying who reserved the scope; HELD when nothing else is in the way."""
    hold = fold.hold
    if hold is None or not hold.active(store.clock.now()):
        return view
    evidence = f"reserved by {safe_text(hold.by, 80)}{until(hold)}: {safe_text(hold.reason, 300)}"
    if view.verdict is not Verdict.FREE:
        return replace(view, hold=hold, evidence=(*view.evidence, evidence))
    return LockView(
        path=view.path,
        verdict=Verdict.HELD,
        holder=fold.holder,
        evidence=(evidence,),
        age=max(0.0, store.clock.wall() - _seconds(hold.since)),
        you=hold.by == me(),
        hold=hold,
    )


def _seconds(at: str) -> float:
    try:
        return datetime.fromisoformat(at).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def journal_of(store: Store, scope: ScopePath) -> ScopePath | None:
    """The scope at or above `scope` whose journal its rows are in; None when none of them has one."""
    for path in (scope, *reversed(scope.ancestors)):
        if store.has_journal(path):
            return path
    return None


def open_intents(fold: Fold) -> tuple[OpenIntent, ...]:
    """Rows with an announced call whose end is not recorded: what an interrupted run left."""
    rows = sorted(fold.resources.values(), key=lambda row: row.seq)
    return tuple(
        OpenIntent(row.address, row.kind, str(row.status), row.run) for row in rows if row.status is not Status.READY
    )
