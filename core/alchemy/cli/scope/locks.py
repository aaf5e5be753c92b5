"""`alchemy scope locks`: who holds what, since when, and how we know that somebody is still there."""

from __future__ import annotations

import sys

import click

from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.cli.pages import Page, show_json
from alchemy.cli.scope import documents
from alchemy.cli.scope.subject import find_scope, look
from alchemy.cli.terminal import duration
from alchemy.model.locks import Verdict


@click.command(cls=Command)
@click.argument("scope", required=False)
@as_json
@shared
def locks(given: Given, scope: str | None, json_: bool) -> None:
    """Show every lock that somebody holds or left behind, with the evidence; with SCOPE, those at and below it."""
    _, view = look(given)
    prefix = find_scope(view, scope).path if scope is not None else ""
    held = [lock for lock in view.locks if not prefix or lock.path == prefix or lock.path.startswith(f"{prefix}/")]
    if json_:
        show_json({"format": documents.FORMAT, "locks": [documents.lock(lock) for lock in held]})
        return
    if not held and not given.quiet:
        sys.stderr.write("no locks: nobody is at work here\n")
    page = Page(plain=given.plain)
    for lock in held:
        tone = "busy" if lock.verdict is Verdict.LIVE else "warn"
        page.say((lock.path, "title"), "  ", (str(lock.verdict), tone), (f"  for {duration(lock.age)}", "dim"))
        holder = lock.holder
        if holder is not None:
            you = " (you)" if lock.you else ""
            page.say(f"  held by   {holder.user}@{holder.host}{you}, pid {holder.pid}, token {holder.token}")
            page.say(f"  doing     {holder.purpose}: {holder.command}")
        for evidence in lock.evidence:
            page.say(("  evidence  ", ""), (evidence, "dim"))
    page.show()
