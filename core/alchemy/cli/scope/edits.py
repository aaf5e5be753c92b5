"""`alchemy scope validate SCOPE --accept-edit`: what was written into files by hand is shown, and taken over."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from alchemy.cli.options import Given

if TYPE_CHECKING:
    from alchemy.model.changes import Difference
    from alchemy.operations.accepting import EditPlan

LONGEST = 160  # characters of a value


def accept(given: Given, scope: str, only: tuple[str, ...], *, yes: bool) -> None:
    """Asks for the last part of the path unless `yes`."""
    import asyncio

    from alchemy.cli import consent
    from alchemy.cli.terminal import counted
    from alchemy.operations.accepting import accept_edits, plan_edits

    plan = plan_edits(given.store, scope, only)
    _show(given, plan)
    consent.ask(plan.owner.name, f"accept {counted(len(plan.edits), 'edit')} in {plan.owner}", yes=yes)
    done = asyncio.run(accept_edits(given.store, plan, given.options()))
    if not given.quiet:
        undo = f"; `alchemy scope restore {done.owner} --backup {done.before}` undoes it" if done.before else ""
        sys.stderr.write(f"{counted(len(done.accepted), 'edit')} accepted in {done.owner}{undo}\n")


def _show(given: Given, plan: EditPlan) -> None:
    from alchemy.cli.pages import Page

    page = Page(plain=given.plain)
    for edit in plan.edits:
        page.say((f"{page.signs.update} ", "warn"), (edit.subject, "title"), (f"  {edit.file}", "dim"))
        for difference in edit.differences:
            page.say(f"    {difference.path}  ", ("stored ", "dim"), _side(difference, edited=False))
            page.say(" " * (6 + len(difference.path)), ("edited ", "dim"), _side(difference, edited=True))
    page.say((f"  {page.signs.arrow} the next deploy looks in the cloud before it believes them", "dim"))
    page.show()


def _side(difference: Difference, *, edited: bool) -> str:
    from alchemy.cli.wording import value_text
    from alchemy.model.masking import MASKED, Sealed

    there, value = (difference.will, difference.after) if edited else (difference.was, difference.before)
    if not there:
        return "not there"
    return MASKED if isinstance(value, Sealed) else value_text(value, LONGEST)
