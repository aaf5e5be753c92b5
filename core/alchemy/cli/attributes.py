"""An attribute's change as lines of a diff: one where it fits, else one for each side; texts and lists line by line.

Neighbours: `plan` shows them; `model.changes` finds them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from alchemy.cli.terminal import Signs, counted
from alchemy.cli.tones import Line, line
from alchemy.cli.wording import value_text
from alchemy.model.changes import Difference

UNKNOWN = "(known after deploy)"
LOCKED = "(compared only with the password)"
_INDENT = "      "
_CONTEXT = 1  # lines around a changed one
_MOST = 24  # lines of one attribute
_LONG_LIST = 3  # items from which on a list is told item by item
_SIGN = {"+": "good", "-": "bad", " ": "dim"}


def attribute_lines(difference: Difference, signs: Signs, width: int) -> Iterator[Line]:
    """`width`: cells of the terminal."""
    before, after = difference.before, difference.after
    mark, tone = _mark(difference)
    head = (_INDENT, (f"{mark} ", tone), (f"{difference.path.removeprefix('$')}: ", "dim"))
    known = not difference.unknown
    if known and (_is_block(before) or _is_block(after)):
        yield from _block(head, _lines(before), _lines(after), "line")
    elif known and (_is_list(before) or _is_list(after)) and not _fits(difference, signs, width):
        yield from _block(head, _items(before), _items(after), "item")
    else:
        yield from _values(difference, head, signs, width)


def _mark(difference: Difference) -> tuple[str, str]:
    if not difference.was:
        return "+", "good"
    return ("-", "bad") if not difference.will and not difference.unknown else ("~", "warn")


def _after(difference: Difference) -> str:
    if difference.unknown:
        return LOCKED if difference.locked else UNKNOWN
    return value_text(difference.after)


def _fits(difference: Difference, signs: Signs, width: int) -> bool:
    sides = (value_text(difference.before) if difference.was else "", _after(difference) if difference.will else "")
    return len(_INDENT) + len(difference.path) + 4 + sum(map(len, sides)) + len(signs.arrow) + 2 <= width


def _values(difference: Difference, head: Sequence[Any], signs: Signs, width: int) -> Iterator[Line]:
    before, after = value_text(difference.before), _after(difference)
    room = max(20, width - len(_INDENT) - 4)
    if not difference.was:
        yield line(*head, (_clipped(after, width - len(_INDENT) - len(difference.path) - 4), "good"))
    elif not difference.will and not difference.unknown:
        yield line(*head, (_clipped(before, width - len(_INDENT) - len(difference.path) - 4), "bad"))
    elif _fits(difference, signs, width):
        yield line(*head, (before, "bad"), (f" {signs.arrow} ", "dim"), (after, "good"))
    else:
        yield line(*head)
        yield line(_INDENT, "  ", (f"- {_clipped(before, room)}", "bad"))
        yield line(_INDENT, "  ", (f"+ {_clipped(after, room)}", "good"))


def _clipped(text: str, room: int) -> str:
    """The beginning and the end: long values often differ in what comes last."""
    room = max(20, room)
    return text if len(text) <= room else f"{text[: room - 11]}…{text[-10:]}"


def _block(head: Sequence[Any], before: list[str], after: list[str], noun: str) -> Iterator[Line]:
    """Only what changed, with a line around it."""
    was = f", was {len(before)}" if before and len(before) != len(after) else ""
    yield line(*head, (f"{counted(len(after), noun)}{was}", "dim"))
    for shown, (sign, text) in enumerate(_diff(before, after)):
        if shown == _MOST:
            yield line(_INDENT, "  ", ("… more", "dim"))
            return
        yield line(_INDENT, "  ", (f"{sign} {text}", _SIGN[sign]) if sign else ("…", "dim"))


def _diff(before: list[str], after: list[str]) -> Iterator[tuple[str, str]]:
    """(sign, text); an empty sign for lines that are left out."""
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    groups = list(matcher.get_grouped_opcodes(_CONTEXT))
    end = 0
    for group in groups:
        if group[0][1] > end:
            yield "", ""
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from ((" ", text) for text in before[i1:i2])
            else:
                yield from (("-", text) for text in before[i1:i2])
                yield from (("+", text) for text in after[j1:j2])
        end = group[-1][2]
    if end < len(before):
        yield "", ""


def _is_block(value: object) -> bool:
    return isinstance(value, str) and "\n" in value.rstrip("\n")


def _is_list(value: object) -> bool:
    return isinstance(value, list) and len(value) >= _LONG_LIST


def _lines(value: Any) -> list[str]:
    return value.splitlines() if isinstance(value, str) else [] if value is None else [value_text(value)]


def _items(value: Any) -> list[str]:
    return (
        [value_text(item) for item in value]
        if isinstance(value, list)
        else []
        if value is None
        else [value_text(value)]
    )
