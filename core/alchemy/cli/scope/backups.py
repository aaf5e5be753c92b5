"""`alchemy scope backups`: the copies that were taken of a scope's state, newest first."""

from __future__ import annotations

import sys

import click

from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.cli.pages import Page, show_json
from alchemy.cli.scope import documents
from alchemy.cli.scope.subject import find_scope, look
from alchemy.cli.terminal import ago, counted, size
from alchemy.cli.tones import line
from alchemy.store.clock import Clock


@click.command(cls=Command)
@click.argument("scope")
@as_json
@shared
def backups(given: Given, scope: str, json_: bool) -> None:
    """Show the backups of SCOPE: those of the application, stage or test that its state belongs to."""
    workspace, view = look(given)
    owner = find_scope(view, scope).owner
    copies = workspace.backups(owner)
    if json_:
        document = {"format": documents.FORMAT, "scope": owner, "backups": [documents.backup(c) for c in copies]}
        show_json(document)
        return
    if not copies and not given.quiet:
        sys.stderr.write(f"no backups of {owner} yet: a run takes one before its first change\n")
    now = Clock().wall()
    page = Page(plain=given.plain)
    page.table(
        [
            [
                line(copy.file),
                line((ago(copy.taken, now), "dim")),
                line((counted(copy.resources, "resource"), "dim")),
                line((size(copy.size), "dim")),
                line((copy.problem or copy.reason, "bad" if copy.problem else "")),
            ]
            for copy in copies
        ]
    )
    page.show()
