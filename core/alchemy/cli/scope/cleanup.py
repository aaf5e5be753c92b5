"""`alchemy scope cleanup`: destroys what runs left behind; `--all` destroys everything in the scope."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.errors import UsageError
from alchemy.settings import STRATEGIES

if TYPE_CHECKING:
    from alchemy.model.deletions import DeletionPlan
    from alchemy.model.paths import ScopePath


@click.command(cls=Command)
@click.argument("scope")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option("--all", "all_", is_flag=True, help="Everything in SCOPE, as `alchemy destroy SCOPE`.")
@click.option("--step", is_flag=True, help="Ask about each step: destroy, keep, skip, forget; then carry it out.")
@click.option("--only", multiple=True, metavar="ID", help="Destroy this and leave the rest; may be repeated.")
@click.option("--keep", multiple=True, metavar="ID", help="Keep this for good, as `scope keep`; may be repeated.")
@click.option("--stop-before", default="", metavar="ID", help="End the run before this step.")
@click.option("--plan", metavar="FILE", help="Decisions that were saved; refused by name of what changed since.")
@click.option("--out", metavar="FILE", help="Save the decisions, with --dry-run or --step.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--strategy", type=click.Choice(STRATEGIES), help="How many at once.  [default: sequential]")
@click.option("--force", is_flag=True, help="Do not ask, and go on after a failure. Protected resources stay.")
@as_json
@shared
def cleanup(
    given: Given,
    scope: str,
    dry_run: bool,
    all_: bool,
    yes: bool,
    strategy: str | None,
    force: bool,
    json_: bool,
    **deciding: Any,
) -> None:
    """Destroy what runs left behind in SCOPE: resources that the last complete deploy did not declare, incarnations
    that were replaced, and deletions that did not come to their end.

    After a deploy that failed, nothing goes that it or the last complete one declared. What a killed run was creating
    or updating is only listed: the next deploy looks it up and finishes it. Takes a backup first.

    Example: alchemy scope cleanup my-app/prod --step
    """
    from alchemy.model.paths import ScopePath

    path = ScopePath.parse(scope)
    options: dict[str, Any] = {"destroy_strategy": strategy} if strategy else {}
    if force:
        options["force"] = True
    if any(deciding.values()) or "" in (deciding["plan"], deciding["out"]):
        from alchemy.cli.scope.deciding import Asked, decide

        asked = Asked(path, all_, dry_run, yes or force, json_=json_, options=options, **_files(deciding))
        decide(given, asked)
        return
    plans = _plans(given, path, all_=all_)
    unfinished = not (all_ or json_ or given.quiet) and _list_unfinished(given, path)
    nothing = "nothing else to clean up" if unfinished else nothing_left(given, path)
    if dry_run:
        what = "to destroy" if all_ else "to clean up"
        _tell(plans, path, json_=json_, done=None, what=what, nothing=nothing)
        return
    if json_ and not (yes or force):
        raise UsageError("--json without --dry-run answers no question: nothing was done", hint="add --yes")
    if _show(given, plans, path, all_=all_, quiet=given.quiet and (yes or force)):
        from alchemy.cli import consent

        consent.ask(path.name, f"{'destroy' if all_ else 'clean up'} {path}", yes=yes or force)
    elif not all_:
        _tell(plans, path, json_=json_, done=[], nothing=nothing)
        return
    done = _carry_out(given, path, plans, options, all_=all_)
    if json_:
        _tell(plans, path, json_=True, done=done)


def _files(deciding: dict[str, Any]) -> dict[str, Any]:
    """The same with files for their names."""
    for name in ("plan", "out"):
        if deciding[name] == "":
            raise UsageError(f"--{name} is empty", hint=f"name a file: --{name} decisions.json")
    return {**deciding, **{name: Path(deciding[name]) for name in ("plan", "out") if deciding[name]}}


def _plans(given: Given, path: ScopePath, *, all_: bool) -> list[DeletionPlan]:
    from alchemy.engine.finalize import refuse_protected
    from alchemy.operations.cleaning import plan_cleanup
    from alchemy.operations.destroying import plan_destroy

    if not all_:
        return [plan_cleanup(given.store, path, given.project)]
    plans = plan_destroy(given.store, path, given.project)
    for plan in plans:
        refuse_protected(plan)
    return plans


def _list_unfinished(given: Given, path: ScopePath) -> bool:
    """What only a program can finish, or a destruction takes away: no cleanup touches it. False: nothing is."""
    from alchemy.cli.scope.resume import list_unfinished
    from alchemy.operations.resuming import plan_resume

    return list_unfinished(given, plan_resume(given.store, path, project=given.project))


def nothing_left(given: Given, path: ScopePath) -> str:
    """For a cleanup that has nothing to do."""
    from alchemy.cli.terminal import counted
    from alchemy.operations.cleaning import find_waiting

    waiting = find_waiting(given.store, path)
    if not waiting:
        return "nothing was left behind"
    verb = "waits" if len(waiting) == 1 else "wait"
    return f"nothing can go yet: {counted(len(waiting), 'orphan')} {verb} for a complete deploy"


def _show(given: Given, plans: list[DeletionPlan], path: ScopePath, *, all_: bool, quiet: bool) -> bool:
    from alchemy import wiring
    from alchemy.cli import doomed

    if not given.quiet and any(plan.deletions for plan in plans):
        doomed.say(f"{path}: target: {wiring.describe_target(given.store, given.options())[0]}")
    return doomed.show(plans, "to destroy" if all_ else "to clean up", reasons=not all_, quiet=quiet)


def _tell(
    plans: list[DeletionPlan],
    path: ScopePath,
    *,
    json_: bool,
    done: list[str] | None,
    what: str = "to clean up",
    nothing: str = "nothing was left behind",
) -> None:
    """The plan, on stdout only as JSON: there `deleted` is null where nothing was tried."""
    from dataclasses import replace

    from alchemy.cli import doomed
    from alchemy.cli.pages import show_json
    from alchemy.model.decisions import foreseen

    if not json_:
        if not doomed.show(plans, what, reasons=True):
            doomed.say(f"{path}: {doomed.nothing(plans, nothing)}")
        return
    shown = [replace(plan, waves=(foreseen(plan),)) for plan in plans]
    steps = [step for plan in shown for step in plan.to_json()["deletions"]]
    kept = [address for plan in plans for address in plan.kept]
    show_json({"format": 1, "scope": str(path), "deletions": steps, "kept": kept, "deleted": done})


def _carry_out(
    given: Given, path: ScopePath, plans: list[DeletionPlan], options: dict[str, Any], *, all_: bool
) -> list[str]:
    """Addresses that are gone."""
    import asyncio

    from alchemy.cli.failures import CommandFailed
    from alchemy.cli.running import narrator
    from alchemy.operations.cleaning import cleanup as clean
    from alchemy.operations.destroying import destroy_stored

    chosen, told = given.options(**options), narrator(given)
    try:
        if all_:
            reports = asyncio.run(destroy_stored(given.store, path, chosen, project=given.project, listener=told))
            return [address for report in reports for address in report.deleted]
        cleaned = clean(given.store, path, chosen, project=given.project, listener=told, agreed=plans[0])
        return asyncio.run(cleaned).deleted
    except Exception as error:
        raise CommandFailed(told.told) from error
    finally:
        told.finish()
