"""Finalizing by decision: the plan of a scope, or of an application with all below it, and what was decided, done.

Planning takes no lock and writes nothing. Going live takes the locks, plans again, and refuses by name what changed.
Neighbours: `model.decisions` and `model.drafts` are what is decided; `cleaning` and `destroying` do all of it at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from alchemy import wiring
from alchemy.engine import kinds
from alchemy.engine.carrying import Gate as Gate
from alchemy.engine.carrying import Report as Report
from alchemy.engine.carrying import carry_out
from alchemy.engine.entering import open_owner
from alchemy.engine.leaving import abandon
from alchemy.engine.scope import Scope
from alchemy.engine.session import Listener, Session
from alchemy.errors import Interrupted, Refused, UsageError
from alchemy.model import deletions
from alchemy.model.decisions import Choice, DecidedPlan, Decisions, Fate, apply, everything
from alchemy.model.deletions import DeletionPlan, block
from alchemy.model.drafts import SURVIVORS, Draft, draft, go_on, refuse_changes
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.model.values import ScopeKind
from alchemy.operations.cleaning import is_dead_test, subjects
from alchemy.operations.destroying import forget_application, forget_test, hold, load_kinds, stored_session
from alchemy.settings import Options, Project, base_options, find_project
from alchemy.store.store import Store


@dataclass(frozen=True, slots=True)
class Part:
    """Of one journal."""

    owner: ScopePath
    kind: ScopeKind
    scope: ScopePath  # what of it is meant
    plan: DeletionPlan
    died: bool = False  # a test whose process is dead: all of it goes


@dataclass(frozen=True, slots=True)
class Finalization:
    """`plan` is that of all `parts`, innermost journal first. `present`: keys of stored rows that nobody keeps."""

    path: ScopePath
    survivors: str  # "declared": by the last complete deploy; "nothing"
    plan: DeletionPlan
    parts: tuple[Part, ...]
    present: frozenset[str]

    def draft(self, decisions: Decisions) -> Draft:
        return draft(self.plan, self.survivors, decisions)


def plan_finalization(
    store: Store, path: ScopePath, survivors: str = "declared", *, project: Project | None = None
) -> Finalization:
    """What would go, step by step. Says also what nothing here can delete: the kinds of the project are loaded."""
    if survivors not in SURVIVORS:
        raise UsageError(f"survivors is one of {', '.join(SURVIVORS)}, not {safe_text(survivors, 40)!r}")
    load_kinds(project or find_project())
    found = subjects(store, path)
    dead = {owner for owner, kind, _ in found if is_dead_test(store, owner, kind)}
    return _finalization(path, survivors, [(*each, store.read_fold(each[0])) for each in found], dead)


def _finalization(
    path: ScopePath,
    survivors: str,
    found: list[tuple[ScopePath, ScopeKind, ScopePath, Fold]],
    dead: set[ScopePath],
) -> Finalization:
    obstacle = kinds.obstacle()
    parts, present = [], set()
    for owner, kind, scope, fold in found:
        died = owner in dead
        if survivors == "declared":
            made = deletions.plan_cleanup(fold, str(scope), died=died)
        else:
            made = deletions.plan_destroy(fold, str(scope))
        parts.append(Part(owner, kind, scope, block(made, obstacle), died))
        present |= {key for key, row in fold.resources.items() if row.former or not row.kept}
    return Finalization(
        path, survivors, deletions.merge(str(path), [p.plan for p in parts]), tuple(parts), frozenset(present)
    )


def choose(
    plan: Finalization, *, only: Iterable[str] = (), keep: Iterable[str] = (), stop_before: str = ""
) -> Decisions:
    """Everything, or `only` that; the ids or addresses to `keep` stay for good. UsageError where no step is meant."""
    wanted = [key for name in only for key in find_steps(plan, name)]
    kept = [key for name in keep for key in find_steps(plan, name)]
    both = sorted(set(wanted) & set(kept))
    if both:
        raise UsageError(f"{both[0]} is to go and to be kept", hint="leave one of the two out")
    decisions = everything(plan.plan)
    if wanted:
        decisions = Decisions(decisions.fingerprint).decide(wanted, Choice.DESTROY)
    stop = find_steps(plan, stop_before)[0] if stop_before else ""
    said = decisions.decide(kept, Choice.KEEP)
    return Decisions(said.fingerprint, said.choices, said.breakpoints, stop)


def find_steps(plan: Finalization, name: str) -> list[str]:
    """Row keys of the steps about an address, in full or below the plan's path, or about an id that only one has."""
    steps = plan.plan.deletions
    for address in (name, f"{plan.path}/{name}"):
        found = [step.row.key for step in steps if step.address == address]
        if found:
            return found
    named = [step for step in steps if step.row.id == name]
    addresses = sorted({step.address for step in named})
    if len(addresses) > 1:
        raise UsageError(f"{safe_text(name, 80)} is ambiguous: {', '.join(addresses)}", hint="name the whole address")
    if not named:
        raise UsageError(
            f"no step of the plan is about {safe_text(name, 200)}",
            hint=f"`alchemy scope cleanup {plan.path} --dry-run` lists the steps",
        )
    return [step.row.key for step in named]


def take_up(plan: Finalization, saved: Draft) -> Decisions:
    """The decisions of a draft, for what is left of it. Refused names what changed otherwise."""
    if (saved.scope, saved.survivors) != (str(plan.path), plan.survivors):
        raise UsageError(
            f"the draft is about {safe_text(saved.scope, 200)} (survivors: {saved.survivors}), not {plan.path}",
            hint=f"alchemy scope cleanup {safe_text(saved.scope, 200)} --plan FILE",
        )
    return go_on(saved, plan.plan, plan.present.__contains__)


async def go_live(
    store: Store,
    plan: Finalization,
    decisions: Decisions,
    *,
    gate: Gate | None = None,
    listener: Listener | None = None,
    options: Options | None = None,
    project: Project | None = None,
) -> Report:
    """What was decided, under the locks. Refused, before anything is touched, when the plan is another by now.

    Failures are in the report; Interrupted after Ctrl-C. With a `gate` one step at a time, and a failure ends it.
    """
    project = project or find_project()
    options = options or base_options(project)
    if gate is not None:
        options = options.but("step-through", continue_on_error=False, force=False)
    decided = apply(plan.plan, decisions)
    report = Report(str(plan.path))
    if plan.survivors == "nothing":
        _refuse_protected(decided)
    if decided.idle and not any(step.fate is Fate.BLOCKED and step.choice for step in decided.steps):
        return report
    session = stored_session(store, options, project, "destroy", listener)
    opened: dict[ScopePath, Scope] = {}
    try:
        await _open(session, plan, decided, options, opened)
        now = _again(store, plan, opened)
        refuse_changes(plan.draft(decisions), now.plan)
        fresh = apply(now.plan, decisions)
        for part in now.parts:
            if part.owner in opened and not _ended(report):
                await carry_out(opened[part.owner].run_state, _of(part, fresh), options, report, gate)
            if part.owner in opened:
                await _leave(opened[part.owner], report)
                forget_test(store, part.owner, part.kind)
    except BaseException as error:
        for scope in reversed(opened.values()):
            if not scope.closed:
                await abandon(scope, error)
        raise
    finally:
        for lease in session.leases:
            lease.release()
    if report.stopped:
        raise Interrupted
    if plan.survivors == "nothing" and not any(_stands(store, part.owner) for part in now.parts):
        forget_application(session, plan.path)
    return report


def _refuse_protected(decided: DecidedPlan) -> None:
    """As every destroy: nothing is touched while something in it is protected, unless that one is to stay."""
    named = [s.address for s in decided.steps if s.step.row.protect and s.step.blocked and s.choice is Choice.DESTROY]
    if named:
        raise Refused(
            f"{decided.plan.scope} is not destroyed: protected: {safe_text(', '.join(named), 300)}",
            hint="set protect=False in the program and deploy, then destroy again; or skip what is protected",
        )


async def _open(
    session: Session, plan: Finalization, decided: DecidedPlan, options: Options, opened: dict[ScopePath, Scope]
) -> None:
    """The journals in which something is to happen, outermost first; for a destroy the lock above them too."""
    _, target = wiring.describe_target(session.store, options)
    destroy = plan.survivors == "nothing"
    acts = {step.key for step in decided.steps if step.fate not in (Fate.SKIPPED, Fate.HELD, Fate.BEYOND)}
    parts = [part for part in plan.parts if acts & {step.row.key for step in part.plan.deletions}]
    parts.sort(key=lambda part: part.owner.parts)
    if destroy and plan.path not in [part.owner for part in parts] and plan.path.parent is None:
        await hold(session, plan.path, options)
    for part in parts:
        opened[part.owner] = await open_owner(
            session,
            part.owner,
            part.kind,
            options,
            target=target,
            purpose="cleanup",
            lock_path=part.scope if part.scope != part.owner else None,
        )
        await opened[part.owner].run_state.ledger.flush()


def _again(store: Store, plan: Finalization, opened: dict[ScopePath, Scope]) -> Finalization:
    """As it is now that nobody else can change it."""
    found = []
    for owner, kind, scope in subjects(store, plan.path):
        fold = opened[owner].run_state.ledger.fold if owner in opened else store.read_fold(owner)
        found.append((owner, kind, scope, fold))
    return _finalization(plan.path, plan.survivors, found, {part.owner for part in plan.parts if part.died})


def _of(part: Part, decided: DecidedPlan) -> DecidedPlan:
    mine = {step.row.key for step in part.plan.deletions}
    return DecidedPlan(part.plan, decided.decisions, tuple(step for step in decided.steps if step.key in mine))


def _ended(report: Report) -> bool:
    return report.stopped or report.broke or bool(report.stopped_before)


async def _leave(scope: Scope, report: Report) -> None:
    failures = scope.run_state.failures
    report.failures += failures
    await scope.leave("interrupted" if report.stopped else "failed" if failures else "done")


def _stands(store: Store, owner: ScopePath) -> bool:
    """Something is stored in it, itself included."""
    fold = store.read_fold(owner)
    return bool(fold.resources) or str(owner) in fold.scopes
