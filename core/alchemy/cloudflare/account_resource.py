"""What every object of a Cloudflare account has in common: a name, an id the cloud gives, a list it can be found in.

A kind declares where it lives and how its outputs are called there; it adds what it alone can do. Neighbours: `client`.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from alchemy.cloudflare.client import Api
from alchemy.cloudflare.failures import is_gone, is_taken, unusable
from alchemy.engine.context import Context
from alchemy.engine.outputs import unknown_sources
from alchemy.engine.resource import Outputs, Resource, prop
from alchemy.errors import CloudError, UsageError
from alchemy.model.text import safe_text


class AccountResource(Resource):
    """`name` is the physical name; without it the engine makes one."""

    cloud: ClassVar[bool] = True
    service: ClassVar[str]  # the product, as errors and `failures` call it
    path: ClassVar[str]  # of its collection, below the account
    members: ClassVar[
        tuple[tuple[str, str], ...]
    ]  # output -> member of the API's object; the first is the id in the path
    named: ClassVar[str]  # the member of the API's object that holds the physical name
    listed: ClassVar[str] = ""  # the member of the result that holds the list, where the list is not the result
    name_pattern: ClassVar[str] = ""  # where the name becomes part of a path
    name_rule: ClassVar[str] = ""  # the same in words

    name: str | None = prop(default=None, fixed=True)

    def inputs(self) -> dict[str, Any]:
        """Refuses, before anything is called, a name that cannot be."""
        name = self.name
        checked = name is not None and self.name_pattern and not unknown_sources(name)
        if checked and not re.fullmatch(self.name_pattern, str(name)):
            raise UsageError(
                f"{self.address}: name={safe_text(name, 80)!r} cannot be a name", hint=f"it takes {self.name_rule}"
            )
        return {}

    def body(self, name: str) -> dict[str, Any]:
        """What the POST says. Members that are None are left out."""
        raise NotImplementedError

    def headers(self) -> dict[str, str]:
        """Sent with every request."""
        return {}

    async def lookup(self, api: Api, name: str) -> dict[str, Any] | None:
        """The API's object of this name."""
        raise NotImplementedError

    async def create(self, ctx: Context) -> Outputs:
        api = self.api(ctx)
        body = {key: value for key, value in self.body(ctx.name).items() if value is not None}
        try:
            return self.described(await api.call("POST", self.path, json=body, headers=self.headers()))
        except CloudError as error:
            # A name the engine made holds this stage's mark: retained, or left by a lost state, it is ours again.
            found = await self.lookup(api, ctx.name) if is_taken(error) and self.name is None else None
            if found is None:
                raise
            self.outputs.update(self.described(found))
            return await self.update(ctx, self)

    async def read(self, ctx: Context) -> Outputs | None:
        api = self.api(ctx)
        if self.known_id:
            found = await api.find(self.path, self.known_id, headers=self.headers())
        else:
            found = await self.lookup(api, ctx.name)
        return None if found is None else self.described(found)

    async def observe(self, ctx: Context) -> dict[str, Any] | None:
        found = await self.api(ctx).find(self.path, self.known_id, headers=self.headers()) if self.known_id else None
        return None if found is None else {name: told for name, told in self.told(found).items() if told is not None}

    async def list_names(self, ctx: Context) -> list[str]:
        found = self.api(ctx).items(self.path, member=self.listed, headers=self.headers())
        return [str(item.get(self.named)) async for item in found]

    async def delete(self, ctx: Context) -> None:
        """By id only: an object that was never seen is looked up by the engine first."""
        if self.known_id:
            try:
                await self.api(ctx).call("DELETE", self.path, self.known_id, headers=self.headers())
            except CloudError as error:
                if not is_gone(error):
                    raise

    @property
    def known_id(self) -> str:
        return str(self.outputs.get(self.members[0][0]) or "")

    def api(self, ctx: Context) -> Api:
        return Api.of(ctx, self.service)

    def told(self, found: dict[str, Any]) -> dict[str, Any]:
        """The props, from the API's object; None where it does not say. Where it lies is never told: a hint is none."""
        return {"name": found.get(self.named), "jurisdiction": found.get("jurisdiction")}

    def described(self, result: Any) -> dict[str, Any]:
        """The outputs, from the API's object."""
        found = result if isinstance(result, dict) else {}
        for _, member in self.members:
            if not isinstance(found.get(member), str):
                raise unusable(self.service, f"it does not say {member}")
        return {output: found[member] for output, member in self.members}
