"""`alchemy scope backups`: the copies of a scope's state, newest first; checks them, pins them, thins them out."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from alchemy.cli.failures import Ended
from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.cli.pages import Page, show_json
from alchemy.cli.scope import documents
from alchemy.cli.terminal import Signs, ago, counted, size
from alchemy.cli.tones import Line, line
from alchemy.errors import UsageError
from alchemy.model.text import safe_text
from alchemy.operations import backups as copies
from alchemy.operations.shapes import BackupInfo
from alchemy.store.clock import Clock

DAMAGED = 4  # exit code


@click.command(cls=Command)
@click.argument("scope")
@click.option(
    "--verify", is_flag=True, help="Read each whole: checksum, rows, addresses. Exit code 4 for a damaged one."
)
@click.option("--pin", metavar="F", help="Never remove this one; --note says why.")
@click.option("--note", default="", metavar="TEXT", help="With --pin: why.")
@click.option("--unpin", metavar="F", help="The rules may remove this one again.")
@click.option("--prune", is_flag=True, help="Remove what no rule keeps; [tool.alchemy] backups sets the rules.")
@click.option("--dry-run", is_flag=True, help="With --prune: only show it.")
@as_json
@shared
def backups(
    given: Given,
    scope: str,
    verify: bool,
    pin: str | None,
    note: str,
    unpin: str | None,
    prune: bool,
    dry_run: bool,
    json_: bool,
) -> None:
    """Show the backups of SCOPE: those of the application, stage or test that its state belongs to.

    F is a name, a beginning of it that only one has, `latest`, or `latest~2` for the second before it.
    """
    if sum([pin is not None, unpin is not None, prune]) > 1:
        raise UsageError("--pin, --unpin and --prune are three things", hint="do one after the other")
    if (dry_run and not prune) or (note and pin is None):
        raise UsageError("--dry-run belongs to --prune, --note to --pin", hint="`alchemy scope backups --help`")
    if pin is not None or unpin is not None:
        copies.set_pin(given.store, scope, pin if pin is not None else unpin or "", note if pin is not None else None)
    if prune:
        _prune(given, scope, dry_run=dry_run, json_=json_)
        return
    owner = str(copies.find_subject(given.store, scope).owner)
    found = copies.timeline(given.store, owner, verify=verify)
    if json_:
        show_json({"format": documents.FORMAT, "scope": owner, "backups": [documents.backup(info) for info in found]})
    else:
        _show(given, found)
        _summarise(given, owner, found, verified=verify)
    if verify and any(info.problem for info in found):
        raise Ended(DAMAGED)


def _show(given: Given, found: Sequence[BackupInfo]) -> None:
    now = Clock().wall()
    page = Page(plain=given.plain)
    page.table(
        [
            [
                line(info.file),
                line((ago(info.taken, now), "dim")),
                *_held(info),
                _steps(page.signs, info),
                line((size(info.size), "dim")),
                line((f"damaged: {info.problem}", "bad")) if info.problem else _why(info),
            ]
            for info in found
        ]
    )
    page.show()


def _held(info: BackupInfo) -> tuple[Line, Line]:
    """What its head says; one that cannot be read says nothing."""
    if not info.taken:
        return line(""), line("")
    return line((f"serial {info.serial}", "dim")), line((counted(info.resources, "resource"), "dim"))


def tell_passed_over(given: Given, owner: str, name: str, file: str) -> None:
    """`name`, as it was typed, became `file`: a damaged one that is newer is not passed over in silence."""
    for info in copies.passed_over(given.store, owner, file) if name.startswith("latest") and not given.quiet else ():
        sys.stderr.write(f"note: {safe_text(info.file)}, which is newer, is damaged: {safe_text(info.problem, 300)}\n")


def _steps(signs: Signs, info: BackupInfo) -> Line:
    """Since the one before."""
    if info.steps is None:
        return line("")
    appeared, vanished, changed = info.steps
    return line((f"{signs.create}{appeared} {signs.delete}{vanished} {signs.update}{changed}", "dim"))


def _why(info: BackupInfo) -> Line:
    notes = [
        info.note,
        "pinned" + (f": {info.pin}" if info.pin and info.pin != info.note else "") if info.pinned else "",
    ]
    return line(info.reason, *((f"  {note}", "title") for note in notes if note))


def _summarise(given: Given, owner: str, found: Sequence[BackupInfo], *, verified: bool) -> None:
    if given.quiet:
        return
    damaged = sum(bool(info.problem) for info in found)
    if not found:
        sys.stderr.write(f"no backups of {owner} yet: a run takes one before its first change\n")
    elif damaged:
        sys.stderr.write(f"{damaged} of {counted(len(found), 'backup')} of {owner} cannot be gone back to\n")
    elif verified:
        sys.stderr.write(f"{counted(len(found), 'backup')} of {owner}, each whole\n")


def _prune(given: Given, scope: str, *, dry_run: bool, json_: bool) -> None:
    plan = copies.prune(given.store, scope, dry_run=dry_run)
    if json_:
        kept = {name: list(rules) for name, rules in plan.keep.items()}
        owner = str(copies.find_subject(given.store, scope).owner)
        document = {"format": documents.FORMAT, "scope": owner, "dry_run": dry_run}
        show_json({**document, "removed": list(plan.remove), "kept": kept})
        return
    page = Page(plain=given.plain)
    verb = "would go" if dry_run else "removed"
    rows = [[line((f"{page.signs.delete} {name}", "bad")), line((verb, "dim"))] for name in plan.remove]
    kept_rows = [[line(f"{page.signs.keep} {name}"), line((", ".join(why), "dim"))] for name, why in plan.keep.items()]
    page.table([*rows, *kept_rows])
    page.show()
    if not given.quiet:
        sys.stderr.write(f"{counted(len(plan.remove), 'backup')} {verb}, {len(plan.keep)} kept by a rule or a pin\n")
