"""The backups of a scope as a timeline, newest first: when, why, what changed since the one before, how large.

Neighbours: `comparison` says what going back would do; `backup` is the short list in the details of a scope.
"""

from __future__ import annotations

from collections.abc import Sequence

from alchemy.operations.shapes import BackupInfo
from alchemy_tui.present import times
from alchemy_tui.present.backup import size
from alchemy_tui.present.line import Line, Piece, Tone, cells, columns, line, pad, spread
from alchemy_tui.present.scene import Scene

WIDE = 64  # cells from which there is room for the size in bytes
BAR = 8  # cells


def timeline(scene: Scene, found: Sequence[BackupInfo], width: int) -> list[Line]:
    """One line each, so that the cursor's line is the backup's number."""
    most = max((one.resources for one in found), default=0)
    return [_row(scene, one, width, most, last=at == len(found) - 1) for at, one in enumerate(found)]


def _row(scene: Scene, one: BackupInfo, width: int, most: int, *, last: bool) -> Line:
    glyphs = scene.glyphs
    if one.problem:
        sign, tone = glyphs.failed, Tone.BAD
    elif one.pinned:
        sign, tone = glyphs.lock_held, Tone.ACCENT
    else:
        sign, tone = (glyphs.waiting, Tone.DIM) if last else (glyphs.live, Tone.OK)
    said = one.problem or one.note or _short(one.reason)
    why = line((f"{said}", Tone.BAD if one.problem else Tone.TEXT))
    when = line((times.ago(one.taken, scene.now) or "when?", Tone.DIM))
    right = _right(scene, one, width, most)
    room = max(4, width - cells(right) - 14)
    left: Line = (*line((f"{sign} ", tone)), *columns([(when, 9), (why, room)], 2))
    return pad(spread(left, right, width, 1), width)


def _short(reason: str) -> str:
    """The name of the other backup says nothing in a list; the facts below have it."""
    return "before a restore" if reason.startswith("before restore of ") else reason


def _right(scene: Scene, one: BackupInfo, width: int, most: int) -> Line:
    """What changed, and how many resources it holds, as a bar against the fullest."""
    if one.problem:
        return ()
    glyphs = scene.glyphs
    out: list[Piece] = list(_steps(scene, one))
    if width >= WIDE:
        out += line((f" {size(one.size):>8} ", Tone.FAINT))
    filled = round(BAR * one.resources / most) if most else 0
    out += line((glyphs.bar_done * filled, Tone.ACCENT), (glyphs.bar_left * (BAR - filled), Tone.FAINT))
    return (*out, *line((f"{one.resources:>5}", Tone.DIM)))


def _steps(scene: Scene, one: BackupInfo) -> Line:
    """`+1 −0 ~2` against the backup before, blanks where nothing moved."""
    if one.steps is None:
        return ()
    signs = ((scene.glyphs.create, Tone.OK), (scene.glyphs.delete, Tone.BAD), (scene.glyphs.update, Tone.WARN))
    shown = tuple(Piece(f"{sign}{count} ", tone) for (sign, tone), count in zip(signs, one.steps, strict=True) if count)
    return shown or line((f"{scene.glyphs.dot} ", Tone.FAINT))


def about(scene: Scene, one: BackupInfo, width: int) -> list[Line]:
    """The backup under the cursor: everything that its line has no room for."""
    facts = [
        ("taken", times.exact(one.taken)),
        ("why", one.reason),
        ("note", one.note),
        ("by", one.by),
        ("pinned", (one.pin or "yes") if one.pinned else ""),
        ("holds", f"{one.resources} resources at serial {one.serial}, {size(one.size)}"),
        ("file", one.file),
    ]
    out: list[Line] = []
    for name, value in facts:
        if value:
            left = line((f"{name:<8}", Tone.DIM))
            out.append(pad((*left, *line((value, Tone.TEXT))), max(width, cells(left) + 4)))
    return out
