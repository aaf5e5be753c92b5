"""What a `scope` command is about: the view of the state directory, and the scope or resource that was named."""

from __future__ import annotations

import sys

from alchemy.cli.failures import Ended
from alchemy.cli.options import Given
from alchemy.cli.terminal import Signs, ago, counted
from alchemy.cli.tones import Line, line
from alchemy.errors import InvalidName, StateInvalid, UsageError
from alchemy.model.locks import LockView, Verdict
from alchemy.model.paths import ScopePath, check_id
from alchemy.model.text import safe_text
from alchemy.model.values import Holder
from alchemy.operations.shapes import Finding, Health, ResourceNode, ScopeNode, View
from alchemy.operations.workspace import Workspace

_HEALTH_TONES = {
    Health.CORRUPT: "bad",
    Health.EDITED: "warn",
    Health.FAILED: "bad",
    Health.UNFINISHED: "warn",
    Health.WORKING: "busy",
    Health.ORPHAN: "warn",
    Health.OK: "good",
}
_VERDICT_TONES = {Verdict.LIVE: "busy", Verdict.STALE: "warn", Verdict.UNKNOWN: "warn", Verdict.HELD: "warn"}


def look(given: Given) -> tuple[Workspace, View]:
    workspace = Workspace(given.store)
    return workspace, workspace.refresh()


def find(view: View, text: str) -> ScopeNode | ResourceNode:
    """By scope path or resource address. InvalidName outside the grammar, UsageError when nothing of it is stored.

    StateInvalid when that cannot be told.
    """
    found = view.scopes.get(text) or view.resources.get(text)
    if found is not None:
        return found
    try:
        ScopePath.parse(text)
    except InvalidName:
        scope, _, id = text.rpartition("/")
        if scope not in view.scopes:
            raise
        check_id(id)
    lost = next((one for one in unread(view, "") if text.startswith(f"{one.scope}/")), None)
    if lost is not None:
        said = f"whether {safe_text(text, 200)} is stored cannot be told: {lost.problem}"
        raise StateInvalid(said, hint=lost.way_out)
    import difflib

    close = difflib.get_close_matches(text, [*view.scopes, *view.resources], n=1)
    known = f"did you mean {safe_text(close[0])}?" if close else "`alchemy scope list` shows what is"
    raise UsageError(f"{safe_text(text, 200)} is not in the state {safe_text(view.root)}", hint=known)


def find_scope(view: View, text: str) -> ScopeNode:
    """A resource's address means the scope that it is in."""
    found = find(view, text)
    return view.scopes[found.state.scope] if isinstance(found, ResourceNode) else found


def health_cell(node: ScopeNode | ResourceNode) -> Line:
    """A word, never only a colour."""
    word = state_word(node)
    return line((word, _HEALTH_TONES[node.health]))


def state_word(node: ScopeNode | ResourceNode) -> str:
    if isinstance(node, ResourceNode):
        if node.health is Health.OK:
            return "former" if node.state.former else "kept" if node.state.kept else str(node.state.status)
        if node.health in (Health.UNFINISHED, Health.WORKING):
            return f"{node.health}: {node.state.status}"
    return str(node.health)


def lock_cell(lock: LockView | None) -> Line:
    if lock is None:
        return line("")
    text = f"lock {lock.verdict}: {holder_words(lock.holder)}"
    if lock.verdict is Verdict.HELD and lock.hold:
        text = f"reserved by {lock.hold.by}: {lock.hold.reason}"
    return line((text, _VERDICT_TONES.get(lock.verdict, "")))


def holder_words(holder: Holder | None) -> str:
    return f"{holder.user}@{holder.host}, pid {holder.pid}" if holder else "somebody"


def lock_of(view: View, path: str) -> LockView | None:
    return next((lock for lock in view.locks if lock.path == path), None)


def problems(view: View, path: str) -> list[tuple[str, str]]:
    """(subject, what is wrong) of everything unreadable or edited in the subject and below."""
    nodes: list[tuple[str, ScopeNode | ResourceNode]] = [*view.scopes.items(), *view.resources.items()]
    return [
        (subject, node.problem)
        for subject, node in nodes
        if node.problem
        and node.health in (Health.CORRUPT, Health.EDITED)
        and (subject == path or subject.startswith(f"{path}/") or not path)
    ]


def unread(view: View, path: str) -> list[Finding]:
    """Of the journals in `path` and below, and of the one it is in, those that cannot be read."""
    node = view.scopes.get(path)
    owner = node.owner if node else path
    journals = {f"{found.scope}/journal": found for found in view.findings if found.severity == "error"}
    return [
        found
        for file, found in journals.items()
        if found.file == file and (found.scope == owner or found.scope.startswith(f"{path}/") or not path)
    ]


def tell_unread(view: View, *paths: str) -> None:
    """On stderr, and the end with 4 when there is one."""
    found = {one.file: one for path in paths for one in unread(view, path)}
    for one in found.values():
        sys.stderr.write(f"{safe_text(one.scope)}: {safe_text(one.problem)}\n  next: {safe_text(one.way_out)}\n")
    if found:
        raise Ended(4)


def held(view: View, node: ScopeNode) -> str:
    """How many resources are in it, as far as that can be told."""
    if not unread(view, node.path):
        return counted(node.total, "resource")
    return f"{counted(node.total, 'resource')} and unknown ones" if node.total else "resources unknown"


def mark(signs: Signs, outcome: str) -> Line:
    """How a run ended, with a sign."""
    glyph, tone = {
        "done": (signs.ok, "good"),
        "failed": (signs.failed, "bad"),
        "running": (signs.arrow, "busy"),
    }.get(outcome, (signs.warning, "warn"))
    return line((f"{glyph} {outcome}", tone))


def when(at: str, now: float) -> Line:
    return line((ago(at, now), "dim"))
