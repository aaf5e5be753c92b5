"""D1 databases: SQLite at the edge."""

from __future__ import annotations

from typing import Any, Literal

from alchemy.cloudflare.account_resource import AccountResource
from alchemy.cloudflare.client import LARGEST_PAGE, Api
from alchemy.engine.context import Context
from alchemy.engine.resource import Outputs, output, prop


class D1Database(AccountResource, kind="cloudflare:D1Database"):
    """Only read replication can be changed; a change of anything else makes a new, empty database."""

    holds_data = True
    service = "d1"
    path = "d1/database"
    members = (("database_id", "uuid"), ("database_name", "name"))
    named = "name"

    location_hint: Literal["wnam", "enam", "weur", "eeur", "apac", "oc"] | None = prop(default=None, fixed=True)
    jurisdiction: Literal["eu", "fedramp", "us"] | None = prop(default=None, fixed=True)
    read_replication: Literal["auto", "disabled"] | None = None

    database_id: str = output()
    database_name: str = output()

    def body(self, name: str) -> dict[str, Any]:
        replication = {"mode": self.read_replication} if self.read_replication else None
        return {
            "name": name,
            "primary_location_hint": self.location_hint,
            "jurisdiction": self.jurisdiction,
            "read_replication": replication,
        }

    async def lookup(self, api: Api, name: str) -> dict[str, Any] | None:
        async for database in api.items(self.path, params={"name": name, "per_page": LARGEST_PAGE}):
            if database.get("name") == name:  # the filter also finds names that only contain it
                return database
        return None

    async def is_empty(self, ctx: Context) -> bool:
        """No table in it. An answer that does not say is no answer."""
        found = await self.api(ctx).find(self.path, self.known_id) if self.known_id else None
        return found is None or found.get("num_tables") == 0

    def told(self, found: dict[str, Any]) -> dict[str, Any]:
        replication = found.get("read_replication")
        mode = replication.get("mode") if isinstance(replication, dict) else None
        return {**super().told(found), "read_replication": mode}

    async def update(self, ctx: Context, before: D1Database) -> Outputs:
        mode = self.read_replication or ("disabled" if before.read_replication else None)
        if mode is None:
            return dict(self.outputs)
        changed = {"read_replication": {"mode": mode}}
        return self.described(await self.api(ctx).call("PATCH", self.path, self.known_id, json=changed))
