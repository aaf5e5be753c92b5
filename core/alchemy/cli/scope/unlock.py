"""`alchemy scope unlock`: opens a lock that somebody holds, left behind or reserved, after showing whose it is."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from alchemy.cli import consent
from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.cli.pages import Page, show_json
from alchemy.cli.scope import documents
from alchemy.cli.scope.locks import lines_of
from alchemy.cli.scope.subject import find_scope, look
from alchemy.cli.tones import coloured, joined, line
from alchemy.cli.wording import LONGEST
from alchemy.errors import Refused, UsageError
from alchemy.model.locks import LockView, Verdict
from alchemy.model.text import safe_text
from alchemy.model.values import Holder
from alchemy.operations import stopping
from alchemy.operations.shapes import UnlockReport
from alchemy.operations.unlocking import needs_force, refuse_unlock
from alchemy.operations.unlocking import unlock as open_lock
from alchemy.operations.verdicts import explain, keeping_out


@click.command(cls=Command)
@click.argument("scope")
@click.option("--token", default="", metavar="T", help="Whose: `scope locks` shows it; then nothing is asked.")
@click.option("--signal", is_flag=True, help="Ask a live holder on this machine to stop first, as Ctrl-C does.")
@click.option("--force", is_flag=True, help="Also one that is alive, or may be: it is stopped at its next write.")
@click.option("--reason", default="", metavar="R", help="Why; it is told to the holder and kept in the log.")
@click.option("--yes", is_flag=True, help="Do not ask; needs --token.")
@as_json
@shared
def unlock(
    given: Given, scope: str, token: str, signal: bool, force: bool, reason: str, yes: bool, json_: bool
) -> None:
    """Open the lock of SCOPE: what a dead run left behind, or what a person reserved.

    A holder that is alive, or may be, keeps its lock unless --force is given; --signal asks it to stop. Afterwards it
    cannot write any more, whatever it still does. A newer holder than the one that was shown is never broken.
    """
    path = _subject(given, scope)
    store = given.store
    view = explain(store, path)
    if view.verdict is Verdict.FREE:
        _report(given, UnlockReport(path, "free", view), json_)
        if not given.quiet and not json_:
            for other in keeping_out(store, path):
                sys.stderr.write(f"{other.path} is {other.verdict}: `alchemy scope unlock {other.path}`\n")
        return
    asking = consent.can_ask() and not (yes or token or json_)
    if not (asking or token):
        whole = f"`alchemy scope unlock {path} --token {view.token}`"
        raise UsageError(
            f"whose lock on {path} is to be opened is not said, and there is nobody to ask: nothing was done",
            hint=whole if view.token else "`alchemy scope locks` shows who holds it",
        )
    if not (given.quiet or json_):
        for said in lines_of(view):
            sys.stderr.write(joined(said, colour=coloured(sys.stderr, plain=given.plain)) + "\n")
    timeout = given.options().lock_timeout
    how: dict[str, Any] = {"reason": reason, "timeout": timeout}
    if asking:
        report = _ask(given, view, how, signal=signal, force=force)
    else:
        report = asyncio.run(open_lock(store, path, token=token, force=force, signal=signal, **how))
    _report(given, report, json_)


def _subject(given: Given, scope: str) -> str:
    """A scope that is stored, or any path that somebody has a lock on."""
    _, view = look(given)
    if any(lock.path == scope for lock in view.locks):
        return scope
    return find_scope(view, scope).path


def _ask(given: Given, view: LockView, how: dict[str, Any], *, signal: bool, force: bool) -> UnlockReport:
    """By severity: a leftover by its name, what may be alive by its whole path, what is alive by saying so."""
    store, path, holder = given.store, view.path, view.holder
    alive = view.verdict in (Verdict.LIVE, Verdict.UNKNOWN)
    if holder is not None and view.verdict is Verdict.LIVE and (signal or _wants_signal(holder)):
        try:
            return asyncio.run(open_lock(store, path, token=view.token, signal=True, **how))
        except Refused as error:
            if not force:
                raise
            sys.stderr.write(f"{safe_text(error.message, 2 * LONGEST)}\n")
    if alive and not force and holder is not None:
        refuse_unlock(store, path, how["reason"], needs_force(view))
    how["reason"] = how["reason"] or consent.line("Why? (for the log, may stay empty) ")
    name = path.rpartition("/")[2]
    word = {Verdict.LIVE: f"break {path}", Verdict.UNKNOWN: path}.get(view.verdict, name)
    consent.ask(word, f"unlock {path}", yes=False)
    return asyncio.run(open_lock(store, path, token=view.token, force=force, **how))


def _wants_signal(holder: Holder) -> bool:
    if not stopping.can_be_asked(holder):
        return False
    return consent.agree(f"Ask pid {holder.pid} to stop first, as Ctrl-C does?")


def _report(given: Given, report: UnlockReport, json_: bool) -> None:
    if json_:
        show_json({"format": documents.FORMAT, **documents.unlocked(report)})
        return
    page = Page(plain=given.plain)
    holder = report.before.holder
    if report.outcome == "free":
        page.say((report.path, "title"), " is free: there was nothing to unlock")
    elif report.before.verdict is Verdict.HELD:
        page.say((f"{page.signs.ok} ", "good"), (report.path, "title"), " is given free: runs may open it again")
    else:
        how = "stopped by itself" if report.outcome == "stopped" else "cannot write any more"
        who = f": R-{holder.epoch} of {holder.user}@{holder.host} (pid {holder.pid}) {how}" if holder else ""
        page.say((f"{page.signs.ok} ", "good"), (report.path, "title"), f" is free{who}")
    if report.interrupted:
        page.section("Interrupted")
        page.table(
            [
                [line(f"  {left.address}"), line((left.status, "warn")), line((left.run, "dim"))]
                for left in report.interrupted
            ]
        )
    page.show()
    if report.next and not given.quiet:
        sys.stderr.write(f"next: {' or '.join(f'`{command}`' for command in report.next)} goes on from there\n")
