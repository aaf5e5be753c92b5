"""Looking up what a restored, rebuilt, migrated or recovered row says, before it is believed. Reads the cloud only.

Neighbours: `deploy` asks for it before it decides, `deletion` looks by itself before it deletes such a row.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from alchemy.engine.deletion import look_again
from alchemy.engine.names import marked
from alchemy.engine.props import plain_outputs
from alchemy.engine.resource import Resource
from alchemy.engine.secrets import live_outputs, restored, stored_outputs
from alchemy.engine.session import Run, call
from alchemy.engine.tries import patiently
from alchemy.errors import Refused
from alchemy.model.drift import anew
from alchemy.model.records import Put
from alchemy.model.values import Desired, ResourceState
from alchemy.settings import Options


async def verify(
    run: Run, row: ResourceState, resource: Resource, wish: Desired, options: Options
) -> tuple[ResourceState, bool]:
    """(the row to go on from, its object is missing). Found: recorded with the outputs as they are now."""

    async def attempt(_: int) -> Any:
        return await look_again(run, restored(run, type(resource), row), row)

    found = await patiently(run, row, attempt, options)
    adopted = row.adopted
    if found is None and row.outputs and not marked(run, row):
        found = await under_its_name(run, row, resource, wish)
        adopted = adopted or found is not None
    if found is None:
        return anew(row, uuid.uuid4().hex), True
    outputs = plain_outputs(resource, found, live_outputs(run, row))
    kept = stored_outputs(run, resource, row, outputs)
    seen = replace(row, outputs=kept, adopted=adopted, verify=False, error="")
    run.before_change()
    run.ledger.record([Put(run.stamped(seen), reason="found in the cloud after a restore")])
    return seen, False


async def under_its_name(run: Run, row: ResourceState, resource: Resource, wish: Desired) -> Any:
    """Another object has the explicit name that ours had: whose it is, only the program can say."""
    unseen = replace(row, outputs={}, adopted=row.adopted or wish.adopt)
    found = await call(run, restored(run, type(resource), unseen).read, unseen)
    if found is not None and not unseen.adopted:
        raise Refused(
            f"{row.physical_name} exists, but is another object than the one in the state",
            hint="take it over with adopt=True, or choose another name",
        )
    return found
