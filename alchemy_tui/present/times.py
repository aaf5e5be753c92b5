"""Times and durations in words. Stored times are ISO-8601 UTC; what is shown is local and short."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from alchemy.errors import UsageError
from alchemy.model.text import safe_text

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_LASTING = re.compile(r"([1-9][0-9]{0,5})([mhd])")


def parse(stamp: str) -> datetime | None:
    """None for what is not a time: state may hold anything."""
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def seconds_since(stamp: str, now: float) -> float | None:
    moment = parse(stamp)
    return None if moment is None else max(0.0, now - moment.timestamp())


def duration(seconds: float) -> str:
    """`0.4s`, `12s`, `1m41s`, `3h02m`, `12d`."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d"


def age(seconds: float) -> str:
    """Coarser than `duration`: one unit."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 86400:
        return f"{whole // 3600}h"
    return f"{whole // 86400}d"


def ago(stamp: str, now: float) -> str:
    """`2h ago`, or the text itself when it is no time, or nothing when there is none."""
    passed = seconds_since(stamp, now)
    if passed is None:
        return stamp
    return "just now" if passed < 1 else f"{age(passed)} ago"


def clock(stamp: str) -> str:
    """`08:56:02`, local."""
    moment = parse(stamp)
    return moment.astimezone().strftime("%H:%M:%S") if moment else stamp[:8]


def exact(stamp: str) -> str:
    """`2026-09-20 08:41:10`, local."""
    moment = parse(stamp)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else stamp


def lasting(text: str) -> float:
    """Seconds of `30m`, `2h`, `1d`; 0 for nothing. UsageError for anything else."""
    if not text:
        return 0.0
    found = _LASTING.fullmatch(text)
    if found is None:
        raise UsageError(
            f"it is reserved for minutes, hours or days, not for {safe_text(text, 40)!r}",
            hint="30m, 2h, 1d; or nothing",
        )
    return float(int(found[1]) * _UNITS[found[2]])
