"""`alchemy scope inspect`: one scope or resource: what it is, whether it is well, who holds it, what happened."""

from __future__ import annotations

from typing import Any

import click

from alchemy.cli.failures import Ended
from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.cli.pages import Page, show_json
from alchemy.cli.scope import documents
from alchemy.cli.scope.spilled import mention_spills
from alchemy.cli.scope.subject import find, health_cell, held, lock_of, look, mark, problems
from alchemy.cli.terminal import ago, counted, duration, moment, size
from alchemy.cli.tones import line
from alchemy.cli.wording import count_words, short_kind, value_text
from alchemy.model.locks import LockView
from alchemy.operations.shapes import BackupInfo, Health, ResourceNode, RunSummary, ScopeNode, View
from alchemy.store.clock import Clock

NEWEST = 5  # runs and backups shown; `logs` and `backups` show all
_LABEL = 12  # cells
_ACTS_ON_STATE = ("migrate", "recover", "lock", "unlock", "validate", "save", "rekey", "reset", "rebuild")


@click.command(cls=Command)
@click.argument("scope")
@as_json
@shared
def inspect(given: Given, scope: str, json_: bool) -> None:
    """Show one SCOPE, or the resource of that address: health, lock, resources, runs and backups.

    Exit code 4 when something in it is unreadable or was edited by hand.
    """
    workspace, view = look(given)
    node = find(view, scope)
    owner = node.owner
    runs = view.runs.get(owner, ())
    copies = workspace.backups(owner) if isinstance(node, ScopeNode) else ()
    wrong = problems(view, scope)
    if json_:
        show_json(_document(view, node, runs, copies))
    else:
        page = Page(plain=given.plain)
        now = Clock().wall()
        if isinstance(node, ScopeNode):
            _scope(page, view, node, now)
            _resources(page, view, node)
            _runs(page, view, runs, owner, node.path, now)
            _backups(page, copies, now)
        else:
            _resource(page, view, node, now)
        page.show()
    mention_spills(given, (owner,))
    if wrong:
        raise Ended(4)


def _document(
    view: View, node: ScopeNode | ResourceNode, runs: tuple[RunSummary, ...], copies: tuple[BackupInfo, ...]
) -> dict[str, Any]:
    if isinstance(node, ResourceNode):
        return {
            "format": documents.FORMAT,
            "resource": documents.resource(node),
            "state": node.state.to_json(),
            "lock": documents.lock(lock_of(view, node.owner)),
        }
    inside = [found for address, found in view.resources.items() if address.startswith(f"{node.path}/")]
    return {
        "format": documents.FORMAT,
        "scope": documents.scope(view, node),
        "scopes": list(node.children),
        "resources": [documents.resource(found) for found in inside],
        "runs": [documents.run(found) for found in runs],
        "backups": [documents.backup(found) for found in copies],
    }


def field(page: Page, label: str, *value: Any) -> None:
    page.say((f"{label:<{_LABEL}}", "dim"), *value)


def _scope(page: Page, view: View, node: ScopeNode, now: float) -> None:
    page.say((node.path, "title"), (f"  {node.kind} scope", "dim"))
    field(page, "state", *health_cell(node))
    for subject, problem in problems(view, node.path):
        field(page, "", (f"{subject}: {problem}", "bad"))
    field(page, "lock", *_lock(lock_of(view, node.path) or lock_of(view, node.owner), node.path))
    below = f", {counted(len(node.children), 'scope')} below" if node.children else ""
    field(page, "holds", held(view, node) + below)
    if node.row:
        if node.row.target:
            field(page, "target", str(node.row.target))
        field(page, "created", _when(node.row.created_at, now))
        by = f" by {node.row.last_run}" if node.row.last_run else ""
        field(page, "updated", _when(node.row.updated_at, now) + by)


def _lock(lock: LockView | None, path: str) -> list[tuple[str, str]]:
    if lock is None:
        return [("free", "")]
    where = f" on {lock.path}" if lock.path != path else ""
    holder = lock.holder
    who = f"  {holder.user}@{holder.host}, pid {holder.pid}, token {holder.token}" if holder else ""
    you = "  (you)" if lock.you else ""
    evidence = f"  {lock.evidence[0]}" if lock.evidence else ""
    return [(f"{lock.verdict}{where}", "busy"), (f"{who}{you}", ""), (evidence, "dim")]


def _when(at: str, now: float) -> str:
    return f"{moment(at)} ({ago(at, now)})" if at else "unknown"


def _resources(page: Page, view: View, node: ScopeNode) -> None:
    inside = [found for address, found in view.resources.items() if address.startswith(f"{node.path}/")]
    if not inside:
        return
    page.section("Resources")
    rows = []
    for found in inside:
        name = found.state.address[len(node.path) + 1 :]
        kind = line((short_kind(found.state.kind), "dim"))
        rows.append([line(f"  {name}"), kind, health_cell(found), line((found.state.physical_name, "dim"))])
    page.table(rows)


def _runs(page: Page, view: View, runs: tuple[RunSummary, ...], owner: str, path: str, now: float) -> None:
    if not runs:
        return
    page.section("Runs" if owner == path else f"Runs of {owner}")
    rows = []
    for found in runs[:NEWEST]:
        rows.append(
            [
                line(f"  {found.run}"),
                line(found.purpose),
                mark(page.signs, found.outcome),
                line((ago(found.started_at, now), "dim")),
                line((duration(found.took), "dim")),
                line(did(view, found)),
            ]
        )
    page.table(rows)
    if any(in_doubt(view, found) for found in runs):
        page.say(("  the next `alchemy deploy` or `alchemy destroy` looks up what became of these", "dim"))
    if len(runs) > NEWEST:
        page.say((f"  and {len(runs) - NEWEST} more: alchemy scope logs {owner}", "dim"))


def did(view: View, run: RunSummary) -> str:
    """What a run did, in words."""
    words = count_words(run.counts)
    if run.outcome == "lost":
        doubt = f"interrupted, {counted(in_doubt(view, run), 'change')} in doubt"
        return f"{words}; {doubt}" if words else doubt
    if run.outcome == "running":
        return words or "at work"
    if run.purpose in _ACTS_ON_STATE:  # its name says what it did
        return words
    return words or ("nothing to do" if run.outcome == "done" else "nothing was done")


def in_doubt(view: View, run: RunSummary) -> int:
    """Calls that a run announced which is gone, and of which nobody knows how they ended."""
    if run.outcome != "lost":
        return 0
    rows = (found for found in view.resources.values() if found.owner == run.scope and found.state.run == run.run)
    return sum(1 for found in rows if found.health is Health.UNFINISHED)


def _backups(page: Page, copies: tuple[BackupInfo, ...], now: float) -> None:
    if not copies:
        return
    page.section("Backups")
    page.table(
        [
            [
                line(f"  {found.file}"),
                line((ago(found.taken, now), "dim")),
                line((counted(found.resources, "resource"), "dim")),
                line((size(found.size), "dim")),
                line((found.problem or found.reason, "bad" if found.problem else "")),
            ]
            for found in copies[:NEWEST]
        ]
    )
    if len(copies) > NEWEST:
        page.say((f"  and {len(copies) - NEWEST} more: alchemy scope backups {copies[0].scope}", "dim"))


def _resource(page: Page, view: View, node: ResourceNode, now: float) -> None:
    state = node.state
    page.say((state.address, "title"), (f"  {state.kind}", "dim"))
    field(page, "state", *health_cell(node))
    for text in dict.fromkeys(text for text in (node.problem, state.error) if text):
        field(page, "", (text, "bad"))
    field(page, "lock", *_lock(lock_of(view, node.owner), node.owner))
    field(page, "name", state.physical_name)
    field(page, "created", _when(state.created_at, now))
    field(page, "updated", _when(state.updated_at, now) + (f" by {state.run}" if state.run else ""))
    flags = [word for word in ("adopted", "protect", "retain", "kept", "former") if getattr(state, word)]
    if flags:
        field(page, "flags", ", ".join(flags))
    for label, names in (("needs", state.depends_on), ("needed by", node.used_by)):
        if names:
            field(page, label, ", ".join(names))
    for title, values in (("Props", state.props), ("Outputs", state.outputs)):
        if values:
            page.section(title)
            told = [(str(key), value) for key, value in values.items() if value not in (None, [], {})]
            page.table([[line(f"  {key.removeprefix('$')}"), line(value_text(value))] for key, value in told])
    if node.view:
        page.say()
        field(page, "stored in", (node.view, "dim"))
