"""`alchemy plan`: what deploy would do, attribute by attribute. Takes no lock, changes nothing in state or cloud.

Neighbours: `attributes` draws the differences, `agreed` carries a saved plan out.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alchemy.cli.options import Command, Given, as_json, shared, stage_option

if TYPE_CHECKING:
    from alchemy.cli.pages import Page
    from alchemy.cli.running import Ran
    from alchemy.engine.session import Run
    from alchemy.model.changes import Change
    from alchemy.model.deletions import Deletion

_WIDTH = 80  # cells, where nobody says
_BELOW = " " * 13  # where a reason goes on


@click.command(cls=Command)
@click.argument("program", required=False)
@stage_option
@click.option("--adopt", is_flag=True, help="As `deploy --adopt`: look which objects exist under the wished names.")
@click.option("--refresh", is_flag=True, help="As `deploy --refresh`: look at each object, and plan by what is there.")
@click.option("--out", metavar="FILE", help="Save the plan: `alchemy deploy --plan FILE` does exactly that.")
@click.option("--detailed-exitcode", is_flag=True, help="0: no changes, 2: changes, 1: anything else.")
@as_json
@shared
def plan(
    given: Given,
    program: str | None,
    stage: str,
    adopt: bool,
    refresh: bool,
    out: str | None,
    detailed_exitcode: bool,
    json_: bool,
) -> None:
    """Show what `alchemy deploy` would do with PROGRAM (default: alchemy_run.py).

    The program runs, acting on nothing: outputs that only a deploy can know print as placeholders.

    \b
    Example: alchemy plan --stage prod --out prod.plan
    """
    from alchemy.cli.failures import Ended
    from alchemy.cli.pages import Page, show_json
    from alchemy.cli.running import program_of, run

    path = program_of(given, program)
    file = _writable(out)
    options = {name: True for name, wanted in (("adopt", adopt), ("refresh", refresh)) if wanted}
    ran = run(given, path, phase="plan", stage=stage, options=options, prints_to_stderr=True)
    if json_:
        show_json(document(ran))
    else:
        page = Page(plain=given.plain)
        _show_all(page, ran, verbose=given.verbose)
        page.show()
    if file is not None and ran.error is None:
        _save(given, ran, path, file, stage=stage, options=options)
    ran.raise_error()
    if detailed_exitcode and any(_changes(made) for made in ran.runs):
        raise Ended(2)


def _writable(out: str | None) -> Path | None:
    """Looked at before the program runs."""
    from alchemy.errors import UsageError
    from alchemy.operations.planning import refuse_overwriting

    if out is None:
        return None
    if not out:
        raise UsageError("--out is empty", hint="name a file: --out prod.plan")
    refuse_overwriting(Path(out))
    return Path(out)


def _save(given: Given, ran: Ran, program: Path, file: Path, *, stage: str, options: dict[str, bool]) -> None:
    from alchemy.model.text import safe_text
    from alchemy.operations.planning import make_plan, write_plan

    made = make_plan(ran.runs, program, stage=stage, **options)
    write_plan(file, made)
    if not given.quiet:
        resumed = any(change.resume for scope in made.scopes for change in scope.changes)
        first = "; what did not finish is looked up first" if resumed else ""
        sys.stderr.write(f"saved: `alchemy deploy --plan {safe_text(file)}` does exactly this, or refuses{first}\n")


def document(ran: Ran) -> dict[str, Any]:
    """docs/cli-json.md, `alchemy plan`."""
    from alchemy.cli.failures import explained
    from alchemy.errors import hints_of

    stages = [
        {
            "scope": str(made.ledger.path),
            "state_dir": made.session.store.place,
            "target": made.session.target,
            "serial": made.ledger.fold.serial,
            "changes": [_change(change) for change in _in_order(made)],
            "deletions": [_deletion(step) for step in _deletions(made)],
            "kept": _kept(made),
            "counts": dict(_counts(made)),
            "failures": [[each.address, each.why] for each in made.failures],
            "hints": list(hints_of(made.failures)),
        }
        for made in ran.runs
    ]
    changes, failed = any(_changes(made) for made in ran.runs), explained(ran.error)
    return {"format": 1, "changes": changes, "failed": failed, "scopes": stages}


def _change(change: Change) -> dict[str, Any]:
    return {
        "address": change.address,
        "kind": change.kind,
        "action": str(change.action),
        "reason": change.reason,
        "found": change.found,
        "loses": change.loses,
        "follows": change.follows,
        "drifted": change.drifted,
        "diff": [
            {
                "path": d.path,
                "before": d.before,
                "after": d.after,
                "was": d.was,
                "will": d.will,
                "unknown": d.unknown,
                "locked": d.locked,
            }
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


def _in_order(made: Run) -> list[Change]:
    """As the program declares them: looking into the cloud may take one longer than the other."""
    place = {deployment.resource.address: number for number, deployment in enumerate(made.deployments)}
    return sorted(made.planned, key=lambda change: place.get(change.address, -1))


def _deletions(made: Run) -> list[Deletion]:
    """Each once: a scope that was finalized early has a plan of its own. With what will hold it back."""
    from alchemy.model.decisions import foreseen

    found = {step.row.key: step for plan_ in made.deletions for step in foreseen(plan_)}
    return list(found.values())


def _kept(made: Run) -> list[str]:
    """Not declared, and passed over because somebody keeps them."""
    return sorted({address for plan_ in made.deletions for address in plan_.kept})


def _counts(made: Run) -> Counter[str]:
    counts = Counter("verify" if _verified_first(change) else str(change.action) for change in made.planned)
    counts["failed"] += len(made.failures)
    counts["losing"] += sum(bool(change.loses) for change in made.planned)
    for step in _deletions(made):
        counts["blocked" if step.blocked else str(step.action)] += 1
    return +counts


def _verified_first(change: Change) -> bool:
    """Nothing to change as far as the state knows; only the deploy looks whether the object is there."""
    from alchemy.model.changes import unverified

    return str(change.action) == "keep" and unverified(change.before)


def _changes(made: Run) -> bool:
    return any(number for action, number in _counts(made).items() if action not in ("keep", "failed", "losing"))


def _show_all(page: Page, ran: Ran, *, verbose: bool) -> None:
    from alchemy.errors import RunFailed

    width = shutil.get_terminal_size((_WIDTH, 24)).columns if page.rich else _WIDTH
    whole = ran.error is None or isinstance(ran.error, RunFailed)  # else nobody knows what else it would declare
    for made in ran.runs:
        _show(page, made, width, verbose=verbose, whole=whole)
    if len(ran.runs) > 1 and whole:
        total: Counter[str] = Counter()
        for made in ran.runs:
            total += _counts(made)
        page.say()
        page.say((f"in all: {count_line(total)}", "title"))


def _show(page: Page, made: Run, width: int, *, verbose: bool, whole: bool) -> None:
    """One journal; what is in its nested scopes stands under their paths."""
    path = str(made.ledger.path)
    page.section(path)
    page.say((f"  target: {made.session.target}", "dim"))
    shown = [change for change in _in_order(made) if verbose or _worth_showing(change)]
    deletions = _deletions(made)
    addresses = [change.address for change in shown] + [step.address for step in deletions]
    scopes = dict.fromkeys(map(_scope, addresses))
    ordered = sorted(scopes, key=lambda scope: scope != path)  # its own first, the others as the program has them
    for scope in ordered:
        if len(ordered) > 1 and scope != path:
            page.say()
            page.say((f"  {scope}", "title"))
        for change in shown:
            if _scope(change.address) == scope:
                _show_change(page, change, width)
        for step in deletions:
            if _scope(step.address) == scope:
                _show_deletion(page, step, width)
    for address in _kept(made):
        page.say("  ", (f"{page.signs.keep} {'keep':<8} ", "dim"), address, ("  kept by an operator", "dim"))
    if len(ordered) > 1:
        page.say()
    if any(change.trusts_name for change in made.planned):
        page.say("  ", ("names are not looked up; `plan --adopt` does", "dim"))
    if not whole and not made.failures:
        return
    page.say("  ", (count_line(_counts(made)), "title"))


def _scope(address: str) -> str:
    return address.rpartition("/")[0]


def _worth_showing(change: Change) -> bool:
    """Not what surely stays as it is."""
    return str(change.action) != "keep" or _verified_first(change) or bool(change.follows) or change.drifted


def _show_change(page: Page, change: Change, width: int) -> None:
    from alchemy.cli.attributes import attribute_lines
    from alchemy.cli.wording import TONES

    action = str(change.action)
    _head(page, action, action, TONES.get(action, "dim"), change.address, change.kind, change.reason, width)
    if change.loses:
        page.say("      ", (f"{page.signs.warning} {change.loses}", "bad"))
    for difference in change.diff:
        if difference.was or difference.unknown or difference.after not in (None, [], {}):
            for pieces in attribute_lines(difference, page.signs, width):
                page.say(*pieces)


def _show_deletion(page: Page, step: Deletion, width: int) -> None:
    from alchemy.cli.wording import TONES

    action = "blocked" if step.blocked else str(step.action)
    why = f"{step.reason}; {step.blocked}" if step.blocked else step.reason
    _head(page, action, str(step.action), TONES.get(action, "warn"), step.address, step.kind, why, width)


def _head(page: Page, word: str, action: str, tone: str, address: str, kind: str, reason: str, width: int) -> None:
    """`+ create   my-app/prod/db  D1Database  not in the state yet`; the reason below where that is too long."""
    from alchemy.cli.wording import short_kind, sign

    glyph = page.signs.warning if word == "blocked" else sign(page.signs, action)
    subject = f"{address}  "
    room = width - len(_BELOW) - len(subject) - len(short_kind(kind)) - 2
    beside = reason if len(reason) <= room else ""
    page.say("  ", (f"{glyph} {word:<8} ", tone), subject, (f"{short_kind(kind)}  {beside}".rstrip(), "dim"))
    for text in [] if beside else textwrap.wrap(reason, max(30, width - len(_BELOW)), break_long_words=False):
        page.say(_BELOW, (text, "dim"))


def count_line(counts: Counter[str]) -> str:
    """`2 to create, 1 to delete, 3 unchanged`."""
    order = ("create", "adopt", "update", "replace", "delete", "forget", "verify")
    words = [f"{counts[action]:,} to {action}" for action in order if counts[action]]
    words += [f"{counts[outcome]:,} {outcome}" for outcome in ("blocked", "failed") if counts[outcome]]
    if not words:
        return f"no changes, {counts['keep']:,} unchanged"
    if counts["losing"]:
        words.append(f"{counts['losing']:,} would need consent")
    return ", ".join([*words, f"{counts['keep']:,} unchanged"])
