"""How this dashboard was started, and where it is: what actions ask before they say whether they can be done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from alchemy_tui.present.glyphs import UNICODE, Glyphs


@dataclass(frozen=True, slots=True)
class Session:
    """Fixed for the life of the dashboard. `now` is seconds since 1970; tests and pictures bring their own."""

    state_dir: str = ".alchemy"  # as typed, for command lines
    named_state_dir: bool = False  # it was given on the command line, so command lines repeat it
    scope: str = ""  # where to open
    read_only: bool = False
    why_read_only: str = ""
    allow_force: bool = False
    glyphs: Glyphs = UNICODE
    animate: bool = True
    now: Callable[[], float] = field(default=time.time)


@dataclass(frozen=True, slots=True)
class Situation:
    """What an action is asked about. `pane`: tree, detail or log; `subject`: a scope path, an address or nothing."""

    session: Session
    pane: str = "tree"
    subject: str = ""
    is_scope: bool = True
    owner: str = ""
    tab: str = "info"
    run: str = ""  # the run whose events are shown, "" for the newest
    narrow: bool = False
    detail_open: bool = True
    filtered: bool = False
    marked: int = 0
    empty: bool = False  # there is no state at all
    lock: str = ""  # the path of the nearest lock that somebody holds, left behind or reserved
    bare: bool = False  # an application that holds nothing itself: its stages do
    spill: str = ""  # the file of a spill that waits, of the row or below it
    backup: str = ""  # the file under the cursor of the timeline
