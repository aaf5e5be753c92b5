"""`alchemy scope export`: a scope or a resource as one JSON document."""

from __future__ import annotations

import sys

import click

from alchemy.cli.options import Command, Given, shared


@click.command(cls=Command)
@click.argument("scope")
@click.option("--out", metavar="FILE", help="Write it there, readable by you alone.  [default: standard output]")
@shared
def export(given: Given, scope: str, out: str | None) -> None:
    """Write what is stored of SCOPE as one JSON document, which `alchemy scope import` takes in elsewhere.

    SCOPE is a stage, a nested scope, or one resource. The state is left as it is. Secrets stay sealed; the keys that
    they need are in the document, and open with the password only.

    For example: alchemy scope export my-app/prod/database --out database.json
    """
    import json
    from pathlib import Path

    from alchemy.cli.terminal import counted
    from alchemy.errors import UsageError
    from alchemy.model.text import safe_text
    from alchemy.operations.surgery.exporting import export as take_out
    from alchemy.operations.surgery.exporting import save

    if out == "":
        raise UsageError("--out is empty", hint="name a file, or leave it out")
    found = take_out(given.store, scope)
    if out is None:
        from alchemy.cli.pages import show_json

        show_json(found.to_json())
        return
    save(json.dumps(found.to_json(), indent=2).encode() + b"\n", Path(out))
    if not given.quiet:
        where = f"{safe_text(scope, 300)} in {safe_text(out, 300)}"
        sys.stderr.write(f"{counted(len(found.rows), 'row')} of {where}; the state is left as it is\n")
