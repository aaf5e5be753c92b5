"""Which backups stay: the union of a few rules, and what no rule keeps goes. Pure.

Neighbours: the project file sets the rules (`settings`), `store.backups` removes what is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Retention:
    """The newest `last`, and the newest of each of so many days, weeks and months that have one."""

    last: int = 10
    daily: int = 7
    weekly: int = 4
    monthly: int = 6


@dataclass(frozen=True, slots=True)
class Kept:
    """What the rules look at. Only `seq` orders; `taken` says which day it belongs to, in UTC."""

    name: str
    seq: int
    taken: str
    pinned: bool = False
    valid: bool = True
    lineage: str = ""  # another one is another history: its numbers say nothing about ours


@dataclass(frozen=True, slots=True)
class Pruning:
    """`keep` says which rules keep each; `remove` is oldest first. Damaged ones are in neither: people decide."""

    keep: dict[str, tuple[str, ...]] = field(default_factory=dict)
    remove: tuple[str, ...] = ()


def plan_pruning(copies: Iterable[Kept], rules: Retention) -> Pruning:
    """The newest valid one of each history always stays, whatever the rules say."""
    histories: dict[str, list[Kept]] = {}
    for copy in copies:
        if copy.valid:
            histories.setdefault(copy.lineage, []).append(copy)
    keep: dict[str, tuple[str, ...]] = {}
    remove: list[str] = []
    for found in histories.values():
        found.sort(key=lambda copy: (copy.seq, copy.name), reverse=True)
        reasons = _reasons(found, rules)
        keep |= {name: tuple(why) for name, why in reasons.items() if why}
        remove += [copy.name for copy in reversed(found) if not reasons[copy.name]]
    return Pruning(keep, tuple(remove))


def _reasons(newest_first: list[Kept], rules: Retention) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {copy.name: ["pinned"] if copy.pinned else [] for copy in newest_first}
    for copy in newest_first[: max(1, rules.last)]:
        reasons[copy.name].append("last")
    for rule, count, period in (
        ("daily", rules.daily, _day),
        ("weekly", rules.weekly, _week),
        ("monthly", rules.monthly, _month),
    ):
        for copy in _newest_of_each(newest_first, count, period):
            reasons[copy.name].append(rule)
    return reasons


def _newest_of_each(newest_first: list[Kept], count: int, period: Callable[[datetime], object]) -> list[Kept]:
    found: dict[object, Kept] = {}
    for copy in newest_first:
        moment = _moment(copy.taken)
        if moment is not None and len(found) < count:
            found.setdefault(period(moment), copy)
    return list(found.values())


def _moment(taken: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(taken)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _day(moment: datetime) -> object:
    return moment.date()


def _week(moment: datetime) -> object:
    return moment.isocalendar()[:2]


def _month(moment: datetime) -> object:
    return moment.year, moment.month
