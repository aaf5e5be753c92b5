"""`alchemy scope cleanup` where something is decided: some steps only, some kept, a stop before one, or a saved draft.

Neighbours: `cleanup` is the command, `stepping` asks one by one, `operations.deciding` plans and carries out.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alchemy import wiring
from alchemy.cli import consent, wording
from alchemy.cli.doomed import nothing
from alchemy.cli.failures import CommandFailed
from alchemy.cli.options import Given
from alchemy.cli.pages import show_json
from alchemy.cli.running import narrator
from alchemy.cli.scope.stepping import ask_steps
from alchemy.cli.terminal import counted, signs
from alchemy.cli.tones import coloured, joined
from alchemy.errors import RunFailed, UsageError
from alchemy.model.decisions import DecidedPlan, DecidedStep, Decisions, Fate, apply
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.operations.deciding import Finalization, Report, choose, go_live, plan_finalization, take_up
from alchemy.operations.drafting import read_draft, refuse_overwriting, usual_file, write_draft
from alchemy.settings import Options

_SIGNS = {Fate.BLOCKED: "blocked", Fate.HELD: "held back", Fate.BEYOND: "later", Fate.SKIPPED: "skip"}
_TONES = {Fate.BLOCKED: "warn", Fate.HELD: "warn", Fate.BEYOND: "dim", Fate.SKIPPED: "dim", Fate.KEPT: "good"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What was typed. `options` are for the run."""

    path: ScopePath
    all_: bool
    dry_run: bool
    yes: bool
    step: bool
    only: tuple[str, ...]
    keep: tuple[str, ...]
    stop_before: str
    plan: Path | None
    out: Path | None
    json_: bool
    options: dict[str, Any]

    @property
    def decides(self) -> bool:
        return bool(self.step or self.only or self.keep or self.stop_before or self.plan or self.out)


def decide(given: Given, asked: Asked) -> None:
    """From what was typed to what was done."""
    _refuse_contradictions(asked)
    if asked.step and not consent.can_ask():
        raise UsageError(
            "--step asks about each step, and there is no terminal to ask on: nothing was done",
            hint="--only ID, --keep ID, --stop-before ID decide without asking",
        )
    saved = read_draft(asked.plan) if asked.plan else None
    survivors = saved.survivors if saved else "nothing" if asked.all_ else "declared"
    plan = plan_finalization(given.store, asked.path, survivors, project=given.project)
    if saved:
        decisions = take_up(plan, saved)
    elif asked.step:
        decisions = Decisions(plan.plan.fingerprint)
    else:
        decisions = choose(plan, only=asked.only, keep=asked.keep, stop_before=asked.stop_before)
    file = asked.out or asked.plan
    if asked.step and plan.plan.deletions:
        file = file or _free_file(asked.path)
        decisions, going = ask_steps(given, plan, decisions)
        if not going or asked.dry_run:
            _save(given, plan, decisions, file, undone=True)
            return
    _go_on(given, asked, plan, decisions, file)


def _go_on(given: Given, asked: Asked, plan: Finalization, decisions: Decisions, file: Path | None) -> None:
    decided = apply(plan.plan, decisions)
    if asked.dry_run:
        if asked.json_:
            show_json(document(plan, decided, None))
        else:
            show(given, plan, decided)
        if asked.out:
            _save(given, plan, decisions, asked.out, undone=True)
        return
    show(given, plan, decided)
    if decided.idle and not any(step.fate is Fate.BLOCKED and step.choice for step in decided.steps):
        if asked.json_:
            show_json(document(plan, decided, Report(str(plan.path))))
        elif plan.plan.deletions:
            _say("nothing is decided that would change anything")
        return
    if asked.step and file is not None:  # what was decided outlives a crash from here on
        _save(given, plan, decisions, file)
    what = "destroy" if plan.survivors == "nothing" else "clean up"
    consent.ask(plan.path.name, f"{what} {plan.path} as decided", yes=asked.yes)
    report = _carry_out(given, asked, plan, decisions)
    left = bool(report.stopped_before or report.failed)
    if file is not None and asked.step and not left and file == usual_file(asked.path):
        file.unlink(missing_ok=True)
    if asked.json_:
        show_json(document(plan, decided, report))
    if report.stopped_before and not given.quiet:
        command = f"alchemy scope cleanup {plan.path}"
        saved = file is not None and file.exists()
        again = f"`{command} --plan {safe_text(file)}`" if saved else f"`{command}` with the same options"
        _say(f"next: {again} goes on with what is left")
    if report.failed:
        raise CommandFailed({address for address, _ in report.failed}) from RunFailed(
            f"cleanup of {plan.path} failed: {counted(len(report.failed), 'step')}; what is left keeps its row",
            report.failures,
            hint="mend the cause and clean up again: what is gone stays gone",
        )


def _carry_out(given: Given, asked: Asked, plan: Finalization, decisions: Decisions) -> Report:
    chosen = given.options(**asked.options)
    if asked.step:
        chosen = chosen.but("--step", continue_on_error=False, destroy_strategy="sequential")
    return carry_out(given, plan, decisions, chosen)


def carry_out(given: Given, plan: Finalization, decisions: Decisions, options: Options) -> Report:
    """Goes live, told line by line. CommandFailed when it could not."""
    told = narrator(given)
    live = go_live(given.store, plan, decisions, listener=told, options=options, project=given.project)
    try:
        return asyncio.run(live)
    except Exception as error:
        raise CommandFailed(told.told) from error
    finally:
        told.finish()


def _refuse_contradictions(asked: Asked) -> None:
    chosen = {"--only": asked.only, "--keep": asked.keep, "--stop-before": asked.stop_before}
    named = [name for name, value in chosen.items() if value]
    if asked.step and named:
        raise UsageError(f"--step asks, and {named[0]} decides", hint="leave one of the two out")
    if asked.plan and (named or asked.all_):
        raise UsageError(f"--plan says it all, and {(named or ['--all'])[0]} says otherwise", hint="leave one out")
    if asked.step and (asked.yes or asked.json_):
        raise UsageError(f"--step asks, and {'--yes' if asked.yes else '--json'} cannot answer", hint="leave one out")
    if asked.out and not (asked.dry_run or asked.step):
        raise UsageError("--out saves decisions that are not carried out now", hint="add --dry-run, or --step")
    if asked.json_ and not (asked.dry_run or asked.yes):
        raise UsageError("--json without --dry-run answers no question: nothing was done", hint="add --yes")


def _free_file(path: ScopePath) -> Path:
    file = usual_file(path)
    if file.exists():
        raise UsageError(
            f"there are decisions about {path} in {safe_text(file)} already: nothing was done",
            hint=f"--plan {safe_text(file)} goes on with them; or remove the file",
        )
    refuse_overwriting(file)
    return file


def _save(given: Given, plan: Finalization, decisions: Decisions, file: Path | None, *, undone: bool = False) -> None:
    assert file is not None
    write_draft(file, plan.draft(decisions))
    if not given.quiet:
        nothing = "nothing was done; " if undone else ""
        _say(f"{nothing}decisions saved: `alchemy scope cleanup {plan.path} --plan {safe_text(file)}` carries them out")


# -- showing


def show(given: Given, plan: Finalization, decided: DecidedPlan) -> None:
    """On stderr: each step and what becomes of it."""
    if given.quiet and not decided.steps:
        return
    marks, colour = signs(sys.stderr), coloured(sys.stderr, plain=given.plain)
    if decided.steps and not given.quiet:
        _say(f"{plan.path}: target: {wiring.describe_target(given.store, given.options())[0]}")
    for step in decided.steps:
        word = word_of(step)
        action = str(step.step.action)
        runs = step.fate is Fate.RUNS
        glyph = wording.sign(marks, action) if runs else marks.keep
        tone = wording.TONES.get(action, "dim") if runs else _TONES.get(step.fate, "dim")
        why = "; ".join(text for text in (step.why or step.step.reason, step.unblock) if text)
        kind = wording.short_kind(step.step.kind)
        _say(joined(wording.row(glyph, word, tone, step.address, kind, why), colour=colour))
    for address in decided.plan.kept:
        _say(joined(wording.row(marks.keep, "keep", "dim", address, "kept by an operator"), colour=colour))
    if decided.steps:
        _say(f"  {tally(decided)}")
    else:
        none = "nothing was left behind" if plan.survivors == "declared" else "nothing is stored"
        _say(f"{plan.path}: {nothing([decided.plan], none)}")


def word_of(step: DecidedStep) -> str:
    """What becomes of it, in a word or two."""
    if step.fate is Fate.RUNS:
        return str(step.step.action)
    return {Fate.KEPT: "keep", Fate.FORGOTTEN: "forget"}.get(step.fate) or _SIGNS[step.fate]


def tally(decided: DecidedPlan) -> str:
    """`3 to delete, 1 to keep, 2 skipped`."""
    counts: dict[str, int] = {}
    for step in decided.steps:
        counts[word_of(step)] = counts.get(word_of(step), 0) + 1
    acts = {"delete": "to delete", "forget": "to forget", "keep": "to keep", "skip": "skipped"}
    return ", ".join(f"{number:,} {acts.get(word, word)}" for word, number in counts.items())


def document(plan: Finalization, decided: DecidedPlan, report: Report | None) -> dict[str, Any]:
    """docs/cli-json.md, `alchemy scope cleanup`."""
    steps = [{**step.to_json(), "blocked": step.step.blocked} for step in decided.steps]
    done: dict[str, Any] = {"deleted": None}
    if report is not None:
        done = {
            "deleted": report.deleted,
            "newly_kept": report.kept,
            "forgotten": report.forgotten,
            "skipped": [list(pair) for pair in report.skipped],
            "failed": [list(pair) for pair in report.failed],
            "stopped_before": report.stopped_before,
        }
    frame = {"format": 1, "scope": str(plan.path), "survivors": plan.survivors}
    return {**frame, "deletions": steps, "kept": list(decided.plan.kept), **done}


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
