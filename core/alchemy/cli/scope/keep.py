"""`alchemy scope keep`: marks a resource that cleanup and destroy pass over, whatever the program says."""

from __future__ import annotations

import sys

import click

from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.cli.pages import Page, show_json


@click.command(cls=Command)
@click.argument("address")
@click.option("--undo", is_flag=True, help="Keep it no longer.")
@as_json
@shared
def keep(given: Given, address: str, undo: bool, json_: bool) -> None:
    """Keep the resource at ADDRESS: its row and its object stay, and cleanup, destroy and the collection at the end of
    a deploy pass over it, until --undo. Takes a backup first. What it uses cannot go either.

    Example: alchemy scope keep my-app/prod/storage/logs
    """
    import asyncio

    from alchemy.operations import keeping

    told = keeping.look_up(given.store, address, kept=not undo)
    if told.changed:
        wanted = keeping.keep(given.store, address, given.options(), kept=not undo, project=given.project)
        told = asyncio.run(wanted)
    if json_:
        show_json(
            {"format": 1, "address": told.address, "kept": told.kept, "changed": told.changed, "run": told.run or None}
        )
        return
    page = Page(plain=given.plain)
    now = "is kept" if told.kept else "is no longer kept"
    already = "" if told.changed else ": nothing was changed"
    page.say((f"{page.signs.ok} ", "good"), (told.address, "title"), f" {now}{already}")
    page.show()
    if told.changed and not given.quiet:
        if told.kept and told.uses:
            sys.stderr.write(f"  what it uses cannot go either: {', '.join(told.uses)}\n")
        undoes = "" if undo else " --undo"
        sys.stderr.write(f"next: `alchemy scope keep {told.address}{undoes}` undoes it\n")
