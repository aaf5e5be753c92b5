"""A resource that stays as it is: nothing is called, its row takes over what the program says of it now.

Neighbour: `apply` carries out everything else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from alchemy.engine.secrets import live_outputs
from alchemy.engine.session import Run
from alchemy.model.changes import Change
from alchemy.model.events import Noted
from alchemy.model.records import Put


def stand(run: Run, change: Change) -> dict[str, Any]:
    assert change.before is not None
    assert change.desired is not None
    fold = run.ledger.fold
    if change.save or fold.orphaned(change.address) or fold.leftover(change.address):
        wish = change.desired
        row = replace(change.before, depends_on=wish.depends_on, protect=wish.protect, retain=wish.retain)
        row = replace(row, on_destroy=wish.on_destroy, timeout=wish.timeout, module=wish.module)
        row = replace(row, props=wish.props, props_hash=wish.props_hash)  # the same in other words
        run.before_change()
        why = change.reason if change.drifted else "declared again, or its flags or edges changed"
        run.ledger.record([Put(run.stamped(row), reason=why)])
        if change.drifted:
            run.emit(Noted(change.address, f"taken over {change.reason}"), durable=True)
    run.ended(change.address, change.kind, "keep", "done")
    return live_outputs(run, change.before)
