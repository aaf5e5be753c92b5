"""Decisions that outlive the process: a draft knows the steps it was made on, so that what changed since has a name.

Pure; the bytes are JSON that anybody may edit, so reading is strict. Neighbours: `decisions` is what is drafted, the
command line and the dashboard write the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from alchemy.errors import Refused
from alchemy.model.canonical import Json
from alchemy.model.decisions import Choice, Decisions, address_of, malformed, object_of, text_of
from alchemy.model.deletions import DeletionPlan
from alchemy.model.strict import NotStrict, parse
from alchemy.model.text import safe_text

FORMAT = 1
SURVIVORS = ("declared", "nothing")
_NAMED = 8  # changes in one message


@dataclass(frozen=True, slots=True)
class DraftedStep:
    """A step as it was: whose, which object, and what stood in its way."""

    key: str
    identity: str
    blocked: str


@dataclass(frozen=True, slots=True)
class Draft:
    """`survivors`: "declared" is a cleanup, "nothing" a destroy."""

    scope: str
    survivors: str
    decisions: Decisions
    steps: tuple[DraftedStep, ...]

    def to_json(self) -> dict[str, Json]:
        steps = [{"key": step.key, "identity": step.identity, "blocked": step.blocked} for step in self.steps]
        return {
            "format": FORMAT,
            "type": "decisions",
            "scope": self.scope,
            "survivors": self.survivors,
            "decisions": self.decisions.to_json(),
            "steps": steps,
        }

    @classmethod
    def from_json(cls, data: Any) -> Draft:
        if isinstance(data, dict) and data.get("type") == "decisions" and data.get("format") != FORMAT:
            raise malformed(f"format {data.get('format')!r:.20} is not {FORMAT}, which this version reads")
        fields = object_of(data, "draft", {"format", "type", "scope", "survivors", "decisions", "steps"})
        if fields["type"] != "decisions":
            raise malformed("type is not 'decisions'")
        if fields["survivors"] not in SURVIVORS:
            raise malformed(f"survivors is not one of {', '.join(SURVIVORS)}")
        if not isinstance(fields["steps"], list):
            raise malformed("steps is no list")
        steps = []
        for number, item in enumerate(fields["steps"], 1):
            given = object_of(item, f"steps.{number}", {"key", "identity", "blocked"})
            steps.append(DraftedStep(**{name: text_of(given, name, f"steps.{number}") for name in given}))
        decisions = Decisions.from_json(fields["decisions"])
        return cls(text_of(fields, "scope", "draft"), fields["survivors"], decisions, tuple(steps))

    @classmethod
    def parse(cls, data: bytes) -> Draft:
        try:
            return cls.from_json(parse(data))
        except NotStrict as error:
            raise malformed(f"line {error.line}: {error}" if error.line else str(error)) from error


def draft(plan: DeletionPlan, survivors: str, decisions: Decisions) -> Draft:
    steps = tuple(DraftedStep(step.row.key, step.identity, step.blocked) for step in plan.deletions)
    return Draft(plan.scope, survivors, decisions, steps)


def changes(then: Draft, plan: DeletionPlan) -> list[str]:
    """How the steps of `plan` differ from those that `then` was made on, each in words; empty when they do not."""
    before = {step.key: step for step in then.steps}
    now = {step.row.key: step for step in plan.deletions}
    stays = {key: "is kept now" if key in plan.kept else "is no longer to go" for key in before if key not in now}
    said = [f"{address_of(key)} {why}" for key, why in stays.items()]
    for key, step in now.items():
        known = before.get(key)
        if known is None:
            said.append(f"{address_of(key)} is to go too ({step.reason})")
        elif known.identity != step.identity:
            said.append(f"{address_of(key)} is another object, or is treated otherwise")
        elif known.blocked != step.blocked:
            said.append(f"{address_of(key)}: {step.blocked or f'no longer blocked: {known.blocked}'}")
    return said


def refuse_changes(then: Draft, plan: DeletionPlan) -> None:
    """Refused names what differs, when anything does."""
    said = changes(then, plan)
    if not said and then.decisions.fingerprint != plan.fingerprint:
        said = ["which scopes empty out, or what is kept"]
    if said:
        raise _refused(then.scope, said)


def go_on(then: Draft, plan: DeletionPlan, still_there: Callable[[str], bool]) -> Decisions:
    """The decisions of a draft for what is left of it.

    What it said is to go, be forgotten or be kept may be done by now; what no longer stands in the way is no change.
    Anything else that differs is Refused, and named. `still_there(key)`: the row is stored and not kept.
    """
    now = {step.row.key: step for step in plan.deletions}
    before = {step.key: step for step in then.steps}
    choices = then.decisions.choices
    carried_out = {key for key in before if key not in now and choices.get(key, Choice.SKIP) is not Choice.SKIP}
    kept_since = {key for key in plan.kept if choices.get(key) is not Choice.KEEP}  # by somebody, not by the draft
    done = {key for key in carried_out - kept_since if not still_there(key)}
    left = replace(then, steps=tuple(_unblocked(step, now) for step in then.steps if step.key not in done))
    said = changes(left, plan)
    if said:
        raise _refused(then.scope, said)
    marks = then.decisions.breakpoints - done
    stop = then.decisions.stop_before
    kept = {key: choice for key, choice in choices.items() if key in now}
    return Decisions(plan.fingerprint, kept, marks, stop if stop in now else "")


def _unblocked(step: DraftedStep, now: dict[str, Any]) -> DraftedStep:
    found = now.get(step.key)
    return replace(step, blocked="") if found is not None and not found.blocked else step


def _refused(scope: str, said: list[str]) -> Refused:
    more = f"; and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    return Refused(
        f"{scope} changed since these decisions were made: {safe_text('; '.join(said[:_NAMED]), 1200)}{more}",
        hint=f"nothing was done: look and decide again: `alchemy scope cleanup {scope} --step`",
    )
