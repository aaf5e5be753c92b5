"""Looking at the object behind a row: what the cloud has now, beside what is stored. Reads the cloud only.

Neighbours: `deploy` decides by it when it is asked to refresh, `operations.drifting` reports it, `verifying` looks up
rows that came back from a copy; `model.drift` compares.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from alchemy.engine.deletion import look_again
from alchemy.engine.names import marked
from alchemy.engine.props import Reference, plain_outputs
from alchemy.engine.resource import Resource
from alchemy.engine.secrets import live_outputs, restored, stored_outputs
from alchemy.engine.session import Run, call
from alchemy.engine.tries import patiently
from alchemy.engine.verifying import under_its_name
from alchemy.errors import UsageError
from alchemy.model import drift, scrubbing
from alchemy.model.canonical import Json, SecretText, normalise
from alchemy.model.changes import Change, decide
from alchemy.model.drift import INPUTS, Sighting, anew
from alchemy.model.masking import is_sealed
from alchemy.model.secrets import LockedSecret, Secret
from alchemy.model.text import safe_text
from alchemy.model.values import Desired, ResourceState, Status
from alchemy.settings import Options

_NOT_COMPARED: Any = object()
_TELLING = 8  # characters from which on a text that holds a secret is one itself


def refreshes(phase: str, options: Options, row: ResourceState | None, wish: Desired) -> bool:
    """What is stored is not believed before it was looked at. What is under way is looked up by its resumption."""
    if not options.refresh or phase not in ("up", "plan") or row is None or row.kind != wish.kind:
        return False
    return row.status is Status.READY or (row.status is Status.UPDATING and not row.verify)


async def refresh(run: Run, row: ResourceState, resource: Resource, wish: Desired, options: Options) -> Change:
    """The decision about a declared resource by what the cloud has. Writes nothing: the change carries what was seen.

    Its `before` is the object as it is, so that the intent of an update says it too, for whoever resumes it.
    """
    cls, ours = type(resource), not row.adopted
    found = await _find(run, row, cls, options)
    if found is None and row.outputs and not marked(run, row):
        found = await under_its_name(run, row, resource, wish)
        row = replace(row, adopted=row.adopted or found is not None)
    if found is not None and row.status is Status.UPDATING:  # what of it was done, finishing it makes sure of
        return decide(row, wish)
    sighting = Sighting(row, missing=True) if found is None else await _sight(run, row, cls, found, options)
    if sighting.missing:
        sighting = Sighting(anew(row, uuid.uuid4().hex), missing=True)
    change = drift.heal(row, sighting, wish)
    return replace(change, save=True) if ours and row.adopted else change


async def sight(run: Run, row: ResourceState, cls: type[Resource], options: Options) -> Sighting:
    """Of a ready row, without a program. Raises what the kind raises when it cannot be told."""
    found = await _find(run, row, cls, options)
    return Sighting(row, missing=True) if found is None else await _sight(run, row, cls, found, options)


async def _find(run: Run, row: ResourceState, cls: type[Resource], options: Options) -> Any:
    async def attempt(_: int) -> Any:
        return await look_again(run, restored(run, cls, row), row)

    return await patiently(run, row, attempt, options)


async def _sight(run: Run, row: ResourceState, cls: type[Resource], found: Any, options: Options) -> Sighting:
    instance = restored(run, cls, row)
    outputs = plain_outputs(instance, found, live_outputs(run, row))
    kept = stored_outputs(run, instance, row, outputs)
    passing = {name for name, declared in cls._fields.items() if declared.is_output and declared.volatile}
    instance.__dict__["outputs"] = {**outputs, **{n: instance.outputs[n] for n in passing & instance.outputs.keys()}}
    observed: Mapping[str, Any] | None = {}
    if cls.observe is not Resource.observe:
        observed = await patiently(run, row, lambda _: call(run, instance.observe, row), options)
    if observed is None:
        return Sighting(row, missing=True)
    return drift.sight(row, _as_stored(row, instance, observed), kept, passing)


def _as_stored(row: ResourceState, instance: Resource, observed: Any) -> dict[str, Json]:
    """What `observe` told, as rows have it; without secrets."""
    if not isinstance(observed, Mapping):
        raise UsageError(f"{instance.kind}.observe returned {type(observed).__name__} where props were expected")
    out: dict[str, Json] = {}
    pointed: dict[str, Json] = dict(row.props.get(INPUTS) or {})
    for name, value in observed.items():
        declared = instance._fields.get(name)
        where = f"{row.address}.{safe_text(name, 80)}"
        if declared is not None and not declared.is_output:
            told = _step(value, getattr(instance, name), row.props.get(name), where)
            if not declared.secret and told is not _NOT_COMPARED:
                out[name] = told
        elif name in pointed:
            pointed[name] = normalise(value, where)
            out[INPUTS] = pointed
        elif declared is not None or type(instance).inputs is Resource.inputs or pointed:
            raise UsageError(f"{instance.kind}.observe tells of {safe_text(name, 80)}, which is no prop of it")
    return out


def _step(seen: Any, mine: Any, stored: Json, where: str) -> Any:
    """`mine` is the value that `stored` stands for: where it comes back, nothing drifted."""
    if seen is mine or is_sealed(stored):
        return stored
    if isinstance(seen, Secret | SecretText | LockedSecret) or (
        isinstance(seen, str) and scrubbing.holds_value(seen, _TELLING)
    ):
        return _NOT_COMPARED if stored is None else stored
    if isinstance(seen, Reference | Resource):
        return {"$resource": seen.address, "kind": seen.kind, "outputs": {}}
    if isinstance(seen, Mapping):
        return _mapping(seen, mine, stored, where)
    if isinstance(seen, list | tuple):
        old = stored if isinstance(stored, list) else []
        own = mine if isinstance(mine, list | tuple) and len(mine) == len(old) else []
        each = [
            _step(v, own[n] if n < len(own) else None, old[n] if n < len(own) else None, where)
            for n, v in enumerate(seen)
        ]
        return [None if item is _NOT_COMPARED else item for item in each]
    return normalise(seen, where)


def _mapping(seen: Mapping[Any, Any], mine: Any, stored: Json, where: str) -> dict[str, Json]:
    old = stored if isinstance(stored, dict) else {}
    own = mine if isinstance(mine, Mapping) else {}
    out: dict[str, Json] = {}
    for key, value in seen.items():
        kept = f"${key}" if str(key).startswith("$") else str(key)
        told = _step(value, own.get(key, _NOT_COMPARED), old.get(kept), f"{where}.{safe_text(key, 80)}")
        if told is not _NOT_COMPARED:
            out[kept] = told
    return out
