"""What a plan looks up beyond the state, reading only: what adoption would find, what a replacement would lose.

Neighbours: `deploy` asks for it while planning, `apply` does the same things for real.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from alchemy.engine.calls import Stopped, describe
from alchemy.engine.drifting import sight
from alchemy.engine.losing import find_loss
from alchemy.engine.outputs import unknown_sources
from alchemy.engine.resource import Resource
from alchemy.engine.session import Run
from alchemy.errors import Ambiguous, NoCloudYet, Refused, UsageError
from alchemy.model.changes import Change, Difference, root, unverified
from alchemy.model.drift import OUTPUTS, Sighting
from alchemy.model.naming import plain_name
from alchemy.model.text import safe_text
from alchemy.model.values import Action, Desired, ResourceState, Status
from alchemy.settings import Options

_ID = 8  # characters: shorter texts are words
_TRIES = 1  # after the first: a plan waits for nobody


async def foresee(run: Run, change: Change, resource: Resource, options: Options) -> Change:
    """The change with what only the cloud can tell. Raises where the deploy would: two objects could be it."""
    wish = change.desired
    assert wish is not None
    if change.action is Action.ADOPT and change.before is None:
        change = await _look(run, change, wish, resource, options)
    elif change.resume and _looked_up(change, type(resource)):
        change = replace(change, reason=f"{change.reason}; looked up first: created, or updated if it is there")
    elif change.action is Action.REPLACE and change.before is not None:
        loss = await find_loss(run, change, change.before, resource, options)
        change = replace(change, loses=loss.text if loss else "")
    elif change.follows and not unverified(change.before):
        then = "replaced" if change.follows == Action.REPLACE else "updated"
        names = ", ".join(sorted(wish.assumed))
        unless = f"{change.reason}; {then} if what it uses gives another value: {names}"
        change = replace(change, reason=unless if then == "replaced" or change.action is Action.KEEP else change.reason)
    if change.action is Action.UPDATE or wish.assumed or unverified(change.before):
        run.session.terms.changing.add(change.address)
    return change


def _looked_up(change: Change, cls: type[Resource]) -> bool:
    """A create that was announced and never answered, of a kind that cannot simply be created again."""
    before = change.before
    if before is None or change.missing or change.action not in (Action.CREATE, Action.ADOPT):
        return False
    return before.status is Status.CREATING and (before.adopted or not cls.idempotent)


async def _look(run: Run, change: Change, wish: Desired, resource: Resource, options: Options) -> Change:
    name = getattr(resource, "name", None) if "name" in resource._fields else None
    if isinstance(name, str) and unknown_sources(name):
        return replace(change, reason="taken over if it exists: its name is known after deploy")
    name = name or plain_name(wish.address, type(resource).name_limit)
    row, patience = _as_adopted(wish, name), min(_TRIES, options.max_retries)
    try:
        sighting = await sight(run, row, type(resource), replace(options, max_retries=patience))
    except NoCloudYet:
        sighting = Sighting(row, missing=True)
    except (Stopped, Ambiguous, Refused):
        raise
    except Exception as error:
        why = str(error) if isinstance(error, UsageError) else describe(error)
        text = f"taken over if it exists: only the deploy can look ({safe_text(why, 120)})"
        return replace(change, reason=text)
    if sighting.missing:
        return replace(change, action=Action.CREATE, found=False, reason=f"no such object to adopt: {name}")
    return _taken_over(change, wish, resource, sighting)


def _taken_over(change: Change, wish: Desired, resource: Resource, sighting: Sighting) -> Change:
    """What becomes of the object: an update brings it to the wish, except for what no update can change."""
    differs = [d for d in sighting.differences if not d.path.startswith(OUTPUTS)]
    stays = sorted({root(d.path) for d in differs if not wish.updatable or root(d.path) in wish.fixed})
    diff = [Difference(d.path, d.after, d.before, was=d.will, will=d.was) for d in differs if root(d.path) not in stays]
    diff += [d for d in change.diff if d.unknown]
    if wish.updatable and type(resource).observe is Resource.observe:
        diff = list(change.diff)  # nobody can tell what it is: the update sends everything
    name = sighting.row.physical_name
    then = "taken over and updated" if diff else "taken over as it is"
    kept = f"; no update changes its {', '.join(stays)}" if stays else ""
    reason = f"{name} exists{_which(resource, sighting.row.outputs, name)}: {then}{kept}"
    return replace(change, found=True, reason=reason, diff=tuple(diff))


def _which(resource: Resource, found: Any, name: str) -> str:
    """Its id, as far as a text that it puts out is one."""
    given = found if isinstance(found, Mapping) else {}
    for field, declared in resource._fields.items():
        value = given.get(field)
        telling = declared.is_output and not declared.secret and not declared.volatile
        if telling and isinstance(value, str) and len(value) >= _ID and value != name:
            return f" ({field} {safe_text(value, 40)})"
    return ""


def _as_adopted(wish: Desired, name: str) -> ResourceState:
    known: dict[str, Any] = {n: value for n, value in wish.props.items() if n not in wish.unknown}
    return ResourceState(
        address=wish.address,
        kind=wish.kind,
        status=Status.READY,
        physical_name=name,
        token="",
        props=known,
        props_hash="",
        outputs={},
        adopted=True,
        timeout=wish.timeout,
    )
