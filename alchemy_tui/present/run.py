"""Runs: the one going on (progress, what it is at) and those that ended (outcome, counts, how long)."""

from __future__ import annotations

from collections.abc import Mapping

from alchemy.model.runview import RunView
from alchemy.operations.shapes import RunSummary
from alchemy_tui.present import times
from alchemy_tui.present.line import BLANK, Line, Piece, Tone, cells, clip_left, line, pad, piece, spread
from alchemy_tui.present.scene import Scene
from alchemy_tui.store.tally import is_due

_ING = {"deploy": "deploying", "destroy": "destroying", "cleanup": "cleaning", "plan": "planning", "save": "saving"}
_SIGNS = (
    ("create", "+", "created", Tone.OK),
    ("adopt", "+", "adopted", Tone.OK),
    ("update", "~", "updated", Tone.BUSY),
    ("replace", "~", "replaced", Tone.BUSY),
    ("delete", "−", "deleted", Tone.BAD),
    ("forget", "−", "forgotten", Tone.DIM),
    ("restore", "+", "restored", Tone.OK),
    ("failed", "✗", "failed", Tone.BAD),
    ("blocked", "!", "blocked", Tone.WARN),
    ("skipped", "·", "skipped", Tone.WARN),
)
_WORDS = {"kept": "kept", "unkept": "no longer kept"}
_UNSAID = {"keep"}  # what stayed as it was is no news
_OUTCOMES = {"done": Tone.OK, "failed": Tone.BAD, "interrupted": Tone.WARN, "lost": Tone.BAD, "running": Tone.BUSY}


def progress(run: RunView) -> tuple[int, int]:
    """(finished, known so far). A run of another process says what it starts, so the second number may still rise."""
    states = [row.state for row in list(run.rows.values())]  # a copy: the reading thread may be folding
    return sum(1 for state in states if state not in ("planned", "running", "retrying")), len(states)


def working(scene: Scene, run: RunView) -> Line:
    """The status cell of a scope with a run in it."""
    if run.waiting_for:
        return line((f"{scene.spinner} waiting", Tone.WARN))
    done, total = progress(run)
    shown = f" {done}/{total}" if total else "…"
    tone = Tone.BAD if run.failures else Tone.BUSY
    return line((f"{scene.spinner} {_ING.get(run.purpose, run.purpose)}{shown}", tone))


def headline(scene: Scene, run: RunView) -> Line:
    """For the header: `» R-17 7/12`."""
    done, total = progress(run)
    tone = Tone.BAD if run.failures else Tone.BUSY
    failed = f" {len(run.failures)} failed" if run.failures else ""
    return line((f"{scene.glyphs.run} {run.run} {done}/{total}{failed}", tone))


def bar(scene: Scene, done: int, total: int, width: int, tone: Tone = Tone.ACCENT) -> Line:
    glyphs = scene.glyphs
    if width <= 0:
        return BLANK
    share = done / total if total else 0.0
    filled = int(share * width * 2)
    whole, half = divmod(filled, 2)
    out = [Piece(glyphs.bar_done * whole, tone)]
    if half and whole < width:
        out.append(Piece(glyphs.bar_edge, tone))
    out.append(Piece(glyphs.bar_left * (width - whole - half), Tone.FAINT))
    return tuple(part for part in out if part.text)


def count_words(counts: Mapping[str, int]) -> str:
    words = [f"{counts[key]:,} {word}" for key, _, word, _ in _SIGNS if counts.get(key)]
    return ", ".join([*words, *(f"{number:,} {word}" for word, number in _others(counts))]) or "nothing changed"


def _others(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """What only some runs count, by its own word: recovered, rebuilt, moved."""
    known = {key for key, *_ in _SIGNS} | _UNSAID
    return [(_WORDS.get(key, key), number) for key, number in counts.items() if number and key not in known]


def count_signs(counts: Mapping[str, int]) -> Line:
    """Empty where nothing is counted."""
    out: list[Piece] = []
    for key, sign, _, tone in _SIGNS:
        if counts.get(key):
            out += [Piece(" ")] * bool(out) + [Piece(f"{sign}{counts[key]}", tone)]
    for word, number in _others(counts):
        out += [Piece(" ")] * bool(out) + [piece(f"{number:,} {word}", Tone.BUSY)]
    return tuple(out)


def did(scene: Scene, summary: RunSummary) -> Line:
    """What a run that is over did: its counts, else what its events tell; "no change" only where that is certain."""
    counted = count_signs(summary.counts)
    if counted:
        return counted
    found = scene.tally(summary)
    if found is None:
        known = summary.outcome == "done" and not is_due(summary)
        return line(("no change" if known else "not counted", Tone.FAINT))
    out = list(count_signs(found.counts))
    if found.doubtful:
        out += [Piece(" ")] * bool(out) + [piece(f"{found.doubtful} in doubt", Tone.WARN)]
    if out:
        return tuple(out)
    return line((found.said or "nothing recorded", Tone.DIM if found.said else Tone.FAINT))


def outcome_glyph(scene: Scene, outcome: str) -> Piece:
    glyphs = scene.glyphs
    sign = {"done": glyphs.ok, "failed": glyphs.failed, "lost": glyphs.lost, "running": scene.spinner}
    return piece(sign.get(outcome, glyphs.unfinished), _OUTCOMES.get(outcome, Tone.WARN))


def summary_line(scene: Scene, summary: RunSummary, width: int, *, owner: bool = False) -> Line:
    """One row of the run list; the columns keep their places."""
    tone = _OUTCOMES.get(summary.outcome, Tone.WARN)
    left = [
        outcome_glyph(scene, summary.outcome),
        piece(f" {summary.run:<6}", Tone.STRONG),
        piece(f"{summary.purpose:<8} "),
    ]
    if owner:
        left.append(
            piece(f"{clip_left(summary.scope, 14 if width < 70 else 24):<{15 if width < 70 else 25}}", Tone.DIM)
        )
    run = scene.run_of(summary.scope)
    if summary.outcome == "running" and run and run.run == summary.run:
        done, total = progress(run)
        room = min(24, max(6, width - cells(tuple(left)) - 28))
        left += [*bar(scene, done, total, room, tone), piece(f" {done}/{total}", tone)]
        if run.failures:
            left.append(piece(f"  {len(run.failures)} failed", Tone.BAD))
    else:
        left.append(piece(f"{summary.outcome:<12}" if not owner or width >= 70 else "", tone))
        left += did(scene, summary) if summary.outcome != "running" else BLANK
    took = scene.now - _started(summary, scene) if summary.outcome == "running" else summary.took
    who = line((f"{summary.who}  ", Tone.DIM)) if width >= 76 else BLANK
    when = line((f"{times.ago(summary.started_at, scene.now):>9}", Tone.DIM), f"{times.duration(max(0.0, took)):>7}")
    return pad(spread(tuple(left), (*who, *when), width), width)


def _started(summary: RunSummary, scene: Scene) -> float:
    moment = times.parse(summary.started_at)
    return moment.timestamp() if moment else scene.now


def card(scene: Scene, run: RunView, width: int) -> list[Line]:
    """The run that is going on, in a few lines: progress, what it is at, who."""
    done, total = progress(run)
    tone = Tone.BAD if run.failures else Tone.BUSY
    passed = times.seconds_since(run.started_at, scene.now) or 0.0
    head = line((f"{scene.spinner} {run.run} ", tone), (f"{run.purpose} ", Tone.STRONG), (run.scope, Tone.TEXT))
    out = [spread(head, line((times.duration(passed), Tone.DIM)), width)]
    if run.waiting_for:
        out.append(line((f"  waiting for {run.waiting_for}", Tone.WARN)))
        return out
    label = line(f"  {done}/{total}")
    out.append(pad((*line("  "), *bar(scene, done, total, max(4, width - cells(label) - 2), tone), *label), width))
    by = line((f"{run.who} pid {run.pid}" if run.who else "", Tone.DIM))
    at_work = f"{run.running} running"
    said = line(f"  {count_words(run.counts)}, {at_work}" if run.counts else f"  {at_work}")
    if cells(said) + cells(by) >= width:
        said = (Piece("  "), *count_signs(run.counts), *line(f"  {at_work}"))
    out.append(spread(said, by, width))
    for address, message in list(run.failures)[:3]:
        out.append(line((f"  {scene.glyphs.failed} {address.rpartition('/')[2]}: ", Tone.BAD), message))
    return out
