"""`alchemy scope drift`: what the cloud has otherwise than the state says. Takes no lock, changes nothing."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from alchemy.cli.options import Command, Given, as_json, shared

if TYPE_CHECKING:
    from collections.abc import Callable

    from alchemy.cli.pages import Page
    from alchemy.cli.tones import Line
    from alchemy.model.events import Entry
    from alchemy.operations.drifting import DriftReport, Progress, RowDrift

_WIDTH = 80  # cells, where nobody says
_OUTCOMES = {  # in the order of the count: (in its row, tone, in the count)
    "missing": ("missing", "bad", "missing"),
    "changed": ("changed", "warn", "changed"),
    "unknown": ("unknown", "bad", "not known"),
    "not finished": ("open", "warn", "not finished"),
    "same": ("same", "dim", "as stored"),
}
_HEALS = {
    "create": "creates it again",
    "update": "updates it back",
    "replace": "replaces it",
    "keep": "takes that over",
}


@click.command(cls=Command)
@click.argument("scope")
@click.option("--detailed-exitcode", is_flag=True, help="0: no drift, 2: drift, 1: anything else.")
@as_json
@shared
def drift(given: Given, scope: str, detailed_exitcode: bool, json_: bool) -> None:
    """Ask the cloud about everything that is stored in SCOPE: what was changed behind our back, and what is gone.

    Reads only, without a lock: state and cloud stay as they are, and a run may be at work meanwhile. Props that the
    program leaves open are the cloud's; secrets are never read. Exit code 1 when something could not be asked about.

    Example: alchemy scope drift my-app/prod --detailed-exitcode
    """
    from alchemy.cli.failures import Ended
    from alchemy.cli.pages import Page, show_json
    from alchemy.operations.drifting import find_drift

    progress = _progress(given)
    try:
        report = find_drift(
            given.store,
            scope,
            given.options(),
            project=given.project,
            progress=progress,
            listener=_teller(given) if given.verbose else None,
        )
    finally:
        if progress is not None:
            sys.stderr.write("\r\x1b[K")
    if json_:
        show_json(document(report))
    else:
        page = Page(plain=given.plain)
        _show(page, report, verbose=given.verbose)
        page.show()
        if not given.quiet:
            _next(report)
    if report.unasked:
        raise Ended(1)
    if detailed_exitcode and report.drifted:
        raise Ended(2)


def _progress(given: Given) -> Progress | None:
    """A line that counts, where somebody looks."""
    from alchemy.cli.terminal import is_terminal

    if given.quiet or given.plain or given.verbose or not is_terminal(sys.stderr):
        return None

    def tell(done: int, total: int) -> None:
        sys.stderr.write(f"\r  asking the cloud: {done:,} of {total:,}\x1b[K")
        sys.stderr.flush()

    return tell


def _teller(given: Given) -> Callable[[Entry], None]:
    """Calls as they are made, and each retry with its reason."""
    from alchemy.cli import wording
    from alchemy.cli.narration import show_calls
    from alchemy.cli.terminal import signs
    from alchemy.cli.tones import coloured, joined
    from alchemy.model.events import ChangeRetried

    colour = coloured(sys.stderr, plain=given.plain)

    def say(pieces: Line) -> None:
        sys.stderr.write(joined(pieces, colour=colour) + "\n")

    def hear(entry: Entry) -> None:
        if isinstance(entry.event, ChangeRetried):
            say(wording.retried(signs(sys.stderr), entry.event))

    show_calls(say)
    return hear


def document(report: DriftReport) -> dict[str, Any]:
    """docs/cli-json.md, `alchemy scope drift`."""
    resources = [
        {
            "address": row.address,
            "kind": row.kind,
            "physical_name": row.physical_name,
            "outcome": row.outcome,
            "heals": row.heals,
            "why": row.why,
            "hint": row.hint,
            "differences": [
                {"path": d.path, "stored": d.before, "cloud": d.after, "in_state": d.was, "in_cloud": d.will}
                for d in row.differences
            ],
        }
        for row in report.rows
    ]
    counts = dict(Counter(row.outcome for row in report.rows))
    return {
        "format": 1,
        "scope": report.scope,
        "target": report.target,
        "drift": bool(report.drifted),
        "counts": counts,
        "resources": resources,
    }


def _show(page: Page, report: DriftReport, *, verbose: bool) -> None:
    width = shutil.get_terminal_size((_WIDTH, 24)).columns if page.rich else _WIDTH
    page.say((report.scope, "title"))
    page.say((f"  target: {report.target}", "dim"))
    shown = [row for row in report.rows if verbose or row.outcome != "same"]
    for number, row in enumerate(shown, 1):
        _show_row(page, row, width)
        following = shown[number] if number < len(shown) else None
        if row.why and (following is None or (following.why, following.hint) != (row.why, row.hint)):  # of many, once
            page.say("      ", row.why)
            if row.hint:
                page.say("      ", (f"next: {row.hint}", "dim"))
    page.say("  ", (count_line(report), "title"))


def _show_row(page: Page, row: RowDrift, width: int) -> None:
    from alchemy.cli.attributes import attribute_lines
    from alchemy.cli.wording import short_kind

    signs = page.signs
    word, tone, _ = _OUTCOMES[row.outcome]
    glyph = {"missing": signs.delete, "changed": signs.update, "same": signs.keep}.get(row.outcome, signs.warning)
    heals = f"deploy --refresh {_HEALS[row.heals]}" if row.heals else ""
    page.say(
        "  ", (f"{glyph} {word:<8} ", tone), f"{row.address}  ", (f"{short_kind(row.kind)}  {heals}".rstrip(), "dim")
    )
    for difference in row.differences:
        for pieces in attribute_lines(difference, signs, width):
            page.say(*pieces)


def count_line(report: DriftReport) -> str:
    """`1 missing, 2 changed, 14 as stored`."""
    counts = Counter(row.outcome for row in report.rows)
    words = [f"{counts[outcome]:,} {said}" for outcome, (_, _, said) in _OUTCOMES.items() if counts[outcome]]
    if not words:
        return "nothing is stored"
    return f"no drift, {', '.join(words)}" if counts.keys() == {"same"} else ", ".join(words)


def _next(report: DriftReport) -> None:
    if report.drifted:
        sys.stderr.write(
            "next: `alchemy plan --refresh` shows what would heal it, `alchemy deploy --refresh` does it\n"
        )
    if report.unfinished:
        sys.stderr.write("next: `alchemy deploy` finishes what is not finished\n")
