"""What is going to be deleted, step by step on stderr, before anybody is asked: by `destroy` and `scope cleanup`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from alchemy.cli import wording
from alchemy.cli.terminal import counted, signs
from alchemy.cli.tones import coloured, joined
from alchemy.model.decisions import foreseen
from alchemy.model.text import safe_text

if TYPE_CHECKING:
    from alchemy.model.deletions import Deletion, DeletionPlan


def show(plans: Sequence[DeletionPlan], what: str, *, reasons: bool = False, quiet: bool = False) -> bool:
    """False when nothing will go. `what`: "to destroy"; `reasons` says of each step why. `quiet`: only tells."""
    marks, colour = signs(sys.stderr), coloured(sys.stderr)
    steps = [step for plan in plans for step in foreseen(plan)]
    if quiet:
        return bool(steps)
    for step in steps:
        action = str(step.action)
        glyph, tone = wording.sign(marks, action), wording.TONES.get(action, "dim")
        row = wording.row(glyph, action, tone, step.address, wording.short_kind(step.kind), _why(step, reasons))
        say(joined(row, colour=colour))
    for address in (address for plan in plans for address in plan.kept):
        say(joined(wording.row(marks.keep, "keep", "dim", address, "kept by an operator"), colour=colour))
    if steps:
        say(f"  {counted(len(steps), 'resource')} {what}")
    return bool(steps)


def nothing(plans: Sequence[DeletionPlan], otherwise: str) -> str:
    """What is said where nothing will go: `otherwise`, or that somebody keeps what there is."""
    kept = [safe_text(address, 200) for plan in plans for address in plan.kept]
    return f"nothing else: {len(kept):,} kept: {wording.kept_words(kept)}" if kept else otherwise


def _why(step: Deletion, reasons: bool) -> str:
    blocked = f"blocked: {step.blocked}" if step.blocked else ""
    return "; ".join(text for text in (step.reason if reasons else "", blocked) if text)


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
