"""Sealed values where they are compared or shown: never opened, told apart by what stands beside the ciphertext. Pure.

Neighbours: `comparison` compares rows with them; `store.sealing` seals and opens.
"""

from __future__ import annotations

from typing import Any

from alchemy.model.canonical import Json, digest
from alchemy.model.scrubbing import MASKED as MASKED

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


def is_sealed(value: object) -> bool:
    """User data is never one: keys of its own that begin with `$` are escaped."""
    return isinstance(value, dict) and SECRET in value


def has_sealed(value: Json) -> bool:
    """Somewhere in it."""
    if isinstance(value, dict):
        return SECRET in value or any(has_sealed(item) for item in value.values())
    return isinstance(value, list) and any(has_sealed(item) for item in value)


def is_unsealed(value: Json) -> bool:
    """It holds a secret that no key has sealed: a plan makes none, and says so with an empty text."""
    if isinstance(value, dict):
        return not value[SECRET] if SECRET in value else any(is_unsealed(item) for item in value.values())
    return isinstance(value, list) and any(is_unsealed(item) for item in value)


def hash_props(props: Json) -> str:
    """What stored props are compared by: of a secret only its keyed hash counts, for its ciphertext is random."""
    return digest(_without_ciphertext(props), 32)


def _without_ciphertext(value: Json) -> Json:
    if isinstance(value, dict):
        if SECRET in value:
            return {EQUAL: value.get(EQUAL) or value[SECRET]}
        return {key: _without_ciphertext(item) for key, item in value.items()}
    return [_without_ciphertext(item) for item in value] if isinstance(value, list) else value


def masked_text(document: str) -> str:
    """A JSON document, laid out as it is stored, without its ciphertexts; what cannot be read stays as it is."""
    if f'"{SECRET}"' not in document:
        return document
    import json

    try:
        return json.dumps(masked(json.loads(document)), indent=2, ensure_ascii=False)
    except ValueError:
        return document


def masked(value: Json) -> Json:
    """`value` with every secret in it as dots."""
    if isinstance(value, Sealed) or (isinstance(value, dict) and SECRET in value):
        return MASKED
    if isinstance(value, dict):
        return {key: masked(item) for key, item in value.items()}
    return [masked(item) for item in value] if isinstance(value, list) else value
