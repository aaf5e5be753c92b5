"""What the cloud has against what the state says of it, and what a refreshing deploy makes of the difference. Pure.

Neighbours: `changes` decides, `engine.drifting` looks, `operations.drifting` tells.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from alchemy.model.canonical import Json
from alchemy.model.changes import Change, Difference, compare, decide, hidden, root
from alchemy.model.masking import hash_props, is_sealed
from alchemy.model.text import safe_text
from alchemy.model.values import Action, Desired, ResourceState, Status

OUTPUTS = "outputs."  # how differences of outputs are told from those of props
INPUTS = "$inputs"
_MOST, _LONGEST = 3, 40  # differences in one reason, characters of one value


@dataclass(frozen=True, slots=True)
class Sighting:
    """`row` is what is stored with the props and outputs of now; `differences` lead from then to now, masked."""

    row: ResourceState
    missing: bool = False
    differences: tuple[Difference, ...] = ()

    @property
    def props(self) -> frozenset[str]:
        """Those that drifted."""
        return frozenset(root(d.path) for d in self.differences if not d.path.startswith(OUTPUTS))


def sight(
    row: ResourceState, observed: Mapping[str, Json], outputs: Mapping[str, Json], passing: Iterable[str]
) -> Sighting:
    """`observed` are props and `outputs` outputs as they would be stored; those in `passing` may always differ.

    A prop without a value is left to the cloud: it is not compared.
    """
    seen: dict[str, Json] = dict(row.props)
    found: list[Difference] = []
    for name in sorted(observed):
        differs = [hidden(d) for d in compare(row.props.get(name), observed[name], name)]
        if differs and row.props.get(name) is not None:
            seen[name] = observed[name]
            found += differs
    hashed = hash_props(seen) if found else row.props_hash
    unlike = set(passing)
    for name in sorted(outputs.keys() & row.outputs.keys() - unlike):
        before, after = row.outputs[name], outputs[name]
        if not (is_sealed(before) or is_sealed(after)):
            found += [hidden(d) for d in compare(before, after, OUTPUTS + name)]
    as_seen = replace(row, props=seen, props_hash=hashed, outputs=dict(outputs), verify=False, error="")
    return Sighting(as_seen, differences=tuple(found))


def heal(row: ResourceState, sighting: Sighting, wish: Desired) -> Change:
    """What brings the object from what it is to what is wished: `row` is what is stored."""
    if sighting.missing:
        return replace(decide(sighting.row, wish, missing=True), reason="not found in the cloud")
    change = decide(sighting.row, wish)
    if not sighting.differences:
        return replace(change, save=change.save or row.verify)
    if change.action is Action.KEEP:
        told = f"as the cloud has it: {words(sighting.differences)}"
        return replace(change, reason=told, save=True, drifted=True)
    back = [each for each in change.diff if root(each.path) in sighting.props and not each.unknown]
    return replace(change, reason=_reason(change, back, wish), drifted=True) if back else change


def _reason(change: Change, back: list[Difference], wish: Desired) -> str:
    drifted = {root(each.path) for each in back}
    others = sorted({root(each.path) for each in change.diff} - drifted)
    parts = [f"drifted: {words(back)}"]
    parts += [f"changed: {', '.join(others)}"] if others else []
    if change.action is Action.REPLACE:
        fixed = sorted(drifted & wish.fixed)
        parts.append(f"{', '.join(fixed) if fixed else wish.kind} cannot be {'changed' if fixed else 'updated'}")
    return "; ".join(parts)


def remedy(sighting: Sighting, fixed: frozenset[str], *, updatable: bool) -> str:
    """What a refreshing deploy of the same wish would do: create, replace, update, keep (taking over what is there)."""
    if sighting.missing:
        return str(Action.CREATE)
    if not sighting.props:
        return str(Action.KEEP)
    return str(Action.UPDATE if updatable and not sighting.props & fixed else Action.REPLACE)


def words(differences: Iterable[Difference]) -> str:
    """`size 2 → 5, region "eu" → "us"`."""
    each = list(differences)
    said = [f"{path_words(d.path)} {_value(d.before, d.was)} → {_value(d.after, d.will)}" for d in each[:_MOST]]
    more = [f"{len(each) - _MOST} more"] if len(each) > _MOST else []
    return ", ".join(said + more)


def path_words(path: str) -> str:
    return safe_text(path.removeprefix(f"{INPUTS}."), 80)


def _value(value: Json, there: bool) -> str:
    if not there:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return safe_text(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")


def anew(row: ResourceState, token: str) -> ResourceState:
    """The row of an object that is gone, to be created again: nobody had the new one before us."""
    again = replace(row, status=Status.CREATING, outputs={}, pending=None, adopted=False, error="", created_at="")
    return replace(again, token=token)
