"""`alchemy scope backup`: one copy of a scope's state now, also while a run goes on. Takes no lock."""

from __future__ import annotations

import sys

import click

from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.cli.pages import Page, show_json
from alchemy.cli.scope import documents
from alchemy.cli.terminal import counted
from alchemy.operations import backups as copies


@click.command(cls=Command)
@click.argument("scope")
@click.option("--note", default="", metavar="TEXT", help="What it is for: at most 200 characters.")
@click.option("--pin", is_flag=True, help="Never remove it.")
@as_json
@shared
def backup(given: Given, scope: str, note: str, pin: bool, json_: bool) -> None:
    """Take a backup of SCOPE: of the application, stage or test that its state belongs to.

    What a run that goes on has recorded so far is in it. `alchemy scope restore` goes back to it.
    """
    info = copies.take(given.store, scope, note=note, pin=pin)
    if json_:
        show_json({"format": documents.FORMAT, "backup": documents.backup(info)})
        return
    page = Page(plain=given.plain)
    page.say(info.file)
    page.show()
    if not given.quiet:
        pinned = ", pinned" if info.pinned else ""
        sys.stderr.write(f"{info.scope}: {counted(info.resources, 'resource')} at serial {info.serial}{pinned}\n")
