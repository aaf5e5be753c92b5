"""`alchemy scope cleanup --step`: one step at a time on a plain terminal, with all that is known of it.

Nothing is done while it asks. A bare Enter decides nothing. Neighbours: `deciding` calls this and goes on from there,
`model.effects` says what a step would do.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from alchemy.cli import consent, wording
from alchemy.cli.options import Given
from alchemy.cli.terminal import counted
from alchemy.cli.tones import Line, coloured, joined, line
from alchemy.errors import Refused
from alchemy.model.decisions import Choice, DecidedStep, Decisions, Fate, address_of, apply
from alchemy.model.effects import effects
from alchemy.operations.deciding import Finalization

_CHOICES = {"d": Choice.DESTROY, "k": Choice.KEEP, "s": Choice.SKIP, "f": Choice.FORGET}
_PROMPT = "d destroy  k keep  s skip  f forget  a all alike  u undo  q quit  ? help: "
_HELP = (
    "  d  destroy: as shown; nothing is done before everything is decided and you have typed the scope's name",
    "  k  keep: for good; cleanup and destroy pass over it until `alchemy scope keep ADDRESS --undo`",
    "  s  skip: it stays, and is asked about again next time",
    "  f  forget: its row goes, the object stays where it is",
    "  a  the same for all of this kind that are not decided: ad, ak, as, af",
    "  u  undo: back to the step before",
    "  q  quit: what is decided is saved as a draft, nothing is done",
)
_LABEL = 9  # cells


def ask_steps(given: Given, plan: Finalization, decisions: Decisions) -> tuple[Decisions, bool]:
    """(what was decided, whether to go on to carrying it out). Steps that are decided already are not asked about."""
    said = _Asking(given, plan, decisions)
    going = said.all()
    return said.decisions, going


class _Asking:
    def __init__(self, given: Given, plan: Finalization, decisions: Decisions) -> None:
        self.plan = plan
        self.decisions = decisions
        self.earlier: list[Decisions] = []
        self.colour = coloured(sys.stderr, plain=given.plain)

    def all(self) -> bool:
        total = len(self.plan.plan.deletions)
        self._say(line(f"{self.plan.path}: {counted(total, 'step')}, dependents first; deciding does nothing yet"))
        while True:
            undecided = apply(self.plan.plan, self.decisions).undecided
            if not undecided:
                return True
            self._show(undecided[0], total)
            try:
                if not self._decide(undecided[0]):
                    return False
            except KeyboardInterrupt:
                self._say(line())
                self._say(line(("nothing was done, nothing was saved", "warn")))
                raise

    def _decide(self, step: DecidedStep) -> bool:
        """False: quit."""
        while True:
            typed = consent.typed(_PROMPT)
            if typed is None or typed == "q":  # the input has ended
                return False
            if typed == "u":
                if self.earlier:
                    self.decisions = self.earlier.pop()
                    return True
                self._say(line(("  this is the first step", "warn")))
            elif typed == "a":
                self._say(line(f"  a with the decision: ad, ak, as or af, for {self._alike_words(step)}"))
            elif typed in _CHOICES:
                if self._take([step], _CHOICES[typed]):
                    return True
            elif len(typed) == 2 and typed[0] == "a" and typed[1] in _CHOICES:
                if self._take(self._alike(step), _CHOICES[typed[1]]):
                    return True
            else:
                for text in _HELP if typed == "?" else ("  ? explains the keys; nothing was decided",):
                    self._say(line(text))

    def _take(self, steps: list[DecidedStep], choice: Choice) -> bool:
        """False when it cannot be decided so; then why is said."""
        blocked = [step for step in steps if choice is Choice.DESTROY and step.step.blocked]
        if blocked and len(blocked) == len(steps):
            self._say(line((f"  it cannot be destroyed now: {_obstacle(blocked[0])}", "warn")))
            return False
        wanted = [step.key for step in steps if step not in blocked]
        after = self.decisions.decide(wanted, choice)
        try:
            apply(self.plan.plan, after)
        except Refused as error:
            self._say(line((f"  {error.message}: {error.hint}", "warn")))
            return False
        self.earlier.append(self.decisions)
        self.decisions = after
        return True

    def _alike(self, step: DecidedStep) -> list[DecidedStep]:
        def like(other: DecidedStep) -> tuple[object, ...]:
            return other.step.kind, other.step.action, other.step.row.former

        undecided = apply(self.plan.plan, self.decisions).undecided
        return [other for other in undecided if like(other) == like(step)]

    def _alike_words(self, step: DecidedStep) -> str:
        return f"{counted(len(self._alike(step)), 'step')} of the kind {wording.short_kind(step.step.kind)}"

    # -- showing

    def _show(self, step: DecidedStep, total: int) -> None:
        for said in self._lines(step, total):
            self._say(said)

    def _lines(self, step: DecidedStep, total: int) -> Iterator[Line]:
        """As it would be if it were destroyed, with what was decided before it."""
        decided = apply(self.plan.plan, self.decisions.decide([step.key], Choice.DESTROY))
        if_destroyed, told = decided.by_key[step.key], effects(decided, step.key)
        kind = wording.short_kind(step.step.kind)
        yield line()
        what = f"step {step.number} of {total}  {step.step.action}  "
        yield line((what, "dim"), (address_of(step.key), "title"), f"  {kind}")
        yield _row("why", step.step.reason)
        yield _row("call", told.call or "none: the object is not ours to delete, only its row goes")
        yield from _rows("used by", told.used_by, "nothing in this plan")
        yield from _rows("uses", told.uses, "")
        if if_destroyed.fate is Fate.HELD:
            yield _row("held", f"{if_destroyed.why}: destroy that too, or this stays", "warn")
        if if_destroyed.fate is Fate.BLOCKED:
            yield _row("BLOCKED", _obstacle(if_destroyed), "warn")
        elif told.call:
            yield _row("lost", told.lost, "bad")
        for number, text in enumerate(told.after):
            yield _row("" if number else "after", text)
        if step.step.row.error:
            yield _row("last time", step.step.row.error, "warn")

    def _say(self, pieces: Line) -> None:
        sys.stderr.write(joined(pieces, colour=self.colour) + "\n")


def _obstacle(step: DecidedStep) -> str:
    return "; ".join(text for text in (step.step.blocked, step.unblock) if text)


def _row(label: str, text: str, tone: str = "") -> Line:
    return line((f"  {label:<{_LABEL}} ", "dim"), (text, tone))


def _rows(label: str, found: tuple[DecidedStep, ...], nothing: str) -> Iterator[Line]:
    if found or nothing:
        named = ", ".join(f"{address_of(step.key)} ({_word(step)})" for step in found)
        yield _row(label, named or nothing)


def _word(step: DecidedStep) -> str:
    if step.choice is None and step.fate is Fate.SKIPPED:
        return "not decided"
    return {Fate.RUNS: "goes", Fate.HELD: "held back", Fate.BEYOND: "later"}.get(step.fate, str(step.fate))
