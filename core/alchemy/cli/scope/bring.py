"""`alchemy scope import`: an object that exists, or a document that was exported, into the state."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.errors import UsageError
from alchemy.model.text import safe_text

if TYPE_CHECKING:
    from alchemy.operations.surgery.importing import ImportPlan
    from alchemy.operations.surgery.record import Written
    from alchemy.operations.surgery.taking import TakePlan

PASSWORD = "ALCHEMY_PASSWORD"


@click.command(cls=Command, name="import")
@click.argument("subject", metavar="ADDRESS|FILE")
@click.option("--kind", metavar="KIND", help="Of the object, cloudflare:R2Bucket for example.")
@click.option("--name", metavar="NAME", help="What the object is called in the cloud.")
@click.option("--prop", "props", metavar="K=V", multiple=True, help="A prop that it was made with; several times.")
@click.option("--into", metavar="SCOPE", help="Where the rows of FILE go: the scope that it becomes.")
@click.option("--dry-run", is_flag=True, help="Only show what would be written.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--password-from",
    default=PASSWORD,
    show_default=True,
    metavar="VARIABLE",
    help="The environment variable with the password of the secrets in FILE.",
)
@as_json
@shared
def bring(
    given: Given,
    subject: str,
    kind: str | None,
    name: str | None,
    props: tuple[str, ...],
    into: str | None,
    dry_run: bool,
    yes: bool,
    password_from: str,
    json_: bool,
) -> None:
    """Take in an object that exists already, or what `alchemy scope export` wrote. Nothing in the cloud is touched.

    With --kind and --name, the object is looked up and stored as ADDRESS; as one that was there before, destroying
    forgets it. `alchemy plan` then shows what a deploy would change of it.

    With --into, the rows of FILE come into SCOPE. Nothing is written over, and an object that the state knows already
    is refused. Secrets are sealed again, with the password in ALCHEMY_PASSWORD.

    For example: alchemy scope import my-app/prod/files --kind cloudflare:R2Bucket --name old-files
    """
    if (into is not None) == (kind is not None or name is not None):
        raise UsageError(
            "scope import takes either FILE and --into, or ADDRESS with --kind and --name",
            hint="alchemy scope import my-app/prod/files --kind cloudflare:R2Bucket --name old-files",
        )
    if into is not None:
        if props:
            raise UsageError("--prop goes with --kind and --name", hint="leave it out")
        _bring_file(given, Path(subject), into, dry_run=dry_run, yes=yes, password_from=password_from, json_=json_)
        return
    if kind is None or name is None:
        raise UsageError("an object is found by --kind and --name", hint="give both")
    _bring_object(given, subject, kind, name, props, dry_run=dry_run, yes=yes, json_=json_)


def _bring_object(
    given: Given, address: str, kind: str, name: str, props: tuple[str, ...], *, dry_run: bool, yes: bool, json_: bool
) -> None:
    from alchemy.cli.scope import surgery
    from alchemy.operations.surgery.taking import plan_take, split_props, take

    options, project = given.options(), given.project
    typed = split_props(props)

    async def look() -> TakePlan:
        return await plan_take(given.store, address, kind, name, typed, options, project=project)

    async def write(plan: TakePlan) -> Written:
        return await take(given.store, plan, options, project=project)

    plan = asyncio.run(look())
    if surgery.shows(given, json_=json_, asks=not (dry_run or yes)):
        surgery.tell_row(given, "import", "good", plan.row)
        surgery.tell(given, "nothing in the cloud changes; `alchemy plan` shows what a deploy would change of it")
    written: Written | None = None
    if not dry_run:
        what = f"{safe_text(name, 200)} as {plan.row.address}"
        surgery.agree(given, str(plan.owner), f"import {what}", yes=yes)
        written = asyncio.run(write(plan))
        surgery.ended(given, f"imported {what}", written)
    if json_:
        _show_json(str(plan.owner), [_entry(plan.row.address, plan.row)], written)


def _bring_file(
    given: Given, file: Path, into: str, *, dry_run: bool, yes: bool, password_from: str, json_: bool
) -> None:
    from alchemy.cli.scope import surgery
    from alchemy.cli.terminal import counted
    from alchemy.model.paths import ScopePath
    from alchemy.operations.surgery.exporting import load
    from alchemy.operations.surgery.importing import bring_in, plan_import

    plan = plan_import(given.store, load(file), ScopePath.parse(into))
    if surgery.shows(given, json_=json_, asks=not (dry_run or yes)):
        _show_file(given, plan)
    written: Written | None = None
    if not dry_run:
        what = f"{counted(len(plan.rows), 'resource')} of {plan.export.scope} into {plan.into}"
        surgery.agree(given, str(plan.owner), f"import {what}", yes=yes)
        password, source = os.environ.get(PASSWORD), os.environ.get(password_from)
        bringing = bring_in(given.store, plan, given.options(), password=password, source_password=source)
        written = asyncio.run(bringing)
        surgery.ended(given, f"imported {what}", written)
    if json_:
        _show_json(str(plan.owner), [_entry(plan.addresses[row.address], row) for row in plan.rows], written)


def _entry(address: str, row: object) -> dict[str, object]:
    from alchemy.model.values import ResourceState

    assert isinstance(row, ResourceState)
    return {"address": address, "kind": row.kind, "physical_name": row.physical_name, "former": row.former}


def _show_json(scope: str, imported: list[dict[str, object]], written: Written | None) -> None:
    """docs/cli-json.md, `alchemy scope import`."""
    from alchemy.cli.pages import show_json
    from alchemy.cli.scope.surgery import outcome

    show_json({"format": 1, "scope": scope, "imported": imported, **outcome(written)})


def _show_file(given: Given, plan: ImportPlan) -> None:
    from alchemy.cli.scope.surgery import tell, tell_row

    for row in plan.rows:
        now = plan.addresses[row.address]
        tell_row(given, "import", "good", row, f"to {now}" if now != row.address else "")
    if plan.target is not None:
        tell(given, f"{plan.owner} is deployed to {plan.target} from now on")
    if plan.sealed:
        tell(given, "its secrets are sealed again for the new place: that takes the password")
    for address in plan.foreign:
        tell(given, f"{address} is referred to, and is not in the document", "warn")
    tell(given, "nothing in the cloud changes; the next deploy looks at each of them once")
