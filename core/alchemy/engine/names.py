"""One name, one object: which rows of a journal hold a name that is about to be given, or whose object is to go.

A row that announced an object and never made it still holds its name: deleting "its" object later would take whatever
got that name meanwhile. Neighbours: `apply` asks before it creates, `deletion` before it deletes.
"""

from __future__ import annotations

from typing import Any

from alchemy.engine.resource import Resource
from alchemy.engine.session import Run
from alchemy.errors import Refused
from alchemy.model.naming import ownership_mark
from alchemy.model.values import ResourceState, Status

_ID = 8  # characters: shorter texts are words, not ids


class Unclear(Exception):
    """Whose object it is cannot be told yet."""


def marked(run: Run, row: ResourceState) -> bool:
    """The physical name was made by this stage for this incarnation: nobody else has it."""
    made_as = row.made_as or row.address
    return row.physical_name.endswith(f"-{ownership_mark(run.ledger.fold.lineage, made_as, row.generation)}")


def free_generation(run: Run, address: str, generation: int) -> int:
    """The first from `generation` on whose name no object has that was moved away from `address`."""
    while (address, generation) in run.ledger.fold.moved:
        generation += 1
    return generation


def others_named(run: Run, row: ResourceState) -> list[ResourceState]:
    """Other rows of the journal with this kind and physical name in the same account, the oldest first."""
    if marked(run, row):
        return []

    def same(other: ResourceState) -> bool:
        if other.physical_name != row.physical_name or other.kind != row.kind or other.key == row.key:
            return False
        return not (other.account and row.account and other.account != row.account)

    return sorted(filter(same, list(run.ledger.fold.resources.values())), key=lambda other: other.seq)


def claim_name(run: Run, row: ResourceState, wished: str) -> list[ResourceState]:
    """Old incarnations of the resource that still have the name it is to get: they have to go first.

    `wished` is the program's own name for it, if any. Refused when it is that of another resource of the stage.
    """
    taken = run.names.setdefault((row.kind, wished), row.address) if wished else row.address
    if taken != row.address:
        raise Refused(f"{row.physical_name} is the name of {taken} already", hint="choose another name")
    others = others_named(run, row)
    for other in others:
        if other.address != row.address:
            raise Refused(
                f"{row.physical_name} is the name of {other.address} already",
                hint=f"choose another name, or deploy once without {other.address}: then the name is free",
            )
    return [other for other in others if other.former]


def is_of_another(run: Run, instance: Resource, row: ResourceState, found: dict[str, Any]) -> bool:
    """What was found under the row's name is the object of another row. Unclear when nobody can tell yet."""
    for other in others_named(run, row):
        if other.former and not row.former and other.address == row.address:
            continue  # the current incarnation has the name
        if other.status in (Status.CREATING, Status.REPLACING):
            raise Unclear(f"its name is also that of {other.address}, which is still {other.status}: finish that first")
        theirs = _telling(instance, other.outputs)
        same = [found.get(name) == value for name, value in theirs.items()]
        if same and all(same):
            return True
        if any(same):
            raise Unclear(f"what has its name may be {other.address}: look at the object, then `alchemy scope rm` one")
    return False


def _telling(instance: Resource, outputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs that tell one object from another: texts as long as ids are, else all that stay the same."""
    lasting = {name: value for name, value in outputs.items() if name in instance._fields}
    lasting = {name: value for name, value in lasting.items() if value is not None}
    lasting = {name: value for name, value in lasting.items() if not instance._fields[name].volatile}
    return {n: v for n, v in lasting.items() if isinstance(v, str) and len(v) >= _ID} or lasting
