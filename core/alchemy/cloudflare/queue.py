"""Queues: messages between Workers."""

from __future__ import annotations

from typing import Any, Literal

from alchemy.cloudflare.account_resource import AccountResource
from alchemy.cloudflare.client import Api
from alchemy.engine.context import Context
from alchemy.engine.resource import Outputs, output, prop

# Cloudflare's defaults: what a setting goes back to when the program no longer mentions it.
_DEFAULTS = {"delivery_delay": 0, "delivery_paused": False, "message_retention_period": 345_600}


class Queue(AccountResource, kind="cloudflare:Queue"):
    """Another `name` renames it and keeps its messages. Durations are seconds."""

    holds_data = True  # and nothing tells whether messages wait in it
    service = "queues"
    path = "queues"
    members = (("queue_id", "queue_id"), ("queue_name", "queue_name"))
    named = "queue_name"

    name: str | None = None
    delivery_delay: int | None = None
    delivery_paused: bool | None = None
    message_retention_period: int | None = None
    jurisdiction: Literal["eu", "fedramp", "us"] | None = prop(default=None, fixed=True)

    queue_id: str = output()
    queue_name: str = output()

    def settings(self) -> dict[str, Any]:
        return {name: value for name in _DEFAULTS if (value := getattr(self, name)) is not None}

    def body(self, name: str) -> dict[str, Any]:
        return {"queue_name": name, "jurisdiction": self.jurisdiction, "settings": self.settings() or None}

    async def lookup(self, api: Api, name: str) -> dict[str, Any] | None:
        async for queue in api.items(self.path, params={"name": name}):
            if queue.get("queue_name") == name:  # the filter is not documented: it may give all of them
                return queue
        return None

    def told(self, found: dict[str, Any]) -> dict[str, Any]:
        given = found.get("settings")
        settings: dict[str, Any] = given if isinstance(given, dict) else {}
        return {**super().told(found), **{name: settings.get(name) for name in _DEFAULTS}}

    async def update(self, ctx: Context, before: Queue) -> Outputs:
        settings = {**{name: _DEFAULTS[name] for name in before.settings()}, **self.settings()}
        wish = {"queue_name": self.name or self.outputs["queue_name"], "settings": settings}
        return self.described(await self.api(ctx).call("PATCH", self.path, self.known_id, json=wish))
