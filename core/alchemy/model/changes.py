"""What to do about one resource: `decide` compares what is stored with what is wanted. Pure.

Neighbours: `deletions` decides about everything that is stored and no longer wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from alchemy.model.canonical import Json
from alchemy.model.masking import MASKED, SECRET, comparable, is_sealed, masked
from alchemy.model.values import Action, Desired, ResourceState, Status


@dataclass(frozen=True, slots=True)
class Difference:
    """One attribute: `path` in dotted form; a side that is absent is None with its flag cleared."""

    path: str
    before: Json
    after: Json
    was: bool = True  # present before
    will: bool = True  # present after
    unknown: bool = False  # the value after is known only after deploy
    locked: bool = False  # `unknown` because it is a secret, and only the password can compare it


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A decision about one resource. `resume`: an earlier run announced this and never said how it ended."""

    address: str
    kind: str
    action: Action
    reason: str
    before: ResourceState | None = None
    desired: Desired | None = None
    diff: tuple[Difference, ...] = ()
    resume: bool = False
    save: bool = False  # action is keep, but flags or edges changed and the row is written
    missing: bool = False  # the state has it, the cloud was asked and does not
    found: bool | None = None  # adopting, in a plan: whether it is there; None where nobody could look
    loses: str = ""  # in a plan: which consent a replacement needs, and why
    drifted: bool = False  # the cloud was asked, and has it otherwise than the state says

    @property
    def follows(self) -> str:
        """In a plan: what becomes of it when an update before it gives other outputs. `update`, `replace` or empty."""
        wish = self.desired
        if wish is None or not wish.assumed or self.action not in (Action.KEEP, Action.UPDATE):
            return ""
        return str(Action.UPDATE if wish.updatable and not wish.assumed & wish.fixed else Action.REPLACE)

    @property
    def trusts_name(self) -> bool:
        """A new object under a name that the program gives it, where nobody looks before the deploy who has that."""
        wish = self.desired
        if wish is None or wish.adopt or self.action is not Action.CREATE or self.before is not None:
            return False
        return isinstance(wish.props.get("name"), str) and "name" not in wish.unknown


def unverified(row: ResourceState | None) -> bool:
    """Restored, migrated or rebuilt, and not looked up since: whether its object is there is not known."""
    return row is not None and row.verify and row.status in (Status.READY, Status.UPDATING)


def decide(before: ResourceState | None, desired: Desired, *, missing: bool = False) -> Change:
    """Shapes: the newest incarnation's row (or None) and the resolved wish. Never looks at the cloud.

    `missing`: somebody did, and the object of the row is not there.
    """

    def change(action: Action, reason: str, *, resume: bool = False, save: bool = False) -> Change:
        if unverified(before):
            doubt = "to be verified: may be created again"
            reason = doubt if action is Action.KEEP else f"{reason}; {doubt}"
        diff = tuple(differences(before, desired)) if action != Action.KEEP else ()
        return Change(
            address=desired.address,
            kind=desired.kind,
            action=action,
            reason=reason,
            before=before,
            desired=desired,
            diff=diff,
            resume=resume,
            save=save,
            missing=missing,
        )

    if before is None:
        return change(Action.ADOPT if desired.adopt else Action.CREATE, "not in the state yet")
    if missing:
        return change(Action.CREATE, "not found in the cloud after a restore", resume=True)
    if before.status is Status.CREATING:
        if before.kind != desired.kind:
            return change(Action.REPLACE, f"kind changed from {before.kind}", resume=True)
        return change(Action.ADOPT if desired.adopt else Action.CREATE, "last create did not finish", resume=True)
    if before.status is Status.DELETING:
        return change(Action.REPLACE, "last delete did not finish", resume=True)
    if before.kind != desired.kind:
        return change(Action.REPLACE, f"kind changed from {before.kind}")
    if before.status is Status.REPLACING:
        return change(Action.REPLACE, "last replacement did not finish", resume=True)
    if before.props_hash == desired.props_hash and not desired.unknown and not desired.uncompared:
        if before.status is Status.UPDATING:
            verb = Action.UPDATE if desired.updatable else Action.REPLACE
            return change(verb, "last update did not finish", resume=True)
        save = _flags(before) != (
            desired.depends_on,
            desired.protect,
            desired.retain,
            desired.on_destroy,
            desired.timeout,
            desired.module,
        )
        return change(Action.KEEP, "nothing changed", save=save)
    changed = {root(difference.path) for difference in differences(before, desired)}
    if not changed and before.props_hash and before.status is Status.READY:
        # Written differently, meaning the same: the row takes over the wish, and nothing is called.
        return change(Action.KEEP, "nothing changed", save=True)
    if changed and changed <= desired.uncompared - desired.fixed and desired.updatable:
        return change(Action.UPDATE, f"cannot be compared without the password: {', '.join(sorted(changed))}")
    fixed = sorted(changed & desired.fixed)
    if fixed:
        return change(Action.REPLACE, f"fixed prop changed: {', '.join(fixed)}")
    if not desired.updatable:
        return change(Action.REPLACE, f"{desired.kind} cannot be updated: {', '.join(sorted(changed)) or 'props'}")
    reason = f"changed: {', '.join(sorted(changed))}" if changed else "its definition changed"
    return change(Action.UPDATE, reason, resume=before.status is Status.UPDATING)


def _flags(row: ResourceState) -> tuple[object, ...]:
    return (row.depends_on, row.protect, row.retain, row.on_destroy, row.timeout, row.module)


def root(path: str) -> str:
    """The prop that a difference is in."""
    return path.split(".")[0].split("[")[0]


def differences(before: ResourceState | None, desired: Desired) -> Iterator[Difference]:
    """Attribute by attribute, in the order of the names."""
    stored = before.props if before else {}
    for difference in compare(stored, desired.props):
        if root(difference.path) in desired.unknown | desired.uncompared:
            continue
        if before is None or not _is_the_same(difference, before, desired):
            yield hidden(difference)
    for name in sorted(desired.unknown | desired.uncompared):
        locked = name in desired.uncompared
        yield Difference(name, masked(stored.get(name)), None, was=bool(stored), unknown=True, locked=locked)


def hidden(difference: Difference) -> Difference:
    """Without secrets; what becomes one, or was one, is not shown either."""
    before, after = difference.before, difference.after
    if is_sealed(before) or is_sealed(after):
        return replace(difference, before=MASKED if difference.was else None, after=MASKED if difference.will else None)
    return replace(difference, before=masked(before), after=masked(after))


def _is_the_same(difference: Difference, before: ResourceState, desired: Desired) -> bool:
    """A prop that is newer than the row and has its default; one that is gone and had no value; the name it has."""
    name = difference.path
    if name == "name" and difference.before is None and difference.after == before.physical_name:
        return True
    if not difference.was and name in desired.defaults:
        return not any(compare(desired.defaults[name], difference.after))
    return not difference.will and difference.before is None and name in before.props


def compare(before: Json, after: Json, path: str = "") -> Iterator[Difference]:
    """Every leaf where two JSON trees differ."""
    if isinstance(before, dict) and isinstance(after, dict) and SECRET not in before and SECRET not in after:
        for key in sorted({*before, *after}):
            where = f"{path}.{key}" if path else key
            if key not in before:
                yield Difference(where, None, after[key], was=False)
            elif key not in after:
                yield Difference(where, before[key], None, will=False)
            else:
                yield from compare(before[key], after[key], where)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from compare(old, new, f"{path}[{index}]")
    elif (
        comparable(before) != comparable(after)
        or (before is True) != (after is True)
        or (before is False) != (after is False)
    ):
        yield Difference(path, before, after)


def as_former(row: ResourceState) -> ResourceState:
    """The same object as an old incarnation that finalization will delete."""
    return replace(row, former=True)
