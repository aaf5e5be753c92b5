"""What a replacement would lose, and whose consent it takes: the program's `allow_data_loss`, or `--yes`.

Asked before anything of the resource is called that acts; a plan asks the same. Neighbours: `apply` replaces,
`foresight` plans.
"""

from __future__ import annotations

from dataclasses import dataclass

from alchemy.engine import kinds
from alchemy.engine.calls import Stopped
from alchemy.engine.resource import Resource
from alchemy.engine.secrets import restored
from alchemy.engine.session import Run, call
from alchemy.errors import AlchemyError, Refused
from alchemy.model.changes import Change
from alchemy.model.text import safe_text
from alchemy.model.values import ResourceState, Status
from alchemy.settings import Options


@dataclass(frozen=True, slots=True)
class Loss:
    """`why` it needs consent. `binding`: only the program can give it."""

    why: str
    binding: bool = False

    @property
    def text(self) -> str:
        """For a plan."""
        return f"{self.why}: needs {'' if self.binding else '--yes or '}allow_data_loss=True"


async def find_loss(run: Run, change: Change, row: ResourceState, resource: Resource, options: Options) -> Loss | None:
    """What replacing `row` needs consent for; None when nothing, when it is given, or when it is under way already."""
    if resource.allow_data_loss or (change.resume and row.status is Status.REPLACING):
        return None
    found = _binding(row, resource)
    if found is not None or run.session.terms.consent or options.force:
        return found
    stays = row.on_destroy == "forget" or ((row.adopted or row.retain) and row.on_destroy != "delete")
    if stays or row.status not in (Status.READY, Status.UPDATING):
        return None
    return Loss("would lose data") if await _holds_data(run, row) else None


async def refuse_loss(run: Run, change: Change, row: ResourceState, resource: Resource, options: Options) -> None:
    """Before a replacement; Refused without consent."""
    loss = await find_loss(run, change, row, resource, options)
    if loss is None:
        return
    what = f"it is {loss.why}" if loss.binding else "that would lose its data"
    allow = "pass allow_data_loss=True"
    raise Refused(
        f"{change.address} would be replaced ({safe_text(change.reason, 200)}), but {what}",
        hint=f"undo the change, or {allow}" if loss.binding else f"undo the change, {allow}, or deploy with --yes",
    )


def _binding(row: ResourceState, resource: Resource) -> Loss | None:
    if row.protect or row.kept:
        return Loss("protected" if row.protect else "kept", binding=True)
    foreign = row.adopted or row.retain or row.on_destroy == "forget"
    next_name = getattr(resource, "name", None) if "name" in resource._fields else None
    if foreign and row.on_destroy != "delete" and next_name == row.physical_name:
        return Loss("not ours to delete, and its name has to be free first", binding=True)
    return None


async def _holds_data(run: Run, row: ResourceState) -> bool:
    """True also where nobody can tell: the cloud cannot be asked, or the kind has no way to."""
    cls = kinds.find(row.kind)
    if cls is None or not cls.holds_data:
        return False
    instance = restored(run, cls, row)
    try:
        return not await call(run, instance.is_empty, row)
    except Stopped:
        raise
    except AlchemyError:
        return True
