"""What stands where there is nothing to show: no directory, no state, no match. Each says what to type next."""

from __future__ import annotations

from alchemy_tui.present.line import BLANK, Line, Tone, line, wrap
from alchemy_tui.present.notice import Trouble
from alchemy_tui.store.filter import Filter


def no_state(root: str, width: int, *, missing: bool) -> list[Line]:
    what = "There is no state directory yet." if missing else "Nothing has been deployed from here yet."
    return [
        BLANK,
        line(("  ", Tone.TEXT), (what, Tone.TITLE)),
        *wrap(root, width, Tone.DIM, 2),
        BLANK,
        line(("  alchemy init", Tone.KEY), ("     makes a small project that works", Tone.DIM)),
        line(("  alchemy deploy", Tone.KEY), ("   runs the program of this directory", Tone.DIM)),
        line(("  alchemy demo", Tone.KEY), ("     a sample project on the local cloud", Tone.DIM)),
        BLANK,
        *wrap("As soon as something is deployed here, it shows. No key needed.", width, Tone.DIM, 2),
    ]


def no_match(filter: Filter, width: int) -> list[Line]:
    return [
        BLANK,
        *wrap(f"Nothing matches {filter.text}", width, Tone.TITLE, 2),
        *wrap(filter.problem, width, Tone.WARN, 2),
        BLANK,
        line(("  esc", Tone.KEY), ("  shows every row again", Tone.DIM)),
        line(("  /  ", Tone.KEY), ("  changes the filter", Tone.DIM)),
    ]


def unreadable(trouble: Trouble, width: int) -> list[Line]:
    return [
        BLANK,
        *wrap("The state could not be read.", width, Tone.BAD, 2),
        *wrap(trouble.why, width, Tone.TEXT, 2),
        *([BLANK, *wrap(trouble.hint, width, Tone.KEY, 2)] if trouble.hint else []),
    ]


def loading(width: int) -> list[Line]:
    return [BLANK, *wrap("Reading the state…", width, Tone.DIM, 2)]
