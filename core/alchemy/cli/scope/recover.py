"""`alchemy scope recover`: writes into the state what a fenced or failing run knew and could not write any more."""

from __future__ import annotations

import asyncio
import sys

import click

from alchemy.cli.options import Command, Given, shared
from alchemy.cli.pages import Page
from alchemy.cli.terminal import counted
from alchemy.cli.tones import line
from alchemy.cli.wording import LONGEST
from alchemy.model.text import safe_text
from alchemy.operations.recovering import recover as recover_spill
from alchemy.operations.shapes import RecoverReport

_VERDICTS = {"write": ("write", "good"), "stored": ("stored", "dim"), "skip": ("skip", "warn")}


@click.command(cls=Command)
@click.argument("spill", metavar="SPILL")
@click.option("--dry-run", is_flag=True, help="Only show what would be written.")
@shared
def recover(given: Given, spill: str, dry_run: bool) -> None:
    """Write into the state what a run spilled to the file SPILL: ids and deletions that it knew and could not write.

    Only what nothing that happened since contradicts: the rest is shown and skipped. A backup is taken first. The file
    is kept, in spill/done/. The next deploy looks at the cloud before it believes what was recovered.
    """

    def waiting(who: str) -> None:
        if not given.quiet:
            sys.stderr.write(f"waiting for the lock: held by {safe_text(who, LONGEST)}\n")

    timeout = given.options().lock_timeout
    report = asyncio.run(recover_spill(given.store, spill, dry_run=dry_run, timeout=timeout, waiting=waiting))
    _show(given, report, dry_run=dry_run)


def _show(given: Given, report: RecoverReport, *, dry_run: bool) -> None:
    page = Page(plain=given.plain)
    page.say((report.scope, "title"), f"  spilled by {report.spilled_by}: {report.why}")
    page.table(
        [
            [line("  ", _VERDICTS[step.verdict]), line(step.what), line(step.subject), line((step.why, "dim"))]
            for step in report.steps
        ]
    )
    told = f"{counted(report.written, 'change')} written" if report.run else "nothing to write"
    if dry_run:
        told = f"{counted(report.written, 'change')} would be written"
    skipped = f", {report.skipped} skipped" if report.skipped else ""
    run = f" by {report.run}" if report.run else ""
    page.say((f"{page.signs.ok} ", "good"), f"{told}{run}{skipped}")
    page.show()
    if given.quiet:
        return
    if report.kept:
        sys.stderr.write(f"the file is kept: {safe_text(report.kept)}\n")
    if report.run:
        _, _, stage = safe_text(report.scope, 200).partition("/")
        deploy = f"alchemy deploy --stage {stage}" if stage else "alchemy deploy"
        sys.stderr.write(f"next: `{deploy}` looks at the cloud before it believes what was recovered\n")
