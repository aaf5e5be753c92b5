"""R2 buckets: objects without egress fees."""

from __future__ import annotations

from typing import Any, Literal

from alchemy.cloudflare.account_resource import AccountResource
from alchemy.cloudflare.client import Api
from alchemy.engine.context import Context
from alchemy.engine.resource import Outputs, output, prop
from alchemy.errors import CloudError

_NOT_EMPTY = 10008


class R2Bucket(AccountResource, kind="cloudflare:R2Bucket"):
    """Only the storage class of new objects can be changed. A bucket that holds objects is never deleted."""

    holds_data = True
    service = "r2"
    path = "r2/buckets"
    members = (("bucket_name", "name"), ("location", "location"))
    named = "name"
    listed = "buckets"
    name_pattern = "[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"
    name_rule = "3 to 63 of a-z, 0-9 and inner hyphens"

    location_hint: Literal["wnam", "enam", "weur", "eeur", "apac", "oc"] | None = prop(default=None, fixed=True)
    jurisdiction: Literal["default", "eu", "us", "fedramp", "fedramp-high"] = prop(default="default", fixed=True)
    storage_class: Literal["Standard", "InfrequentAccess"] = "Standard"

    bucket_name: str = output()
    location: str = output()

    def headers(self) -> dict[str, str]:
        return {} if self.jurisdiction == "default" else {"cf-r2-jurisdiction": self.jurisdiction}

    def body(self, name: str) -> dict[str, Any]:
        return {"name": name, "locationHint": self.location_hint, "storageClass": self.storage_class}

    def described(self, result: Any) -> dict[str, Any]:
        outputs = super().described(result)  # the live API shouts the location; a binding needs the jurisdiction
        return {**outputs, "location": outputs["location"].lower(), "jurisdiction": self.jurisdiction}

    def told(self, found: dict[str, Any]) -> dict[str, Any]:
        return {**super().told(found), "storage_class": found.get("storage_class")}

    async def lookup(self, api: Api, name: str) -> dict[str, Any] | None:
        return await api.find(self.path, name, headers=self.headers())

    async def update(self, ctx: Context, before: R2Bucket) -> Outputs:
        headers = {**self.headers(), "cf-r2-storage-class": self.storage_class}
        return self.described(await self.api(ctx).call("PATCH", self.path, self.known_id, headers=headers))

    async def is_empty(self, ctx: Context) -> bool:
        """A listing of one object finds none; uploads that were never completed do not count."""
        if not self.known_id:
            return True
        given: dict[str, Any] = {"headers": self.headers(), "params": {"per_page": 1}}
        return not await self.api(ctx).call("GET", self.path, self.known_id, "objects", **given)

    async def delete(self, ctx: Context) -> None:
        try:
            await super().delete(ctx)
        except CloudError as error:
            if error.code != _NOT_EMPTY:
                raise
            page = await self.api(ctx).call("GET", self.path, self.known_id, "objects", headers=self.headers())
            what = f"the bucket {self.known_id} is not empty: it holds {len(page)} objects or more (r2 {error.code})"
            hint = f"empty it (`wrangler r2 object delete {self.known_id}/KEY`, or any S3 tool), then run again"
            raise CloudError(what, service="r2", status=error.status, code=error.code, hint=hint) from error
