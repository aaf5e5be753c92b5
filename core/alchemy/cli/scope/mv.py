"""`alchemy scope mv`: another id or another nested scope for what is stored; the objects in the cloud stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from alchemy.cli.options import Command, Given, as_json, shared

if TYPE_CHECKING:
    from alchemy.operations.surgery.moving import MovePlan
    from alchemy.operations.surgery.record import Written


@click.command(cls=Command)
@click.argument("before", metavar="FROM")
@click.argument("now", metavar="TO")
@click.option("--dry-run", is_flag=True, help="Only show what would be written.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@shared
def mv(given: Given, before: str, now: str, dry_run: bool, yes: bool, json_: bool) -> None:
    """Give a resource another id, or move it, or a nested scope, to another place in its stage.

    FROM and TO are whole addresses. Nothing is replaced: the object stays as it is, under the name it has, and rows
    that refer to it are written anew. Rename it in the program too, and the next deploy finds nothing changed.

    Secrets are sealed for their address: moving them takes the password in ALCHEMY_PASSWORD.

    For example: alchemy scope mv my-app/prod/db my-app/prod/main-db
    """
    import asyncio
    import os

    from alchemy.cli.scope import surgery
    from alchemy.operations.surgery.moving import move, plan_move

    plan = plan_move(given.store, before, now)
    if surgery.shows(given, json_=json_, asks=not (dry_run or yes)):
        _show(given, plan)
    written: Written | None = None
    if not dry_run:
        said = _what(plan)
        surgery.agree(given, str(plan.owner), f"move {said}", yes=yes)
        password = os.environ.get(surgery.PASSWORD)
        written = asyncio.run(move(given.store, plan, given.options(), password=password))
        surgery.ended(given, f"moved {said}", written)
    if json_:
        from alchemy.cli.pages import show_json

        show_json(document(plan, written))


def _what(plan: MovePlan) -> str:
    return f"{plan.renaming.before} to {plan.renaming.now}"


def document(plan: MovePlan, written: Written | None) -> dict[str, object]:
    """docs/cli-json.md, `alchemy scope mv`."""
    from alchemy.cli.scope.surgery import outcome

    moved = [
        {
            "from": row.address,
            "to": plan.renaming.of(row.address),
            "kind": row.kind,
            "physical_name": row.physical_name,
            "former": row.former,
        }
        for row in plan.rows
    ]
    return {
        "format": 1,
        "scope": str(plan.owner),
        "from": plan.renaming.before,
        "to": plan.renaming.now,
        "moved": moved,
        "rewritten": list(plan.users),
        "elsewhere": list(plan.elsewhere),
        "secrets": plan.sealed,
        **outcome(written),
    }


def _show(given: Given, plan: MovePlan) -> None:
    from alchemy.cli.scope.surgery import tell, tell_row

    for row in plan.rows:
        tell_row(given, "move", "warn", row, f"to {plan.renaming.of(row.address)}")
    for address in plan.users:
        tell(given, f"{address} refers to it, and is written anew")
    for path in plan.made:
        tell(given, f"{path} is a new nested scope")
    if plan.sealed:
        tell(given, "its secrets are sealed again for the new address: that takes the password")
    for address in plan.elsewhere:
        tell(given, f"{address} refers to it from another journal: its next deploy updates it", "warn")
    tell(given, "nothing in the cloud changes; rename it in the program before the next deploy")
