"""Deleting in order: garbage collection, destroy, rollback of a failed block and cleanup of tests.

One algorithm with different survivors: plan purely, back up, then delete wave by wave, dependents before what they
use. A row that cannot be deleted keeps what it uses alive and is reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from alchemy.engine import kinds
from alchemy.engine.calls import Stopped, describe, retrying
from alchemy.engine.session import Run, call
from alchemy.errors import CloudError, Fenced, Refused, StorageFailed
from alchemy.model.canonical import normalise
from alchemy.model.deletions import Deletion, DeletionPlan, batches, plan_deletions
from alchemy.model.events import ChangePlanned, ChangeStarted
from alchemy.model.paths import ScopePath
from alchemy.model.records import Drop, Op, Put
from alchemy.model.text import safe_text
from alchemy.model.values import Action, ResourceState, Status
from alchemy.settings import Options


@dataclass(slots=True)
class Report:
    """What a finalization did. `deletions` are the steps that were planned, in order."""

    scope: str
    deletions: tuple[Deletion, ...] = ()
    deleted: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)  # (address, why)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    stopped: bool = False  # the run was interrupted

    @property
    def ok(self) -> bool:
        return not self.failed and not self.stopped


def refuse_protected(plan: DeletionPlan) -> None:
    """For destroy: nothing is touched when something in it is protected."""
    protected = [step.address for step in plan.deletions if step.row.protect and step.blocked]
    if protected:
        raise Refused(
            f"{plan.scope} is not destroyed: protected: {safe_text(', '.join(protected), 300)}",
            hint="set protect=False in the program and deploy, then destroy again",
        )


async def carry_out(run: Run, plan: DeletionPlan, options: Options, report: Report) -> None:
    """Deletes what the plan says; never raises for a single resource. Fills `report`."""
    report.deletions += plan.deletions
    for step in plan.deletions:
        run.emit(ChangePlanned(step.address, step.kind, str(step.action), step.reason))
    surviving: dict[str, str] = {}  # address that somebody who could not go still uses -> who
    for step in plan.blocked:
        _block(run, step, report, surviving, step.blocked)
    stop = False
    for wave in plan.waves:
        ready = [step for step in wave if not step.blocked]
        for batch in batches(ready, options.destroy_strategy, options.batch_size):
            if stop or run.session.calls.stopping.is_set():
                break
            await _carry_out_batch(run, batch, options, report, surviving)
            if run.ledger.failure is not None:
                raise run.ledger.failure
            stop = bool(report.failed) and not options.continue_on_error and not options.force
    report.stopped = report.stopped or run.session.calls.stopping.is_set()
    await run.ledger.flush()
    left = {row.scope for row in run.ledger.fold.below(plan.scope)}
    gone = [path for path in plan.scopes if not any(s == path or s.startswith(path + "/") for s in left)]
    if gone and not report.stopped:
        run.ledger.record([Drop(scope=path) for path in gone])


async def _carry_out_batch(
    run: Run, batch: Sequence[Deletion], options: Options, report: Report, surviving: dict[str, str]
) -> None:
    async def one(step: Deletion) -> None:
        user = surviving.get(step.address)
        if user:
            report.skipped.append((step.address, f"still used by {user}"))
            run.ended(step.address, step.kind, str(step.action), "skipped", error=f"still used by {user}")
            _survive(step.row, surviving)
            return
        try:
            if step.action is Action.FORGET:
                forget_row(run, step.row)
            else:
                await delete_row(run, step.row, options, reason=step.reason)
            report.deleted.append(step.address)
        except Stopped:
            report.stopped = True
            _survive(step.row, surviving)
        except (Fenced, StorageFailed):
            _survive(step.row, surviving)
        except Blocked as error:
            _block(run, step, report, surviving, str(error))
        except Exception as error:
            why = describe(error)
            report.failed.append((step.address, why))
            run.ended(step.address, step.kind, str(step.action), "failed", error=why)
            _survive(step.row, surviving)

    await asyncio.gather(*(one(step) for step in batch))


def _survive(row: ResourceState, surviving: dict[str, str]) -> None:
    for needed in row.depends_on:
        surviving.setdefault(needed, row.address)


def _block(run: Run, step: Deletion, report: Report, surviving: dict[str, str], why: str) -> None:
    report.failed.append((step.address, why))
    run.ended(step.address, step.kind, str(step.action), "blocked", error=why)
    _survive(step.row, surviving)


class Blocked(Exception):
    """The step cannot be done as things are; the row is kept."""


def forget_row(run: Run, row: ResourceState) -> None:
    """Drops the row, leaves the object."""
    run.before_change()
    run.ledger.record([_drop(row, str(Action.FORGET), 0.0)])
    run.ended(row.address, row.kind, str(Action.FORGET), "done")


def _drop(row: ResourceState, action: str, took: float) -> Drop:
    return Drop(row.address, generation=row.generation if row.former else None, kind=row.kind, action=action, took=took)


async def delete_row(
    run: Run, row: ResourceState, options: Options, *, reason: str, stored: ResourceState | None = None
) -> None:
    """Intent, call with retries, drop. `stored`: the row as it stands in the ledger when it differs from `row`."""
    cls = kinds.find(row.kind)
    if cls is None:
        where = f" (defined in {safe_text(row.module, 80)})" if row.module else ""
        raise Blocked(
            f"no loaded class for the kind {safe_text(row.kind, 80)}{where}: "
            "name its module in [tool.alchemy] kinds, or run the program's own destroy"
        )
    if cls.cloud:
        run.claim_target()
    clock = run.ledger.store.clock
    started = clock.elapsed()
    unsure = row.status is not Status.READY or not row.outputs
    current = stored or row
    intent = replace(current, status=Status.DELETING, error="", run=run.ledger.run, updated_at=clock.now())
    if run.session.calls.stopping.is_set():
        raise Stopped
    run.before_change()
    run.emit(ChangeStarted(row.address, row.kind, str(Action.DELETE), reason))
    await run.ledger.intend([Put(intent, "intent", str(Action.DELETE), reason)])
    instance = cls.restore(row)

    async def attempt(number: int) -> None:
        if unsure or number:
            found = await call(run, instance.read, row)
            if found is None:
                return
            if hasattr(found, "items"):
                instance.__dict__["outputs"] = {**row.outputs, **normalise(dict(found))}
        try:
            await call(run, instance.delete, row)
        except CloudError as error:
            if error.status != 404:
                raise

    try:
        await retrying(
            run.session.calls,
            attempt,
            retries=options.max_retries,
            delay=options.retry_delay,
            worth=_worth_another_try,
            announce=run.retry(row.address, options.max_retries),
        )
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
    return not isinstance(error, TypeError | AttributeError | NameError | Fenced | StorageFailed | Refused)


async def roll_back(run: Run, path: ScopePath, options: Options) -> None:
    """Deletes again what a failed block created in this run; adopted, retained and protected resources stay."""
    await run.ledger.flush()
    mine = {d.resource.address for d in run.deployments if d.created and path.holds(d.scope.path)}
    current = [row for row in run.ledger.fold.resources.values() if not row.former]
    made = {r.address for r in current if r.address in mine and not (r.adopted or r.retain or r.protect)}
    alive = {row.address for row in current} - made
    reason = "its block failed: created in this run"
    plan = plan_deletions(str(path), current, (), alive=alive, alive_scopes=frozenset(), reason=reason)
    if plan.deletions:
        await carry_out(run, plan, options, Report(str(path)))


def summary(report: Report) -> dict[str, Any]:
    """For `--json`."""
    return {
        "scope": report.scope,
        "deleted": report.deleted,
        "failed": [list(pair) for pair in report.failed],
        "skipped": [list(pair) for pair in report.skipped],
    }
