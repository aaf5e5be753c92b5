"""`alchemy scope validate`: checks everything that is stored; `--fix` writes views again from the journal."""

from __future__ import annotations

import sys

import click

from alchemy.cli.failures import Ended
from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.cli.pages import Page, show_json
from alchemy.cli.scope import documents
from alchemy.cli.scope.subject import find_scope, look
from alchemy.cli.terminal import counted
from alchemy.errors import UsageError
from alchemy.operations import validate as checking
from alchemy.operations.shapes import Finding

INVALID = 4  # exit code


@click.command(cls=Command)
@click.argument("scope", required=False)
@click.option(
    "--fix", is_flag=True, help="Write damaged or edited views again from the journal; edits are kept beside."
)
@click.option("--accept-edit", is_flag=True, help="Take over what was written into files of SCOPE by hand.")
@click.option("--only", multiple=True, metavar="ADDRESS", help="With --accept-edit: this one alone; may be repeated.")
@click.option("--yes", is_flag=True, help="With --accept-edit: do not ask.")
@as_json
@shared
def validate(
    given: Given, scope: str | None, fix: bool, accept_edit: bool, only: tuple[str, ...], yes: bool, json_: bool
) -> None:
    """Check the state of everything, or of SCOPE and what is below it: each finding names its file and the way out.

    Exit code 4 when there is an error; warnings alone are 0.
    """
    if accept_edit or only:
        from alchemy.cli.scope.edits import accept

        if not accept_edit or fix or scope is None or json_:
            raise UsageError(
                "--accept-edit takes a SCOPE and neither --fix nor --json", hint="--only and --yes go with it"
            )
        accept(given, scope, only, yes=yes)
        return
    _, view = look(given)
    path = find_scope(view, scope).path if scope is not None else None
    found = checking.validate(given.store, path)
    written = 0
    if fix and found:
        written = _fix(given, sorted({view.scopes[one.scope].owner for one in found if one.scope in view.scopes}))
        found = checking.validate(given.store, path)
    errors = sum(1 for one in found if one.severity == "error")
    if json_:
        show_json(
            {
                "format": documents.FORMAT,
                "valid": not errors,
                "written": written,
                "findings": [documents.finding(one) for one in found],
            }
        )
    else:
        _show(given, found)
        if not given.quiet:
            where = path or given.store.place
            if view.empty and not found:
                sys.stderr.write(f"there is no state in {where}: nothing was checked\n")
            else:
                sys.stderr.write(_summary(where, len(found), errors, written, len(view.resources)))
    if errors:
        raise Ended(INVALID)


def _summary(where: str, found: int, errors: int, written: int, resources: int) -> str:
    done = f"{counted(written, 'view')} written again; " if written else ""
    if not found:
        return f"{done}{where} is sound: {counted(resources, 'resource')} checked\n"
    return f"{done}{counted(errors, 'error')}, {counted(found - errors, 'warning')} in {where}\n"


def _show(given: Given, found: list[Finding]) -> None:
    page = Page(plain=given.plain)
    for one in found:
        bad = one.severity == "error"
        glyph = page.signs.failed if bad else page.signs.warning
        page.say((f"{glyph} {one.severity}  ", "bad" if bad else "warn"), (one.file, "title"))
        page.say(f"    {one.problem}")
        page.say((f"    {page.signs.arrow} {one.way_out}", "dim"))
    page.show()


def _fix(given: Given, owners: list[str]) -> int:
    """Under each scope's lock, so that no run writes at the same time."""
    import asyncio

    from alchemy.model.paths import ScopePath
    from alchemy.store.ledger import make_holder

    options = given.options()
    store = given.store

    async def rewrite(owner: str) -> int:
        path = ScopePath.parse(owner)
        lease = await store.acquire(path, timeout=options.lock_timeout)
        try:
            lease.publish(make_holder(store, path, 0, "validate"))
            return checking.rewrite_views(given.root, owner)
        finally:
            lease.release()

    return sum(asyncio.run(rewrite(owner)) for owner in owners)
