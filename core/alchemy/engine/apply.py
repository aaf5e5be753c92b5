"""Carrying out one change: say the intention, call, say the answer. The only module that creates and updates.

Every path writes the intent durably before its call, and every call after a crash or a lost answer looks first.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from alchemy.engine.calls import Stopped, describe
from alchemy.engine.deletion import delete_row, look, make_room
from alchemy.engine.losing import refuse_loss
from alchemy.engine.names import free_generation
from alchemy.engine.props import plain_outputs
from alchemy.engine.resource import Resource
from alchemy.engine.secrets import live_outputs, restored, stored_outputs
from alchemy.engine.session import Run, call
from alchemy.engine.standing import stand
from alchemy.engine.tries import patiently
from alchemy.engine.validation import check_props
from alchemy.errors import Ambiguous, Refused
from alchemy.model.changes import Change, as_former, decide
from alchemy.model.events import ChangeStarted
from alchemy.model.naming import physical_name, plain_name
from alchemy.model.records import Drop, Op, Put
from alchemy.model.values import Action, Desired, ResourceState, ScopeState, Status
from alchemy.settings import Options


async def carry_out(run: Run, change: Change, resource: Resource, options: Options) -> dict[str, Any]:
    """The outputs the resource has afterwards."""
    if change.action is Action.KEEP:
        return stand(run, change)
    check_props(resource)
    async with run.session.calls.turn():
        return await _Work(run, change, resource, options).do()


class _Work:
    """One change under way."""

    def __init__(self, run: Run, change: Change, resource: Resource, options: Options) -> None:
        assert change.desired is not None
        self.run = run
        self.ledger = run.ledger
        self.change = change
        self.wish: Desired = change.desired
        self.resource = resource
        self.options = options
        self.started = self.ledger.store.clock.elapsed()
        self.own_name: str = getattr(resource, "name", None) or "" if "name" in resource._fields else ""

    async def do(self) -> dict[str, Any]:
        before = self.change.before
        action = self.change.action
        if action is Action.UPDATE:
            assert before is not None
            return await self._update(before, before, str(Action.UPDATE))
        if action is Action.REPLACE:
            assert before is not None
            if self.change.resume and before.status is Status.REPLACING:
                return await self._create(before, str(Action.REPLACE))
            return await self._replace(before)
        if before is None and self.wish.adopt:
            adopted = await self._adopt()
            if adopted is not None:
                return adopted
        return await self._create(before, str(Action.CREATE))

    # -- rows ---------------------------------------------------------------------------------------------------

    def _new_row(self, generation: int, status: Status, name: str = "") -> ResourceState:
        wish = self.wish
        limit = type(self.resource).name_limit
        generation = free_generation(self.run, wish.address, generation)
        name = name or self.own_name or physical_name(self.ledger.fold.lineage, wish.address, generation, limit)
        return self._with_wish(
            ResourceState(
                address=wish.address,
                kind=wish.kind,
                status=status,
                physical_name=name,
                token=uuid.uuid4().hex,
                props=wish.props,
                props_hash=wish.props_hash,
                outputs={},
                generation=generation,
            )
        )

    def _with_wish(self, row: ResourceState) -> ResourceState:
        """Flags, edges, owner and time; not the props: those change when the cloud has said yes."""
        wish = self.wish
        account = self.run.claim_target().account if type(self.resource).cloud else row.account
        row = replace(row, depends_on=wish.depends_on, protect=wish.protect, retain=wish.retain, account=account)
        return self.run.stamped(replace(row, on_destroy=wish.on_destroy, timeout=wish.timeout, module=wish.module))

    def _edges_of_both(self, before: ResourceState) -> tuple[str, ...]:
        """Until the cloud has said yes, it may use what it used and what it is to use: neither goes before it."""
        return tuple(dict.fromkeys([*before.depends_on, *self.wish.depends_on]))

    async def _intend(self, row: ResourceState, action: str, *also: Op) -> None:
        if self.run.session.calls.stopping.is_set():
            raise Stopped
        self.run.session.terms.check_step(row.address, action)
        self.run.before_change()
        ops: list[Op] = [*also, *self._target_op()]
        ops.append(Put(row, "intent", action, self.change.reason))
        self.run.emit(ChangeStarted(row.address, row.kind, action, self.change.reason))
        await self.ledger.intend(ops)

    def _target_op(self) -> list[Op]:
        """The first resource of a cloud kind ties the stage to its target."""
        if not type(self.resource).cloud or self.ledger.fold.target is not None:
            return []
        stage: ScopeState = self.ledger.fold.scopes[str(self.ledger.path)]
        return [Put(replace(stage, target=self.run.claim_target()))]

    def _result(self, row: ResourceState, action: str, outputs: dict[str, Any]) -> dict[str, Any]:
        wish = self.wish
        name = self.own_name or row.physical_name  # an update may have renamed it
        kept = stored_outputs(self.run, self.resource, row, outputs)
        done = replace(row, status=Status.READY, outputs=kept, error="", pending=None, physical_name=name)
        done = replace(done, props=wish.props, props_hash=wish.props_hash, verify=False, depends_on=wish.depends_on)
        took = self.ledger.store.clock.elapsed() - self.started
        self.ledger.record([Put(self.run.stamped(done), "result", action, took=took)])
        self.run.ended(row.address, row.kind, action, "done", took=took)
        return outputs

    def _failed(self, row: ResourceState, action: str, error: Exception) -> None:
        """The intent stays, with the reason: the next run looks before it acts. A refused create made nothing."""
        took = self.ledger.store.clock.elapsed() - self.started
        failed = self.run.stamped(replace(row, error=describe(error)))
        ops: list[Op] = [Put(failed, "failed", action, took=took)]
        if isinstance(error, Refused) and row.status is Status.CREATING:
            ops.append(Drop(row.address, kind=row.kind, action=str(Action.FORGET)))
        self.ledger.record(ops)

    # -- verbs --------------------------------------------------------------------------------------------------

    async def _create(self, before: ResourceState | None, action: str) -> dict[str, Any]:
        """`before`: the intent an earlier run left, or None."""
        status = Status.REPLACING if action == Action.REPLACE else Status.CREATING
        row = self._new_row(0, status)
        fresh = before is None
        if before is not None:
            # Same token, same name: it may exist, made with the props of the row.
            old = replace(self._with_wish(before), status=status, error="", depends_on=self._edges_of_both(before))
            fresh = "name" in self.resource._fields and old.props.get("name") != self.wish.props.get("name")
            if (fresh or old.adopted or not type(self.resource).idempotent) and not self.change.missing:
                found, taken = await self._look_or_take(old, fresh and self.wish.adopt)
                if taken is not None:
                    return taken
                if found is not None:
                    return await self._found(old, action, found)
            row = replace(old, props=self.wish.props, props_hash=self.wish.props_hash, adopted=False)
            if fresh:
                row = replace(self._new_row(old.generation, status), seq=old.seq)
        if fresh and not self.wish.adopt:
            await self._refuse_taken(row)
        row = self._numbered(row)
        await self._intend(row, action)
        return await self._create_announced(row, action)

    async def _look_or_take(
        self, row: ResourceState, named: bool
    ) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """(found, taken over): where nobody can tell which it is, the program's new name with adopt=True says it."""
        try:
            return await self._try(lambda _: self._look(row), row), None
        except Ambiguous:
            if not named:
                raise
            return None, await self._adopt(row.generation)

    async def _refuse_taken(self, row: ResourceState) -> None:
        """What has an explicit name before our intent is somebody's; after it nobody could tell."""
        await make_room(self.run, row, self.own_name, self.options)
        if not self.own_name:
            return
        as_made = restored(self.run, type(self.resource), row)
        if await self._try(lambda _: call(self.run, as_made.read, row), row) is not None:
            raise Refused(
                f"{row.physical_name} exists already and was not made by this resource",
                hint="choose another name, or take it over with adopt=True",
            )

    def _numbered(self, row: ResourceState) -> ResourceState:
        if row.seq:
            return row
        self.ledger.fold.next_seq += 1
        return replace(row, seq=self.ledger.fold.next_seq - 1)

    async def _create_announced(self, row: ResourceState, action: str) -> dict[str, Any]:
        async def attempt(number: int) -> tuple[dict[str, Any], bool]:
            if number and not type(self.resource).idempotent:
                found = await self._look(row)
                if found is not None:
                    return found, True
            return plain_outputs(self.resource, await call(self.run, self.resource.create, row)), False

        try:
            outputs, found = await self._try(attempt, row)
        except Exception as error:
            if not isinstance(error, Stopped):
                self._failed(row, action, error)
            raise
        return await self._found(row, action, outputs) if found else self._result(row, action, outputs)

    async def _found(self, row: ResourceState, action: str, outputs: dict[str, Any]) -> dict[str, Any]:
        """It exists: announced by us, its answer lost. Made by an earlier wish, it is brought to this one."""
        self.run.before_change()
        if row.props_hash == self.wish.props_hash or (not row.props_hash and not self.wish.updatable):
            return self._result(self._numbered(row), action, outputs)
        props = row.props if row.props_hash else self.wish.props  # made with what nobody knows: nothing is replaced
        kept = stored_outputs(self.run, self.resource, row, outputs)
        made = replace(self._numbered(row), status=Status.READY, outputs=kept, verify=False, props=props)
        made = self.run.stamped(made)
        self.ledger.record([Put(made, reason="found after an interrupted create")])
        following = decide(made, self.wish)
        if following.action is Action.REPLACE:
            return await self._replace(made)
        return await self._update(made, made, str(following.action))

    async def _look(self, row: ResourceState) -> dict[str, Any] | None:
        """What the cloud has under this row's name or token; "absent" is believed after the kind's settle time."""
        found = await look(self.run, restored(self.run, type(self.resource), row), row)
        return None if found is None else plain_outputs(self.resource, found)

    async def _update(self, stored: ResourceState, as_before: ResourceState, action: str) -> dict[str, Any]:
        """`stored` is the row now; `as_before` what the object is believed to be."""
        if self.own_name not in ("", stored.physical_name):
            await make_room(self.run, replace(stored, physical_name=self.own_name), self.own_name, self.options)
        half_done = stored.pending if stored.status is Status.UPDATING else None
        reverted = half_done is not None and stored.props_hash == self.wish.props_hash
        before = restored(self.run, type(self.resource), as_before, half_done if reverted else None)
        row = replace(self._with_wish(stored), status=Status.UPDATING, pending=self.wish.props, error="")
        row = replace(row, depends_on=self._edges_of_both(stored))
        await self._intend(row, action)
        self.resource.__dict__["outputs"] = outputs_before = live_outputs(self.run, stored)

        async def attempt(_: int) -> dict[str, Any]:
            given = await call(self.run, lambda ctx: self.resource.update(ctx, before), row)
            return plain_outputs(self.resource, given, outputs_before)

        try:
            outputs = await self._try(attempt, row)
        except Exception as error:
            if not isinstance(error, Stopped):
                self._failed(row, action, error)
            raise
        return self._result(row, action, outputs)

    async def _adopt(self, generation: int = 0) -> dict[str, Any] | None:
        """Takes over an object of the explicit or the plain name; None when there is none."""
        name = self.own_name or plain_name(self.wish.address, type(self.resource).name_limit)
        row = replace(self._numbered(self._new_row(generation, Status.READY, name)), adopted=True)
        found = await self._try(lambda _: self._look(row), row)
        if found is None:
            return None
        self.run.session.terms.check_step(row.address, str(Action.ADOPT))
        row = replace(row, outputs=stored_outputs(self.run, self.resource, row, found))
        self.run.before_change()
        if not self.wish.updatable:
            self.ledger.record(self._target_op())
            return self._result(row, str(Action.ADOPT), found)
        return await self._update(row, row, str(Action.ADOPT))

    async def _replace(self, before: ResourceState) -> dict[str, Any]:
        """A new incarnation beside the old one, which finalization deletes after everything has moved on."""
        action = str(Action.REPLACE)
        await refuse_loss(self.run, self.change, before, self.resource, self.options)
        if before.adopted and before.on_destroy != "delete" and not before.retain:
            before = replace(before, on_destroy="forget")
        row = self._numbered(self._new_row(before.generation + 1, Status.REPLACING))
        former = as_former(before)
        if row.physical_name == before.physical_name:
            # One name, one object: the old one has to go first.
            await delete_row(self.run, former, self.options, reason=self.change.reason, stored=before)
            await self._intend(row, action)
        else:
            await self._refuse_taken(row)
            await self._intend(row, action, Put(former))
        return await self._create_announced(row, action)

    # -- tries --------------------------------------------------------------------------------------------------

    async def _try(self, attempt: Any, row: ResourceState) -> Any:
        return await patiently(self.run, row, attempt, self.options)
