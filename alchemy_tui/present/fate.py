"""What the next cleanup does with a resource that no program declares any more, and what stands in its way.

Neighbours: `info` shows it; `model.deletions` is what cleanup decides by.
"""

from __future__ import annotations

from alchemy.model.deletions import PROTECTED
from alchemy.operations.shapes import Health, ResourceNode
from alchemy_tui.present.event import relative
from alchemy_tui.present.line import Tone
from alchemy_tui.present.scene import Scene


def fate(scene: Scene, node: ResourceNode) -> tuple[str, Tone] | None:
    """A sentence, or nothing to say."""
    state = node.state
    if state.kept:
        undo = f"`alchemy scope keep {state.address} --undo` takes that back"
        return f"kept: cleanup and destroy pass over it; {undo}", Tone.ACCENT
    if node.health is not Health.ORPHAN:
        return None
    if state.on_destroy == "forget" or (not state.on_destroy and (state.retain or state.adopted)):
        return "the next cleanup forgets it; its object in the cloud stays", Tone.DIM
    if state.protect:
        return f"blocked: {PROTECTED}, so no cleanup deletes it", Tone.WARN
    users = [address for address in node.used_by if _stays(scene, address)]
    if users:
        more = f" and {len(users) - 1} more" if len(users) > 1 else ""
        return f"blocked: still used by {relative(users[0], state.scope)}{more}, which stays", Tone.WARN
    return "the next cleanup deletes it", Tone.DIM


def _stays(scene: Scene, address: str) -> bool:
    user = scene.view.resources.get(address)
    return user is not None and (user.health is not Health.ORPHAN or user.state.kept)
