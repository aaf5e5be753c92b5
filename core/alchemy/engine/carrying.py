"""Carrying out a deletion plan as it was decided: wave by wave, dependents before what they use, or step by step.

A row that cannot go keeps what it uses alive and is reported. Neighbours: `finalize` plans and calls this, `deletion`
does one row, `model.decisions` says what becomes of each step.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from alchemy.engine.calls import Stopped, describe, hint_of
from alchemy.engine.deletion import Blocked, delete_row, forget_row
from alchemy.engine.keeping import keep_row
from alchemy.engine.session import Run
from alchemy.errors import Failure, Fenced, StorageFailed
from alchemy.model.decisions import Choice, DecidedPlan, DecidedStep, Fate, apply, everything
from alchemy.model.deletions import Deletion, DeletionPlan, batches
from alchemy.model.events import ChangePlanned, Noted
from alchemy.model.records import Drop
from alchemy.model.values import Action, ResourceState
from alchemy.settings import Options

_ACTS = {Fate.RUNS: Choice.DESTROY, Fate.KEPT: Choice.KEEP, Fate.FORGOTTEN: Choice.FORGET}


@dataclass(slots=True)
class Report:
    """What a finalization did. `deletions` are the steps that were planned, in order."""

    scope: str
    deletions: tuple[Deletion, ...] = ()
    deleted: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)  # (address, why)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    stopped: bool = False  # the run was interrupted
    kept: list[str] = field(default_factory=list)  # from now on, as was decided
    forgotten: list[str] = field(default_factory=list)  # as was decided
    broke: bool = False  # a failure ended it before the rest was tried
    failures: list[Failure] = field(default_factory=list)  # of `failed`, with what to do next; once it is over
    stopped_before: str = ""  # the step at which it ended as it was told to; that one and what follows is left

    @property
    def ok(self) -> bool:
        return not self.failed and not self.stopped


class Gate(Protocol):
    """Asked before each step that would do something, and again with why it failed: the step-through.

    DESTROY is to go on as planned (or to try again), KEEP, SKIP and FORGET decide otherwise, None ends the run here.
    """

    def __call__(self, step: DecidedStep, failed: str) -> Coroutine[Any, Any, Choice | None]: ...


async def carry_out(
    run: Run, plan: DeletionPlan | DecidedPlan, options: Options, report: Report, gate: Gate | None = None
) -> None:
    """What was decided, all of it for a bare plan; never raises for a single resource. Fills `report`."""
    decided = plan if isinstance(plan, DecidedPlan) else apply(plan, everything(plan))
    await _Carrying(run, decided, options, report, gate).all()


class _Carrying:
    def __init__(self, run: Run, decided: DecidedPlan, options: Options, report: Report, gate: Gate | None) -> None:
        self.run = run
        self.decided = decided
        self.options = options
        self.report = report
        self.gate = gate
        self.surviving: dict[str, list[str]] = {}  # address -> those who could not go and still use it
        self.acted = False  # a step of this run was tried
        self.broke = ""  # how a step ended that nothing had blocked before: failed, blocked

    async def all(self) -> None:
        run, report = self.run, self.report
        report.deletions += self.decided.plan.deletions
        for step in self.decided.steps:
            if step.fate not in (Fate.SKIPPED, Fate.BEYOND):
                run.emit(ChangePlanned(step.address, step.step.kind, _action(step), step.step.reason))
        for step in self.decided.steps:
            self._pass_over(step)
        await self._waves()
        if not (report.stopped_before or report.stopped or self._stop):
            beyond = [step.address for step in self.decided.steps if step.fate is Fate.BEYOND]
            report.stopped_before = beyond[0] if beyond else ""
        report.stopped = report.stopped or run.session.calls.stopping.is_set()
        report.broke = report.broke or self._stop
        if report.stopped_before and not report.stopped:
            said = f"stopped before {report.stopped_before}; run again to go on"
            run.emit(Noted(self.decided.plan.scope, said), durable=True)
        await run.ledger.flush()
        self._drop_scopes()

    @property
    def _stop(self) -> bool:
        return bool(self.broke) and not self.options.continue_on_error and not self.options.force

    async def _waves(self) -> None:
        run, report, steps = self.run, self.report, self.decided.by_key
        stepwise = self.gate is not None or bool(self.decided.decisions.breakpoints)
        strategy = "sequential" if stepwise else self.options.destroy_strategy
        for wave in self.decided.plan.waves:
            ready = [step for step in wave if steps[step.row.key].fate in _ACTS]
            for batch in batches(ready, strategy, self.options.batch_size):
                if self._stop or report.stopped_before or run.session.calls.stopping.is_set():
                    return
                chosen = [steps[step.row.key] for step in batch]
                if stepwise:
                    await self._one_by_one(chosen[0])
                else:
                    await asyncio.gather(*(self._act(step, _ACTS[step.fate]) for step in chosen))
                if run.ledger.failure is not None:
                    raise run.ledger.failure

    async def _one_by_one(self, step: DecidedStep) -> None:
        """With a gate that answers for each step; without, as far as the next breakpoint."""
        if self.gate is None:
            if step.breakpoint and self.acted:  # the one at which the run before this one ended is passed
                self.report.stopped_before = step.address
            else:
                await self._act(step, _ACTS[step.fate])
            return
        failed = ""
        while True:
            answer = await self._ask(self.gate, step, failed)
            if self.run.session.calls.stopping.is_set():
                return
            if answer is None:
                self.report.stopped_before = step.address
                return
            if failed:
                self._take_back(step)
            if answer is Choice.SKIP or (answer is Choice.KEEP and step.step.row.former):  # its successor has the mark
                self._skip(step, "skipped")
                return
            as_planned = answer is Choice.DESTROY
            failed = await self._act(step, _ACTS[step.fate] if as_planned else answer, again=bool(failed))
            if not failed or self.report.stopped:
                return

    async def _ask(self, gate: Gate, step: DecidedStep, failed: str) -> Choice | None:
        """The answer; None as soon as the run is interrupted: whoever is asked may think for long."""
        asking = asyncio.ensure_future(gate(step, failed))
        stopping = asyncio.ensure_future(self.run.session.calls.stopping.wait())
        try:
            await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else None
        finally:
            asking.cancel()
            stopping.cancel()

    def _take_back(self, step: DecidedStep) -> None:
        """A step that failed is tried again, or decided otherwise: it is no failure of the run any more."""
        self.report.failed[:] = [each for each in self.report.failed if each[0] != step.address]
        self.run.failures[:] = [each for each in self.run.failures if each.address != step.address]
        self.run.counts -= Counter([self.broke])  # a count of nought is dropped
        self.broke = ""
        for users in self.surviving.values():
            users[:] = [user for user in users if user != step.address]

    async def _act(self, step: DecidedStep, choice: Choice, *, again: bool = False) -> str:
        """Why it failed; "" when it did not."""
        run, report, row = self.run, self.report, step.step.row
        self.acted = True
        try:
            if choice is Choice.KEEP:
                keep_row(run, row)
                report.kept.append(step.address)
                self._survive(row)
            elif choice is Choice.FORGET:
                forget_row(run, row)
                report.forgotten.append(step.address)
            elif step.step.action is Action.DELETE and self.surviving.get(step.address):
                self._skip(step, f"still used by {self.surviving[step.address][0]}")
            elif step.step.action is Action.FORGET:
                forget_row(run, row)
                report.deleted.append(step.address)
            else:
                async with run.session.calls.turn():
                    await delete_row(run, self._now(row, again=again), self.options, reason=step.step.reason)
                report.deleted.append(step.address)
        except Stopped:
            report.stopped = True
            self._survive(row)
        except (Fenced, StorageFailed) as error:
            self._survive(row)
            run.lost(error)
            if run.ledger.failure is None:
                return self._fail(step, "blocked", describe(error), hint_of(error))
        except Blocked as error:
            return self._fail(step, "blocked", str(error))
        except Exception as error:
            return self._fail(step, "failed", describe(error), hint_of(error))
        return ""

    def _now(self, row: ResourceState, *, again: bool) -> ResourceState:
        """The row of a step that is tried again says what the first try came to: it looks before it acts."""
        return self.run.ledger.fold.resources.get(row.key, row) if again else row

    def _pass_over(self, step: DecidedStep) -> None:
        """What will not be tried keeps what it uses, before anything is tried."""
        if step.fate is Fate.BLOCKED and step.choice is Choice.DESTROY:
            self._block(step, step.why)
        elif step.fate is Fate.BEYOND:
            self._survive(step.step.row)
        elif step.fate not in _ACTS:
            self._skip(step, step.why or "skipped")

    def _skip(self, step: DecidedStep, why: str) -> None:
        self.report.skipped.append((step.address, why))
        self.run.ended(step.address, step.step.kind, _action(step), "skipped", error=why)
        self._survive(step.step.row)

    def _block(self, step: DecidedStep, why: str) -> None:
        self.report.failed.append((step.address, why))
        self.run.ended(step.address, step.step.kind, _action(step), "blocked", error=why, hint=step.unblock)
        self._survive(step.step.row)

    def _fail(self, step: DecidedStep, outcome: str, why: str, hint: str = "") -> str:
        self.broke = outcome
        self.report.failed.append((step.address, why))
        self.run.ended(step.address, step.step.kind, _action(step), outcome, error=why, hint=hint)
        self._survive(step.step.row)
        return why

    def _survive(self, row: ResourceState) -> None:
        for needed in row.depends_on:
            self.surviving.setdefault(needed, []).append(row.address)

    def _drop_scopes(self) -> None:
        run, plan = self.run, self.decided.plan
        left = {row.scope for row in run.ledger.fold.below(plan.scope)}
        gone = [path for path in plan.scopes if not any(s == path or s.startswith(path + "/") for s in left)]
        if gone and not self.report.stopped:
            run.ledger.record([Drop(scope=path) for path in gone])


def _action(step: DecidedStep) -> str:
    acts = {Fate.KEPT: Action.KEEP, Fate.FORGOTTEN: Action.FORGET}
    return str(acts.get(step.fate, step.step.action))
