"""`alchemy scope restore`: the state of a scope as it was in a backup; shows what that does, and asks."""

from __future__ import annotations

import sys

import click

from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.cli.pages import Page, show_json
from alchemy.cli.scope import documents
from alchemy.cli.scope.backups import tell_passed_over
from alchemy.cli.scope.diff import draw, head
from alchemy.errors import Refused, UsageError
from alchemy.model.text import safe_text
from alchemy.operations import backups as copies
from alchemy.operations.shapes import Comparison, RestoreReport
from alchemy.operations.undoing import undoes


@click.command(cls=Command)
@click.argument("scope")
@click.option("--backup", "file", metavar="F", help="Go back to this one.")
@click.option("--undo", is_flag=True, help="Go back to what was before the newest restore.")
@click.option("--expect-serial", metavar="N", type=click.IntRange(0), help="Only when the state is at this serial.")
@click.option("--dry-run", is_flag=True, help="Show what it would do, and what that leads to.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--force",
    is_flag=True,
    help="Set a journal that cannot be read aside: a terminal is asked, unless --yes is there too.",
)
@as_json
@shared
def restore(
    given: Given,
    scope: str,
    file: str | None,
    undo: bool,
    expect_serial: int | None,
    dry_run: bool,
    yes: bool,
    force: bool,
    json_: bool,
) -> None:
    """Make the state of SCOPE what it was in a backup. Nothing is created or deleted in the cloud.

    F is a name, a beginning of it that only one has, `latest`, or `latest~2` for the second before it. SCOPE may be a
    nested scope or a resource: only that goes back. What is there now is backed up first, so --undo takes it back.

    Exit code 5 when the state changed meanwhile, 4 when the journal cannot be read and --force is not given.
    """
    if undo == (file is not None):
        where = safe_text(scope, 200)
        raise UsageError(
            "either --backup F or --undo says where to go back to",
            hint=f"`alchemy scope backups {where}` lists them; --backup latest is the newest",
        )
    found = copies.compare(given.store, scope, undoes(given.store, scope) if file is None else file)
    tell_passed_over(given, found.owner, file or "", found.file)
    if expect_serial is not None and expect_serial != found.serial_now:
        raise Refused(
            f"{found.owner} is at serial {found.serial_now} by now, not at {expect_serial}: somebody changed it",
            hint=f"`alchemy scope diff {found.scope} --backup {found.file}` shows what a restore would do now",
        )
    if dry_run:
        _show_plan(given, found, json_=json_)
        return
    if not found.same and not (json_ or given.quiet):
        page = Page.on(sys.stderr, plain=given.plain)
        draw(page, found)
        page.show()
    _ask(given, found, yes=yes, force=force)
    report = _carry_out(given, found)
    if json_:
        show_json(documents.restored(report))
    elif not given.quiet:
        sys.stderr.write(_ended(report))


def _show_plan(given: Given, found: Comparison, *, json_: bool) -> None:
    if json_:
        show_json(documents.comparison(found))
        return
    page = Page(plain=given.plain)
    draw(page, found)
    page.show()


def _ask(given: Given, found: Comparison, *, yes: bool, force: bool) -> None:
    """By severity: over a damaged journal the whole path; in a protected scope its last part; else a `y`."""
    from alchemy.cli import consent

    if found.same:
        return
    if found.damage:
        consent.ask_hard(found.scope, f"{head(found)}, over a journal that cannot be read", yes=yes, force=force)
        return
    protected = given.project.protects(found.scope)
    consent.ask(found.scope.rpartition("/")[2] if protected else "y", head(found), yes=yes or force)


def _carry_out(given: Given, found: Comparison) -> RestoreReport:
    import asyncio

    from alchemy.cli.failures import CommandFailed
    from alchemy.cli.running import narrator
    from alchemy.operations import restoring

    options = given.options()
    told = narrator(given)
    try:
        return asyncio.run(
            restoring.restore(
                given.store,
                found.scope,
                found.file,
                expect_serial=found.serial_now,
                timeout=options.lock_timeout,
                locking=options.enable_locking,
                over_damage=bool(found.damage),
                listener=told,
            )
        )
    except Exception as error:
        raise CommandFailed(told.told) from error
    finally:
        told.finish()


def _ended(report: RestoreReport) -> str:
    if report.unchanged and not report.aside:
        return f"{report.scope} is as it was in {report.file}: there is nothing to restore\n"
    aside = f"the damaged journal is kept in {report.owner}/{report.aside}\n" if report.aside else ""
    undo = f"  alchemy scope restore {report.scope} --undo  takes it back\n" if report.before else ""
    return aside + undo
