"""`alchemy scope locks`: who holds what, since when, and how we know that somebody is still there."""

from __future__ import annotations

import sys

import click

from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.cli.pages import Page, show_json
from alchemy.cli.scope import documents
from alchemy.cli.scope.subject import find_scope, look, tell_unread
from alchemy.cli.terminal import duration, moment
from alchemy.cli.tones import Line, line
from alchemy.model.locks import LockView, Verdict

MEANS = {
    Verdict.LIVE: "its holder is at work",
    Verdict.STALE: "its holder is gone: safe to unlock",
    Verdict.UNKNOWN: "nothing proves that its holder lives, or that it is gone",
    Verdict.HELD: "reserved by a person: runs stay out",
    Verdict.FREE: "nobody holds it",
}


@click.command(cls=Command)
@click.argument("scope", required=False)
@as_json
@shared
def locks(given: Given, scope: str | None, json_: bool) -> None:
    """Show every lock that somebody holds, left behind or reserved, with the evidence; with SCOPE, only those in it.

    The token names exactly one holder: `alchemy scope unlock SCOPE --token T` opens that one and no other.
    """
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
        for said in lines_of(lock):
            page.say(*said)
    page.show()
    tell_unread(view, prefix)


def lines_of(lock: LockView) -> list[Line]:
    """All that is known of one lock, its evidence last and the strongest of it first."""
    tone = "busy" if lock.verdict is Verdict.LIVE else "warn"
    age = (f"  for {duration(lock.age)}", "dim")
    out = [line((lock.path, "title"), "  ", (str(lock.verdict), tone), (f"  {MEANS[lock.verdict]}", "dim"), age)]
    holder, hold = lock.holder, lock.hold
    if hold is not None:
        until = moment(hold.until) if hold.until else "somebody unlocks it"
        out.append(line(f"  reserved  by {hold.by} until {until}"))
        out.append(line(f"  reason    {hold.reason}"))
    if holder is not None:
        you = "you" if lock.you else "not you"
        if lock.verdict is not Verdict.HELD:
            out.append(line(f"  held by   {holder.user}@{holder.host} ({you}), pid {holder.pid}"))
            run = f"R-{holder.epoch}, " if holder.epoch else ""
            out.append(line(f"  doing     {run}{holder.purpose}: {holder.command}"))
            out.append(line(f"  since     {moment(holder.since)}"))
        out.append(line(f"  token     {lock.token}"))
    evidence = () if lock.verdict is Verdict.HELD else lock.evidence
    return [*out, *(line("  evidence  ", (found, "dim")) for found in evidence)]
