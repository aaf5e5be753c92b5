"""What is done in a terminal, not here: found in the palette, and its command line is copied, ready to paste.

Neighbours: `registry` takes these into its one list; `screens.browse.actions` copies. Nothing is done by them.
"""

from __future__ import annotations

from collections.abc import Callable

from alchemy_tui.action import BROWSE, Action, command_line, needs_owner, needs_subject
from alchemy_tui.session import Situation

GROUP = "In a terminal"


def needs_spill(situation: Situation) -> str:
    return needs_subject(situation) or ("" if situation.spill else "no spill waits here: nothing has to be recovered")


def needs_resource(situation: Situation) -> str:
    return "only resources" if situation.is_scope else needs_subject(situation)


def _line(
    name: str,
    title: str,
    text: str,
    *words: str,
    of: str = "owner",
    why_not: Callable[[Situation], str] = needs_owner,
) -> Action:
    """`words` come before the subject, which is the owner of the journal or the row itself."""

    def cli(situation: Situation) -> str:
        subject = situation.owner if of == "owner" else situation.subject
        return command_line(situation, "scope", name.replace("_", "-"), *words, subject)

    return Action(
        f"line.{name}", (), "copy the line", f"{title} (copies the command)", text, GROUP, BROWSE, 0,
        why_disabled=why_not, cli=cli,
    )  # fmt: skip


LINES: tuple[Action, ...] = (
    Action(
        "line.recover",
        (),
        "copy the line",
        "Recover a spill (copies the command)",
        "Writes what a run knew and could not write.",
        GROUP,
        BROWSE,
        why_disabled=needs_spill,
        cli=lambda situation: command_line(situation, "scope", "recover", situation.spill),
    ),
    _line("rebuild", "Rebuild the state", "From what is left of it, and the cloud; shows it and asks."),
    _line("resume", "Resume", "Finishes what an interrupted run left, without its program."),
    _line("stop", "Stop the run", "Asks the run that is at work to stop."),
    _line("cleanup", "Clean up", "Deletes what runs left behind, step by step.", of="subject", why_not=needs_subject),
    _line("keep", "Keep", "Cleanup and destroy pass over it from then on.", of="subject", why_not=needs_resource),
    _line("rm", "Forget", "Its row leaves the state; the object stays.", of="subject", why_not=needs_resource),
    _line("export", "Export", "As one JSON document.", of="subject", why_not=needs_subject),
    _line("reset", "Reset the state", "Forgets everything in it; the cloud stays as it is."),
)
