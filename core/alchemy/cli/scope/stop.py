"""`alchemy scope stop`: asks a run of another process, or another machine, to end after the step it is in."""

from __future__ import annotations

import asyncio
import sys

import click

from alchemy.cli.failures import Ended
from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.cli.pages import Page, show_json
from alchemy.cli.scope.subject import find_scope, look
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.operations.stopping import Stopped, request_stop, wait_stopped
from alchemy.operations.unlocking import going_on
from alchemy.operations.verdicts import person

STILL = 3  # exit code: the lock is still held


@click.command(cls=Command)
@click.argument("scope")
@click.option("--run", default="", metavar="R", help="Only this one: R-17, as `scope locks` and `scope logs` show it.")
@click.option("--reason", default="", metavar="TEXT", help="Why; the run says so, and its log.")
@click.option("--no-wait", is_flag=True, help="Ask, and do not wait until it has ended.")
@as_json
@shared
def stop(given: Given, scope: str, run: str, reason: str, no_wait: bool, json_: bool) -> None:
    """Ask the run that is at work in SCOPE to stop: it finishes its step in flight, gives its lock back and leaves
    with exit code 130. What it did stays done; running it again goes on.

    Waits for that as long as for a lock (--lock-timeout); exit code 3 when it is still finishing then.

    Example: alchemy scope stop my-app/prod --reason "wrong branch"
    """
    _, view = look(given)
    path = scope if any(lock.path == scope for lock in view.locks) else find_scope(view, scope).path
    asked = request_stop(given.store, path, run=run, reason=reason)
    if asked.holder is not None and not no_wait:
        if not (given.quiet or json_):
            sys.stderr.write(
                f"R-{asked.holder.epoch} of {person(asked.holder)} is asked to stop; waiting for its end\n"
            )
        timeout = given.options().lock_timeout
        asked = asyncio.run(wait_stopped(given.store, asked, 30.0 if timeout is None else timeout))
    _show(given, asked, json_=json_, waited=not no_wait)
    if asked.outcome == "asked" and not no_wait:
        raise Ended(STILL)


def _show(given: Given, asked: Stopped, *, json_: bool, waited: bool) -> None:
    holder, request = asked.holder, asked.request
    if json_:
        show_json(
            {
                "format": 1,
                "scope": asked.path,
                "outcome": asked.outcome,
                "run": f"R-{holder.epoch}" if holder else "",
                "token": holder.token if holder else "",
                "asked_by": request.by if request else "",
                "reason": request.reason if request else "",
            }
        )
        return
    page = Page(plain=given.plain)
    if holder is None:
        page.say((asked.path, "title"), " is free: nobody is at work there")
    elif asked.outcome == "stopped":
        page.say((f"{page.signs.ok} ", "good"), (asked.path, "title"), f" is free: R-{holder.epoch} stopped")
    else:
        who = f" (by {safe_text(request.words, 300)})" if request else ""
        page.say((asked.path, "title"), f" is asked to stop{who}: R-{holder.epoch} is finishing its step in flight")
    page.show()
    if holder is None or given.quiet:
        return
    if asked.outcome == "stopped":
        again = going_on(holder.purpose, ScopePath.parse(asked.path))
        sys.stderr.write(f"next: `{again}` goes on where it was not finished\n")
    elif waited:
        sys.stderr.write(
            f"next: it stops when its call ends: wait with `alchemy scope stop {asked.path}`, or "
            f"`alchemy scope unlock {asked.path} --token {holder.token} --force` stops it at its next write\n"
        )
