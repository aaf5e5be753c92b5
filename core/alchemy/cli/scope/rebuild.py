"""`alchemy scope rebuild`: makes the state of a scope anew from what is left of it, and from the cloud."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.errors import Refused

if TYPE_CHECKING:
    from alchemy.operations.rebuilding import RebuildPlan, RebuildReport


@click.command(cls=Command)
@click.argument("scope")
@click.argument("program", required=False)
@click.option("--dry-run", is_flag=True, help="Only show what would be written; the exit code is that of doing it.")
@click.option("--yes", is_flag=True, help="Do not ask; not enough over a sound state.")
@click.option(
    "--force",
    is_flag=True,
    help="Also over a sound state: on a terminal it asks for the whole path, unless --yes is there too.",
)
@as_json
@shared
def rebuild(given: Given, scope: str, program: str | None, dry_run: bool, yes: bool, force: bool, json_: bool) -> None:
    """Make the state of SCOPE anew from what can be read of its journal, its snapshots, its files and its backups; with
    PROGRAM, what that declares and nobody knows is looked for in the cloud.

    The old journal is set aside, never deleted. The next deploy looks up each resource before it believes the state.
    """
    import asyncio

    from alchemy.cli.running import program_of
    from alchemy.model.paths import ScopePath
    from alchemy.operations.rebuilding import plan_rebuild

    path = ScopePath.parse(scope)
    file: Path | None = program_of(given, program) if program is not None else None
    options = given.options()
    plan = asyncio.run(plan_rebuild(given.store, path, options, project=given.project, program=file))
    if not (json_ and dry_run):
        _show(given, plan)
    done = None
    if not dry_run:
        _ask(plan, yes=yes, force=force, json_=json_)
        done = _carry_out(given, plan)
    if json_:
        from alchemy.cli.pages import show_json

        show_json(document(plan, done))
    if dry_run:
        _refuse_sound(plan, force=force)


def document(plan: RebuildPlan, done: RebuildReport | None) -> dict[str, object]:
    """docs/cli-json.md, `alchemy scope rebuild`."""
    return {
        "format": 1,
        "scope": str(plan.owner),
        "damage": plan.damage,
        "resources": [
            {"address": row.address, "kind": row.kind, "status": str(row.status), "source": source}
            for row, source in plan.rows
        ],
        "vanishing": list(plan.vanishing),
        "problems": list(plan.problems),
        "lost_records": plan.lost,
        "written": done is not None,
        "run": done.run if done else "",
        "backup": done.before if done else "",
        "aside": done.aside if done else "",
    }


def _show(given: Given, plan: RebuildPlan) -> None:
    from alchemy.cli import wording
    from alchemy.cli.terminal import counted, signs
    from alchemy.cli.tones import Line, coloured, joined, line

    marks, colour = signs(sys.stderr), coloured(sys.stderr, plain=given.plain)

    def say(pieces: Line) -> None:
        sys.stderr.write(joined(pieces, colour=colour) + "\n")

    sound = plan.damage or ("sound as it is" if plan.severe else "nothing is stored of it")
    say(line((str(plan.owner), "title"), f": {sound}"))
    for row, source in plan.rows:
        status = "" if str(row.status) == "ready" else str(row.status)
        former = f"former, generation {row.generation}" if row.former else ""
        forgets = "destroying will forget it" if row.adopted else ""
        facts = (wording.short_kind(row.kind), former, status, f"from the {source}", forgets)
        say(wording.row(marks.create, "rebuild", "good", row.address, *facts))
    for address in plan.vanishing:
        say(wording.row(marks.delete, "leave out", "bad", address, "in the state, and nothing else knows it"))
    for problem in plan.problems:
        say(line((f"  {marks.warning} ", "warn"), problem))
    if plan.lost:
        text = f"of {counted(plan.lost, 'record')} nothing is left: what they changed may be missing or out of date"
        say(line((f"  {marks.warning} ", "warn"), text))
    text = "; each is looked up by the next run" if plan.rows else ": the state will be empty"
    say(line(f"  {counted(len(plan.rows), 'resource')}{text}"))


def _ask(plan: RebuildPlan, *, yes: bool, force: bool, json_: bool) -> None:
    from alchemy.cli import consent

    what = f"rebuild {plan.owner}"
    if not plan.severe:
        consent.ask(plan.owner.name, what, yes=yes or force)
        return
    _refuse_sound(plan, force=force)
    consent.ask_hard(str(plan.owner), what, yes=yes or json_, force=force)


def _refuse_sound(plan: RebuildPlan, *, force: bool) -> None:
    if plan.severe and not force:
        raise Refused(
            f"{plan.owner} is sound: to rebuild it would only lose its history",
            hint=f"`alchemy scope restore {plan.owner} --backup latest` goes back to the newest backup; "
            "--force rebuilds it all the same",
        )


def _carry_out(given: Given, plan: RebuildPlan) -> RebuildReport:
    import asyncio

    from alchemy.cli.failures import CommandFailed
    from alchemy.cli.running import narrator
    from alchemy.operations.rebuilding import rebuild as carry_out

    told = narrator(given)
    try:
        done = asyncio.run(carry_out(given.store, plan, given.options(), listener=told))
    except Exception as error:
        raise CommandFailed(told.told) from error
    finally:
        told.finish()
    if not given.quiet:
        kept = [f"the old journal is {done.aside}"] if done.aside else []
        kept += [f"a backup of what was there is {done.before}"] if done.before else []
        if kept:
            sys.stderr.write(f"  {'; '.join(kept)}\n")
    return done
