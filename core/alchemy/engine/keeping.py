"""The mark by which a person keeps a resource: its row stays, and whoever deletes passes over it until that is undone.

Neighbours: `carrying` sets it as a decision of a cleanup, `operations.keeping` for one address.
"""

from __future__ import annotations

from dataclasses import replace

from alchemy.engine.session import Run
from alchemy.model.events import Noted
from alchemy.model.records import Emit, Put
from alchemy.model.values import ResourceState
from alchemy.store import identity


def keep_row(run: Run, row: ResourceState, *, kept: bool = True) -> None:
    """Writes the mark, or takes it away. What was an orphan is one afterwards: this is no declaration of it."""
    run.before_change()
    run.restate()
    now = run.ledger.fold.resources.get(row.key, row)
    done = "kept" if kept else "no longer kept"
    said = f"{done} by {identity.user()}@{identity.host()}"
    put = Put(replace(now, kept=kept, updated_at=run.ledger.store.clock.now()))
    run.ledger.record([put, Emit(Noted(row.address, said))])
    run.ended(row.address, row.kind, "kept" if kept else "unkept", "done")
