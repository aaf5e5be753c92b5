"""`alchemy scope migrate`: state of another tool into a scope, or all of our own into another store."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.cli.pages import Page, show_json
from alchemy.cli.scope import documents
from alchemy.cli.terminal import counted
from alchemy.cli.tones import line
from alchemy.cli.wording import short_kind
from alchemy.errors import UsageError
from alchemy.model.text import safe_text

if TYPE_CHECKING:
    from alchemy.operations.migrating import Migration

PASSWORD = "ALCHEMY_PASSWORD"
_NAMED = 4  # resources that a note names


@click.command(cls=Command)
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--into", metavar="SCOPE", help="The scope that it becomes, my-app/prod for example.")
@click.option("--to", type=click.Choice(("r2", "file")), help="Move all state of the project there instead.")
@click.option("--dry-run", is_flag=True, help="Show what would come where; write nothing.")
@click.option(
    "--account", default="", metavar="ID", help="The Cloudflare account the objects are in, if not said there."
)
@click.option(
    "--password-from",
    default=PASSWORD,
    show_default=True,
    metavar="VARIABLE",
    help="The environment variable with the password that the old program sealed its secrets with.",
)
@as_json
@shared
def migrate(
    given: Given,
    path: Path | None,
    into: str | None,
    to: str | None,
    dry_run: bool,
    account: str,
    password_from: str,
    json_: bool,
) -> None:
    """Bring state of another tool into a scope of ours, or move all of ours to another store.

    PATH is a flat state.json, or a tree of Alchemy (TypeScript): its .alchemy directory, or the one of a stage in it.
    Nothing is created in the cloud and PATH is left as it is. The next deploy looks at every object once. Secrets that
    were sealed are sealed again with the password in ALCHEMY_PASSWORD.

    With --to r2, the state directory moves into the bucket of the R2_* variables; with --to file, back. Interrupted
    anywhere, the same command finishes it.
    """
    if to is not None:
        if path is not None or into is not None:
            raise UsageError("--to moves everything: it goes without PATH and --into", hint="leave them out")
        from alchemy.cli.scope.moving import move

        move(given, to, dry_run=dry_run, json_=json_)
        return
    if path is None or into is None:
        raise UsageError(
            "scope migrate takes a PATH and --into SCOPE, or --to r2 or file",
            hint="alchemy scope migrate .alchemy/state.json --into my-app/prod",
        )
    _bring(given, path, into, dry_run=dry_run, account=account, password_from=password_from, json_=json_)


def _bring(
    given: Given, path: Path, into: str, *, dry_run: bool, account: str, password_from: str, json_: bool
) -> None:
    import asyncio

    from alchemy.model.paths import ScopePath
    from alchemy.operations import migrating

    if account and not re.fullmatch(r"[0-9a-f]{32}", account):
        raise UsageError(
            f"--account {safe_text(account, 80)!r} is not the id of an account",
            hint="32 hexadecimal digits; every address in the Cloudflare dashboard begins with them",
        )
    notes = migrating.know_kinds(given.project)
    migration = migrating.prepare(given.store, path.absolute(), ScopePath.parse(into), given.options(), account=account)
    if not json_ and not migration.done:
        _show(given, migration, notes)
    run = migration.before
    if not dry_run:
        done = migrating.migrate(
            given.store,
            migration,
            given.options(),
            source_password=os.environ.get(password_from),
            password=os.environ.get(PASSWORD),
            variable=password_from,
        )
        run = asyncio.run(done)
    if json_:
        show_json(_document(migration, notes, dry_run=dry_run, run=run))
    if not given.quiet:
        sys.stderr.write(_closing(migration, dry_run=dry_run, run=run))


def _show(given: Given, migration: Migration, notes: list[str]) -> None:
    page = Page(plain=given.plain)
    if not given.quiet:
        page.table(
            [
                [
                    line(row.address + (" (former)" if row.found.former else "")),
                    line((short_kind(row.kind), "dim")),
                    line((str(row.found.status), "dim")),
                    line(row.name),
                    line((row.found.file, "dim")),
                ]
                for row in migration.plan.rows
            ]
        )
    for text, addresses in _notes(migration, notes):
        names = [str(address).removeprefix(f"{migration.plan.into}/") for address in addresses]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        whose = f"{', '.join(names[:_NAMED])}{more}: " if names else ""
        page.say((f"  {page.signs.warning} ", "warn"), f"{whose}{text}")
    page.show()


def _notes(migration: Migration, notes: list[str]) -> list[tuple[str, list[str]]]:
    """(what to know, of which resources); about all of them first."""
    from alchemy.engine import kinds

    found: dict[str, list[str]] = {}
    for row in migration.plan.rows:
        for text in row.notes:
            found.setdefault(text, []).append(row.address)
        if kinds.find(row.kind) is None:
            text = f"no class of kind {safe_text(row.kind, 80)} is loaded: destroying them stays blocked until one is"
            found.setdefault(text, []).append(row.address)
    about = [*dict.fromkeys([*notes, *migration.plan.notes, *migration.notes])]
    return [(text, []) for text in about] + [(text, list(dict.fromkeys(whose))) for text, whose in found.items()]


def _document(migration: Migration, notes: list[str], *, dry_run: bool, run: str) -> dict[str, Any]:
    plan = migration.plan
    return {
        "format": documents.FORMAT,
        "source": {"tool": plan.source.tool, "path": plan.source.place, "sha256": plan.source.digest},
        "into": str(plan.into),
        "target": migration.target.to_json() if migration.target else None,
        "dry_run": dry_run,
        "run": run,
        "already_done": migration.done,
        "secrets": len(plan.hidden),
        "resources": [
            {
                "address": row.address,
                "kind": row.kind,
                "status": str(row.found.status),
                "former": row.found.former,
                "physical_name": row.name,
                "depends_on": list(row.needs),
                "file": row.found.file,
                "notes": list(row.notes),
            }
            for row in plan.rows
        ],
        "notes": [{"text": text, "addresses": addresses} for text, addresses in _notes(migration, notes)],
    }


def _closing(migration: Migration, *, dry_run: bool, run: str) -> str:
    plan = migration.plan
    former = sum(row.found.former for row in plan.rows)
    count = counted(len(plan.rows) - former, "resource") + (f" and {former} former ones" if former else "")
    place = safe_text(plan.source.place)
    if migration.done:
        return f"{place} was migrated into {plan.into} already, in {run}: nothing was done\n"
    if dry_run:
        return f"{count} would come from {place} into {plan.into}; nothing was written\n"
    return (
        f"{count} migrated from {place} into {plan.into} in {run}; {place} was left as it is: "
        "keep it until a deploy went well, and deploy with one of the two tools only\n"
    )
