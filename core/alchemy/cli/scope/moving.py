"""`alchemy scope migrate --to`: all state of a project into its bucket, or back into files."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from alchemy.cli.options import Given
from alchemy.cli.pages import Page, show_json
from alchemy.cli.scope import documents
from alchemy.cli.terminal import counted
from alchemy.cli.tones import line
from alchemy.errors import UsageError
from alchemy.model.text import safe_text

if TYPE_CHECKING:
    from alchemy.operations.moving import Move
    from alchemy.store.store import Store


def move(given: Given, to: str, *, dry_run: bool, json_: bool) -> None:
    """`to` is r2 or file."""
    import asyncio

    from alchemy.operations.moving import move_state, prepare_move

    files, bucket = _stores(given, to)
    source, target = (files, bucket) if to == "r2" else (bucket, files)
    found = prepare_move(source, target)
    if not json_ and not given.quiet:
        _show(given, found)
    if not dry_run:

        def told(scope: str) -> None:
            if given.verbose:
                sys.stderr.write(f"  {safe_text(scope)} copied\n")

        asyncio.run(move_state(found, given.options(), told=told))
    if json_:
        show_json(_document(found, dry_run=dry_run))
    if not given.quiet:
        sys.stderr.write(_closing(found, to, dry_run=dry_run))


def _stores(given: Given, to: str) -> tuple[Store, Store]:
    """(the directory, the bucket), also one that was moved away from. UsageError when no bucket is named."""
    from alchemy.store.layout import Layout
    from alchemy.store.local import LocalStore
    from alchemy.store.objects.settings import bucket_settings
    from alchemy.store.objects.store import bucket_store

    settings = bucket_settings(os.environ, given.project.table)
    if settings is None:
        asked = given.project.table.get("state_store") == "file"
        why = 'state_store = "file" in [tool.alchemy] asks for files' if asked else "the R2_* variables are not set"
        names = "R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY, R2_BUCKET_NAME and R2_ACCOUNT_ID (or R2_ENDPOINT)"
        hint = f"take it out for `alchemy scope migrate --to {to}`" if asked else f"set {names}"
        raise UsageError(f"no bucket is named: {why}", hint=hint)
    session = os.urandom(16).hex()
    return LocalStore(Layout(given.root), session), bucket_store(settings, given.root, session)


def _show(given: Given, found: Move) -> None:
    page = Page(plain=given.plain)
    page.table([[line(app), line((_inside(found, app), "dim"))] for app in found.apps])
    page.show()


def _inside(found: Move, app: str) -> str:
    inside = sum(1 for owner in found.owners if owner.split("/")[0] == app and owner != app)
    return counted(inside, "journal below it") if inside == 1 else f"{inside} journals below it"


def _document(found: Move, *, dry_run: bool) -> dict[str, Any]:
    return {
        "format": documents.FORMAT,
        "from": found.source.place,
        "to": found.target.place,
        "applications": list(found.apps),
        "scopes": list(found.owners),
        "resources": found.resources,
        "backups": found.backups,
        "continued": found.begun,
        "dry_run": dry_run,
    }


def _closing(found: Move, to: str, *, dry_run: bool) -> str:
    source, target = safe_text(found.source.place), safe_text(found.target.place)
    if dry_run:
        what = counted(found.resources, "resource")
        return (
            f"{what} and {counted(found.backups, 'backup')} would move from {source} to {target}; nothing was written\n"
        )
    ask = "" if to == "r2" else 'unset the R2_* variables, or set state_store = "file" in [tool.alchemy]; '
    # Others may have something in the same bucket.
    old = "and" if to == "r2" else f"and what is there of {safe_text(', '.join(found.apps), 200)}"
    return (
        f"the state is in {target} from now on: {ask}{source} refuses every command, "
        f"{old} may be removed when everybody uses the new place\n"
    )
