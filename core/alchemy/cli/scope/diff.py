"""`alchemy scope diff`: a backup against now, row by row, as what restoring it would do."""

from __future__ import annotations

import sys

import click

from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.cli.pages import Page, show_json
from alchemy.cli.scope import documents
from alchemy.cli.scope.backups import tell_passed_over
from alchemy.cli.terminal import ago
from alchemy.cli.wording import short_kind, value_text
from alchemy.operations import backups as copies
from alchemy.operations.shapes import Comparison, FieldChange, RowChange
from alchemy.store.clock import Clock

_LONGEST = 300  # characters of a value


@click.command(cls=Command)
@click.argument("scope")
@click.option("--backup", "file", default="latest", metavar="F", help="This one.  [default: the newest]")
@as_json
@shared
def diff(given: Given, scope: str, file: str, json_: bool) -> None:
    """Show how SCOPE differs from a backup, as what restoring it would do: + returns, − leaves the state, ~ changes.

    F is a name, a beginning of it that only one has, `latest`, or `latest~2` for the second before it.
    Secrets are never shown: only that one differs.
    """
    found = copies.compare(given.store, scope, file)
    tell_passed_over(given, found.owner, file, found.file)
    if json_:
        show_json(documents.comparison(found))
        return
    page = Page(plain=given.plain)
    draw(page, found)
    page.show()
    if not given.quiet and not found.same:
        sys.stderr.write(f"alchemy scope restore {found.scope} --backup {found.file} would do this to the state\n")


def draw(page: Page, found: Comparison) -> None:
    """Onto a page: the head, the rows, what it leads to."""
    when = ago(found.taken, Clock().wall())
    of = f"  {found.file}  {when}, serial {found.serial_then}; now {found.serial_now}"
    page.say((found.scope, "title"), (of, "dim"))
    marks = page.signs
    for path in found.scopes_appear:
        page.say((f"{marks.create} ", "good"), _below(found, path), ("  scope", "dim"))
    for row in found.appear:
        _row(page, found, row, marks.create, "good")
    for path in found.scopes_vanish:
        page.say((f"{marks.delete} ", "bad"), _below(found, path), ("  scope", "dim"))
    for row in found.vanish:
        _row(page, found, row, marks.delete, "bad")
    for row in found.change:
        _row(page, found, row, marks.update, "warn")
        for change in row.fields:
            page.say(f"    {change.path}  ", ("now ", "dim"), _side(change, then=False))
            page.say(" " * (6 + len(change.path)), ("then ", "dim"), _side(change, then=True))
    if found.same:
        page.say(("  nothing differs", "dim"))
    for sentence in found.consequences:
        page.say((f"{marks.warning} ", "warn"), sentence)


def _row(page: Page, found: Comparison, row: RowChange, sign: str, tone: str) -> None:
    anew = ("  made anew since", "warn") if row.remade else ""
    page.say((f"{sign} ", tone), _below(found, row.address), (f"  {short_kind(row.kind)}  {row.name}", "dim"), anew)


def _below(found: Comparison, path: str) -> str:
    return path.removeprefix(f"{found.owner}/")


def _side(change: FieldChange, *, then: bool) -> str:
    there, value = (change.in_then, change.then) if then else (change.in_now, change.now)
    if not there:
        return "not there"
    return f"{value} (a secret: it differs)" if change.secret else value_text(value, _LONGEST)


def head(found: Comparison) -> str:
    """What a confirmation is about."""
    return f"restore {found.scope} to {found.file}, serial {found.serial_then}"
