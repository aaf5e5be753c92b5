"""Which keys the hint bar of the browse screen shows now. Neighbour: `registry` knows what they do."""

from __future__ import annotations

from alchemy_tui import registry
from alchemy_tui.action import Action
from alchemy_tui.present.hints import Hint
from alchemy_tui.present.line import BLANK, Line, Tone, line
from alchemy_tui.session import Situation


def hints_for(situation: Situation, prefix: str, *, typing: bool) -> tuple[tuple[Hint, ...], Line]:
    """What could be shown, and what stands before it. `prefix`: the first key of two; `typing`: in the filter."""
    glyphs = situation.session.glyphs
    if prefix:
        keys = tuple(
            Hint(registry.key_name(key.split(" ")[1], glyphs), action.label, rank)
            for rank, action in enumerate(registry.chords(prefix))
            for key in action.keys
            if not registry.why_not(action, situation)
        )
        return (*keys, Hint("esc", "cancel", 99)), line(("copy: ", Tone.TITLE))
    if typing:
        return (Hint(registry.key_name("enter", glyphs), "keep", 1), Hint("esc", "clear", 2)), BLANK
    shown = []
    for action in registry.actions_in(situation.pane):
        if action.hint and not registry.why_not(action, situation) and not _pointless(action, situation):
            label = "tree" if action.id == "pane.next" and situation.pane == "detail" else action.label
            shown.append(Hint(registry.key_name(action.keys[0], glyphs), label, action.hint))
    if any(registry.chords("y")) and situation.subject:
        shown.append(Hint("y", "copy", 6))
    return tuple(shown), BLANK


def _pointless(action: Action, situation: Situation) -> bool:
    """Possible, and not worth the room: going back from where one started."""
    if action.id == "back":
        return situation.pane == "tree" and not situation.filtered
    return action.id.startswith("tab.") and situation.pane == "tree" and situation.narrow
