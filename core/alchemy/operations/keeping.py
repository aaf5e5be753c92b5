"""Keeping one resource: cleanup and destroy pass over it, whatever the program says, until that is undone.

Neighbours: `deciding` keeps as a decision of a cleanup; `model.deletions` passes over what is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from alchemy import wiring
from alchemy.engine.entering import open_owner
from alchemy.engine.keeping import keep_row
from alchemy.engine.leaving import abandon
from alchemy.engine.session import Listener
from alchemy.errors import UsageError
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.model.values import ScopeKind
from alchemy.operations.destroying import stored_session
from alchemy.operations.holding import owner_of
from alchemy.settings import Options, Project
from alchemy.store.store import Store


@dataclass(frozen=True, slots=True)
class Kept:
    """`changed` is false where it was so already. `uses`: what it needs, which therefore cannot go either."""

    address: str
    kept: bool
    changed: bool
    run: str
    uses: tuple[str, ...]


def look_up(store: Store, address: str, *, kept: bool) -> Kept:
    """What `keep` would change, without lock or writing. UsageError when there is no such resource."""
    owner, _ = _owner(store, address)
    row = store.read_fold(owner).current(address)
    if row is None:
        raise _unknown(address)
    return Kept(address, kept, row.kept is not kept, "", row.depends_on)


async def keep(
    store: Store,
    address: str,
    options: Options,
    *,
    kept: bool = True,
    project: Project,
    listener: Listener | None = None,
) -> Kept:
    """One record, after a backup; nothing is opened where it is so already."""
    found = look_up(store, address, kept=kept)
    if not found.changed:
        return found
    owner, kind = _owner(store, address)
    session = stored_session(store, options, project, "destroy", listener)
    _, target = wiring.describe_target(store, options)
    scope = await open_owner(session, owner, kind, options, target=target, purpose="keep")
    try:
        run = scope.run_state
        row = run.ledger.row(address)
        if row is None:
            raise _unknown(address)
        if row.kept is not kept:
            keep_row(run, row, kept=kept)
        await run.ledger.flush()
    except BaseException as error:
        await abandon(scope, error)
        raise
    await scope.leave("done")
    return Kept(address, kept, row.kept is not kept, run.ledger.run, row.depends_on)


def _owner(store: Store, address: str) -> tuple[ScopePath, ScopeKind]:
    scope, _, _ = address.rpartition("/")
    if not scope:
        raise _unknown(address)
    return owner_of(store, scope)


def _unknown(address: str) -> UsageError:
    return UsageError(
        f"{safe_text(address, 200)} is no resource in the state", hint="`alchemy scope list` shows what there is"
    )
