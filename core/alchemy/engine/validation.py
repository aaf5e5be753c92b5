"""Checking a resource's props against its annotations, only when they changed.

What is plainly right is seen without help; everything else is pydantic's to judge, and to word: importing it takes
longer than deploying a hundred resources. Annotations that cannot be resolved at run time (imported for type checkers
only) are passed over.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from alchemy.engine.props import handles_in
from alchemy.errors import UsageError
from alchemy.model.canonical import SecretText
from alchemy.model.secrets import Secret
from alchemy.model.text import safe_text

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from alchemy.engine.resource import Field, Resource


_PLAIN = (str, int, float, bool, types.NoneType)


@cache
def _hints(cls: Any) -> dict[str, Any]:
    """Of the props; empty when one cannot be resolved."""
    try:
        hints = typing.get_type_hints(cls)
    except (NameError, TypeError, AttributeError):
        return {}
    fields: dict[str, Field] = cls._fields
    return {n: _opened(hints[n]) for n, declared in fields.items() if not declared.is_output and n in hints}


def _opened(hint: Any) -> Any:
    """`str | Secret` says what a program may write; what is judged is open already."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType) and Secret in arguments:
        return typing.Union[tuple(each for each in arguments if each is not Secret)]  # noqa: UP007 - of a tuple
    if origin in (dict, list, Mapping) and arguments:
        return origin[tuple(map(_opened, arguments))]
    return hint


def _plainly_right(value: object, hint: Any) -> bool:
    """True only when pydantic would say so too."""
    if hint is Any:
        return True
    if any(hint is each for each in _PLAIN):  # an annotation need not be hashable
        return type(value) is hint or (hint is str and type(value) is SecretText)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_plainly_right(value, each) for each in arguments)
    if origin is typing.Literal:
        return any(type(value) is type(each) and value == each for each in arguments)
    if origin is list and type(value) is list:
        return all(_plainly_right(item, arguments[0]) for item in value)
    if origin in (dict, Mapping) and type(value) is dict:
        key, inner = arguments
        return all(_plainly_right(k, key) and _plainly_right(item, inner) for k, item in value.items())
    return False


@cache
def _adapter(cls: Any, name: str) -> TypeAdapter[Any] | None:
    """None for an annotation that pydantic knows nothing of."""
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError

    try:
        return TypeAdapter(_from_json(_hints(cls)[name]), config=ConfigDict(strict=True))
    except (PydanticUserError, PydanticSchemaGenerationError):
        return None


def _from_json(hint: Any) -> Any:
    """By now tuples are lists, as JSON has them: where a tuple is declared, a list of its shape will do."""
    from pydantic import Strict

    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is tuple or origin is tuple:
        inner = tuple(map(_from_json, arguments))
        return typing.Annotated[tuple[inner] if arguments else tuple, Strict(False)]  # type: ignore[valid-type]
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(_from_json, arguments))]  # noqa: UP007 - of a tuple
    if origin in (dict, list, Mapping) and arguments:
        return origin[tuple(map(_from_json, arguments))]
    return hint


def check_props(resource: Resource) -> None:
    """UsageError names resource, prop and what it takes."""
    cls: Any = type(resource)  # a class is hashable, whatever `__hash__` its instances have
    for name in _hints(cls):
        check_prop(resource, name)


def check_prop(resource: Resource, name: str) -> None:
    """The same of one of them. Nothing when its annotation cannot be resolved."""
    cls: Any = type(resource)
    hint, value = _hints(cls).get(name, Any), getattr(resource, name)
    if not _plainly_right(value, hint) and not handles_in(value):
        _judge(resource, name, value)


def _judge(resource: Resource, name: str, value: Any) -> None:
    cls: Any = type(resource)
    adapter = _adapter(cls, name)
    if adapter is None:
        return
    from pydantic import ValidationError

    try:
        adapter.validate_python(list(value) if isinstance(value, tuple) else value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([name, *map(str, first["loc"])])
        raise UsageError(
            f"{resource.address}: {safe_text(where, 80)}: {safe_text(first['msg'], 200)}",
            hint=f"{type(resource).__name__}.{name} is declared as {resource._fields[name].annotation}",
        ) from None
