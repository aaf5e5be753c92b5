"""`alchemy plan`: what deploy would do, attribute by attribute. Takes no lock, calls nothing, writes nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from alchemy.cli.options import Command, Given, as_json, shared

if TYPE_CHECKING:
    from alchemy.cli.pages import Page
    from alchemy.cli.running import Ran
    from alchemy.engine.session import Run
    from alchemy.model.changes import Change, Difference
    from alchemy.model.deletions import Deletion

LONGEST = 160  # characters of a value in a diff
_UNKNOWN = "(known after deploy)"


@click.command(cls=Command)
@click.argument("program", required=False)
@click.option("--stage", default="", metavar="NAME", help="The stage, where the program leaves it open.")
@click.option("--detailed-exitcode", is_flag=True, help="0: no changes, 2: changes, 1: anything else.")
@as_json
@shared
def plan(given: Given, program: str | None, stage: str, detailed_exitcode: bool, json_: bool) -> None:
    """Show what `alchemy deploy` would do with PROGRAM (default: alchemy_run.py).

    The program runs, acting on nothing: outputs that only a deploy can know print as placeholders.
    """
    from alchemy.cli.failures import Ended
    from alchemy.cli.pages import Page, show_json
    from alchemy.cli.running import program_of, run

    path = program_of(given, program)
    ran = run(given, path, phase="plan", stage=stage, prints_to_stderr=True)
    if json_:
        show_json(document(ran))
    else:
        page = Page(plain=given.plain)
        for made in ran.runs:
            _show(page, made, verbose=given.verbose)
        page.show()
    ran.raise_error()
    if detailed_exitcode and any(_changes(made) for made in ran.runs):
        raise Ended(2)


def document(ran: Ran) -> dict[str, Any]:
    """docs/cli-json.md, `alchemy plan`."""
    stages = [
        {
            "scope": str(made.ledger.path),
            "state_dir": made.session.store.place,
            "target": made.session.target,
            "changes": [_change(change) for change in made.planned],
            "deletions": [_deletion(step) for step in _deletions(made)],
            "counts": dict(_counts(made)),
            "failures": [list(pair) for pair in made.failures],
        }
        for made in ran.runs
    ]
    return {"format": 1, "changes": any(_changes(made) for made in ran.runs), "scopes": stages}


def _change(change: Change) -> dict[str, Any]:
    return {
        "address": change.address,
        "kind": change.kind,
        "action": str(change.action),
        "reason": change.reason,
        "diff": [
            {"path": d.path, "before": d.before, "after": d.after, "was": d.was, "will": d.will, "unknown": d.unknown}
            for d in change.diff
        ],
    }


def _deletion(step: Deletion) -> dict[str, Any]:
    return {
        "address": step.address,
        "kind": step.kind,
        "action": str(step.action),
        "reason": step.reason,
        "blocked": step.blocked,
    }


def _deletions(made: Run) -> list[Deletion]:
    """Each once: a scope that was finalized early has a plan of its own."""
    found = {step.row.key: step for plan_ in made.deletions for step in plan_.deletions}
    return list(found.values())


def _counts(made: Run) -> Counter[str]:
    counts = Counter("verify" if _verified_first(change) else str(change.action) for change in made.planned)
    counts["failed"] += len(made.failures)
    for step in _deletions(made):
        counts["blocked" if step.blocked else str(step.action)] += 1
    return +counts


def _verified_first(change: Change) -> bool:
    """Nothing to change as far as the state knows; only the deploy looks whether the object is there."""
    from alchemy.model.changes import unverified

    return str(change.action) == "keep" and unverified(change.before)


def _changes(made: Run) -> bool:
    return any(number for action, number in _counts(made).items() if action not in ("keep", "failed"))


def _show(page: Page, made: Run, *, verbose: bool) -> None:
    from alchemy.cli.wording import TONES, short_kind, sign

    page.section(str(made.ledger.path))
    page.say((f"  target: {made.session.target}", "dim"))
    for change in made.planned:
        action = str(change.action)
        if action == "keep" and not verbose and not _verified_first(change):
            continue
        glyph, tone = sign(page.signs, action), TONES.get(action, "dim")
        kind = short_kind(change.kind)
        page.say(f"  {''}", (f"{glyph} {action:<8}", tone), f"{change.address}  ", (f"{kind}  {change.reason}", "dim"))
        for difference in change.diff:
            if difference.was or difference.unknown or difference.after not in (None, [], {}):
                page.say(*_difference(difference, page))
    for step in _deletions(made):
        action = "blocked" if step.blocked else str(step.action)
        glyph = page.signs.warning if step.blocked else sign(page.signs, action)
        why = f"{step.reason}; {step.blocked}" if step.blocked else step.reason
        kind = short_kind(step.kind)
        tone = TONES.get(action, "warn")
        page.say("  ", (f"{glyph} {action:<8}", tone), f"{step.address}  ", (f"{kind}  {why}", "dim"))
    page.say("  ", (count_line(_counts(made)), "title"))


def count_line(counts: Counter[str]) -> str:
    """`2 to create, 1 to delete, 3 unchanged`."""
    order = ("create", "adopt", "update", "replace", "delete", "forget", "verify")
    words = [f"{counts[action]:,} to {action}" for action in order if counts[action]]
    words += [f"{counts[outcome]:,} {outcome}" for outcome in ("blocked", "failed") if counts[outcome]]
    if not words:
        return f"no changes, {counts['keep']:,} unchanged"
    return ", ".join([*words, f"{counts['keep']:,} unchanged"])


def _difference(difference: Difference, page: Page) -> list[Any]:
    path = difference.path.removeprefix("$")  # `$inputs`: digests of the files that go with it
    from alchemy.cli.wording import value_text

    after = _UNKNOWN if difference.unknown else value_text(difference.after, LONGEST)
    if not difference.was:
        return ["      ", ("+ ", "good"), (f"{path}: ", "dim"), (after, "good")]
    before = (value_text(difference.before, LONGEST), "bad")
    if not difference.will and not difference.unknown:
        return ["      ", ("- ", "bad"), (f"{path}: ", "dim"), before]
    arrow = (f" {page.signs.arrow} ", "dim")
    return ["      ", ("~ ", "warn"), (f"{path}: ", "dim"), before, arrow, (after, "good")]
