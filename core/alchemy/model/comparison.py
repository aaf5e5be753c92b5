"""What going back from the state of now to a state of then would do: rows that appear, vanish, change. Pure.

Going back never forgets a call whose end nobody knows: such a row stays, so that the next run looks and nothing leaks.
Neighbours: `consequences` puts it into words, `operations.restoring` carries it out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from alchemy.model import changes
from alchemy.model.canonical import Json
from alchemy.model.fold import Fold
from alchemy.model.masking import MASKED, Sealed, comparable, masked
from alchemy.model.records import Drop, Op, Put, Reserve
from alchemy.model.values import ResourceState, ScopeState, Status

UNSURE = frozenset([Status.CREATING, Status.REPLACING, Status.DELETING])  # whether its object exists is not known
_UNSAID = frozenset(["verify", "run", "updated_at"])  # who wrote it last: no difference
_SHOWN = (
    *("status", "kind", "physical_name", "generation", "depends_on", "adopted", "protect", "retain", "kept"),
    *("on_destroy", "timeout", "module", "account", "error"),
)


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One value of a row: `path` is `props.size`. `secret`: both sides are masked."""

    path: str
    now: Json
    then: Json
    in_now: bool = True
    in_then: bool = True
    secret: bool = False


@dataclass(frozen=True, slots=True)
class RowChange:
    """One resource. `name` and `status` are of the side that it is on, of now when it is on both."""

    address: str
    kind: str
    name: str
    status: Status
    former: bool = False
    remade: bool = False  # made anew in between: the object of then is not the one of now
    fields: tuple[FieldChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """From now to then, below `scope` (a scope, or one resource). What a restore would write is in `ops`."""

    scope: str
    owner: str
    file: str
    taken: str
    serial_now: int
    serial_then: int
    appear: tuple[RowChange, ...] = ()
    vanish: tuple[RowChange, ...] = ()
    change: tuple[RowChange, ...] = ()
    scopes_appear: tuple[str, ...] = ()
    scopes_vanish: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()  # addresses that stay as they are: a call was announced, and its end is not known
    consequences: tuple[str, ...] = ()  # sentences
    damage: str = ""  # why the state of now cannot be read: what is compared is the best that is known of it
    ops: tuple[Op, ...] = ()

    @property
    def same(self) -> bool:
        """There is nothing to restore."""
        return not self.ops and not self.damage

    @property
    def counts(self) -> tuple[int, int, int]:
        return len(self.appear), len(self.vanish), len(self.change)


@dataclass(frozen=True, slots=True)
class Rows:
    """What is below the subject after going back: resources by key."""

    resources: dict[str, ResourceState]
    unfinished: tuple[str, ...]


def inside(key: str, subject: str) -> bool:
    """`key` is a scope path, an address, or the key of a former incarnation."""
    return key == subject or key.startswith((f"{subject}/", f"{subject}\x00"))


def go_back(now: Fold, then: Fold, subject: str) -> Rows:
    """The rows of then, except where something is under way that then did not know."""
    mine = {key: row for key, row in now.resources.items() if inside(key, subject)}
    wanted = {key: row for key, row in then.resources.items() if inside(key, subject)}
    by_token = {row.token: row for row in mine.values()}
    found: dict[str, ResourceState] = {}
    unfinished: list[str] = []
    for key, row in wanted.items():
        before, known = mine.get(key), by_token.get(row.token)
        if row.former:  # still waiting; or current again, by an earlier restore; else its deletion was confirmed since
            found |= {key: before} if before else {key: row} if known else {}
            continue
        if known is not None:
            row = _as_known(known, row)
        elif row.status in UNSURE:  # its end was known since: what became of it is what is there now
            found |= {key: before} if before else {}
            continue
        if before is None or before.token == row.token or before.status not in UNSURE:
            found[key] = row
        elif before.status is Status.REPLACING and before.physical_name != row.physical_name:
            # Beside the object of then: it is looked for, and deleted, like any incarnation that was replaced.
            found[key], waiting = row, changes.as_former(before)
            found[waiting.key] = waiting
            unfinished.append(key)
        else:  # the object of then was deleted before this call was announced
            found[key] = before
            unfinished.append(key)
    tokens = {row.token for row in found.values() if not row.former}
    names = {(row.kind, row.physical_name) for row in found.values() if not row.former}
    for key, row in mine.items():
        if key in found:
            continue
        if row.former:
            again = row.token in tokens or (row.kind, row.physical_name) in names
            found |= {} if again else {key: row}
        elif row.status in UNSURE:
            found[key] = row
            unfinished.append(key)
    return Rows(found, tuple(sorted(unfinished)))


def _as_known(known: ResourceState, row: ResourceState) -> ResourceState:
    """The same creation, `known` by now: how it ended stays known, and what it was updated to, the object has."""
    if row.status in (Status.CREATING, Status.REPLACING):
        return replace(known, former=False)
    taken_back = known.verify and known.pending == row.props  # an earlier restore, and nobody has looked since
    if row.status is not Status.READY or taken_back:
        return row
    has = [props for props in (known.pending, known.props) if props is not None and props != row.props]
    return replace(row, status=Status.UPDATING, pending=has[0]) if has else row


def same_row(one: ResourceState, other: ResourceState) -> bool:
    return _said(one) == _said(other)


def _said(row: ResourceState) -> dict[str, Any]:
    return {name: value for name, value in row.to_json().items() if name not in _UNSAID}


def row_ops(now: Fold, rows: Rows, subject: str) -> Iterator[Op]:
    """What differs only: each row that is set is looked at in the cloud by the next run."""
    for key, row in rows.resources.items():
        before = now.resources.get(key)
        if before is None or not same_row(before, row):
            yield Put(row if row.former else replace(row, verify=True))
    for key, row in now.resources.items():
        if inside(key, subject) and key not in rows.resources:
            generation = row.generation if row.former else None
            yield Drop(row.address, generation=generation, kind=row.kind, action="forget")


def scope_ops(now: Fold, then: Fold, keys: Collection[str], subject: str) -> tuple[list[Op], list[Op]]:
    """(those that are set, those that go). `keys` are of the resources that will be there.

    The owner's own row stays, and is only told the target of then.
    """
    place = subject if subject in then.scopes else subject.rpartition("/")[0]
    puts: list[Op] = []
    for path, scope in then.scopes.items():
        before = now.scopes.get(path)
        if before is None and (inside(path, subject) or inside(place, path)):
            puts.append(Put(scope))
        elif before and inside(path, subject) and scope.target is not None and before.target != scope.target:
            puts.append(Put(replace(before, target=scope.target)))
    gone = [
        path
        for path in sorted(now.scopes, reverse=True)
        if inside(path, subject) and path not in then.scopes and path != now.path
    ]
    return puts, [Drop(scope=path) for path in gone if not any(inside(key, path) for key in keys)]


def whole_ops(now: Fold, ops: Iterable[Op]) -> Iterator[Op]:
    """Every row that will be there, for a journal that begins with nothing: each is to be looked at."""
    rows: dict[str, ResourceState] = dict(now.resources)
    scopes: dict[str, ScopeState] = dict(now.scopes)
    for op in ops:
        if isinstance(op, Put) and isinstance(op.row, ResourceState):
            rows[op.row.key] = op.row
        elif isinstance(op, Put) and isinstance(op.row, ScopeState):
            scopes[op.row.path] = op.row
        elif isinstance(op, Drop) and op.scope:
            scopes.pop(op.scope, None)
        elif isinstance(op, Drop):
            rows.pop(op.address if op.generation is None else f"{op.address}\x00{op.generation}", None)
    for path in sorted(scopes):
        yield Put(scopes[path])
    for row in rows.values():
        yield Put(row if row.former else replace(row, verify=True))
    if now.hold is not None:
        yield Reserve(now.hold)


def still_declared(now: Fold, ops: Iterable[Op]) -> dict[str, Any] | None:
    """What the newest complete deploy said, for a journal that begins anew: rows that are set are newer than that."""
    if not now.declared.get("complete"):
        return None
    touched = {op.row.key for op in ops if isinstance(op, Put) and isinstance(op.row, ResourceState)}
    orphans = sorted(key for key in now.resources if now.orphaned(key) and key not in touched)
    more = {name: now.declared[name] for name in ("next_seq",) if name in now.declared}
    return {"complete": True, "orphans": orphans, **more}


def compare(now: Fold, then: Fold, subject: str, file: str, taken: str) -> Comparison:
    """Without words yet."""
    rows = go_back(now, then, subject)
    ops = [*row_ops(now, rows, subject)]
    appear, vanish, change = [], [], []
    for op in ops:
        if isinstance(op, Put) and isinstance(op.row, ResourceState):
            before = now.resources.get(op.row.key)
            if before is not None:
                found = _changed(before, then.resources.get(op.row.key, op.row))
                change.append(replace(found, remade=False) if op.row.address in rows.unfinished else found)
            elif not op.row.former:
                appear.append(_of(op.row))
        elif isinstance(op, Drop):
            key = op.address if op.generation is None else f"{op.address}\x00{op.generation}"
            if op.generation is None:
                vanish.append(_of(now.resources[key]))
    puts, drops = scope_ops(now, then, rows.resources, subject)
    made = [op.row.path for op in puts if isinstance(op, Put) and isinstance(op.row, ScopeState)]
    return Comparison(
        scope=subject,
        owner=now.path,
        file=file,
        taken=taken,
        serial_now=now.serial,
        serial_then=then.serial,
        appear=_sorted(appear),
        vanish=_sorted(vanish),
        change=_sorted(change),
        scopes_appear=tuple(sorted(path for path in made if path not in now.scopes)),
        scopes_vanish=tuple(sorted(op.scope for op in drops if isinstance(op, Drop))),
        unfinished=rows.unfinished,
        ops=(*puts, *ops, *drops),
    )


def _sorted(rows: list[RowChange]) -> tuple[RowChange, ...]:
    return tuple(sorted(rows, key=lambda row: row.address))


def _of(row: ResourceState, **more: Any) -> RowChange:
    return RowChange(row.address, row.kind, row.physical_name, row.status, row.former, **more)


def _changed(now: ResourceState, then: ResourceState) -> RowChange:
    return _of(now, remade=now.token != then.token, fields=tuple(field_changes(now, then)))


def field_changes(now: ResourceState, then: ResourceState) -> Iterator[FieldChange]:
    """Each value that differs; sealed ones by their keyed hash, never opened."""
    if now.verify and now.pending == then.props:  # what an earlier restore put in doubt, and this one takes back
        now = replace(now, status=then.status, pending=then.pending)
    for difference in changes.compare(_shown(now), _shown(then)):
        secret = isinstance(difference.before, Sealed) or isinstance(difference.after, Sealed)
        before, after = (MASKED if secret else masked(side) for side in (difference.before, difference.after))
        yield FieldChange(
            difference.path,
            before if difference.was else None,
            after if difference.will else None,
            difference.was,
            difference.will,
            secret,
        )


def _shown(row: ResourceState) -> dict[str, Any]:
    plain = row.to_json()
    out: dict[str, Any] = {name: plain[name] for name in _SHOWN if name in plain}
    out |= {"props": comparable(row.props), "outputs": comparable(row.outputs)}
    return out | ({"pending": comparable(row.pending)} if row.pending is not None else {})
