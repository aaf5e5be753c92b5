"""Finding among many names: letters in order, the best first. Ten thousand names a key have to be no effort.

Better is: the last part of a path begins with the letters, holds them together, the whole path does, or it holds them
in order; then the shorter name. Neighbours: the palette draws what is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def rank(letters: str, text: str) -> int | None:
    """0 is best; None where `text` does not hold the letters in order. Both lower case, `letters` without blanks."""
    last = text[text.rfind("/") + 1 :]
    if last.startswith(letters):
        return 0
    if letters in last:
        return 1
    if letters in text:
        return 2
    at = 0
    for letter in letters:
        at = text.find(letter, at) + 1
        if not at:
            return None
    return 3


def search(query: str, names: Sequence[tuple[str, T]], limit: int) -> list[T]:
    """The best `limit` of pairs of (name in lower case, value). An empty query keeps the order."""
    letters = query.lower().replace(" ", "")
    if not letters:
        return [value for _, value in names[:limit]]
    found = [
        (place, len(name), number)
        for number, (name, _) in enumerate(names)
        if (place := rank(letters, name.replace(" ", ""))) is not None
    ]
    found.sort()
    return [names[number][1] for *_, number in found[:limit]]


def places(query: str, text: str) -> frozenset[int]:
    """Which letters of `text` the query stands for, to be marked."""
    letters, low = query.lower().replace(" ", ""), text.lower()
    if len(low) != len(text):
        return frozenset()  # lower case changed the number of letters: better no mark than a wrong one
    together = low.rfind(letters)
    if letters and together >= 0:
        return frozenset(range(together, together + len(letters)))
    out: list[int] = []
    at = 0
    for letter in letters:
        at = low.find(letter, at) + 1
        if not at:
            return frozenset()
        out.append(at - 1)
    return frozenset(out)
