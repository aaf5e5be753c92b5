"""What an action is: its keys, its words, how dangerous it is, why it cannot be done now, its command line.

Neighbours: `registry` lists them all; `session.Situation` is what they are asked about.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from alchemy.model.text import safe_text
from alchemy_tui.session import Situation


class Danger(IntEnum):
    """How much a confirmation has to ask for (`dashboard.md` 5.3)."""

    LOOK = 0
    REVERSIBLE = 1
    HARD = 2
    IRREVERSIBLE = 3
    FORBIDDEN = 4  # only with --allow-force


ANYWHERE = frozenset({"tree", "detail", "log"})  # of the browse screen
TIMELINE = frozenset({"timeline"})  # the restore screen
EVERYWHERE = ANYWHERE | TIMELINE
LISTS = EVERYWHERE
TREE = frozenset({"tree"})
DETAIL = frozenset({"detail"})
BROWSE = frozenset({"tree", "detail"})


def always(situation: Situation) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Action:
    """`keys` are Textual's names, two of them with a blank between are pressed one after the other.

    `panes`: where the keys mean this. `hint`: its place in the hint bar, small ones stay longest, 0 is never there.
    """

    id: str
    keys: tuple[str, ...]
    label: str  # hint bar
    title: str  # palette and help
    help: str
    group: str
    panes: frozenset[str] = ANYWHERE
    hint: int = 0
    danger: Danger = Danger.LOOK
    why_disabled: Callable[[Situation], str] = always
    cli: Callable[[Situation], str] | None = None
    palette: bool = True  # moving about is no command anybody looks for


def command_line(situation: Situation, *words: str) -> str:
    """`alchemy …` as it can be pasted into a shell: quoted, and free of control characters."""
    parts = ["alchemy", *words]
    if situation.session.named_state_dir:
        parts += ["--state-dir", situation.session.state_dir]
    return " ".join(shlex.quote(safe_text(part)) for part in parts)


def view_line(situation: Situation) -> str:
    """The command that prints what the current pane shows."""
    subject, tab = situation.subject, situation.tab
    if not subject:
        return command_line(situation, "scope", "list")
    if tab == "state":
        return command_line(situation, "scope", "state", subject)
    if tab in ("runs", "events"):
        run = ("--run", situation.run) if tab == "events" and situation.run else ()
        return command_line(situation, "scope", "logs", situation.owner or subject, *run)
    if tab == "locks":
        return command_line(situation, "scope", "locks")
    if tab == "health":
        return command_line(situation, "scope", "validate", subject)
    if tab == "backups":
        return command_line(situation, "scope", "backups", situation.owner or subject)
    return command_line(situation, "scope", "inspect", subject)


def needs_subject(situation: Situation) -> str:
    return "" if situation.subject else "nothing is selected"


def needs_state(situation: Situation) -> str:
    return "there is no state yet" if situation.empty else ""


def needs_filter(situation: Situation) -> str:
    return "" if situation.filtered else "no filter is set"


def needs_marks(situation: Situation) -> str:
    return "" if situation.marked else "nothing is marked"


def list_line(situation: Situation) -> str:
    return command_line(situation, "scope", "list")


def id_line(situation: Situation) -> str:
    return command_line(situation, "scope", "inspect", situation.subject)


def state_line(situation: Situation) -> str:
    return command_line(situation, "scope", "state", situation.subject)


def needs_lock(situation: Situation) -> str:
    return needs_subject(situation) or ("" if situation.lock else "nobody holds it, or anything above it")


def needs_owner(situation: Situation) -> str:
    return needs_subject(situation) or ("" if situation.owner else "an application that holds nothing has no backups")


def needs_backups(situation: Situation) -> str:
    return needs_owner(situation) or ("its stages have backups of their own: choose one" if situation.bare else "")


def needs_backup(situation: Situation) -> str:
    return "" if situation.backup else "no backup is selected"


def locks_line(situation: Situation) -> str:
    return command_line(situation, "scope", "locks")


def backups_line(situation: Situation) -> str:
    return command_line(situation, "scope", "backups", situation.owner or situation.subject)


def diff_line(situation: Situation) -> str:
    file = ["--backup", situation.backup] if situation.backup else []
    return command_line(situation, "scope", "diff", situation.subject, *file)
