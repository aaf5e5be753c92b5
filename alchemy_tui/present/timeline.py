"""The backups of a scope as a timeline, newest first: when, why, what changed since the one before, how large.

The restore screen and the Backups tab show the same. Neighbours: `comparison` says what going back would do.
"""

from __future__ import annotations

from collections.abc import Sequence

from alchemy.operations.shapes import BackupInfo
from alchemy_tui.present import times
from alchemy_tui.present.line import BLANK, Line, Piece, Tone, cells, fit, line, pad, spread, wrap
from alchemy_tui.present.scene import Scene

WIDE = 74  # cells from which there is room for the size in bytes
BARRED = 58  # and for the bar
BAR = 8  # cells
WHEN = 9  # cells


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
    when = pad(line((times.ago(one.taken, scene.now) or "when?", Tone.DIM)), WHEN)
    right = _right(scene, one, width, most)
    room = width - 2 - WHEN - cells(right) - 1
    return pad(spread((*line((f"{sign} ", tone)), *when, *_why(one, room)), right, width, 1), width)


def _why(one: BackupInfo, room: int) -> Line:
    """A note and a pin say more than what took it, so they come first; the others only where they fit whole."""
    if one.problem:
        return line((f"  {one.problem}", Tone.BAD))
    pinned = "pinned" + (f": {one.pin}" if one.pin and one.pin != one.note else "") if one.pinned else ""
    said = [(one.note, Tone.TEXT), (pinned, Tone.ACCENT)]
    said.append((_short(one.reason), Tone.DIM if any(text for text, _ in said) else Tone.TEXT))
    out: Line = ()
    for text, tone in said:
        more = line((f"  {text}", tone)) if text else ()
        if not out or cells(out) + cells(more) <= room:
            out = (*out, *more)
    return out


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
    if width >= BARRED:
        filled = round(BAR * one.resources / most) if most else 0
        out += line((glyphs.bar_done * filled, Tone.ACCENT), (glyphs.bar_left * (BAR - filled), Tone.FAINT))
    return (*out, *line((f"{one.resources:>4}", Tone.DIM)))


def _steps(scene: Scene, one: BackupInfo) -> Line:
    """`+1 −0 ~2` against the backup before, blanks where nothing moved."""
    if one.steps is None:
        return ()
    signs = ((scene.glyphs.create, Tone.OK), (scene.glyphs.delete, Tone.BAD), (scene.glyphs.update, Tone.WARN))
    shown = tuple(Piece(f"{sign}{count} ", tone) for (sign, tone), count in zip(signs, one.steps, strict=True) if count)
    return shown or line((f"{scene.glyphs.dot} ", Tone.FAINT))


def nothing_yet(width: int) -> list[Line]:
    said = "No backups yet. A run that changes something takes one first; B in the restore screen (R) takes one now."
    return wrap(said, width, Tone.DIM)


def size(count: int) -> str:
    """Bytes, as the command line says them: `812 B`, `4.1 kB`, `2.0 MB`."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def below(scene: Scene, stages: Sequence[tuple[str, Sequence[BackupInfo]]], width: int) -> list[Line]:
    """Of an application: each stage and test has its own backups."""
    out = [*wrap("It holds nothing itself. Its stages and tests have backups of their own:", width, Tone.DIM), BLANK]
    for path, found in stages:
        newest = max((one.taken for one in found), default="")
        many = f"{len(found)} backup{'s' * (len(found) != 1)}" if found else "no backups yet"
        last = f", the newest {times.ago(newest, scene.now)}" if newest else ""
        left = fit(line(("  ", Tone.TEXT), (path, Tone.STRONG)), width)
        out.append(spread(left, line((f"{many}{last}", Tone.DIM)), width, 2))
    return out


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
