"""Sealed values where they are compared or shown: never opened, told apart by what stands beside the ciphertext. Pure.

Neighbours: `comparison` compares rows with them; `store.sealing` seals and opens.
"""

from __future__ import annotations

from typing import Any

from alchemy.model.canonical import Json

MASKED = "•••"
SECRET, EQUAL = "$secret", "$equal"  # how a sealed value stands in a row: the ciphertext, and a keyed hash of the value


class Sealed:
    """A secret: equal to another by its keyed hash, else by its ciphertext."""

    def __init__(self, value: dict[str, Any]) -> None:
        self._mark = str(value.get(EQUAL) or value[SECRET])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealed) and self._mark == other._mark

    __hash__ = None  # type: ignore[assignment]


def comparable(value: Json) -> Json:
    """`value` with a `Sealed` for every secret in it, to be compared and never shown."""
    if isinstance(value, dict):
        if SECRET in value:
            return Sealed(value)
        return {key: comparable(item) for key, item in value.items()}
    return [comparable(item) for item in value] if isinstance(value, list) else value


def masked(value: Json) -> Json:
    """`value` with every secret in it as dots."""
    if isinstance(value, Sealed) or (isinstance(value, dict) and SECRET in value):
        return MASKED
    if isinstance(value, dict):
        return {key: masked(item) for key, item in value.items()}
    return [masked(item) for item in value] if isinstance(value, list) else value
