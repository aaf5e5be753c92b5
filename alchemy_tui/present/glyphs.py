"""The signs that stand beside words: one set for terminals with Unicode, one for those without.

Only characters that ordinary monospaced fonts hold; no private-use icons. `choose` looks at the terminal.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glyphs:
    opened: str
    closed: str
    ok: str
    orphan: str
    failed: str
    corrupt: str
    edited: str
    unfinished: str
    lock_live: str
    lock_stale: str
    lock_unknown: str
    lock_held: str
    mark: str
    cursor: str
    run: str
    lost: str
    retry: str
    arrow: str
    crumb: str
    live: str
    polling: str
    waiting: str
    create: str
    update: str
    delete: str
    dot: str
    times: str
    bar_done: str
    bar_edge: str
    bar_left: str
    separator: str
    ellipsis: str
    spinner: str
    return_key: str


UNICODE = Glyphs(
    opened="▾",
    closed="▸",
    ok="✓",
    orphan="○",
    failed="✗",
    corrupt="▲",
    edited="≠",
    unfinished="◐",
    lock_live="◆",
    lock_stale="◇",
    lock_unknown="◇",
    lock_held="■",
    mark="*",
    cursor="▌",
    run="»",
    lost="×",
    retry="↻",
    arrow="→",
    crumb="›",
    live="●",
    polling="◐",
    waiting="○",
    create="+",
    update="~",
    delete="−",
    dot="·",
    times="×",
    bar_done="━",
    bar_edge="╸",
    bar_left="─",
    separator="│",
    ellipsis="…",
    spinner="⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏",
    return_key="↵",
)
ASCII = Glyphs(
    opened="v",
    closed=">",
    ok="=",
    orphan="o",
    failed="x",
    corrupt="!",
    edited="#",
    unfinished="%",
    lock_live="L",
    lock_stale="l",
    lock_unknown="?",
    lock_held="H",
    mark="*",
    cursor=">",
    run=">>",
    lost="X",
    retry="@",
    arrow="->",
    crumb=">",
    live="*",
    polling="%",
    waiting="o",
    create="+",
    update="~",
    delete="-",
    dot=".",
    times="x",
    bar_done="#",
    bar_edge="#",
    bar_left="-",
    separator="|",
    ellipsis="..",
    spinner="|/-\\",
    return_key="enter",
)


def choose(encoding: str | None, term: str) -> Glyphs:
    """ASCII where the terminal says it cannot do more: no UTF encoding, the Linux console, a dumb terminal."""
    unicode = (encoding or "").lower().replace("-", "").startswith("utf") and term not in ("linux", "dumb")
    return UNICODE if unicode else ASCII
