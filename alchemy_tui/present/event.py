"""An entry of a run's log as one line: time, sign, what happened, to whom, how long it took.

The end of a run has more: what failed before it was announced, and what the causes say to do next.
"""

from __future__ import annotations

from collections.abc import Iterable

from alchemy.model.events import (
    BackupTaken,
    ChangeEnded,
    ChangePlanned,
    ChangeRetried,
    ChangeStarted,
    Entry,
    Event,
    LockLost,
    LockTaken,
    LockWaited,
    Noted,
    Progressed,
    Restored,
    RollbackEnded,
    RollbackStarted,
    RunEnded,
    RunStarted,
    ScopeEntered,
    ScopeLeft,
)
from alchemy.model.text import safe_text
from alchemy_tui.present import times
from alchemy_tui.present.line import Line, Piece, Tone, line, pad, piece, plain, spread, wrap
from alchemy_tui.present.run import count_words
from alchemy_tui.present.scene import Scene

_DONE = {
    "create": "created",
    "adopt": "adopted",
    "update": "updated",
    "replace": "replaced",
    "delete": "deleted",
    "forget": "forgot",
    "restore": "restored",
    "kept": "kept",
    "unkept": "not kept",
    "keep": "unchanged",
}
_DOING = {
    "create": "creating",
    "adopt": "adopting",
    "update": "updating",
    "replace": "replacing",
    "delete": "deleting",
    "forget": "forgetting",
    "restore": "restoring",
    "keep": "keeping",
}
_QUIET = frozenset({"keep", "kept", "unkept"})  # nothing became more or less
VERB = 11  # cells
_INDENT = 12  # cells: below the verb
_ABOUT = 12 + VERB  # cells: where the subject begins


def entry_lines(scene: Scene, entries: Iterable[Entry], owner: str, width: int, *, subject: str = "") -> list[Line]:
    """Of one journal; what is not about `subject` stays out, as far as it is about something."""
    out: list[Line] = []
    failed: set[str] = set()
    for entry in entries:
        event = entry.event
        if not is_about(event.subject, subject, owner):
            continue
        out += _whole(scene, entry, owner, width)
        if isinstance(event, ChangeEnded) and event.outcome in ("failed", "blocked"):
            failed.add(event.subject)
        if isinstance(event, RollbackEnded):
            for address, why in event.left:
                out += wrap(f"left {relative(address, owner)}: {why}", width, Tone.WARN, _ABOUT)
        if isinstance(event, RunEnded):
            for address, why in event.failures:
                if address not in failed and is_about(address, subject, owner):
                    text = f"{scene.glyphs.failed} {relative(address, owner)}: {why.removeprefix(f'{address}: ')}"
                    out += wrap(text, width, Tone.BAD, _INDENT)
            for hint in event.hints:
                out += wrap(f"next: {hint}", width, indent=_INDENT)
    return out


def _whole(scene: Scene, entry: Entry, owner: str, width: int) -> list[Line]:
    """A sentence that has no room beside its subject stands below it, whole."""
    drawn, said = entry_line(scene, entry, owner, width), _sentence(entry.event)
    if not said or safe_text(said) in plain(drawn):
        return [drawn]
    name = relative(entry.event.subject, owner)
    if isinstance(entry.event, Noted):
        first, *rest = wrap(said, width - _ABOUT)
        return [
            (*drawn[:3], *first),
            *((Piece(" " * _ABOUT), *each) for each in rest),
        ]
    tone = Tone.BAD if isinstance(entry.event, ChangeEnded | LockLost) else Tone.DIM
    sign, verb, verb_tone, _, right = _tell(scene, entry.event, owner)
    head = (*drawn[:1], piece(f"{sign} ", verb_tone), piece(f"{verb:<{VERB}}", verb_tone), piece(name, Tone.STRONG))
    return [pad(spread(head, line((right, Tone.DIM)) if right else (), width), width), *wrap(said, width, tone, _ABOUT)]


def _sentence(event: Event) -> str:
    """What somebody has to be able to read to its end."""
    if isinstance(event, Noted):
        return event.text
    if isinstance(event, ChangeEnded | ChangeRetried):
        return event.error
    if isinstance(event, RollbackStarted):
        return event.because
    return event.reason if isinstance(event, LockLost) else ""


def is_about(about: str, subject: str, owner: str) -> bool:
    """Below the owner only what concerns the subject, and what concerns everybody."""
    if subject in ("", owner) or about in ("", owner):
        return True
    return about == subject or about.startswith(f"{subject}/") or subject.startswith(f"{about}/")


def entry_line(scene: Scene, entry: Entry, owner: str, width: int) -> Line:
    sign, verb, tone, about, right = _tell(scene, entry.event, owner)
    left = (
        piece(f"{times.clock(entry.at)}  ", Tone.FAINT),
        piece(f"{sign} ", tone),
        piece(f"{verb:<{VERB}}", tone),
        *about,
    )
    return pad(spread(left, line((right, Tone.DIM)) if right else (), width), width)


def _tell(scene: Scene, event: Event, owner: str) -> tuple[str, str, Tone, Line, str]:
    """(sign, verb, tone, about, at the right edge)."""
    glyphs = scene.glyphs
    name = relative(event.subject, owner)
    if isinstance(event, ChangeStarted | ChangePlanned):
        verb = _DOING.get(event.action, event.action)
        about = line((name, Tone.TEXT), (f"  {event.reason}" if event.reason else "", Tone.DIM))
        return glyphs.dot, verb, Tone.DIM, about, ""
    if isinstance(event, ChangeEnded):
        took = times.duration(event.took)
        if event.outcome == "done":
            sign = {"delete": glyphs.delete, "forget": glyphs.delete, "update": glyphs.update}
            tone = Tone.BAD if event.action == "delete" else Tone.BUSY if event.action == "update" else Tone.OK
            verb = _DONE.get(event.action, event.action)
            if event.action in _QUIET:
                return glyphs.dot, verb, Tone.DIM, line((name, Tone.STRONG)), took
            return sign.get(event.action, glyphs.create), verb, tone, line((name, Tone.STRONG)), took
        tone = Tone.BAD if event.outcome == "failed" else Tone.WARN
        sign_ = glyphs.failed if event.outcome == "failed" else glyphs.dot
        about = line((name, Tone.STRONG), (f"  {event.error}" if event.error else "", tone))
        return sign_, event.outcome, tone, about, took
    if isinstance(event, ChangeRetried):
        about = line((name, Tone.STRONG), (f"  {event.error}", Tone.DIM))
        right = f"in {times.duration(event.delay)}"
        return glyphs.retry, f"retry {event.attempt}/{event.of}", Tone.WARN, about, right
    if isinstance(event, RunStarted):
        about = line((event.subject, Tone.STRONG), (f"  by {event.who}", Tone.DIM))
        target = "" if event.target == "unknown" else event.target  # restore and rebuild touch no cloud
        return glyphs.run, event.purpose, Tone.ACCENT, about, target
    if isinstance(event, RunEnded):
        tone = {"done": Tone.OK, "failed": Tone.BAD}.get(event.outcome, Tone.WARN)
        sign_ = glyphs.lock_held if event.outcome in ("unlocked", "reserved") else glyphs.failed
        sign_ = glyphs.ok if event.outcome == "done" else sign_
        return sign_, event.outcome, tone, line((count_words(event.counts), Tone.TEXT)), times.duration(event.took)
    if isinstance(event, Progressed):
        share = f"{event.done:g}/{event.total:g}"
        return glyphs.dot, "progress", Tone.DIM, line(name), share
    if isinstance(event, BackupTaken):
        return glyphs.dot, "backup", Tone.DIM, line(event.file), event.reason
    if isinstance(event, Restored):
        what = f"{event.restored} set, {event.forgotten} forgotten" if event.restored or event.forgotten else ""
        about = line((f"as in {event.file}", Tone.TEXT), (f"  serial {event.serial}", Tone.DIM))
        return glyphs.ok, "restored", Tone.OK, about, what
    if isinstance(event, RollbackStarted):
        about = line((name, Tone.STRONG), (f"  {event.because}", Tone.WARN))
        return glyphs.retry, "rollback", Tone.WARN, about, f"{len(event.doomed)} to undo"
    if isinstance(event, RollbackEnded):
        left = f", {len(event.left)} left" if event.left else ""
        about = line((f"{len(event.undone)} deleted again{left}", Tone.STRONG), (f"  {name}", Tone.DIM))
        tone = Tone.WARN if event.left else Tone.OK
        return glyphs.corrupt if event.left else glyphs.ok, "undone", tone, about, times.duration(event.took)
    if isinstance(event, LockWaited):
        word, tone = ("waited", Tone.DIM) if event.took else ("waiting", Tone.WARN)
        took = times.duration(event.took) if event.took else ""
        return glyphs.dot, word, tone, line(name, (f"  held by {event.holder}", Tone.DIM)), took
    if isinstance(event, LockTaken):
        return glyphs.lock_live, "lock", Tone.DIM, line((name, Tone.TEXT)), ""
    if isinstance(event, LockLost):
        return glyphs.failed, "lock lost", Tone.BAD, line(name, (f"  {event.reason}", Tone.BAD)), ""
    if isinstance(event, ScopeEntered | ScopeLeft):
        verb = "entered" if isinstance(event, ScopeEntered) else "left"
        return glyphs.dot, verb, Tone.FAINT, line((name, Tone.DIM)), ""
    if isinstance(event, Noted):
        tone = {"warning": Tone.WARN, "error": Tone.BAD}.get(event.level, Tone.DIM)
        return glyphs.dot, event.level, tone, line(event.text), ""
    return glyphs.dot, type(event).__name__.lower(), Tone.DIM, line(name), ""


def relative(subject: str, owner: str) -> str:
    """Without the part that every line of this log would repeat."""
    return subject[len(owner) + 1 :] if subject.startswith(f"{owner}/") else subject
