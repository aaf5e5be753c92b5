"""Reserving a scope: a person keeps runs out of it until a time, or until somebody unlocks; nobody has to stay for it.

It is a record in the scope's journal, so it outlives the process and is seen by every run that opens the scope, from
any machine. Neighbours: `store.ledger` refuses runs, `unlocking` lets them in again, `verdicts` shows it.
"""

from __future__ import annotations

from collections.abc import Callable

from alchemy.errors import AlchemyError, Refused, UsageError
from alchemy.model.events import Noted
from alchemy.model.fold import Fold
from alchemy.model.locks import LockView
from alchemy.model.paths import ScopePath
from alchemy.model.records import Emit, Op, Reserve
from alchemy.model.text import safe_text
from alchemy.model.values import Hold, ScopeKind
from alchemy.operations.verdicts import explain, me, until
from alchemy.operations.workspace import Workspace
from alchemy.store.clock import stamp
from alchemy.store.ledger import Ledger
from alchemy.store.store import Store

LONGEST = 366 * 86_400  # seconds


async def hold(
    store: Store,
    path: ScopePath | str,
    *,
    reason: str,
    seconds: float = 0.0,
    timeout: float | None = None,
    waiting: Callable[[str], None] | None = None,
    over_others: bool = True,
) -> LockView:
    """Waits until nobody is at work in `path`, then keeps runs out of it; 0 seconds: until somebody unlocks.

    A nested path reserves the scope whose journal it is in: the path of the answer. Reserving again replaces the
    reservation; without `over_others` that of somebody else stands, and Refused names it. An application's also keeps
    runs out of its stages and tests.
    """
    if not reason.strip():
        raise UsageError("a reservation needs a reason", hint='--reason "database migration": others are told it')
    if not 0 <= seconds <= LONGEST:
        raise UsageError(f"a scope is reserved for at most a year, not {seconds:g} seconds", hint="--for 2h, --for 3d")
    owner, kind = owner_of(store, path)
    store.prepare()

    def refuse(fold: Fold) -> None:
        there = fold.hold
        if there and not over_others and there.by != me() and there.active(store.clock.now()):
            raise Refused(
                f"{owner} is reserved by {safe_text(there.by, 80)}{until(there)}: {safe_text(there.reason, 300)}",
                hint="ask that person; --force puts your reservation in the place of theirs, and the log says so",
            )

    ledger = await Ledger.open(
        store, owner, kind, purpose="lock", timeout=timeout, waiting=waiting, held_by_person=True, refuse=refuse
    )
    now = store.clock.now()
    end = stamp(store.clock.wall() + seconds) if seconds else ""
    wish = Hold(reason=safe_text(reason.strip(), 500), by=me(), since=now, until=end)
    before = ledger.fold.hold
    instead = f", in place of {before.by}: {before.reason}" if before and before.active(now) else ""
    await _write(ledger, wish, f"reserved by {wish.by}{until(wish)}: {wish.reason}{instead}", "reserved")
    return explain(store, owner)


async def let_in(store: Store, scope: ScopePath, seen: LockView, reason: str, *, timeout: float | None = None) -> None:
    """Takes away the reservation that was `seen`; Refused when it is another by now."""
    _, kind = owner_of(store, scope)
    found = seen.hold
    assert found is not None

    def refuse(fold: Fold) -> None:
        if fold.hold != found:
            raise Refused(
                f"{scope} was reserved anew, or given free, in this moment",
                hint="`alchemy scope locks` shows by whom; nothing was changed",
            )

    ledger = await Ledger.open(
        store, scope, kind, purpose="unlock", timeout=timeout, held_by_person=True, refuse=refuse
    )
    why = f": {reason}" if reason else ""
    await _write(ledger, None, f"given free by {me()}{why}; it was reserved by {found.by}: {found.reason}", "unlocked")


async def _write(ledger: Ledger, wish: Hold | None, said: str, outcome: str) -> None:
    ops: list[Op] = [Reserve(wish), Emit(Noted(str(ledger.path), said))]
    try:
        ledger.record(ops)
        await ledger.flush()
    except AlchemyError:
        ledger.close(outcome="failed", counts={}, failures=[])
        raise
    ledger.close(outcome=outcome, counts={}, failures=[])


def owner_of(store: Store, path: ScopePath | str) -> tuple[ScopePath, ScopeKind]:
    """The scope that has, or will have, the journal of `path`, and its kind. UsageError when nothing is stored."""
    workspace = Workspace(store)
    view = workspace.refresh()
    node = view.scopes.get(str(path))
    if node is None:
        raise UsageError(f"{safe_text(path, 200)} is not in the state", hint="`alchemy scope list` shows what is")
    return ScopePath.parse(node.owner), view.scopes[node.owner].kind
