"""What a person decides about each step of a deletion plan, and what comes of it: the fate of every step, in words.

Pure. Undecided is skip: only what somebody said goes. Neighbours: `deletions` makes the plan, `drafts` keeps decisions
on disk and compares plans, `effects` says what a step would do; the engine carries out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from alchemy.errors import Refused, StateInvalid
from alchemy.model.canonical import Json
from alchemy.model.deletions import PROTECTED, UNFINISHED, Deletion, DeletionPlan
from alchemy.model.text import safe_text
from alchemy.model.values import Action, Status


class Choice(StrEnum):
    DESTROY = "destroy"  # what the plan says: the object goes, or its row alone when it is not ours to delete
    KEEP = "keep"  # for good: collection and destroy pass over it until that is undone
    SKIP = "skip"  # asked again next time
    FORGET = "forget"  # the row goes, the object stays


class Fate(StrEnum):
    RUNS = "runs"
    KEPT = "kept"
    FORGOTTEN = "forgotten"
    SKIPPED = "skipped"
    BLOCKED = "blocked"
    HELD = "held"  # would run, and something that uses it stays
    BEYOND = "beyond"  # behind the step that the run stops before


STAYS = frozenset(Fate) - {Fate.RUNS, Fate.FORGOTTEN}


@dataclass(frozen=True, slots=True)
class Decisions:
    """Of one plan, by row key. Undo is an earlier value."""

    fingerprint: str
    choices: Mapping[str, Choice] = field(default_factory=dict)
    breakpoints: frozenset[str] = frozenset()
    stop_before: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", MappingProxyType(dict(self.choices)))

    def decide(self, keys: Iterable[str], choice: Choice | None) -> Decisions:
        """None takes it back."""
        keys = list(keys)
        left = {key: said for key, said in self.choices.items() if key not in keys}
        return replace(self, choices=left | (dict.fromkeys(keys, choice) if choice else {}))

    def mark(self, key: str) -> Decisions:
        """Sets a breakpoint before this step, or takes it away."""
        return replace(self, breakpoints=self.breakpoints ^ {key})

    def to_json(self) -> dict[str, Json]:
        return {
            "fingerprint": self.fingerprint,
            "choices": {key: str(choice) for key, choice in sorted(self.choices.items())},
            "breakpoints": sorted(self.breakpoints),
            "stop_before": self.stop_before,
        }

    @classmethod
    def from_json(cls, data: Any) -> Decisions:
        """StateInvalid says what is wrong; nothing is guessed, and nothing unknown is passed over."""
        fields = object_of(data, "decisions", {"fingerprint", "choices", "breakpoints", "stop_before"})
        choices = fields["choices"]
        if not isinstance(choices, dict):
            raise malformed("decisions.choices is no object")
        said: dict[str, Choice] = {}
        for key, choice in choices.items():
            if choice not in tuple(Choice):
                raise malformed(f"{address_of(key)}: {choice!r:.40} is not one of {', '.join(Choice)}")
            said[key] = Choice(choice)
        marks = fields["breakpoints"]
        if not isinstance(marks, list) or not all(isinstance(key, str) for key in marks):
            raise malformed("decisions.breakpoints is no list of texts")
        texts = [text_of(fields, name, "decisions") for name in ("fingerprint", "stop_before")]
        return cls(texts[0], said, frozenset(marks), texts[1])


@dataclass(frozen=True, slots=True)
class DecidedStep:
    """`why`: of this fate, "" where the choice says it all. `unblock`: what makes a blocked step possible."""

    step: Deletion
    number: int  # from 1, in the order in which they run
    choice: Choice | None
    fate: Fate
    why: str = ""
    unblock: str = ""
    breakpoint: bool = False

    @property
    def key(self) -> str:
        return self.step.row.key

    @property
    def address(self) -> str:
        return self.step.address

    def to_json(self) -> dict[str, Json]:
        return {
            "number": self.number,
            "address": self.address,
            "kind": self.step.kind,
            "action": str(self.step.action),
            "reason": self.step.reason,
            "choice": str(self.choice) if self.choice else None,
            "fate": str(self.fate),
            "why": self.why,
            "unblock": self.unblock,
            "breakpoint": self.breakpoint,
        }


@dataclass(frozen=True, slots=True)
class DecidedPlan:
    plan: DeletionPlan
    decisions: Decisions
    steps: tuple[DecidedStep, ...]

    @property
    def by_key(self) -> dict[str, DecidedStep]:
        return {step.key: step for step in self.steps}

    @property
    def undecided(self) -> tuple[DecidedStep, ...]:
        return tuple(step for step in self.steps if step.choice is None)

    @property
    def idle(self) -> bool:
        """Nothing would be done."""
        return not any(step.fate in (Fate.RUNS, Fate.KEPT, Fate.FORGOTTEN) for step in self.steps)

    @property
    def scopes(self) -> tuple[tuple[str, str], ...]:
        """(scope row that empties out when everything goes, why it stays all the same), deepest first."""
        stays = [step for step in self.steps if step.fate in STAYS]
        return tuple((path, _filled(path, stays)) for path in self.plan.scopes)


def apply(plan: DeletionPlan, decisions: Decisions) -> DecidedPlan:
    """Refused when the decisions were made on another plan, or name what is not in it."""
    steps = plan.deletions
    if decisions.fingerprint != plan.fingerprint:
        raise Refused(
            f"{plan.scope}: these decisions were made on another plan",
            hint=f"`alchemy scope cleanup {plan.scope} --dry-run` shows what it is now",
        )
    _refuse_strangers(plan.scope, {step.row.key for step in steps}, decisions)
    fates: dict[str, tuple[Fate, str]] = {}
    beyond = ""
    for step in steps:
        if step.row.key == decisions.stop_before:
            beyond = f"the run stops before {step.address}"
        fates[step.row.key] = (Fate.BEYOND, beyond) if beyond else _wanted(step, decisions.choices.get(step.row.key))
    _hold_back(steps, fates)
    return DecidedPlan(plan, decisions, tuple(_decided(n, step, decisions, fates) for n, step in enumerate(steps, 1)))


def everything(plan: DeletionPlan) -> Decisions:
    """Every step is to run."""
    return Decisions(plan.fingerprint, {step.row.key: Choice.DESTROY for step in plan.deletions})


def foreseen(plan: DeletionPlan) -> tuple[Deletion, ...]:
    """The steps as they would end if everything is to go: what is held back counts as blocked, and says by whom."""
    held = {step.key: step.why for step in apply(plan, everything(plan)).steps if step.fate is Fate.HELD}
    return tuple(replace(step, blocked=held.get(step.row.key, step.blocked)) for step in plan.deletions)


def _refuse_strangers(scope: str, known: set[str], decisions: Decisions) -> None:
    said = {*decisions.choices, *decisions.breakpoints, *([decisions.stop_before] if decisions.stop_before else [])}
    strange = sorted(said - known)
    if strange:
        named = ", ".join(address_of(key) for key in strange)
        raise Refused(
            f"{scope}: no step of the plan is about {safe_text(named, 300)}",
            hint=f"`alchemy scope cleanup {scope} --dry-run` lists the steps",
        )


def _wanted(step: Deletion, choice: Choice | None) -> tuple[Fate, str]:
    if choice is Choice.KEEP:
        if step.row.former:
            raise Refused(
                f"{step.address}: an incarnation that was replaced is not kept: its successor has the address",
                hint="skip it, or forget it",
            )
        return Fate.KEPT, ""
    if choice is Choice.FORGET:
        return Fate.FORGOTTEN, ""
    if choice is Choice.SKIP:
        return Fate.SKIPPED, ""
    if step.blocked:
        return Fate.BLOCKED, step.blocked
    return (Fate.RUNS, "") if choice is Choice.DESTROY else (Fate.SKIPPED, "not decided")


def _hold_back(steps: tuple[Deletion, ...], fates: dict[str, tuple[Fate, str]]) -> None:
    """What a step that stays uses stays too, and what that uses: until nothing changes, also in circles."""
    at: dict[str, list[Deletion]] = {}
    for step in steps:
        at.setdefault(step.address, []).append(step)
    todo = [step for step in steps if fates[step.row.key][0] in STAYS]
    while todo:
        stays = todo.pop()
        held = [
            (other, f"still used by {stays.address}") for need in stays.row.depends_on for other in at.get(need, ())
        ]
        held = [(other, why) for other, why in held if other.address != stays.address]
        if not stays.row.former and stays.row.status is not Status.READY:  # the old one may be all there is
            held += [(other, UNFINISHED) for other in at[stays.address] if other.row.former]
        for other, why in held:
            if fates[other.row.key][0] is Fate.RUNS and other.action is Action.DELETE:
                fates[other.row.key] = (Fate.HELD, why)
                todo.append(other)


def _decided(number: int, step: Deletion, decisions: Decisions, fates: dict[str, tuple[Fate, str]]) -> DecidedStep:
    fate, why = fates[step.row.key]
    choice = decisions.choices.get(step.row.key)
    return DecidedStep(step, number, choice, fate, why, unblock(step), step.row.key in decisions.breakpoints)


def unblock(step: Deletion) -> str:
    """What to do so that a blocked step can run; "" where its reason says it, and where nothing is in the way."""
    if step.blocked == PROTECTED:
        return (
            "declare it with protect=False and deploy; or `alchemy scope keep ADDRESS`; or `alchemy scope rm ADDRESS`"
        )
    if step.blocked == UNFINISHED:
        return "deploy again: that finishes the replacement"
    if step.blocked.startswith("still used by "):
        user = step.blocked.removeprefix("still used by ")
        return f"deploy {user} without it, or destroy {user} first"
    return ""


def _filled(path: str, stays: list[DecidedStep]) -> str:
    for step in stays:
        if step.address.startswith(f"{path}/"):
            return f"{step.address} {'stays' if step.choice else 'is not decided'}"
    return ""


# -- reading what somebody may have edited


def address_of(key: str) -> str:
    """A row key as people read it."""
    address, former, generation = key.partition("\x00")
    return f"{address} (generation {generation})" if former else address


def malformed(why: str) -> StateInvalid:
    return StateInvalid(f"not a draft of decisions: {safe_text(why, 300)}", hint="make a new one: --dry-run --out FILE")


def object_of(data: Any, name: str, wanted: set[str]) -> dict[str, Any]:
    """With exactly these fields."""
    if not isinstance(data, dict):
        raise malformed(f"{name} is no object")
    wrong = sorted(wanted ^ data.keys())
    if wrong:
        raise malformed(f"{name}.{wrong[0]} is {'missing' if wrong[0] in wanted else 'unknown'}")
    return data


def text_of(data: dict[str, Any], name: str, where: str) -> str:
    if not isinstance(data[name], str):
        raise malformed(f"{where}.{name} is no text")
    return str(data[name])
