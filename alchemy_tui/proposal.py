"""What an upper-case key proposes: said in words first, confirmed by its severity, done by the core, and logged.

Neighbours: `screens.confirm` shows one and asks; `proposals` makes them; the app runs `act` beside its own loop.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from alchemy_tui.action import Danger
from alchemy_tui.present.line import Line
from alchemy_tui.present.scene import Scene


@dataclass(frozen=True, slots=True)
class Said:
    """How it ended, for a toast and the command log. `severity`: information or warning."""

    title: str
    text: str = ""
    severity: str = "information"


@dataclass(frozen=True, slots=True)
class Answers:
    """What was typed: why, and for how long (`2h`). Both may be empty."""

    reason: str = ""
    lasting: str = ""


def nothing(scene: Scene, width: int) -> list[Line]:
    return []


@dataclass(frozen=True, slots=True)
class Proposal:
    """`subject` is the scope path that is typed to confirm (its last part, or all of it, by `danger`).

    `lines` may be long and scrolls; `warnings` is what is agreed to: it stays in sight beside the keys.
    `mark` says what the proposal was made from: when it differs, the world has moved and nothing may be confirmed.
    `act` gets what was typed; it is a coroutine of the core and runs in a thread of its own.
    """

    label: str  # one word for the command log: unlock, restore
    title: str
    verb: str  # on the button
    subject: str
    danger: Danger
    warnings: Callable[[Scene, int], list[Line]]
    act: Callable[[Answers], Coroutine[Any, Any, Said]]
    cli: Callable[[Answers], str]
    lines: Callable[[Scene, int], list[Line]] = nothing
    mark: Callable[[Scene], object] = lambda scene: None
    reason: str = ""  # what the reason is for; "" asks for none
    reason_needed: bool = False
    lasting: str = ""  # what a time is asked for; "" asks for none

    @property
    def typed(self) -> str:
        """What has to be typed; "" when `y` is enough."""
        if self.danger <= Danger.REVERSIBLE:
            return ""
        if self.danger == Danger.HARD:
            return self.subject.rpartition("/")[2]
        return self.subject if self.danger == Danger.IRREVERSIBLE else f"break {self.subject}"
