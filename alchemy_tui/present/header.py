"""The first line: where you are at the left; mode, locks, run and watcher at the right, as many as fit."""

from __future__ import annotations

from alchemy.operations.shapes import Verdict
from alchemy_tui.present import run as run_words
from alchemy_tui.present import times
from alchemy_tui.present.line import Line, Piece, Tone, cells, clip_left, line, pad, piece, spread
from alchemy_tui.present.notice import Trouble
from alchemy_tui.present.notice import badge as trouble_badge
from alchemy_tui.present.scene import Scene

_GAP = Piece("  ")
LATE = 3  # paces


def header(
    scene: Scene,
    subject: str,
    width: int,
    *,
    mode: str,
    read_only: bool,
    narrow: bool = False,
    pace: float = 2.0,
    age: float = 0.0,
    trouble: Trouble | None = None,
) -> Line:
    """`age`: seconds since the state was last looked at; `pace`: how often that should be."""
    badges = _badges(scene, subject, mode, read_only=read_only, pace=pace, age=age)
    if trouble:
        badges[0] = line(trouble_badge(scene.glyphs, trouble))
    room = width - 2
    least = min(20, room // 3)  # cells the path keeps
    kept: list[Line] = []
    used = 0
    for badge in badges:  # most important first
        size = cells(badge) + 2
        if used + size <= room - least:
            kept.append(badge)
            used += size
    right: list[Piece] = []
    for badge in reversed(kept):
        right += [*([_GAP] if right else []), *badge]
    path = _crumbs(scene, subject, room - used - 1)
    return pad((Piece(" "), *spread(path, tuple(right), room), Piece(" ")), width)


def _badges(scene: Scene, subject: str, mode: str, *, read_only: bool, pace: float, age: float) -> list[Line]:
    """Most important first. On screen they stand the other way round: the watcher's mode is always at the edge."""
    glyphs = scene.glyphs
    modes = {
        "live": (f"{glyphs.live} live", Tone.OK),
        "polling": _polling(glyphs.polling, pace, age),
        "waiting": (f"{glyphs.waiting} no state", Tone.DIM),
    }
    out = [line(modes.get(mode, (f"{glyphs.waiting} {mode}", Tone.DIM)))]
    owner = subject if subject in scene.view.active else _owner(scene, subject)
    active = scene.view.active.get(owner) or next(iter(scene.view.active.values()), None)
    if active:
        more = len(scene.view.active) - 1
        out.append((*run_words.headline(scene, active), *line((f" +{more}" if more else "", Tone.BUSY))))
    if read_only:
        out.insert(1, line((" READ-ONLY ", Tone.BADGE)))
    locks = [lock for lock in scene.view.locks if lock.verdict != Verdict.FREE]
    if locks:
        odd = sum(1 for lock in locks if lock.verdict in (Verdict.STALE, Verdict.UNKNOWN))
        glyph = glyphs.lock_stale if odd else glyphs.lock_live
        shown = f"{glyph} {len(locks)} lock{'s' * (len(locks) != 1)}" + (f", {odd} stale" if odd else "")
        out.append(line((shown, Tone.WARN if odd else Tone.BUSY)))
    if scene.problems:
        out.append(line((f"{glyphs.corrupt} {scene.problems} problem{'s' * (scene.problems != 1)}", Tone.BAD)))
    return out


def _polling(sign: str, pace: float, age: float) -> tuple[str, Tone]:
    """How old what is shown may be: the pace while looks come back in time, else the age."""
    if age > LATE * pace:
        return f"{sign} seen {times.age(age)} ago", Tone.WARN
    return f"{sign} every {pace:g}s", Tone.BUSY


def _owner(scene: Scene, subject: str) -> str:
    node = scene.node(subject)
    return node.owner if node else ""


def _crumbs(scene: Scene, subject: str, room: int) -> Line:
    if not subject:
        return line(("alchemy", Tone.TITLE), (f"  {clip_left(scene.view.root, max(0, room - 9))}", Tone.DIM))
    parts = subject.partition("\x00")[0].split("/")
    between = f" {scene.glyphs.crumb} "
    while len(parts) > 1 and cells(line(between.join(parts))) > room:
        parts = ["…", *parts[2:]] if parts[0] == "…" else ["…", *parts[1:]]
    out: list[Piece] = []
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if number:
            out.append(piece(between, Tone.FAINT))
        out.append(piece(part, Tone.TITLE if last else Tone.DIM))
    return tuple(out)
