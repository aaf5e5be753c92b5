"""`alchemy scope lock`: a person keeps runs out of a scope for a while; nobody has to stay for it."""

from __future__ import annotations

import asyncio
import re
import sys

import click

from alchemy.cli.options import Command, Given, shared
from alchemy.cli.pages import Page
from alchemy.cli.scope.subject import find_scope, look
from alchemy.cli.terminal import moment
from alchemy.cli.wording import LONGEST
from alchemy.errors import UsageError
from alchemy.model.text import safe_text
from alchemy.operations.holding import hold

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,6})([mhd])")


@click.command(cls=Command)
@click.argument("scope")
@click.option("--reason", required=True, metavar="R", help="Why; every run that is refused is told.")
@click.option("--for", "lasting", default="", metavar="TIME", help="30m, 2h, 1d.  [default: until somebody unlocks]")
@click.option("--force", is_flag=True, help="Also in the place of somebody else's reservation.")
@shared
def lock(given: Given, scope: str, reason: str, lasting: str, force: bool) -> None:
    """Reserve SCOPE: from now on runs stay out of it and are told REASON, until it is unlocked or the time is over.

    Waits until nobody is at work there. Of an application, its stages stay shut too. Again: a new reason and time; exit
    code 5 when it is somebody else's, who is named.
    Reading is not affected: list, inspect, plan and the dashboard go on.
    """
    seconds = parse_duration(lasting)
    _, view = look(given)
    path = find_scope(view, scope).path

    def waiting(who: str) -> None:
        if not given.quiet:
            sys.stderr.write(f"waiting for the lock of {path}: held by {safe_text(who, LONGEST)}\n")

    timeout = given.options().lock_timeout
    reserving = hold(
        given.store, path, reason=reason, seconds=seconds, timeout=timeout, waiting=waiting, over_others=force
    )
    found = asyncio.run(reserving)
    page = Page(plain=given.plain)
    wish = found.hold
    until = f" until {moment(wish.until)}" if wish and wish.until else ""
    owns = f" (the journal of {path} is in it)" if found.path != path else ""
    page.say((f"{page.signs.ok} ", "good"), (found.path, "title"), f"{owns} is reserved{until}: {reason}")
    page.show()
    if not given.quiet:
        sys.stderr.write(f"next: `alchemy scope unlock {found.path} --token {found.token}` gives it free\n")


def parse_duration(text: str) -> float:
    """Seconds; 0 for nothing."""
    if not text:
        return 0.0
    found = _DURATION.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise UsageError(
            f"--for takes minutes, hours or days, not {safe_text(text, 40)!r}", hint="--for 30m, --for 2h, --for 1d"
        )
    return float(int(found[1]) * _UNITS[found[2]])
