"""Deleting in order: garbage collection, destroy, rollback of a failed block and cleanup of tests.

One algorithm with different survivors: plan purely, back up, then delete wave by wave, dependents before what they
use. A row that cannot be deleted keeps what it uses alive and is reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from alchemy.engine.calls import Stopped, describe
from alchemy.engine.deletion import Blocked, delete_row, forget_row
from alchemy.engine.session import Run
from alchemy.errors import Fenced, Refused, StorageFailed
from alchemy.model.deletions import Deletion, DeletionPlan, batches, plan_deletions, used_from_outside
from alchemy.model.events import ChangePlanned
from alchemy.model.paths import ScopePath
from alchemy.model.records import Drop
from alchemy.model.text import safe_text
from alchemy.model.values import Action, ResourceState
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
                async with run.session.calls.turn():
                    await delete_row(run, step.row, options, reason=step.reason)
            report.deleted.append(step.address)
        except Stopped:
            report.stopped = True
            _survive(step.row, surviving)
        except (Fenced, StorageFailed) as error:
            _survive(step.row, surviving)
            run.lost(error)
            if run.ledger.failure is None:
                _block(run, step, report, surviving, describe(error))
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


def plan_ending(run: Run, prefix: str, *, owner: bool, destroy: bool) -> DeletionPlan:
    """What ending the scope `prefix` now would delete; with `destroy` everything in it."""
    fold = run.ledger.fold
    stored = list(fold.resources.values())
    scopes = [s for s in list(fold.scopes.values()) if s.path == prefix or s.path.startswith(prefix + "/")]
    if destroy:
        why = "destroyed with its scope"
        return plan_deletions(prefix, stored, scopes, alive=frozenset(), alive_scopes=frozenset(), reason=why)
    wished = {c.address: c.desired.depends_on for c in run.planned if c.desired}
    rows = [row if row.former else replace(row, depends_on=wished.get(row.address, row.depends_on)) for row in stored]
    alive = {f"{path}/{id}" for path, m in run.members.items() for id in (*m.declared, *m.registered)}
    if not owner:  # the end of the owner takes them, when those who use them have moved on
        alive |= used_from_outside(prefix, stored)
    return plan_deletions(prefix, rows, scopes, alive=alive, alive_scopes=set(run.members))


async def roll_back(run: Run, path: ScopePath, options: Options, scopes: Sequence[object]) -> None:
    """Deletes again what a failed block created in this run; adopted, retained and protected resources stay.

    `scopes` are the block's own: an earlier block of the same path, which went well, keeps what it made.
    """
    await run.ledger.flush()
    mine = {d.resource.address for d in run.deployments if d.created and d.scope in scopes}
    current = [row for row in list(run.ledger.fold.resources.values()) if not row.former]
    made = {r.address for r in current if r.address in mine and not (r.adopted or r.retain or r.protect)}
    alive = {row.address for row in current} - made
    reason = "its block failed: created in this run"
    plan = plan_deletions(str(path), current, (), alive=alive, alive_scopes=frozenset(), reason=reason)
    if plan.deletions:
        await carry_out(run, plan, options, Report(str(path)))
