"""`alchemy scope resume`: finishes what an interrupted run left, as far as that needs no program."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.errors import RunFailed, UsageError
from alchemy.model.values import ScopeKind

if TYPE_CHECKING:
    from alchemy.operations.deciding import Report
    from alchemy.operations.resuming import Resumption


@click.command(cls=Command)
@click.argument("scope")
@click.option("--dry-run", is_flag=True, help="Only show what would be finished.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@shared
def resume(given: Given, scope: str, dry_run: bool, yes: bool, json_: bool) -> None:
    """Finish in SCOPE what an interrupted run announced and did not end: deletions, and what was replaced. Each is
    looked up before it is deleted again. What was being created, updated or replaced is listed: only the program can
    finish that.

    Example: alchemy scope resume my-app/prod
    """
    from alchemy.cli import consent
    from alchemy.cli.terminal import counted
    from alchemy.model.paths import ScopePath
    from alchemy.operations.resuming import plan_resume

    if json_ and not (dry_run or yes):
        raise UsageError("--json without --dry-run answers no question: nothing was done", hint="add --yes")
    path = ScopePath.parse(scope)
    found = plan_resume(given.store, path, project=given.project)
    if not json_:
        _show(given, found)
    report = None
    if found.steps and not dry_run:
        consent.ask(path.name, f"finish {counted(len(found.steps), 'deletion')} in {path}", yes=yes)
        report = _finish(given, found)
    if json_:
        _show_json(found, report)
    elif not given.quiet:
        _next(found, report)
    if report is not None and report.failed:
        raise _failed(path, report)


def _show(given: Given, found: Resumption) -> None:
    from alchemy.cli import doomed, wording
    from alchemy.cli.terminal import signs
    from alchemy.cli.tones import coloured, joined

    marks, colour = signs(sys.stderr), coloured(sys.stderr, plain=given.plain)
    for step in found.steps:
        why = "; ".join(text for text in (step.reason, f"blocked: {step.blocked}" if step.blocked else "") if text)
        sign = wording.sign(marks, str(step.action))
        row = wording.row(sign, "finish", "bad", step.address, wording.short_kind(step.kind), why)
        doomed.say(joined(row, colour=colour))
    _show_left(given, found)
    if not (found.steps or found.program):
        doomed.say(f"{found.plan.path}: no run left anything unfinished")


def _show_left(given: Given, found: Resumption) -> None:
    """What only the program can finish."""
    from alchemy.cli import doomed, wording
    from alchemy.cli.terminal import signs
    from alchemy.cli.tones import coloured, joined

    marks, colour = signs(sys.stderr), coloured(sys.stderr, plain=given.plain)
    for left in found.program:
        kind = wording.short_kind(left.kind)
        row = wording.row(marks.warning, str(left.status), "warn", left.address, kind, f"unfinished since {left.run}")
        doomed.say(joined(row, colour=colour))


def list_unfinished(given: Given, found: Resumption) -> bool:
    """For a cleanup, of what it leaves as it is. False when there is nothing."""
    from alchemy.cli import doomed

    going = _going(found)
    found = replace(found, program=tuple(left for left in found.program if left.address not in going))
    if found.program:
        _show_left(given, found)
        tests = [f"{part.owner}/" for part in found.plan.parts if part.kind is ScopeKind.TEST]  # no deploy is theirs
        if not all(left.address.startswith(tuple(tests)) for left in found.program):
            doomed.say(f"next: `{_deploy(found)}` looks these up and finishes them, `alchemy destroy` removes them")
    return bool(found.program)


def _going(found: Resumption) -> set[str]:
    """What a cleanup takes though it is unfinished: all that a dead test left."""
    return {step.address for step in found.plan.plan.deletions if not step.row.former}


def _deploy(found: Resumption) -> str:
    """With the stage that it is about, where it is one."""
    owner = found.plan.parts[0].owner if len(found.plan.parts) == 1 else None
    return f"alchemy deploy --stage {owner.name}" if owner and len(owner.parts) == 2 else "alchemy deploy"


def _finish(given: Given, found: Resumption) -> Report:
    from alchemy.cli.scope.deciding import carry_out

    return carry_out(given, found.plan, found.decisions, given.options())


def _next(found: Resumption, report: Report | None) -> None:
    """What is left, and who can do it."""
    path = found.plan.path
    going = _going(found)
    left = [each for each in found.program if each.address not in going]
    if left:
        many = f"{len(left)} of them" if found.steps or len(left) < len(found.program) else "these"
        sys.stderr.write(f"next: only the program can finish {many}: `{_deploy(found)}`\n")
    begun = {step.row.key for step in found.steps}
    orphans = [step for step in found.plan.plan.deletions if step.row.key not in begun]
    if orphans:
        sys.stderr.write(f"next: `alchemy scope cleanup {path}` destroys what nobody declares: {len(orphans)}\n")


def _show_json(found: Resumption, report: Report | None) -> None:
    from alchemy.cli.pages import show_json

    steps = [
        {"address": s.address, "kind": s.kind, "action": str(s.action), "reason": s.reason, "blocked": s.blocked}
        for s in found.steps
    ]
    left = [{"address": i.address, "kind": i.kind, "status": i.status, "run": i.run} for i in found.program]
    done = report.deleted if report is not None else None
    path = str(found.plan.path)
    show_json({"format": 1, "scope": path, "deletions": steps, "needs_program": left, "deleted": done})


def _failed(path: object, report: Report) -> Exception:
    from alchemy.cli.failures import CommandFailed

    error = CommandFailed({address for address, _ in report.failed})
    error.__cause__ = RunFailed(
        f"not everything in {path} could be finished: {len(report.failed)} left; their rows are kept",
        report.failures,
        hint=f"mend the cause, then `alchemy scope resume {path}` again: what is gone stays gone",
    )
    return error
