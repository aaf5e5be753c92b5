"""One declared resource from its declaration to its outcome: wait, resolve, decide, and hand the change on.

A resource's task never raises: it stores an outcome, awaiting it raises, and leaving the scope reports it once.
Neighbours: `apply` carries out a change, `scope` collects the deployments.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from alchemy.engine import apply
from alchemy.engine.calls import Stopped, describe, hint_of
from alchemy.engine.drifting import refresh, refreshes
from alchemy.engine.foresight import foresee
from alchemy.engine.outputs import Unknown
from alchemy.engine.props import Resolved, defaults_of, handles_in, resolve
from alchemy.engine.resource import Resource
from alchemy.engine.secrets import RingNeeded, RowSealing, live_outputs, puts_out_secrets
from alchemy.engine.signals import halt
from alchemy.engine.verifying import verify
from alchemy.errors import Ambiguous, Fenced, ResourceFailed, StateInvalid, StorageFailed, UsageError
from alchemy.model.changes import Change, decide, unverified
from alchemy.model.masking import hash_props, is_sealed
from alchemy.model.records import Put
from alchemy.model.values import Action, Desired, Status

if TYPE_CHECKING:
    from alchemy.engine.scope import Scope


@dataclass(frozen=True, slots=True)
class Outcome:
    """`state`: done, failed, skipped (`root` is the address that failed), stopped (interrupted or fenced)."""

    state: str
    error: BaseException | None = None
    root: str = ""
    action: str = ""


class Deployment:
    """The running work behind a handle."""

    def __init__(self, resource: Resource, scope: Scope) -> None:
        self.resource = resource
        self.scope = scope
        self.run = scope.run_state
        self.change: Change | None = None
        self.task: asyncio.Task[Outcome] = asyncio.get_running_loop().create_task(
            self._settle(), name=f"resource {resource.address}"
        )

    @property
    def created(self) -> bool:
        """This run began to create it: a failed block takes it away again."""
        new = self.change is not None and self.change.before is None
        return new and self.change is not None and self.change.action in (Action.CREATE, Action.ADOPT)

    async def finished(self) -> Outcome:
        return await asyncio.shield(self.task)

    async def wait(self) -> None:
        """For `await resource`: raises what went wrong; the waiter of an interrupted one is cancelled."""
        outcome = await self.finished()
        if outcome.state == "done":
            return
        if outcome.state == "stopped":
            if outcome.error is not None:
                raise outcome.error
            await halt()
        address = self.resource.address
        if outcome.state == "skipped":
            raise ResourceFailed(address, f"{address} was skipped: {outcome.root} failed")
        assert outcome.error is not None
        why = f"{address}: {describe(outcome.error)}"
        raise ResourceFailed(address, why, hint=hint_of(outcome.error)) from outcome.error

    async def _settle(self) -> Outcome:
        resource = self.resource
        try:
            outcome = await self._deploy()
        except (Stopped, asyncio.CancelledError):
            return Outcome("stopped")
        except Exception as error:
            if isinstance(error, Fenced | StorageFailed) and self.run.ledger.failure is not None:
                # The journal is closed to this run for good: raised once, when the scope is left.
                self.run.lost(error)
                return Outcome("stopped", error)
            if isinstance(error, Ambiguous):
                self._note_doubt(error)
            outcome = Outcome("failed", error)
        action = outcome.action or (str(self.change.action) if self.change else "create")
        if outcome.state == "failed":
            assert outcome.error is not None
            why, hint = describe(outcome.error), hint_of(outcome.error)
            self.run.ended(resource.address, resource.kind, action, "failed", error=why, hint=hint)
        elif outcome.state == "skipped":
            self.run.ended(resource.address, resource.kind, action, "skipped", error=f"{outcome.root} failed")
        return outcome

    def _note_doubt(self, error: Ambiguous) -> None:
        """The row says why it waits for a person."""
        row = self.run.ledger.row(self.resource.address)
        if row is not None and self.run.ledger.writable:
            self.run.before_change()
            self.run.ledger.record([Put(self.run.stamped(replace(row, error=describe(error))))])

    async def _deploy(self) -> Outcome:
        resource, scope = self.resource, self.scope
        wanted = {name: getattr(resource, name) for name, f in resource._fields.items() if not f.is_output}
        for handle in handles_in([wanted, list(resource.depends_on)]):
            if handle is resource:
                raise UsageError(f"{resource.address} refers to itself")
            before = await handle._deployment.finished()
            if before.state == "stopped":
                if scope.aborting or scope.interrupted or before.error is not None:
                    raise Stopped
                raise UsageError(f"it needs {handle.address}, whose block failed before it was deployed")
            if before.state != "done":
                return Outcome("skipped", root=before.root or handle.address)
        if scope.aborting or scope.interrupted:
            raise Stopped
        if scope.phase == "read":
            return self._read()
        desired = await self._wish(wanted)
        row = self.run.ledger.row(resource.address)
        self.change = change = decide(row, desired)
        if row is not None and refreshes(scope.phase, scope.options, row, desired):
            self.change = change = await refresh(self.run, row, resource, desired, scope.options)
        elif row is not None and scope.phase == "up" and unverified(row) and row.kind == desired.kind:
            row, missing = await verify(self.run, row, resource, desired, scope.options)
            self.change = change = decide(row, desired, missing=missing)
        if scope.phase == "plan":
            self.change = change = await foresee(self.run, change, resource, scope.options)
        self.run.session.terms.check_change(change)
        self.run.plan(change)
        if scope.phase != "up":
            self._imagine(change)
            return Outcome("done", action=str(change.action))
        outputs = await apply.carry_out(self.run, change, resource, scope.options)
        self.known(outputs)
        return Outcome("done", action=str(change.action))

    def known(self, outputs: dict[str, Any]) -> None:
        self.resource.__dict__["outputs"] = outputs
        self.run.session.index.add(self.resource.address, outputs)

    def _read(self) -> Outcome:
        row = self.run.ledger.row(self.resource.address)
        if row is None or row.status in (Status.CREATING, Status.REPLACING):
            what = "is not in the state" if row is None else f"is still {row.status}: what it puts out is not known"
            raise StateInvalid(
                f"{self.resource.address} {what}",
                hint=f"deploy first: `alchemy deploy`; `alchemy scope inspect {self.scope.path}` shows what is there",
            )
        self.known(live_outputs(self.run, row))
        return Outcome("done", action="keep")

    def _imagine(self, change: Change) -> None:
        """While planning: outputs stay known where nothing recreates the object."""
        resource, before = self.resource, change.before
        if (
            before is not None
            and change.action in (Action.KEEP, Action.UPDATE)
            and before.status is not Status.CREATING
        ):
            self.known(live_outputs(self.run, before))
            return
        names = [name for name, declared in resource._fields.items() if declared.is_output]
        resource.__dict__["outputs"] = {name: Unknown.of(resource.address, name) for name in names}

    async def _wish(self, wanted: dict[str, Any]) -> Desired:
        """With a key at hand when one is needed: by a secret among the props, or by what the kind puts out."""
        secrets, app = self.run.session.secrets, self.run.ledger.path.app
        if secrets.keyless(app) and puts_out_secrets(type(self.resource)):
            await secrets.open(app, create=True)
        try:
            return self._desired(wanted)
        except RingNeeded:
            await secrets.open(app, create=True)
            return self._desired(wanted)

    def _desired(self, wanted: dict[str, Any]) -> Desired:
        """The wish with every reference resolved; the instance's own props become the live values."""
        resource, scope = self.resource, self.scope
        stored: dict[str, Any] = {}
        sources: set[str] = {handle.address for handle in resource.depends_on}
        unknown: set[str] = set()
        assumed: set[str] = set()
        uncompared: set[str] = set()
        before = self.run.ledger.row(resource.address)

        def resolved_at(name: str, value: Any, secret: bool) -> Resolved:
            sealing = RowSealing(self.run, resource.address, before)
            where = f"{resource.address}.{name.lstrip('$')}"
            found = resolve(value, self.run.session.index, where, f"/props/{name}", sealing, secret)
            if sealing.uncompared and scope.phase == "plan":
                uncompared.add(name)
            return found

        for name, value in wanted.items():
            resolved = resolved_at(name, value, resource._fields[name].secret)
            if name == "name" and is_sealed(resolved.stored):
                raise UsageError(
                    f"{resource.address}: its name is a secret, or holds the value of one",
                    hint="a name is shown everywhere: choose another, or another value for the secret",
                )
            resource.__dict__[name] = resolved.live
            stored[name] = resolved.stored
            sources |= resolved.sources
            if resolved.unknown:
                unknown.add(name)
            elif resolved.sources & self.run.session.terms.changing:
                assumed.add(name)
        # Destroying needs no file that the props point at: it may be gone already.
        inputs = {} if scope.phase == "destroy" else resource.inputs()
        if inputs:
            stored["$inputs"] = resolved_at("$inputs", inputs, False).stored
        timeout = scope.options.timeout if resource.timeout is None else float(resource.timeout)
        cls = type(resource)
        return Desired(
            address=resource.address,
            kind=resource.kind,
            props=stored,
            props_hash=hash_props(stored),
            depends_on=tuple(sorted(sources - {resource.address})),
            adopt=scope.options.adopt if resource.adopt is None else resource.adopt,
            protect=resource.protect,
            retain=resource.retain,
            on_destroy=resource.on_destroy,
            timeout=timeout,
            module=cls.__module__,
            fixed=frozenset(name for name, declared in cls._fields.items() if declared.fixed),
            updatable=cls.update is not Resource.update,
            unknown=frozenset(unknown),
            assumed=frozenset(assumed),
            defaults=defaults_of(cls),
            uncompared=frozenset(uncompared),
        )


def declare(resource: Resource) -> Deployment:
    """Called by the class: registers with the current scope and starts."""
    from alchemy.engine.scope import current_scope

    scope = current_scope()
    if scope is None:
        raise UsageError(
            f"{resource.kind} {resource.id!r} is declared outside a scope",
            hint='declare it inside `async with alchemy("my-app"):` (or after `await alchemy("my-app")`)',
        )
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            f"{resource.kind} {resource.id!r} is declared where no event loop runs, in another thread perhaps",
            hint="declare it in the coroutine that opened the scope",
        ) from None
    return scope.declare(resource)
