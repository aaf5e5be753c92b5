"""Checking a resource's props against its annotations, with pydantic, only when they changed.

Annotations that cannot be resolved at run time (imported for type checkers only) are passed over.
"""

from __future__ import annotations

import typing
from functools import cache
from typing import TYPE_CHECKING, Any

from alchemy.engine.props import handles_in
from alchemy.errors import UsageError
from alchemy.model.text import safe_text

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from alchemy.engine.resource import Field, Resource


@cache
def _adapters(cls: Any) -> dict[str, TypeAdapter[Any]]:
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError

    try:
        hints = typing.get_type_hints(cls)
    except (NameError, TypeError, AttributeError):
        return {}
    adapters: dict[str, TypeAdapter[Any]] = {}
    fields: dict[str, Field] = cls._fields
    for name, declared in fields.items():
        if declared.is_output or name not in hints:
            continue
        try:
            adapters[name] = TypeAdapter(hints[name], config=ConfigDict(strict=True))
        except (PydanticUserError, PydanticSchemaGenerationError):
            continue
    return adapters


def check_props(resource: Resource) -> None:
    """UsageError names resource, prop and what it takes."""
    from pydantic import ValidationError

    cls: Any = type(resource)  # a class is hashable, whatever `__hash__` its instances have
    for name, adapter in _adapters(cls).items():
        value = getattr(resource, name)
        if handles_in(value):
            continue
        try:
            adapter.validate_python(list(value) if isinstance(value, tuple) else value)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join([name, *map(str, first["loc"])])
            raise UsageError(
                f"{resource.address}: {safe_text(where, 80)}: {safe_text(first['msg'], 200)}",
                hint=f"{type(resource).__name__}.{name} is declared as {resource._fields[name].annotation}",
            ) from None
