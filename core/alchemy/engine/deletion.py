"""Deleting or forgetting one row: intent, call with retries, drop. A row whose kind nobody knows is blocked.

Neighbours: `finalize` orders many of these, `apply` uses one when a name has to be free first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from alchemy.engine import kinds
from alchemy.engine.calls import Stopped, describe
from alchemy.engine.names import Unclear, claim_name, is_of_another, marked, others_named
from alchemy.engine.resource import Resource
from alchemy.engine.secrets import restored
from alchemy.engine.session import Run, call
from alchemy.engine.tries import patiently
from alchemy.errors import Ambiguous, CloudError, Fenced, Refused, StorageFailed
from alchemy.model.canonical import normalise
from alchemy.model.events import ChangeStarted
from alchemy.model.records import Drop, Op, Put
from alchemy.model.values import Action, ResourceState, Status
from alchemy.settings import Options

_LOOK_EVERY = 0.5  # seconds


class Blocked(Exception):
    """The step cannot be done as things are; the row is kept."""


async def make_room(run: Run, row: ResourceState, wished: str, options: Options) -> None:
    """Before an object gets the physical name of `row`: an old incarnation that still has it goes first."""
    for former in claim_name(run, row, wished):
        await delete_row(run, former, options, reason=f"{row.physical_name} has to be free first")


def forget_row(run: Run, row: ResourceState) -> None:
    """Drops the row, leaves the object."""
    run.before_change()
    run.ledger.record([_drop(row, str(Action.FORGET), 0.0)])
    run.ended(row.address, row.kind, str(Action.FORGET), "done")


def _drop(row: ResourceState, action: str, took: float) -> Drop:
    return Drop(row.address, generation=row.generation if row.former else None, kind=row.kind, action=action, took=took)


async def look(run: Run, instance: Resource, row: ResourceState) -> Any:
    """What the cloud has under this row's name or token; "absent" is believed after the kind's settle time."""
    waited = 0.0
    while True:
        try:
            found = await call(run, instance.read, row)
        except Ambiguous as error:
            raise Ambiguous(error.candidates, decide=_how_to_decide(instance)) from error
        if found is not None or waited >= type(instance).settle:
            return found
        await run.session.calls.pause(_LOOK_EVERY)
        waited += _LOOK_EVERY


def _how_to_decide(instance: Resource) -> str:
    by_hand = "delete those that are not it by hand"
    return f"{by_hand}, or take over the right one with name= and adopt=True" if "name" in instance._fields else by_hand


async def look_again(run: Run, instance: Resource, row: ResourceState) -> Any:
    """For a row that may be older than the cloud: by its ids, else by the name that only we would have given."""
    found = await look(run, instance, row)
    if found is not None or not row.outputs or not marked(run, row):
        return found
    unseen = replace(row, outputs={})
    return await call(run, restored(run, type(instance), unseen).read, unseen)


async def delete_row(
    run: Run, row: ResourceState, options: Options, *, reason: str, stored: ResourceState | None = None
) -> None:
    """Intent, call with retries, drop. `stored`: the row as it stands in the ledger when it differs from `row`."""
    obstacle = kinds.unloaded(row)
    cls = kinds.find(row.kind) if not obstacle else None
    if cls is None:
        raise Blocked(obstacle)
    if cls.cloud:
        run.claim_target()
    clock = run.ledger.store.clock
    started = clock.elapsed()
    current = stored or row
    shared = bool(others_named(run, current))
    unsure = shared or row.status is not Status.READY or not row.outputs or row.verify or options.refresh
    intent = replace(current, status=Status.DELETING, error="", run=run.ledger.run, updated_at=clock.now())
    if run.session.calls.stopping.is_set():
        raise Stopped
    run.before_change()
    run.emit(ChangeStarted(row.address, row.kind, str(Action.DELETE), reason))
    await run.ledger.intend([Put(intent, "intent", str(Action.DELETE), reason)])
    instance = restored(run, cls, row)
    if run.delete_timeout is not None:
        row = replace(row, timeout=run.delete_timeout)

    async def attempt(number: int) -> None:
        if unsure or number:
            try:
                found = await (look_again if row.verify else look)(run, instance, row)
            except Refused:
                found = None  # what has the name is somebody else's: there is nothing of ours
            if found is None:
                return
            if hasattr(found, "items"):
                if shared and is_of_another(run, instance, current, dict(found)):
                    return
                instance.__dict__["outputs"] = {**instance.outputs, **normalise(dict(found))}
        try:
            await call(run, instance.delete, row)
        except CloudError as error:
            if error.status != 404:
                raise

    try:
        await patiently(run, row, attempt, options, worth=_worth_another_try)
    except Unclear as error:
        run.ledger.record([Put(replace(current, error=str(error)))])
        raise Blocked(str(error)) from error
    except Exception as error:
        if not isinstance(error, Stopped):
            failed = replace(intent, error=describe(error), updated_at=clock.now())
            took = clock.elapsed() - started
            run.ledger.record([Put(failed, "failed", str(Action.DELETE), took=took)])
        raise
    took = clock.elapsed() - started
    op: Op = _drop(current, str(Action.DELETE), took)
    run.ledger.record([op])
    run.ended(row.address, row.kind, str(Action.DELETE), "done", took=took)


def _worth_another_try(error: BaseException) -> bool:
    """Deletes are repeated whatever went wrong, except where the program itself is wrong or access is refused."""
    if isinstance(error, CloudError):
        return error.transient or error.status == 409
    hopeless = TypeError | AttributeError | NameError | Fenced | StorageFailed | Refused | Ambiguous | Unclear
    return not isinstance(error, hopeless)
