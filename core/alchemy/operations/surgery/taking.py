"""Taking an object that exists and that no state knows into a scope: found by its kind's `read`, never changed by it.

The row says adopted, so that destroying forgets it, and verify, so that the next run looks again. Neighbours:
`importing` brings in rows, `record` writes.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from alchemy.engine import kinds
from alchemy.engine.calls import retrying, transient
from alchemy.engine.props import defaults_of, plain_outputs
from alchemy.engine.secrets import restored, stored_outputs
from alchemy.engine.session import Run, Session, call, different_target
from alchemy.engine.validation import check_prop
from alchemy.errors import Refused, UnknownKind, UsageError
from alchemy.model.canonical import Json, normalise
from alchemy.model.fold import Fold
from alchemy.model.masking import hash_props
from alchemy.model.paths import ScopePath, check_id
from alchemy.model.records import Op, Put
from alchemy.model.text import safe_text
from alchemy.model.values import ResourceState, ScopeKind, Status, Target
from alchemy.operations.destroying import stored_session
from alchemy.operations.surgery import record, subject
from alchemy.operations.surgery.importing import PURPOSE, declared
from alchemy.operations.surgery.record import Act, Written
from alchemy.settings import Options, Project
from alchemy.store.ledger import Ledger
from alchemy.store.store import Store

if TYPE_CHECKING:
    from alchemy.engine.resource import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class TakePlan:
    """What would be stored: `row` as it was found. `target` is the cloud that it is in, None for a kind without one."""

    owner: ScopePath
    kind: ScopeKind
    row: ResourceState
    target: Target | None


def split_props(pairs: Sequence[str]) -> dict[str, str]:
    """Of `name=value` each."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            raise UsageError(f"--prop {safe_text(pair, 80)!r} is not of the form name=value", hint="--prop size=3")
        if name in found:
            raise UsageError(f"--prop {safe_text(name, 80)} is given twice", hint="give it once")
        found[name] = text
    return found


async def plan_take(
    store: Store,
    address: str,
    kind: str,
    name: str,
    props: Mapping[str, str],
    options: Options,
    *,
    project: Project,
) -> TakePlan:
    """Looks in the cloud, without a lock; nothing is written. Refused when it is not there, or known already."""
    scope, _, id = address.rpartition("/")
    path = ScopePath.parse(scope)
    address = f"{path}/{check_id(id)}"
    if not name.isprintable() or name in ("", ".", ".."):
        raise UsageError(f"--name {safe_text(name, 80)!r} is no name", hint="what the object is called in the cloud")
    owner, owner_kind = subject.place_of(store, path)
    fold = store.read_fold(owner)
    _refuse_taken(store, fold, owner, address)
    session = stored_session(store, options, project, "plan", None)
    run = Run(session, Ledger(store, owner, owner_kind, fold))
    try:
        cls = kinds.find(kind)
        if cls is None:
            raise UnknownKind(
                f"no loaded class for the kind {safe_text(kind, 80)}",
                hint=f"one of {', '.join(kinds.known())}; its module belongs into [tool.alchemy] kinds",
            )
        target = _target(session, fold) if cls.cloud else None
        row = _row(cls, address, name, props, target)
        there = subject.same_object(store, kind, name, row.account)
        if there is not None:
            raise subject.known_already(there)
        found = await session.calls.make(lambda: cls.restore(row).read(run.context(row)), row.timeout)
        _refuse_absent(found, row)
        return TakePlan(owner=owner, kind=owner_kind, row=row, target=target)
    finally:
        await session.end(owner)


def _refuse_taken(store: Store, fold: Fold, owner: ScopePath, address: str) -> None:
    if any(row.address == address for row in fold.resources.values()) or address in fold.scopes:
        raise Refused(
            f"{safe_text(address, 200)} is in the state already: nothing is written over",
            hint="choose another address, or move what is there: `alchemy scope mv`",
        )
    subject.refuse_place(store, fold, owner, address.rpartition("/")[0])


def _refuse_absent(found: Any, row: ResourceState) -> None:
    if found is None:
        raise Refused(
            f"there is no {safe_text(row.kind, 80)} called {safe_text(row.physical_name, 200)}",
            hint="look at its name; some are told apart by more, a jurisdiction for example: --prop jurisdiction=eu",
        )


def _target(session: Session, fold: Fold) -> Target:
    target = session.connection().target
    if fold.target is not None and fold.target.account != target.account:
        raise different_target(fold.path, fold.target, str(target))
    return target


def _row(
    cls: type[Resource], address: str, name: str, props: Mapping[str, str], target: Target | None
) -> ResourceState:
    """With the props that were given and the defaults of the others: what is different shows in the next plan."""
    from alchemy.engine.resource import Resource

    takes = {field: declared for field, declared in cls._fields.items() if not declared.is_output}
    unknown = sorted(props.keys() - takes.keys())
    if unknown:
        raise UsageError(
            f"{cls.kind} has no prop {safe_text(', '.join(unknown), 200)}", hint=f"it takes {', '.join(sorted(takes))}"
        )
    secret = sorted(field for field in props if takes[field].secret)
    if secret:
        raise UsageError(
            f"{secret[0]} is a secret: it does not belong on a command line",
            hint="leave it out; the next deploy sets it",
        )
    stored = {prop: value for prop, value in defaults_of(cls).items() if not takes[prop].secret}
    row = ResourceState(
        address=address,
        kind=cls.kind,
        status=Status.READY,
        physical_name=name,
        token=uuid.uuid4().hex,
        props=stored,
        props_hash="",
        outputs={},
        adopted=True,
        verify=True,
        module=cls.__module__,
        timeout=Options().timeout,
        account=target.account if target else "",
    )
    stored = {**stored, **_given(cls, row, props), **({"name": name} if "name" in takes else {})}
    # What it was made with nobody knows. Where there is an update, the next deploy makes sure of it.
    known = "" if cls.update is not Resource.update else hash_props(stored)
    return replace(row, props=stored, props_hash=known)


def _given(cls: type[Resource], row: ResourceState, props: Mapping[str, str]) -> dict[str, Json]:
    """Each as JSON where that is what the kind takes, else as the text that it is. UsageError when it takes neither."""
    instance, found = cls.restore(row), dict[str, Json]()
    for name, text in props.items():
        values = _meanings(text, f"--prop {safe_text(name, 80)}")
        for last, value in enumerate(values, 1 - len(values)):
            instance.__dict__[name] = found[name] = value
            try:
                check_prop(instance, name)
                break
            except UsageError:
                if not last:
                    raise
    return found


def _meanings(text: str, where: str) -> list[Json]:
    try:
        return [normalise(json.loads(text), where), normalise(text, where)]
    except (ValueError, RecursionError):
        return [normalise(text, where)]


async def take(store: Store, plan: TakePlan, options: Options, *, project: Project) -> Written:
    """What the plan says, once the object was looked at again. Refused when something changed meanwhile."""
    session = stored_session(store, options, project, "up", None)
    cls = kinds.find(plan.row.kind)
    assert cls is not None

    def refuse(fold: Fold) -> None:
        _refuse_taken(store, fold, plan.owner, plan.row.address)
        if plan.target is not None and fold.target is not None and fold.target.account != plan.target.account:
            raise different_target(fold.path, fold.target, str(plan.target))
        named = ((row.kind, row.physical_name) for row in fold.resources.values())
        if (plan.row.kind, plan.row.physical_name) in named:
            raise record.changed_meanwhile(plan.owner)

    async def make(ledger: Ledger) -> list[Op]:
        run = Run(session, ledger)
        instance = restored(run, cls, plan.row)
        found = await retrying(
            session.calls,
            lambda _: call(run, instance.read, plan.row),
            retries=options.max_retries,
            delay=options.retry_delay,
            worth=transient,
            announce=run.retry(plan.row.address, options.max_retries),
        )
        _refuse_absent(found, plan.row)
        outputs = stored_outputs(run, instance, plan.row, plain_outputs(instance, found))
        now = store.clock.now()
        row = replace(plan.row, outputs=outputs, seq=ledger.fold.next_seq, created_at=now)
        ops: list[Op] = []
        if plan.target is not None and ledger.fold.target is None:
            ops.append(Put(replace(ledger.fold.scopes[str(plan.owner)], target=plan.target)))
        for path in subject.missing_scopes(ledger.fold, [row.scope]):
            ops.append(Put(record.nested(path, now, ledger.run)))
        return [*ops, Put(record.stamped(row, ledger), reason="taken in as it was found")]

    name = safe_text(plan.row.physical_name, 200)
    act = Act(
        name=PURPOSE,
        owner=plan.owner,
        kind=plan.kind,
        said=f"{name} taken in as {safe_text(plan.row.address, 300)}",
        counts={"adopt": 1},
        detail={"address": plan.row.address, "kind": plan.row.kind, "physical_name": plan.row.physical_name},
    )
    try:
        return await record.write(store, act, options, refuse=refuse, make=make, declared=declared)
    finally:
        await session.end(plan.owner)
