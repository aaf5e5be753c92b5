"""What the terminal at hand can do: is there one, which signs it shows, how times read.

No click and no rich here: programs run with python load this too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Signs:
    """Beside words, never instead of them."""

    create: str
    update: str
    replace: str
    delete: str
    forget: str
    keep: str
    ok: str
    failed: str
    warning: str
    retry: str
    arrow: str
    spinner: str


UNICODE = Signs("+", "~", "±", "−", "○", "·", "✓", "✗", "▲", "↻", "→", "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
ASCII = Signs("+", "~", "*", "-", "o", ".", "=", "x", "!", "@", "->", "|/-\\")


def signs(stream: TextIO) -> Signs:
    """ASCII where the encoding or the terminal holds no more."""
    encoding = (getattr(stream, "encoding", "") or "").lower().replace("-", "")
    unicode = encoding.startswith("utf") and os.environ.get("TERM") not in ("linux", "dumb")
    return UNICODE if unicode else ASCII


def is_terminal(stream: TextIO) -> bool:
    """One that can move its cursor: `TERM=dumb` gets plain lines."""
    try:
        return stream.isatty() and os.environ.get("TERM", "") != "dumb"
    except ValueError:  # closed
        return False


def duration(seconds: float) -> str:
    """`0.4s`, `12s`, `1m41s`, `3h02m`."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m" if whole < 86400 else f"{whole // 86400}d"


def ago(at: str, now: float) -> str:
    """`2m ago`; the text itself when it is no time. `now` is wall-clock seconds."""
    moment = parse(at)
    if moment is None:
        return at
    passed = max(0, int(now - moment.timestamp()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if passed >= size:
            return f"{passed // size}{unit} ago"
    return f"{passed}s ago" if passed else "just now"


def moment(at: str) -> str:
    """`2026-03-01 08:41:10`, local time."""
    found = parse(at)
    return found.astimezone().strftime("%Y-%m-%d %H:%M:%S") if found else at


def clock(at: str) -> str:
    """`08:41:10`, local time."""
    found = parse(at)
    return found.astimezone().strftime("%H:%M:%S") if found else at[:8]


def parse(at: str) -> datetime | None:
    """None for what is no time: state may hold anything."""
    try:
        found = datetime.fromisoformat(at)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def size(count: int) -> str:
    """Bytes: `812 B`, `4.1 kB`, `2.0 MB`."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
