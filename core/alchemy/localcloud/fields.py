"""Reading what a client sent: JSON members and query parameters, each refused by name when it does not fit.

Neighbours: `call` makes these from a request; product modules say which code their product uses for a bad body.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from alchemy.localcloud.envelope import Refusal

_DEEPEST = 100  # levels of nesting; orjson reads 1024 but writes only 254, and what is stored must be answerable


def parse_json(body: bytes, code: int) -> Any:
    """The body as JSON, whatever its content type says (clients post JSON as text/plain)."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, code, f"The request body is not valid JSON: {error}") from None
    if body.count(b"[") + body.count(b"{") > _DEEPEST and _is_deep(value):
        raise Refusal(400, code, f"The request body is nested deeper than {_DEEPEST} levels")
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
    return bool(level)


class Fields:
    """The members of one JSON object; `code` is the product's number for an invalid body."""

    def __init__(self, values: Any, code: int, where: str = "body") -> None:
        if not isinstance(values, dict):
            raise Refusal(400, code, f"The {where} must be a JSON object")
        self.values: dict[str, Any] = values
        self.code = code
        self.where = where

    def refuse(self, name: str, wish: str) -> Refusal:
        return Refusal(400, self.code, f"Invalid property: {self.where} => {name} must be {wish}")

    def text(self, name: str, *, longest: int = 512) -> str:
        """A required, non-empty string."""
        value = self.values.get(name)
        if not isinstance(value, str) or not value or len(value) > longest:
            raise self.refuse(name, f"a string of 1 to {longest} characters")
        return value

    def optional_text(self, name: str, *, longest: int = 512) -> str | None:
        return None if self.values.get(name) is None else self.text(name, longest=longest)

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        value = self.values.get(name)
        if value is not None and value not in choices:
            raise self.refuse(name, f"one of {', '.join(choices)}")
        return value

    def number(self, name: str, low: float, high: float) -> float | int | None:
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.refuse(name, f"a number from {low} to {high}")
        return value

    def flag(self, name: str) -> bool | None:
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.refuse(name, "true or false")
        return value

    def mapping(self, name: str) -> Fields:
        """An optional object; empty when absent."""
        return Fields(self.values.get(name) or {}, self.code, f"{self.where} => {name}")

    def items(self, name: str) -> list[Any]:
        """An optional list; empty when absent."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, list):
            raise self.refuse(name, "a list")
        return value or []

    def texts(self, name: str) -> list[str]:
        """An optional list of strings."""
        values = self.items(name)
        if not all(isinstance(value, str) for value in values):
            raise self.refuse(name, "a list of strings")
        return values


class Query:
    """Query parameters; the first value wins when a client repeats one (wrangler does)."""

    def __init__(self, values: Mapping[str, str], code: int) -> None:
        self.values = values
        self.code = code

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number, capped at `high`; refused below `low` or when it is not one."""
        text = self.values.get(name, "")
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) >= low):
            raise Refusal(400, self.code, f"Invalid query parameter: {name} must be a whole number from {low}")
        return min(int(text), high)

    def choice(self, name: str, default: str, choices: Sequence[str]) -> str:
        text = self.values.get(name) or default
        if text not in choices:
            raise Refusal(400, self.code, f"Invalid query parameter: {name} must be one of {', '.join(choices)}")
        return text

    def cursor(self) -> bytes | None:
        """The position in an opaque cursor made by `cursor_after`."""
        text = self.values.get("cursor")
        if not text:
            return None
        try:
            return base64.b64decode(text, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise Refusal(400, self.code, "Invalid query parameter: cursor is not one this API gave out") from None


def cursor_after(position: bytes) -> str:
    """An opaque cursor that continues after `position`."""
    return base64.b64encode(position, altchars=b"-_").decode("ascii")


def prefix_end(prefix: bytes) -> bytes:
    """The first key that sorts after all keys with this UTF-8 `prefix` (UTF-8 has no byte 0xff)."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else b"\xff"
