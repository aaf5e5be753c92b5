"""Every action of the dashboard, once.

Key bindings, the hint bar, the help screen, the palette, the command log and the documentation are made from this
list. An action that changes something has a `danger` above LOOK: read-only mode refuses all of those in one place.
"""

from __future__ import annotations

from alchemy_tui.action import (
    BROWSE,
    EVERYWHERE,
    LISTS,
    TREE,
    Action,
    Danger,
    id_line,
    list_line,
    needs_filter,
    needs_marks,
    needs_state,
    needs_subject,
    state_line,
    view_line,
)
from alchemy_tui.acts import ACTS
from alchemy_tui.present.glyphs import UNICODE, Glyphs
from alchemy_tui.session import Situation
from alchemy_tui.terminal import GROUP, LINES


def _move(name: str, keys: tuple[str, ...], title: str, panes: frozenset[str] = LISTS) -> Action:
    return Action(f"move.{name}", keys, title.lower(), title, "", "Move", panes, palette=False)


def _tab(name: str, title: str, text: str) -> Action:
    return Action(
        f"tab.{name}", (), title.lower(), f"Show {title.lower()}", text, "Look", BROWSE, why_disabled=needs_subject
    )


ACTIONS: tuple[Action, ...] = (
    # Look
    Action(
        "open",
        ("enter",),
        "open",
        "Open the selected row",
        "Shows everything about it; on a run, its events.",
        "Look",
        BROWSE,
        hint=1,
        why_disabled=needs_subject,
        cli=view_line,
    ),
    Action(
        "back",
        ("escape",),
        "back",
        "Back",
        "Closes what is open: filter, details, command log.",
        "Look",
        EVERYWHERE,
        hint=5,
        palette=False,
    ),
    Action(
        "pane.next",
        ("tab",),
        "details",
        "Next pane",
        "Tree and details; timeline and comparison.",
        "Look",
        EVERYWHERE,
        hint=3,
        why_disabled=needs_state,
        palette=False,
    ),
    Action(
        "pane.previous",
        ("shift+tab",),
        "pane",
        "Previous pane",
        "The other way round.",
        "Look",
        EVERYWHERE,
        palette=False,
    ),
    Action(
        "tab.next", ("right_square_bracket",), "next tab", "Next tab", "Details, one tab on.", "Look", BROWSE, hint=4
    ),
    Action("tab.previous", ("left_square_bracket",), "previous tab", "Previous tab", "One tab back.", "Look", BROWSE),
    Action(
        "zoom",
        ("z",),
        "zoom",
        "Zoom the details",
        "Gives the details the whole width, and back.",
        "Look",
        BROWSE,
        hint=9,
        why_disabled=lambda s: "at this width there is one pane already" if s.narrow else "",
    ),
    _tab("info", "Info", "What it is, whether it is well, who holds it, what changed last."),
    _tab("state", "State", "The stored JSON document."),
    _tab("runs", "Runs", "Deploys and cleanups, newest first."),
    _tab("events", "Events", "The log of one run, live while it goes on."),
    _tab("deps", "Dependencies", "What it needs, and what needs it."),
    _tab("locks", "Locks", "Who holds what, and the evidence."),
    _tab("backups", "Backups", "The snapshots kept of this application, stage or test."),
    _tab("health", "Health", "Every file of it, read and checked: what is damaged, and the way out."),
    # Find
    Action(
        "filter",
        ("slash",),
        "filter",
        "Filter the tree",
        "Words are parts of names. is:orphan kind:worker lock:stale age>7d, -is:ok turns round, a|b is either.",
        "Find",
        BROWSE,
        hint=2,
        why_disabled=needs_state,
    ),
    Action(
        "filter.clear",
        (),
        "clear",
        "Clear the filter",
        "Shows every row again; esc does the same.",
        "Find",
        TREE,
        why_disabled=needs_filter,
    ),
    Action(
        "jump",
        ("f",),
        "find",
        "Find a scope or resource",
        "Type a few letters of its path, in order.",
        "Find",
        BROWSE,
        hint=6,
        why_disabled=needs_state,
    ),
    # Tree
    Action(
        "mark",
        ("space",),
        "mark",
        "Mark the row",
        "Copying takes all marked rows.",
        "Tree",
        TREE,
        hint=10,
        why_disabled=needs_subject,
    ),
    Action("mark.clear", ("V",), "unmark", "Clear all marks", "", "Tree", TREE, why_disabled=needs_marks),
    Action(
        "fold.all",
        ("less_than_sign",),
        "fold",
        "Fold everything",
        "Only applications and stages stay open.",
        "Tree",
        TREE,
    ),
    Action("unfold.all", ("greater_than_sign",), "unfold", "Unfold everything", "", "Tree", TREE),
    *ACTS,
    *LINES,
    # Copy
    Action(
        "copy.path",
        ("y p",),
        "path",
        "Copy the path",
        "Of the row, or of all marked rows, one a line.",
        "Copy",
        BROWSE,
        why_disabled=needs_subject,
    ),
    Action(
        "copy.cli",
        ("y c",),
        "command line",
        "Copy the command line",
        "The command that prints what is shown here.",
        "Copy",
        BROWSE,
        why_disabled=needs_subject,
        cli=view_line,
    ),
    Action(
        "copy.json",
        ("y j",),
        "JSON",
        "Copy the stored JSON",
        "",
        "Copy",
        BROWSE,
        why_disabled=needs_subject,
        cli=state_line,
    ),
    Action(
        "copy.id",
        ("y i",),
        "name in the cloud",
        "Copy the name in the cloud",
        "The physical name of a resource.",
        "Copy",
        BROWSE,
        why_disabled=lambda s: "only resources have one" if s.is_scope else needs_subject(s),
        cli=id_line,
    ),
    # The dashboard itself
    Action(
        "rescan",
        ("r",),
        "rescan",
        "Read everything again",
        "Also compares every file.",
        "Dashboard",
        EVERYWHERE,
        cli=list_line,
    ),
    Action("log", ("at",), "commands", "Command log", "The command line of what you see and did.", "Dashboard", hint=8),
    Action("palette", ("colon", "ctrl+p"), "palette", "All commands", "", "Dashboard", hint=7, palette=False),
    Action(
        "help",
        ("question_mark",),
        "help",
        "Help",
        "Keys of this pane, signs, the filter language.",
        "Dashboard",
        EVERYWHERE,
    ),
    Action("theme", (), "theme", "Change the theme", "Dusk is dark, dawn is light.", "Dashboard"),
    Action(
        "screenshot", (), "picture", "Save a picture of the screen", "As SVG, in the working directory.", "Dashboard"
    ),
    Action("quit", ("q",), "quit", "Quit", "Runs of other processes go on.", "Dashboard", EVERYWHERE, hint=11),
    # Move
    _move("up", ("up", "k"), "Up"),
    _move("down", ("down", "j"), "Down"),
    _move("left", ("left", "h"), "Fold, or to the scope above"),
    _move("right", ("right", "l"), "Unfold, or into the scope"),
    _move("top", ("home", "g"), "First line"),
    _move("bottom", ("end", "G"), "Last line"),
    _move("page_up", ("pageup",), "A page up"),
    _move("page_down", ("pagedown",), "A page down"),
)
BY_ID = {action.id: action for action in ACTIONS}
GROUPS = ("Look", "Find", "Tree", "Act", GROUP, "Copy", "Move", "Dashboard")
_NAMES = {
    "slash": "/",
    "question_mark": "?",
    "colon": ":",
    "at": "@",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "escape": "esc",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "enter": "↵",
    "space": "space",
}


def key_name(keys: str, glyphs: Glyphs = UNICODE) -> str:
    """As written on a keyboard: `y p`, `/`, `esc`. Arrows are words where the terminal has no signs for them."""
    names = (
        _NAMES if glyphs is UNICODE else {**_NAMES, **{key: key for key in ("up", "down", "left", "right", "enter")}}
    )
    return " ".join(names.get(key, key) for key in keys.split(" "))


def why_not(action: Action, situation: Situation) -> str:
    """The reason an action cannot be done now, in words; empty when it can."""
    if situation.pane not in action.panes and action.palette is False:
        return "not here"
    if action.danger > Danger.LOOK and situation.session.read_only:
        return f"read-only: {situation.session.why_read_only or 'started with --read-only'}"
    if action.danger >= Danger.FORBIDDEN and not situation.session.allow_force:
        return "only in a dashboard started with --allow-force"
    return action.why_disabled(situation)


def actions_in(pane: str) -> list[Action]:
    return [action for action in ACTIONS if pane in action.panes]


def chords(prefix: str) -> list[Action]:
    """What may follow a first key."""
    return [action for action in ACTIONS if any(key.startswith(f"{prefix} ") for key in action.keys)]


PREFIXES = frozenset(key.split(" ")[0] for action in ACTIONS for key in action.keys if " " in key)
