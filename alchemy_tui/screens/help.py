"""Help for a pane: its keys from the registry, the signs of the tree, the filter language."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen

from alchemy_tui.present.glyphs import Glyphs
from alchemy_tui.present.line import BLANK, Line, Tone, line, wrap
from alchemy_tui.registry import GROUPS, actions_in, key_name, why_not
from alchemy_tui.session import Situation
from alchemy_tui.widgets.lines import Lines

KEYS = 14  # cells


def help_lines(situation: Situation, glyphs: Glyphs, width: int) -> list[Line]:
    """Everything the help screen says, in order."""
    out: list[Line] = []
    for group in GROUPS:
        actions = [action for action in actions_in(situation.pane) if action.group == group and action.keys]
        if not actions:
            continue
        out += [line((group, Tone.TITLE))]
        for action in actions:
            keys = "  ".join(key_name(key, glyphs) for key in action.keys)
            said = f"{action.title}. {action.help}" if action.help else action.title
            reason = why_not(action, situation)
            if reason and action.palette:
                said = f"{said} (now: {reason})"
            for number, text in enumerate(wrap(said, width - KEYS - 2)):
                shown = keys if number == 0 else ""
                out.append((*line((f"  {shown:<{KEYS - 2}}", Tone.KEY)), *text))
        out.append(BLANK)
    others = ", ".join(action.title.lower() for action in actions_in(situation.pane) if not action.keys)
    out += [line(("Without a key, in the palette", Tone.TITLE)), *wrap(others, width, Tone.TEXT, 2), BLANK]
    out += _signs(glyphs)
    out += [BLANK, *_filter(width)]
    return out


def _signs(glyphs: Glyphs) -> list[Line]:
    rows = (
        (glyphs.ok, Tone.OK, "ready, ok", "stored, and declared by the last complete deploy"),
        (glyphs.spinner[0], Tone.BUSY, "creating…", "a run is at it now, here or in another process"),
        (glyphs.retry, Tone.WARN, "retry", "the last try failed, the run tries again"),
        (glyphs.orphan, Tone.WARN, "orphan", "stored, not declared any more: the next cleanup deletes it"),
        (glyphs.unfinished, Tone.WARN, "unfinished", "a run died in the middle; the next deploy looks it up"),
        (glyphs.failed, Tone.BAD, "failed", "the last call failed; the details say why"),
        (glyphs.edited, Tone.WARN, "edited", "by hand: the file differs from the journal"),
        (glyphs.corrupt, Tone.BAD, "corrupt", "cannot be read; the details name the way out"),
        (glyphs.lock_live, Tone.BUSY, "locked", "its holder is at work"),
        (glyphs.lock_stale, Tone.WARN, "stale lock", "its holder is gone"),
        (glyphs.lock_unknown, Tone.WARN, "unknown lock", "nothing proves that its holder lives, or is gone"),
        (glyphs.lock_held, Tone.ACCENT, "held", "reserved by hand"),
    )
    out = [line(("Signs", Tone.TITLE))]
    out += [
        line((f"  {sign} ", tone), (f"{word:<16}", Tone.TEXT), (means, Tone.DIM)) for sign, tone, word, means in rows
    ]
    return out


def _filter(width: int) -> list[Line]:
    rows = (
        ("api", "names that hold api; with a / the whole path"),
        ("is:orphan", "also failed corrupt edited unfinished working ok locked adopted kept protected problem"),
        ("kind:worker", "kinds that hold worker; also stage, nested, test"),
        ("lock:stale", "also live unknown held"),
        ("age>7d", "older than; age<30m younger than; s m h d w"),
        ("-is:ok", "turned round"),
        ("is:orphan|is:failed", "either"),
    )
    out = [line(("Filter", Tone.TITLE))]
    for word, means in rows:
        for number, text in enumerate(wrap(means, width - 24, Tone.DIM)):
            out.append((*line((f"  {word if number == 0 else '':<20}  ", Tone.KEY)), *text))
    return out


class Help(ModalScreen[None]):
    BINDINGS = [
        Binding("escape,question_mark,q,enter", "close", "Close", show=False),
        *(
            Binding(keys, f"move('{how}')", show=False)
            for keys, how in (
                ("up,k", "up"),
                ("down,j", "down"),
                ("pageup", "page_up"),
                ("pagedown,space", "page_down"),
                ("home,g", "top"),
                ("end,G", "bottom"),
            )
        ),
    ]

    def __init__(self, situation: Situation) -> None:
        super().__init__()
        self._situation = situation

    def compose(self) -> ComposeResult:
        with Vertical(id="help"):
            yield Lines(id="help-lines")

    def on_mount(self) -> None:
        box = self.query_one("#help")
        box.border_title = f"Help: {'details' if self._situation.pane == 'detail' else self._situation.pane}"
        box.border_subtitle = "esc closes"
        self.query_one(Lines).focus()

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        lines = self.query_one(Lines)
        width = max(20, lines.scrollable_content_region.width)
        lines.show(help_lines(self._situation, self._situation.session.glyphs, width))

    def action_move(self, how: str) -> None:
        self.query_one(Lines).move(how)

    def action_close(self) -> None:
        _ = self.dismiss(None)
