"""`alchemy scope rm`: forgets resources; the objects in the cloud stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from alchemy.cli.options import Command, Given, as_json, shared

if TYPE_CHECKING:
    from alchemy.operations.surgery.forgetting import ForgetPlan
    from alchemy.operations.surgery.record import Written


@click.command(cls=Command)
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@click.option("--former", is_flag=True, help="Only old incarnations, which still wait to be deleted.")
@click.option("--dry-run", is_flag=True, help="Only show what would be forgotten.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@shared
def rm(given: Given, addresses: tuple[str, ...], former: bool, dry_run: bool, yes: bool, json_: bool) -> None:
    """Forget resources. Nothing in the cloud is touched: the objects stay, tracked by nobody.

    All of them in one record, or none. Asks for the whole address; of several, for their stage. A program that still
    declares one makes it again with the next deploy. `alchemy destroy` deletes the objects too.

    For example: alchemy scope rm my-app/prod/db
    """
    import asyncio

    from alchemy.cli import consent
    from alchemy.cli.scope import surgery
    from alchemy.cli.terminal import counted
    from alchemy.operations.surgery.forgetting import forget, plan_forget

    plan = plan_forget(given.store, addresses, former=former)
    if surgery.shows(given, json_=json_, asks=not (dry_run or yes)):
        _show(given, plan)
    written: Written | None = None
    if not dry_run:
        what = counted(len(plan.rows), "resource")
        subject = str(plan.owner) if len(plan.addresses) > 1 else plan.addresses[0]
        consent.ask(subject, f"forget {what} of {plan.owner}", yes=yes)
        written = asyncio.run(forget(given.store, plan, given.options()))
        surgery.ended(given, f"forgot {what} of {plan.owner}", written)
    if json_:
        from alchemy.cli.pages import show_json

        show_json(document(plan, written))


def document(plan: ForgetPlan, written: Written | None) -> dict[str, object]:
    """docs/cli-json.md, `alchemy scope rm`."""
    from alchemy.cli.scope.surgery import outcome

    left = [
        {
            "address": row.address,
            "kind": row.kind,
            "status": str(row.status),
            "physical_name": row.physical_name,
            "former": row.former,
        }
        for row in plan.rows
    ]
    return {"format": 1, "scope": str(plan.owner), "left_behind": left, "users": list(plan.users), **outcome(written)}


def _show(given: Given, plan: ForgetPlan) -> None:
    from alchemy.cli.scope.surgery import tell, tell_row
    from alchemy.cli.terminal import counted

    for row in plan.rows:
        unsure = "" if str(row.status) == "ready" else f"{row.status}: it may exist"
        tell_row(given, "forget", "bad", row, unsure)
    for address in plan.users:
        tell(given, f"{address} refers to what is forgotten", "warn")
    tell(given, f"{counted(len(plan.rows), 'object')} in the cloud will be nobody's: none of them is deleted")
