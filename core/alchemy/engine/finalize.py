"""Deleting in order: garbage collection, destroy, rollback of a failed block and cleanup of tests.

One algorithm with different survivors: plan purely, then carry the plan out. Neighbours: `carrying` does that,
`model.deletions` is the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alchemy.engine import kinds
from alchemy.engine.carrying import Report as Report
from alchemy.engine.carrying import carry_out as carry_out
from alchemy.engine.session import Run
from alchemy.errors import Refused
from alchemy.model.deletions import DeletionPlan, block, plan_deletions, used_from_outside
from alchemy.model.events import RollbackEnded, RollbackStarted
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.model.values import ResourceState
from alchemy.settings import Options


def refuse_protected(plan: DeletionPlan) -> None:
    """For destroy: nothing is touched when something in it is protected."""
    protected = [step.address for step in plan.deletions if step.row.protect and step.blocked]
    if protected:
        raise Refused(
            f"{plan.scope} is not destroyed: protected: {safe_text(', '.join(protected), 300)}",
            hint="set protect=False in the program and deploy, then destroy again; or `alchemy scope keep ADDRESS`",
        )


def plan_ending(run: Run, prefix: str, *, owner: bool, destroy: bool) -> DeletionPlan:
    """What ending the scope `prefix` now would delete; with `destroy` everything in it."""
    fold = run.ledger.fold
    stored = list(fold.resources.values())
    scopes = [s for s in list(fold.scopes.values()) if s.path == prefix or s.path.startswith(prefix + "/")]
    if destroy:
        why = "destroyed with its scope"
        everything = plan_deletions(prefix, stored, scopes, alive=frozenset(), alive_scopes=frozenset(), reason=why)
        return block(everything, kinds.obstacle())
    wished = {c.address: c.desired.depends_on for c in run.planned if c.desired}
    rows = [row if row.former else replace(row, depends_on=wished.get(row.address, row.depends_on)) for row in stored]
    alive = {f"{path}/{id}" for path, m in run.members.items() for id in (*m.declared, *m.registered)}
    if not owner:  # the end of the owner takes them, when those who use them have moved on
        alive |= used_from_outside(prefix, stored)
    plan = plan_deletions(prefix, rows, scopes, alive=alive, alive_scopes=set(run.members))
    return plan if run.session.phase == "read" else block(plan, kinds.obstacle())


def begin_destroy(run: Run, plan: DeletionPlan) -> None:
    """Refuses what is protected, and says of each row that somebody keeps that it stays: once in a run."""
    refuse_protected(plan)
    told = {address for other in run.deletions if other is not plan for address in other.kept}
    for address in plan.kept:
        row = run.ledger.row(address)
        if row is not None and address not in told:
            run.ended(address, row.kind, "kept", "done")


async def roll_back(run: Run, path: ScopePath, options: Options, scopes: Sequence[object], because: str) -> None:
    """Deletes again what a failed block created in this run; adopted, retained and protected resources stay.

    `scopes` are the block's own: an earlier block of the same path, which went well, keeps what it made. `because`
    is what failed; the log has it beside what was undone and what is left.
    """
    await run.ledger.flush()
    mine = {d.resource.address for d in run.deployments if d.created and d.scope in scopes}
    current = [row for row in list(run.ledger.fold.resources.values()) if not row.former]
    spared = {r.address: why for r in current if r.address in mine and (why := _spared(r))}
    made = {row.address for row in current if row.address in mine} - spared.keys()
    alive = {row.address for row in current} - made
    reason = "its block failed: created in this run"
    plan = plan_deletions(str(path), current, (), alive=alive, alive_scopes=frozenset(), reason=reason)
    if not plan.deletions:
        return
    began = run.ledger.store.clock.elapsed()
    run.emit(RollbackStarted(str(path), because, sorted(step.address for step in plan.deletions)), durable=True)
    report = Report(str(path))
    await carry_out(run, plan, options, report)
    left = sorted([*report.failed, *report.skipped, *spared.items()])
    took = round(run.ledger.store.clock.elapsed() - began, 3)
    undone = sorted(report.deleted)
    run.emit(RollbackEnded(str(path), undone, [list(pair) for pair in left], took), durable=True)


def _spared(row: ResourceState) -> str:
    """Why a failed block leaves what it made."""
    return "adopted" if row.adopted else "retained" if row.retain else "protected" if row.protect else ""
