"""A row of the tree: fold sign, name, kind, and one status cell with a glyph and a word.

Neighbours: `lock` and `run` say what a holder and a run look like; `info` shows the same subject at length.
"""

from __future__ import annotations

from alchemy.model.values import ScopeKind, Status
from alchemy.operations.shapes import Health, ResourceNode, ScopeNode, Verdict
from alchemy_tui.present import lock as lock_words
from alchemy_tui.present import run as run_words
from alchemy_tui.present.line import Line, Piece, Tone, cells, clip, line, pad, piece, plain
from alchemy_tui.present.scene import Scene
from alchemy_tui.store.tree_model import Row

STATUS = 18  # cells of the status column
LONG_STATUS = 24  # where there is room: `unfinished: replacing` in full
_LONG_FROM = 70  # cells of a row
_KIND_FROM = 56  # cells: narrower rows leave the kind to the peek and the details

_DOING = {
    Status.CREATING: "creating",
    Status.UPDATING: "updating",
    Status.REPLACING: "replacing",
    Status.DELETING: "deleting",
    Status.READY: "working",
}


def short_kind(kind: str) -> str:
    """`cloudflare:D1Database` is `D1Database` where room is short."""
    return kind.rpartition(":")[2] or kind


def held(scene: Scene, node: ScopeNode) -> str:
    """How many resources are in it, as far as that can be told: what cannot be read holds nobody knows how many."""
    known = f"{node.total:,} resource{'s' * (node.total != 1)}"
    if not scene.unread(node.path):
        return known
    return f"{known} and unknown ones" if node.total else "resources unknown"


def resource_status(scene: Scene, node: ResourceNode, *, short: bool = False) -> Line:
    """The words of `alchemy scope list`. `short` leaves out what a narrow row has no room for."""
    glyphs, state = scene.glyphs, node.state
    doing = _DOING[state.status]
    if node.health == Health.CORRUPT:
        return line((f"{glyphs.corrupt} corrupt", Tone.BAD))
    if node.health == Health.EDITED:
        return line((f"{glyphs.edited} edited", Tone.WARN))
    run = scene.run_of(node.owner)
    row = run.rows.get(state.address) if run else None
    if row and row.state == "retrying":
        return line((f"{glyphs.retry} retry {row.attempt}", Tone.WARN))
    if node.health == Health.WORKING:
        return line((f"{scene.spinner} {doing}…", Tone.BUSY))
    if node.health == Health.FAILED:
        return line((f"{glyphs.failed} failed", Tone.BAD))
    if node.health == Health.UNFINISHED:
        doing = "" if short or state.status is Status.READY else f": {state.status}"
        return line((f"{glyphs.unfinished} unfinished{doing}", Tone.WARN))
    if state.former:
        return line((f"{glyphs.orphan} former", Tone.WARN))
    if node.health == Health.ORPHAN:
        return line((f"{glyphs.orphan} orphan", Tone.WARN))
    if state.kept:
        return line((f"{glyphs.ok} kept", Tone.ACCENT))
    return line((f"{glyphs.ok} ", Tone.OK), ("ready", Tone.DIM))


def scope_status(scene: Scene, node: ScopeNode) -> Line:
    """The one thing that matters most: unreadable, locked by somebody gone, at work, locked, then what is below."""
    glyphs = scene.glyphs
    lock = scene.locks.get(node.path)
    if node.health == Health.CORRUPT and node.problem:
        return line((f"{glyphs.corrupt} corrupt", Tone.BAD))
    if lock and lock.verdict in (Verdict.STALE, Verdict.UNKNOWN, Verdict.HELD):
        return lock_words.badge(scene, lock)
    run = scene.run_of(node.path)
    if run:
        return run_words.working(scene, run)
    if lock and lock.verdict == Verdict.LIVE:
        return lock_words.badge(scene, lock)
    if node.health == Health.CORRUPT:
        return line((f"{glyphs.corrupt} corrupt below", Tone.BAD))
    if node.health == Health.FAILED:
        return line((f"{glyphs.failed} failed", Tone.BAD))
    if node.health == Health.EDITED:
        return line((f"{glyphs.edited} edited", Tone.WARN))
    if scene.spill(node.path):
        return line((f"{glyphs.corrupt} a spill waits", Tone.WARN))
    if node.health == Health.WORKING:
        return line((f"{scene.spinner} working…", Tone.BUSY))
    if node.health == Health.UNFINISHED:
        return line((f"{glyphs.unfinished} unfinished", Tone.WARN))
    if node.health == Health.ORPHAN:
        return line((f"{glyphs.orphan} orphan", Tone.WARN))
    return line((f"{glyphs.ok} ", Tone.OK), ("ok", Tone.DIM))


def tree_row(
    scene: Scene,
    row: Row,
    node: ScopeNode | ResourceNode | None,
    width: int,
    *,
    marked: bool = False,
    context: bool = False,
) -> Line:
    """Exactly `width` cells. The status keeps its place; the name gives way, at its end.

    `context`: there only because something below it matches the filter.
    """
    glyphs = scene.glyphs
    mark = piece(glyphs.mark if marked else " ", Tone.ACCENT)
    long = width >= _LONG_FROM
    room = max(8, width - (LONG_STATUS if long else STATUS) - 1)
    indent = min(row.depth * 2, max(0, room - 14))
    if isinstance(node, ScopeNode):
        fold = (glyphs.opened if row.opened else glyphs.closed) if row.foldable else " "
        tone = Tone.FAINT if context else Tone.TITLE if row.depth == 0 else Tone.STRONG
        name = piece(row.identity.rpartition("/")[2], tone)
        head = line(mark, (f"{' ' * indent}{fold} ", Tone.DIM), name)
        aside, status = _scope_aside(node, row), scope_status(scene, node)
    elif isinstance(node, ResourceNode):
        aged = node.state.former or node.health == Health.ORPHAN
        name = piece(node.state.id, Tone.DIM if aged else Tone.TEXT)
        head = line(mark, (f"{' ' * indent}  ", Tone.DIM), name)
        aside, status = short_kind(node.state.kind), resource_status(scene, node, short=not long)
    else:
        return pad(line(mark, (row.identity, Tone.FAINT)), width)
    shown_aside = piece(aside, Tone.FAINT)
    size = cells((shown_aside,))
    if width >= _KIND_FROM or isinstance(node, ScopeNode):
        left = room - size - 2
        if cells(head) <= left:
            return pad((*pad(head, room - size), shown_aside, Piece(" "), *status), width)
        if width >= _KIND_FROM and left > 24:
            return pad((*_cut(head, left), Piece("  "), shown_aside, Piece(" "), *status), width)
    return pad((*_cut(head, room), Piece(" "), *status), width)


def _scope_aside(node: ScopeNode, row: Row) -> str:
    """What kind of scope, and how much a closed one hides."""
    kind = "" if node.kind == ScopeKind.NESTED else "app" if node.kind == ScopeKind.APPLICATION else str(node.kind)
    hidden = f"({node.total:,})" if row.foldable and not row.opened else ""
    return " ".join(word for word in (kind, hidden) if word)


def _cut(head: Line, width: int) -> Line:
    """The name is the last piece: only it is shortened."""
    before = head[:-1]
    name, tone = head[-1]
    return pad((*before, Piece(clip(name, max(1, width - cells(before))), tone)), width)


def status_word(scene: Scene, node: ScopeNode | ResourceNode) -> str:
    return plain(scope_status(scene, node) if isinstance(node, ScopeNode) else resource_status(scene, node))
