"""`alchemy scope reset`: forgets everything in the state of a scope; the objects in the cloud stay."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from alchemy.cli.options import Command, Given, as_json, shared

if TYPE_CHECKING:
    from alchemy.operations.resetting import ResetPlan, ResetReport


@click.command(cls=Command)
@click.argument("scope")
@click.option("--dry-run", is_flag=True, help="Only show what would be forgotten.")
@click.option("--yes", is_flag=True, help="Do not ask; only together with --force.")
@click.option("--force", is_flag=True, help="Where there is no terminal to ask on.")
@as_json
@shared
def reset(given: Given, scope: str, dry_run: bool, yes: bool, force: bool, json_: bool) -> None:
    """Forget everything in the state of SCOPE. Nothing in the cloud is touched: what is there stays, tracked by nobody.

    Takes a backup first, which `alchemy scope restore` goes back to.

    Asks for the whole path. `alchemy destroy SCOPE` deletes the objects too.
    """
    import asyncio

    from alchemy.cli import consent
    from alchemy.model.paths import ScopePath
    from alchemy.operations.resetting import plan_reset, refuse_empty
    from alchemy.operations.resetting import reset as carry_out

    path = ScopePath.parse(scope)
    plans = plan_reset(given.store, path)
    refuse_empty(plans, path)
    if not (json_ and dry_run):
        _show(given, plans)
    done: list[ResetReport] = []
    if not dry_run:
        consent.ask_hard(str(path), f"forget everything in {path}", yes=yes, force=force)
        done = asyncio.run(carry_out(given.store, plans, given.options()))
        _tell(given, done)
    if json_:
        from alchemy.cli.pages import show_json

        show_json(document(str(path), plans, done))


def document(path: str, plans: Sequence[ResetPlan], done: Sequence[ResetReport]) -> dict[str, object]:
    """docs/cli-json.md, `alchemy scope reset`."""
    left = [
        {"address": row.address, "kind": row.kind, "status": str(row.status), "physical_name": row.physical_name}
        for plan in plans
        for row in plan.rows
    ]
    runs = [{"scope": r.scope, "run": r.run, "backup": r.before, "aside": r.aside} for r in done]
    return {"format": 1, "scope": path, "left_behind": left, "written": bool(done), "runs": runs}


def _show(given: Given, plans: Sequence[ResetPlan]) -> None:
    from alchemy.cli import wording
    from alchemy.cli.terminal import counted, signs
    from alchemy.cli.tones import coloured, joined, line

    marks, colour = signs(sys.stderr), coloured(sys.stderr, plain=given.plain)
    rows = [row for plan in plans for row in plan.rows]
    for plan in plans:
        if plan.damage:
            text = line((f"  {marks.warning} ", "warn"), f"{plan.owner} cannot be read as it is: {plan.damage}")
            sys.stderr.write(joined(text, colour=colour) + "\n")
    for row in rows:
        unsure = "" if str(row.status) == "ready" else f"{row.status}: it may exist"
        facts = (wording.short_kind(row.kind), row.physical_name, unsure)
        sys.stderr.write(joined(wording.row(marks.delete, "forget", "bad", row.address, *facts), colour=colour) + "\n")
    left = f"{counted(len(rows), 'resource')} in the cloud will be left behind, tracked by nobody"
    sys.stderr.write(f"  {left if rows else 'nothing in the cloud is known to be left behind'}\n")


def _tell(given: Given, done: Sequence[ResetReport]) -> None:
    if given.quiet:
        return
    for report in done:
        undo = f"; `alchemy scope restore {report.scope} --backup {report.before}` undoes it" if report.before else ""
        sys.stderr.write(f"{report.scope} is empty now{undo}\n")
