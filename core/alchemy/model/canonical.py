"""One byte form for one meaning: canonical JSON, its hash, and the walk that refuses what JSON cannot carry.

Diffs and no-op checks compare these bytes, so key order, `2.0` for `2` and tuples for lists never show as a change.
Texts are the same when their code points are: an `é` of one and an `é` of two are two texts, as they are for a cloud.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NoReturn, TypeAlias

import orjson

from alchemy.errors import UsageError
from alchemy.model.scrubbing import MASKED
from alchemy.model.text import safe_text

Json: TypeAlias = Any  # a tree of dict, list, str, int, float, bool and None
_INT64 = 1 << 63
MAX_JSON_DEPTH = 64


class SecretText(str):
    """A secret's text as the verbs get it: text like any other, except that its `repr` is dots and it is not pickled.

    It stays one in `normalise`, so that what comes back from a verb is still known for a secret.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return MASKED

    def __copy__(self) -> SecretText:
        return self

    def __deepcopy__(self, _: object) -> SecretText:
        return self

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise TypeError("a secret is not pickled")


def normalise(value: object, where: str = "", depth: int = 0) -> Json:
    """`value` as plain JSON with sorted meaning: tuples are lists, whole floats are ints.

    UsageError names the place of a value that has no JSON form (NaN, an integer above 64 bits, an object).
    """
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if isinstance(value, str):
        text = str.__str__(value)  # of a constant (`class Colour(str, Enum)`) its value, not its name
        if not text.isascii():
            _refuse_surrogates(text, where)
        return value if kind is SecretText else text
    if kind is int:
        if not -_INT64 <= value < _INT64:  # type: ignore[operator]
            raise UsageError(f"{where or 'value'}: the integer does not fit 64 bits", hint="pass it as a string")
        return value
    if kind is float:
        if value != value or value in (float("inf"), float("-inf")):
            raise UsageError(f"{where or 'value'}: {value} has no JSON form", hint="pass None or a string")
        whole = int(value)  # type: ignore[call-overload]
        return whole if whole == value and -_INT64 <= whole < _INT64 else value
    if depth > MAX_JSON_DEPTH:
        raise UsageError(f"{where or 'value'} is nested deeper than {MAX_JSON_DEPTH} levels", hint="flatten it")
    if isinstance(value, Mapping):
        out = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise UsageError(f"{where or 'value'}: the key {safe_text(key, 40)!r} is not a string")
            name = normalise(key, f"{where} keys" if where else "keys")
            out[name] = normalise(item, f"{where}.{name}" if where else name, depth + 1)
        return out
    if isinstance(value, list | tuple):
        return [normalise(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, int):  # a subclass, an IntEnum for example
        return normalise(int(value), where)
    raise UsageError(
        f"{where or 'value'}: {type(value).__name__} has no JSON form",
        hint="props take strings, numbers, booleans, None, lists, dicts, resources and their outputs",
    )


def _refuse_surrogates(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{where or 'value'}: {safe_text(text, 40)!r} is not text: it holds half a character",
            hint="decode bytes with the right encoding, or pass them as base64",
        ) from None


def canonical(value: Json) -> bytes:
    """Sorted, compact bytes of a value that `normalise` passed."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest(value: Json, length: int = 64) -> str:
    """Hex SHA-256 of the canonical bytes, clipped to `length` characters."""
    return hashlib.sha256(canonical(value)).hexdigest()[:length]
