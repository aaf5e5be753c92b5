"""The filter language of the tree: `api is:orphan kind:worker lock:stale age>7d -is:ok a|b`.

Words are joined by *and*, `|` inside a word is *or*, a leading `-` turns a word round. What cannot be understood is
said, never guessed. Neighbours: `tree_model` asks a Filter about each row.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches

from alchemy.operations.shapes import Health, LockView, ResourceNode, ScopeNode, Verdict

Node = ScopeNode | ResourceNode


@dataclass(frozen=True, slots=True)
class Subject:
    """One row as the filter sees it."""

    path: str  # as shown, with its scope
    name: str  # the last part, lower case
    node: Node
    lock: LockView | None
    now: float  # seconds since 1970


Test = Callable[[Subject], bool]
_HEALTH = {str(health): health for health in Health}
_VERDICTS = {str(verdict): verdict for verdict in Verdict}
_FINE = (Health.OK, Health.WORKING)
_FLAGS: dict[str, Test] = {
    "locked": lambda s: s.lock is not None and s.lock.verdict != Verdict.FREE,
    "adopted": lambda s: isinstance(s.node, ResourceNode) and s.node.state.adopted,
    "kept": lambda s: isinstance(s.node, ResourceNode) and s.node.state.kept,
    "retained": lambda s: isinstance(s.node, ResourceNode) and s.node.state.retain,
    "protected": lambda s: isinstance(s.node, ResourceNode) and s.node.state.protect,
    "former": lambda s: isinstance(s.node, ResourceNode) and s.node.state.former,
    "scope": lambda s: isinstance(s.node, ScopeNode),
    "resource": lambda s: isinstance(s.node, ResourceNode),
    "problem": lambda s: (
        s.node.health not in (Health.OK, Health.WORKING) or bool(s.lock and s.lock.verdict == Verdict.STALE)
    ),
}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGE = re.compile(r"age([<>])(\d+)([smhdw])")
FIELDS = ("is:", "kind:", "lock:", "age>", "age<")


@dataclass(frozen=True, slots=True)
class Filter:
    """`problem` says what could not be understood; such words match everything, so nothing hides unexplained."""

    text: str = ""
    tests: tuple[Test, ...] = ()
    problem: str = ""

    @property
    def active(self) -> bool:
        return bool(self.tests)

    def matches(self, subject: Subject) -> bool:
        return all(test(subject) for test in self.tests)


def parse(text: str) -> Filter:
    tests: list[Test] = []
    problems: list[str] = []
    for word in text.split():
        alternatives: list[Test] = []
        for part in word.split("|"):
            inverse = len(part) > 1 and part[0] in "-!"
            test, problem = _parse_word(part[1:] if inverse else part)
            if problem:
                problems.append(problem)
            if test:
                alternatives.append(_negated(test) if inverse else test)
        if alternatives:
            tests.append(alternatives[0] if len(alternatives) == 1 else _any_of(alternatives))
    return Filter(text=text.strip(), tests=tuple(tests), problem="; ".join(problems))


def _parse_word(word: str) -> tuple[Test | None, str]:
    low = word.lower()
    if not low:
        return None, ""
    field, colon, value = low.partition(":")
    if colon and field == "is":
        return _flag(value)
    if colon and field == "lock":
        if not value:
            return _FLAGS["locked"], ""
        if value in _VERDICTS:
            verdict = _VERDICTS[value]
            return (lambda s: s.lock is not None and s.lock.verdict == verdict), ""
        return None, _unknown("lock:", value, list(_VERDICTS))
    if colon and field == "kind":
        return (lambda s: value in _kind(s.node)), ""
    if low.startswith(("age>", "age<")):
        match = _AGE.fullmatch(low)
        if not match:
            return None, "age wants a number and a unit: age>7d, age<30m"
        return _age(match[1], int(match[2]) * _UNITS[match[3]]), ""
    if "/" in low:
        return (lambda s: low in s.path.lower()), ""
    return (lambda s: low in s.name), ""


def _flag(value: str) -> tuple[Test | None, str]:
    if value in _HEALTH:
        health = _HEALTH[value]
        return (lambda s: s.node.health == health), ""
    if value in _FLAGS:
        return _FLAGS[value], ""
    if not value:
        return None, ""
    return None, _unknown("is:", value, [*_HEALTH, *_FLAGS])


def _unknown(field: str, value: str, known: list[str]) -> str:
    if any(word.startswith(value) for word in known):
        return ""  # still being typed
    close = get_close_matches(value, known, 1)
    return f"{field}{value} is unknown; " + (f"try {field}{close[0]}" if close else f"known: {' '.join(known)}")


def _kind(node: Node) -> str:
    return (str(node.kind) if isinstance(node, ScopeNode) else node.state.kind).lower()


def _age(sign: str, limit: float) -> Test:
    def test(subject: Subject) -> bool:
        node = subject.node
        stamp = node.state.created_at if isinstance(node, ResourceNode) else node.row.created_at if node.row else ""
        try:
            moment = datetime.fromisoformat(stamp)
        except ValueError:
            return False
        passed = subject.now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        return passed > limit if sign == ">" else passed < limit

    return test


def _negated(test: Test) -> Test:
    return lambda subject: not test(subject)


def _any_of(tests: list[Test]) -> Test:
    return lambda subject: any(test(subject) for test in tests)
