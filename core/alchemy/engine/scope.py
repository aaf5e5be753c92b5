"""A scope as a program holds it: what is declared in it, what it hands down, and how it ends.

Nested scopes seal; the scope that owns the journal collects, once, when everything has moved on. Neighbours:
`entering` opens scopes, `finalize` deletes.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from alchemy.engine import finalize as deleting
from alchemy.engine.deploy import Deployment
from alchemy.engine.finalize import Report
from alchemy.engine.members import Members
from alchemy.engine.session import run_failed
from alchemy.engine.signals import interrupts
from alchemy.errors import Interrupted, InvalidName, RunFailed, UsageError
from alchemy.model.deletions import DeletionPlan
from alchemy.model.events import Noted, ScopeLeft
from alchemy.model.paths import ScopePath, address_of
from alchemy.model.values import ScopeKind
from alchemy.settings import invocation

if TYPE_CHECKING:
    from alchemy.engine.resource import Resource
    from alchemy.engine.session import Run, Session
    from alchemy.settings import Options

_current: ContextVar[Scope | None] = ContextVar("scope", default=None)


def current_scope() -> Scope | None:
    """The one last opened and not yet finalized in this task.

    A task that outlives the `run` block it was started in keeps the block: declaring there is refused, not moved.
    """
    scope = _current.get()
    while scope is not None and scope.closed and scope.owner:
        scope = scope.outer
    return scope


def open_scope() -> Scope | None:
    """The innermost that is still open, whatever block this task was started in."""
    scope = _current.get()
    while scope is not None and scope.closed:
        scope = scope.outer
    return scope


def step_out(scope: Scope) -> None:
    """After `async with`: the task that left stands in the scope around it again."""
    if _current.get() is scope:
        _current.set(scope.outer)


class Scope:
    """`path`, `kind`, `phase` and `options` are readable; `finalize` ends it."""

    def __init__(
        self, session: Session, run: Run, path: ScopePath, kind: ScopeKind, options: Options, parent: Scope | None
    ) -> None:
        self.session = session
        self.run_state = run
        self.path = path
        self.kind = kind
        self.options = options
        self.parent = parent
        self.outer = open_scope()
        self.closed = False
        self.aborting = False
        self.below: list[Scope] = []  # opened in this scope, in order
        self.gave_up = False
        self.report: Report | None = None
        self.test_cleanup: bool | None = None  # for test scopes: destroy on leaving
        self.members = run.members.setdefault(str(path), Members())
        above = parent or self.outer_holder()
        if above is not None:
            above.below.append(self)
        _current.set(self)

    def outer_holder(self) -> Scope | None:
        """The open scope of the same session above this path, which finalizes this one when it ends."""
        scope = self.outer
        while scope is not None and (scope.session is not self.session or not scope.path.holds(self.path)):
            scope = scope.outer
        return scope

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def phase(self) -> str:
        return self.session.phase

    @property
    def owner(self) -> bool:
        """It has a journal of its own."""
        return self.kind is not ScopeKind.NESTED

    def __repr__(self) -> str:
        return f"<{self.kind} scope {self.path}>"

    # -- members ------------------------------------------------------------------------------------------------

    def declare(self, resource: Resource) -> Deployment:
        if self.closed:
            raise UsageError(f"{self.path} takes no more resources: it is finalized")
        if resource.id in self.members.declared:
            raise InvalidName(f"{address_of(self.path, resource.id)} is declared twice", hint="give one another id")
        if resource.id in self.members.children:
            raise InvalidName(f"{address_of(self.path, resource.id)} is a nested scope already", hint="rename one")
        other = self.members.look_alike(resource.id)
        if other:
            text = f"{resource.id!a} and {other!a} look alike: give one another id if that is not meant"
            self.run_state.emit(Noted(str(self.path), text, "warning"))
        self.session.secrets.admit_declared(self.path, resource)
        resource.__dict__["scope_path"] = str(self.path)
        deployment = Deployment(resource, self)
        self.members.declared[resource.id] = deployment
        self.run_state.deployments.append(deployment)
        return deployment

    def register_resource(self, id: str) -> None:
        """Counts a stored resource as declared in this run, so that collection keeps it."""
        if self.run_state.ledger.row(address_of(self.path, id)) is None and id not in self.members.declared:
            raise UsageError(f"{address_of(self.path, id)} is not in the state", hint="register ids that are stored")
        self.members.registered.add(id)

    def has_resource(self, id: str) -> bool:
        """Declared or registered in this run."""
        return id in self.members.declared or id in self.members.registered

    def run(self, name: str, fn: Any = None, **options: Any) -> Any:
        """Like `alchemy.run`, with this scope as the parent."""
        from alchemy.engine.blocks import nested

        return nested(self, name, fn, options)

    # -- ending -------------------------------------------------------------------------------------------------

    async def finalize(
        self,
        *,
        strategy: str | None = None,
        batch_size: int | None = None,
        max_retries: int | None = None,
        retry_delay: float | None = None,
        timeout: float | None = None,
        continue_on_error: bool | None = None,
        force: bool | None = None,
        dry_run: bool = False,
    ) -> Report | DeletionPlan:
        """Ends the scope and deletes what is stored in it but no longer declared. Durations in seconds.

        RunFailed when a resource failed: then nothing is deleted. `dry_run` returns the plan and ends nothing.
        """
        options = self.options.but(
            "finalize",
            destroy_strategy=strategy,
            batch_size=batch_size,
            max_retries=max_retries,
            retry_delay=retry_delay,
            timeout=timeout,
            continue_on_error=continue_on_error,
            force=force,
        ).but("command line", **invocation.get().options)
        if self.closed:
            return self.report or Report(str(self.path))
        if dry_run:
            await self.settle()
            if self.run_state.ledger.writable:
                await self.run_state.ledger.flush()
            return self.deletion_plan()
        self.run_state.delete_timeout = timeout
        return await self._end(options, destroy=self.phase == "destroy" or bool(self.test_cleanup))

    async def destroy(self, options: Options | None = None) -> Report:
        """Everything in it, in dependency order, then the scope itself."""
        return await self._end(options or self.options, destroy=True)

    async def settle(self) -> None:
        """Until every resource declared in this scope and below has its outcome."""
        while pending := [
            d.task for d in self.run_state.deployments if self.path.holds(d.scope.path) and not d.task.done()
        ]:
            await asyncio.wait(pending)  # again: another task may have declared more meanwhile

    def deletion_plan(self, *, destroy: bool = False) -> DeletionPlan:
        """What ending this scope now would delete."""
        return deleting.plan_ending(self.run_state, str(self.path), owner=self.owner, destroy=destroy)

    async def _end(self, options: Options, *, destroy: bool) -> Report:
        """One ending for all kinds of scope. Marks closed first, so that a second call does nothing."""
        if self.closed:
            return self.report or Report(str(self.path))
        self.session.closing += 1
        try:
            return await self._end_now(options, destroy)
        finally:
            self.session.closing -= 1

    async def _end_now(self, options: Options, destroy: bool) -> Report:
        self.report = report = Report(str(self.path))
        run = self.run_state
        try:
            failed = await self._end_below(options, destroy)
            await self.settle()
            if self.phase == "destroy":  # nothing was applied: a wish that cannot be resolved keeps nothing alive
                run.failures.clear()
            self.closed = True
            await self._collect(options, destroy, report, failed)
        except BaseException as error:
            from alchemy.engine.leaving import give_up

            await give_up(self, error)
            raise
        if not self.owner:
            return report
        outcome = "interrupted" if self.interrupted else "failed" if run.failures or failed else "done"
        await self._close(outcome)
        if outcome == "failed":
            raise run_failed(self.run_state, self.phase, failed)
        if self.interrupted or interrupts.over:  # also by a signal that came while it was closed
            raise Interrupted
        return report

    async def _end_below(self, options: Options, destroy: bool) -> list[RunFailed]:
        failed: list[RunFailed] = []
        for scope in reversed(self.below):
            if scope.closed:
                continue
            if not scope.owner:
                scope.closed = True
                continue
            try:
                scope.run_state.delete_timeout = self.run_state.delete_timeout
                given = scope.options if options == self.options else options  # what finalize was told counts below
                await scope._end(given, destroy=destroy or bool(scope.test_cleanup))
            except RunFailed as error:
                failed.append(error)
        return failed

    async def _collect(self, options: Options, destroy: bool, report: Report, failed: list[RunFailed]) -> None:
        run = self.run_state
        if run.ledger.failure is not None:
            raise run.ledger.failure
        if self.interrupted or ((run.failures or failed) and not self.test_cleanup):
            return
        if run.broken and self.owner and not destroy:
            text = f"nothing is collected: the block {run.broken[0]} failed before it had declared everything"
            run.emit(Noted(str(self.path), text, "warning"), durable=True)
            return
        if run.ledger.writable:
            await run.ledger.flush()
        plan = self.deletion_plan(destroy=destroy)
        run.deletions.append(plan)
        run.session.terms.check_deletions(plan)
        if self.phase == "read" or not run.ledger.writable:
            return
        if destroy:
            deleting.begin_destroy(run, plan)
        if plan.deletions or plan.scopes:
            await deleting.carry_out(run, plan, options, report)

    @property
    def by_signal(self) -> bool:
        """The stop came as Ctrl-C or SIGTERM, not as a cancellation from elsewhere."""
        return bool(interrupts.count)

    @property
    def interrupted(self) -> bool:
        return self.session.calls.stopping.is_set()

    async def leave(self, outcome: str) -> None:
        """Ends an owner whose program did not run: says nothing about what is declared."""
        await self._close(outcome, complete=False)

    async def _close(self, outcome: str, *, complete: bool = True) -> None:
        ended = complete and outcome != "interrupted"
        restated = self.run_state.restated or {"complete": False}
        declared = self.run_state.declared(done=outcome == "done") if ended else restated
        self.closed = True
        try:
            await self.run_state.close(outcome, declared)
        finally:
            interrupts.remove()

    async def seal(self) -> None:
        """The end of a `run` block that went well: nothing is deleted yet."""
        for scope in self.below:
            scope.closed = True
        self.closed = True
        self.run_state.emit(ScopeLeft(str(self.path)))

    def all_below(self) -> list[Scope]:
        return [s for scope in self.below for s in (scope, *scope.all_below())]
