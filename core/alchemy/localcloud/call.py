"""One request as a handler sees it, and the shape of a route.

Neighbours: `app` builds calls; `router` finds the route; product modules hold the handlers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from alchemy.localcloud.envelope import Reply
from alchemy.localcloud.fields import Fields, Query, parse_json
from alchemy.localcloud.store import Store

LARGEST_BODY = 100 * 1024 * 1024  # bytes; Cloudflare's own limit for a request on the free plan


@dataclass(slots=True)
class Call:
    """A routed request. `db` is the connection inside the transaction its route asked for."""

    params: Mapping[str, str]
    arguments: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    account: str
    origin: str
    store: Store
    db: sqlite3.Connection

    def whole(self, items: list[Any]) -> list[Any]:
        """An unpaged list: all of it on the first page, nothing on later ones, else a paging client never ends."""
        return items if self.arguments.get("page") in (None, "", "1") else []

    def json(self, code: int) -> Any:
        return parse_json(self.body, code)

    def fields(self, code: int) -> Fields:
        return Fields(parse_json(self.body, code), code)

    def query(self, code: int) -> Query:
        return Query(self.arguments, code)


class Transaction(Enum):
    """What a handler needs from the account's database."""

    READ = "one consistent view"
    WRITE = "the write lock, committed and synced before the answer"
    OWN = "the handler opens its own, because it also works on other files"


Handler = Callable[[Call], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """An operation: `template` names parameters in braces, `{name*}` takes the rest of the path."""

    method: str
    template: str
    handler: Handler
    transaction: Transaction | None = None  # None: by method, GET reads and all others write
    largest_body: int = LARGEST_BODY
    public: bool = False  # the address is the permission

    @property
    def mode(self) -> Transaction:
        if self.transaction is not None:
            return self.transaction
        return Transaction.READ if self.method == "GET" else Transaction.WRITE
