"""A run in words: one line for an event, one for how it ended, one for each failure.

Pure. Neighbours: `narration` decides what is said, `progress` draws what is going on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alchemy.cli.terminal import Signs, counted, duration
from alchemy.cli.tones import Line, line
from alchemy.model.events import (
    BackupTaken,
    ChangeEnded,
    ChangePlanned,
    ChangeRetried,
    ChangeStarted,
    Restored,
    RollbackEnded,
    RollbackStarted,
    RunEnded,
)
from alchemy.model.masking import MASKED, is_sealed
from alchemy.model.text import safe_text

DONE = {
    "create": "created",
    "adopt": "adopted",
    "update": "updated",
    "replace": "replaced",
    "delete": "deleted",
    "forget": "forgot",
    "restore": "restored",
    "kept": "kept",
    "unkept": "no longer kept",
    "keep": "unchanged",
}
DOING = {
    "create": "creating",
    "adopt": "adopting",
    "update": "updating",
    "replace": "replacing",
    "delete": "deleting",
    "forget": "forgetting",
    "restore": "restoring",
    "keep": "keeping",
}
TONES = {"create": "good", "adopt": "good", "update": "warn", "replace": "warn", "delete": "bad", "forget": "bad"}
TONES |= {"restore": "good"}
ORDER = (*list(DONE)[:-1], "failed", "blocked", "skipped", "keep")
_PAST = {"deploy": "deployed", "destroy": "destroyed", "cleanup": "cleaned up", "test": "tested", "plan": "planned"}
_PAST |= {"restore": "restored"}
_VERB = 11  # cells
_NAMED = 3  # addresses in one line
LONGEST = 500  # characters of a cause


def sign(signs: Signs, action: str) -> str:
    return {
        "create": signs.create,
        "adopt": signs.create,
        "update": signs.update,
        "replace": signs.replace,
        "delete": signs.delete,
        "forget": signs.forget,
        "restore": signs.retry,
    }.get(action, signs.keep)


def short_kind(kind: str) -> str:
    return kind.rpartition(":")[2] or kind


def row(glyph: str, verb: str, tone: str, subject: str, *rest: str) -> Line:
    aside = "".join(f"  {text}" for text in rest if text)
    return line("  ", (f"{glyph} {verb:<{_VERB}}", tone), subject, (aside, "dim"))


def started(signs: Signs, event: ChangeStarted) -> Line:
    verb = DOING.get(event.action, event.action)
    return row(sign(signs, event.action), verb, "dim", event.subject, short_kind(event.kind))


def planned(signs: Signs, event: ChangePlanned) -> Line:
    tone = TONES.get(event.action, "dim")
    return row(sign(signs, event.action), event.action, tone, event.subject, short_kind(event.kind), event.reason)


def ended(signs: Signs, event: ChangeEnded) -> Line:
    """Causes of failures are left to the end, where each stands once."""
    kind, took = short_kind(event.kind), duration(event.took) if event.took else ""
    if event.outcome == "done":
        verb, tone = DONE.get(event.action, event.action), TONES.get(event.action, "dim")
        return row(sign(signs, event.action), verb, tone, event.subject, kind, took)
    if event.outcome == "skipped":
        return row(signs.keep, "skipped", "warn", event.subject, kind, event.error)
    glyph, tone = (signs.failed, "bad") if event.outcome == "failed" else (signs.warning, "warn")
    return row(glyph, event.outcome, tone, event.subject, kind, took)


def retried(signs: Signs, event: ChangeRetried) -> Line:
    why = f"try {event.attempt} of {event.of} in {duration(event.delay)}: {safe_text(event.error, LONGEST)}"
    return row(signs.retry, "retrying", "warn", event.subject, why)


def backed_up(signs: Signs, event: BackupTaken) -> Line:
    return row(signs.keep, "backup", "dim", event.subject, event.file)


def went_back(signs: Signs, event: Restored) -> Line:
    """`as in state-….json, serial 39: 3 set, 1 forgotten`; without counts where another journal began with it all."""
    what = f"as in {event.file}, serial {event.serial}"
    if event.restored or event.forgotten:
        what += f": {event.restored:,} set, {event.forgotten:,} forgotten"
    return row(signs.ok, "restored", "good", event.subject, what)


def rolling_back(signs: Signs, event: RollbackStarted) -> Line:
    what = f"{len(event.doomed):,} created in this run: {safe_text(event.because, LONGEST)}"
    return row(signs.retry, "rollback", "warn", event.subject, what)


def rolled_back(signs: Signs, event: RollbackEnded) -> Line:
    """`2 deleted again, 1 left`, and the time it took."""
    what = f"{len(event.undone):,} deleted again" + (f", {len(event.left):,} left" if event.left else "")
    glyph, tone = (signs.warning, "warn") if event.left else (signs.ok, "good")
    return row(glyph, "undone", tone, event.subject, what, duration(event.took) if event.took else "")


def value_text(value: Any, limit: int = 0) -> str:
    """JSON on one line; a reference to another resource is its address."""
    named = _named(value)
    text = MASKED if named == MASKED else json.dumps(named, ensure_ascii=False, default=str)
    return text if not limit or len(text) <= limit else f"{text[: limit - 1]}…"


def _named(value: Any) -> Any:
    if is_sealed(value):
        return MASKED
    if isinstance(value, dict):
        address = value.get("$resource")
        return f"<{address}>" if isinstance(address, str) else {key: _named(item) for key, item in value.items()}
    return [_named(item) for item in value] if isinstance(value, list) else value


def count_words(counts: Mapping[str, int]) -> str:
    """`5 created, 1 failed, 3 unchanged`."""
    words = [f"{counts[name]:,} {DONE.get(name, name)}" for name in ORDER if counts.get(name)]
    return ", ".join([*words, *(f"{number:,} {name}" for name, number in counts.items() if name not in ORDER)])


def kept_words(addresses: Sequence[str]) -> str:
    """`house/prod/attic; `alchemy scope keep house/prod/attic --undo``: what stays, and how it may go after all."""
    named = ", ".join(addresses[:_NAMED]) + (f" and {len(addresses) - _NAMED:,} more" if addresses[_NAMED:] else "")
    return f"{named}; `alchemy scope keep {addresses[0] if len(addresses) == 1 else 'ADDRESS'} --undo`"


def result(signs: Signs, event: RunEnded, purpose: str, kept: Sequence[str] = ()) -> Line:
    """`purpose` may be empty where it stands nearby. `kept` are the addresses that stayed though all was to go."""
    took, words = duration(event.took), count_words(event.counts)
    space = " " if purpose else ""
    if event.outcome == "done":
        past = _PAST.get(purpose, f"{purpose} done".strip())
        if not any(number for name, number in event.counts.items() if name != "keep"):
            words = f"nothing changed, {counted(event.total, 'resource')}" if event.total else "nothing to do"
        words += f": {kept_words(kept)}" if kept else ""
        return line((f"{signs.ok} ", "good"), (event.subject, "title"), f" {past} in {took}: {words}")
    if event.outcome == "interrupted":
        words = words or "nothing was done"
        return line(
            (f"{signs.warning} ", "warn"),
            (event.subject, "title"),
            f"{space}{purpose} interrupted after {took}: {words}; run the same command again to go on",
        )
    if event.outcome in ("unlocked", "reserved"):
        return line((f"{signs.warning} ", "warn"), (event.subject, "title"), f" {event.outcome}")
    words = words or "nothing was done"
    return line((f"{signs.failed} ", "bad"), (event.subject, "title"), f"{space}{purpose} failed after {took}: {words}")


def failures(signs: Signs, pairs: list[tuple[str, str]]) -> Iterator[Line]:
    for address, why in pairs:
        yield line((f"  {signs.failed} ", "bad"), failure(address, why))


def failure(address: str, why: str) -> str:
    """The address once, also where the cause begins with it."""
    return f"{address}: {safe_text(why.removeprefix(f'{address}: '), LONGEST)}"
