"""Secrets as values: `Secret` is what a program declares, `SecretText` what a verb is given, `LockedSecret` what cannot
be opened. None of them shows its value unless it is asked for it.

Neighbours: `masking` is how they stand in a row, `scrubbing` keeps their values out of everything that is shown.
"""

from __future__ import annotations

from typing import Any, NoReturn

from alchemy.errors import AlchemyError, UsageError
from alchemy.model import scrubbing
from alchemy.model.canonical import Json, SecretText, normalise
from alchemy.model.masking import MASKED


class Secret:
    """A value that is sealed in the state and shown nowhere. `value` reads it, which is never done by accident."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        if value is None:
            raise UsageError(
                "alchemy.secret(None): there is no value to keep secret",
                hint='read it with alchemy.secret.env("NAME"), which says when the variable is not set',
            )
        self._value: Json = value.value if isinstance(value, Secret) else normalise(value, "alchemy.secret")
        scrubbing.remember(self._value)

    @property
    def value(self) -> Any:
        return self._value

    def __repr__(self) -> str:
        return MASKED

    def __format__(self, spec: str) -> str:
        return format(MASKED, spec)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _: object) -> Secret:
        return self

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise TypeError("a secret is not pickled: read its .value where it is needed")


class LockedSecret:
    """A sealed value that could not be opened. Carrying it around is fine; using it raises why."""

    __slots__ = ("error", "sealed")

    def __init__(self, error: AlchemyError, sealed: dict[str, Any]) -> None:
        self.error = error
        self.sealed = sealed

    def __repr__(self) -> str:
        return MASKED

    def __copy__(self) -> LockedSecret:
        return self

    def __deepcopy__(self, _: object) -> LockedSecret:
        return self

    def refuse(self, *_: object) -> NoReturn:
        raise self.error

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # what Python and its tools ask of any object
            raise AttributeError(name)
        self.refuse()

    __str__ = __format__ = __bool__ = __len__ = __iter__ = __int__ = __float__ = __index__ = __bytes__ = refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __getitem__ = refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __mod__ = __rmod__ = refuse
    __hash__ = object.__hash__


def opened(value: Json) -> Any:
    """As the verbs see it: every text in it masks itself, and is kept out of what is shown."""
    scrubbing.remember(value)
    return _masking(value)


def _masking(value: Json) -> Any:
    if isinstance(value, str):
        return SecretText(value)
    if isinstance(value, dict):
        return {key: _masking(item) for key, item in value.items()}
    return [_masking(item) for item in value] if isinstance(value, list) else value
