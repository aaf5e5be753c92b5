"""A lock in words: who holds it, since when, and whether that somebody still lives."""

from __future__ import annotations

from alchemy.model.values import Holder
from alchemy.operations.shapes import LockView, Verdict
from alchemy_tui.present import times
from alchemy_tui.present.line import BLANK, Line, Tone, line, spread, wrap
from alchemy_tui.present.scene import Scene

_TONES = {
    Verdict.FREE: Tone.DIM,
    Verdict.LIVE: Tone.BUSY,
    Verdict.STALE: Tone.WARN,
    Verdict.UNKNOWN: Tone.WARN,
    Verdict.HELD: Tone.ACCENT,
}
_MEANS = {
    Verdict.FREE: "nobody holds it",
    Verdict.LIVE: "its holder is at work",
    Verdict.STALE: "its holder is gone",
    Verdict.UNKNOWN: "nothing proves that its holder lives, or that it is gone",
    Verdict.HELD: "reserved by hand",
}


def glyph(scene: Scene, verdict: Verdict) -> str:
    glyphs = scene.glyphs
    return {
        Verdict.FREE: " ",
        Verdict.LIVE: glyphs.lock_live,
        Verdict.STALE: glyphs.lock_stale,
        Verdict.UNKNOWN: glyphs.lock_unknown,
        Verdict.HELD: glyphs.lock_held,
    }[verdict]


def who(holder: Holder | None) -> str:
    return f"{holder.user}@{holder.host}" if holder else "somebody"


def badge(scene: Scene, lock: LockView) -> Line:
    """One cell of the tree: glyph, word, age."""
    word = (
        "locked" if lock.verdict == Verdict.LIVE else f"{lock.verdict} lock" if lock.verdict != Verdict.HELD else "held"
    )
    shown = f"{glyph(scene, lock.verdict)} {word} {times.age(scene.lock_age(lock))}"
    return line((shown, _TONES[lock.verdict]))


def summary(scene: Scene, lock: LockView) -> Line:
    """`◆ live  ana@laptop (you)  12s`."""
    parts = line((f"{glyph(scene, lock.verdict)} {lock.verdict}", _TONES[lock.verdict]), f"  {who(lock.holder)}")
    you = line((" (you)" if lock.you else " (not you)", Tone.DIM)) if lock.holder else BLANK
    return (*parts, *you, *line((f"  for {times.age(scene.lock_age(lock))}", Tone.DIM)))


def details(scene: Scene, lock: LockView, width: int, *, selected: bool = False) -> list[Line]:
    """All that is known, strongest evidence first."""
    head = line((f"{glyph(scene, lock.verdict)} {lock.verdict!s:<8}", _TONES[lock.verdict]), (lock.path, Tone.STRONG))
    out = [spread(head, line((times.age(scene.lock_age(lock)), Tone.DIM)), width)]
    holder = lock.holder
    label = 12
    if holder:
        you = "this is you" if lock.you else "not you"
        out.append(_field("holder", line(who(holder), (f"  pid {holder.pid}  {you}", Tone.DIM)), label))
        out.append(_field("doing", line(f"{holder.purpose}  ", (holder.command, Tone.DIM)), label))
        since = line(times.exact(holder.since), (f"  token {holder.token}", Tone.DIM))
        out.append(_field("since", since, label))
    reasons = lock.evidence or (_MEANS[lock.verdict],)
    for number, reason in enumerate(reasons):
        for part, text in enumerate(wrap(reason, width - label - 2)):
            out.append(_field("evidence" if number == 0 and part == 0 else "", text, label))
    return out


def section(scene: Scene, width: int, below: str = "") -> list[Line]:
    """Every lock, those of `below` first."""
    locks = sorted(scene.view.locks, key=lambda lock: not _touches(lock.path, below))
    if not locks:
        return [line(("No locks. Nobody is at work here.", Tone.DIM))]
    out: list[Line] = []
    for lock in locks:
        out += [*details(scene, lock, width), BLANK]
    return out[:-1]


def _touches(path: str, subject: str) -> bool:
    return bool(subject) and (path == subject or subject.startswith(f"{path}/") or path.startswith(f"{subject}/"))


def _field(label: str, value: Line, width: int) -> Line:
    return (*line((f"  {label:<{width}}", Tone.DIM)), *value)


def nearest(scene: Scene, subject: str) -> LockView | None:
    """The lock that covers `subject`: its own, or of a scope above."""
    path = subject
    while path:
        lock = scene.locks.get(path)
        if lock and lock.verdict != Verdict.FREE:
            return lock
        path = path.rpartition("/")[0]
    return None
