"""The snapshots kept of an application, stage or test, newest first."""

from __future__ import annotations

from collections.abc import Sequence

from alchemy.operations.shapes import BackupInfo
from alchemy_tui.present import times
from alchemy_tui.present.line import Line, Tone, line, pad, spread
from alchemy_tui.present.scene import Scene


def backups(scene: Scene, found: Sequence[BackupInfo], width: int) -> list[Line]:
    if not found:
        return [line(("No backups yet. A run that deletes or replaces something takes one first.", Tone.DIM))]
    return [_row(scene, one, width) for one in sorted(found, key=lambda one: one.taken, reverse=True)]


def _row(scene: Scene, one: BackupInfo, width: int) -> Line:
    exact = times.exact(one.taken) if width >= 90 else ""
    when = line((f"{times.ago(one.taken, scene.now):<10}", Tone.TEXT), (f"{exact}  " if exact else "", Tone.DIM))
    if one.problem:
        left = (*line((f"{scene.glyphs.failed} ", Tone.BAD)), *when, *line((one.problem, Tone.BAD)))
    else:
        left = (*line((f"{scene.glyphs.ok} ", Tone.OK)), *when, *line((one.reason, Tone.TEXT)))
    counts = f"serial {one.serial:<5} {one.resources:>4} resources  " if one.serial or one.resources else ""
    return pad(spread(left, line((f"{counts}{size(one.size):>8}", Tone.DIM)), width, 2), width)


def size(count: int) -> str:
    """Bytes as people say them."""
    amount = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if amount < 1024 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GB"
