"""Cloudflare's response envelope: one success, one failure, and the two styles of paging.

Neighbours: product modules return `Reply` and raise `Refusal`; `app` turns both into HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

JSON_HEADERS = {"content-type": "application/json"}
_ABSENT: Any = object()  # some deletes answer without any `result`


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers, ready to send."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: JSON_HEADERS)


class Refusal(Exception):
    """A request the cloud declines: HTTP status and the product's own code (both as in Cloudflare's API)."""

    def __init__(self, status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


def success(result: Any = _ABSENT, *, info: Mapping[str, Any] | None = None, status: int = 200) -> Reply:
    """The success envelope; without `result` the key is left out, as Cloudflare does on some deletes."""
    content: dict[str, Any] = {"success": True, "errors": [], "messages": []}
    if result is not _ABSENT:
        content["result"] = result
    if info is not None:
        content["result_info"] = info
    return Reply(status, orjson.dumps(content))


def failure(refusal: Refusal) -> Reply:
    """The failure envelope: success false, result null, one error."""
    error = {"code": refusal.code, "message": refusal.message}
    content = {"success": False, "errors": [error], "messages": [], "result": None}
    return Reply(refusal.status, orjson.dumps(content), {**JSON_HEADERS, **refusal.headers})


def page_info(*, count: int, page: int, per_page: int, total: int) -> dict[str, int]:
    """`result_info` of the numbered style."""
    pages = -(-total // per_page)
    return {"count": count, "page": page, "per_page": per_page, "total_count": total, "total_pages": pages}


def shown(name: str) -> str:
    """A name from outside, short enough for an error message."""
    return name if len(name) <= 100 else name[:100] + "…"
