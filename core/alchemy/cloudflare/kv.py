"""KV namespaces: keys and values, near every user."""

from __future__ import annotations

from typing import Any, Literal

from alchemy.cloudflare.account_resource import AccountResource
from alchemy.cloudflare.client import LARGEST_PAGE, Api
from alchemy.engine.context import Context
from alchemy.engine.resource import Outputs, output, prop

_FEWEST_KEYS = 10  # the least that a listing takes


class KVNamespace(AccountResource, kind="cloudflare:KVNamespace"):
    """Another `name` renames it and keeps its values."""

    holds_data = True
    service = "kv"
    path = "storage/kv/namespaces"
    members = (("namespace_id", "id"), ("title", "title"))
    named = "title"

    name: str | None = None
    jurisdiction: Literal["eu", "fedramp", "us"] | None = prop(default=None, fixed=True)

    namespace_id: str = output()
    title: str = output()

    def body(self, name: str) -> dict[str, Any]:
        return {"title": name, "jurisdiction": self.jurisdiction}

    async def lookup(self, api: Api, name: str) -> dict[str, Any] | None:
        async for namespace in api.items(self.path, params={"order": "title", "per_page": LARGEST_PAGE}):
            if namespace.get("title") == name:
                return namespace
        return None

    async def is_empty(self, ctx: Context) -> bool:
        """A listing of keys finds none."""
        if not self.known_id:
            return True
        return not await self.api(ctx).call("GET", self.path, self.known_id, "keys", params={"limit": _FEWEST_KEYS})

    async def update(self, ctx: Context, before: KVNamespace) -> Outputs:
        title = self.outputs["title"]
        if self.name in (None, title):  # a name that is no longer given stays
            return dict(self.outputs)
        answer = await self.api(ctx).call("PUT", self.path, self.known_id, json={"title": self.name})
        return {**self.outputs, "title": self.described(answer)["title"]}
