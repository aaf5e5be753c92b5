"""Workers: a JavaScript module, bound to other resources, at an address on workers.dev.

An upload replaces whatever has the name, so each one looks first and goes ahead only over what is ours: a tag says so.
Neighbours: `worker_upload` makes what is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from alchemy.cloudflare.account_resource import AccountResource
from alchemy.cloudflare.client import Api
from alchemy.cloudflare.failures import is_gone
from alchemy.cloudflare.worker_upload import (
    binding_list,
    check_bindings,
    read_module,
    secret_names,
    seen_bindings,
    upload_form,
)
from alchemy.engine.context import Context
from alchemy.engine.outputs import unknown_sources
from alchemy.engine.resource import Outputs, output, prop
from alchemy.errors import CloudError, Refused
from alchemy.model.secrets import Secret
from alchemy.model.text import safe_text

_MARK = "alchemy:"  # our tags begin with it; tags of others are kept


class Worker(AccountResource, kind="cloudflare:Worker"):
    """`entrypoint`: a ready .js or .mjs module, relative to the project. `bindings`: resources by variable name.

    What is secret in `env` or `bindings` is bound as a secret, which Cloudflare never shows again.
    """

    idempotent: ClassVar[bool] = True
    service = "workers"
    path = "workers/scripts"
    members = (("script_name", "id"), ("etag", "etag"))
    named = "id"
    name_pattern = "[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"
    name_rule = "1 to 63 letters, digits, - and _"

    entrypoint: str
    bindings: dict[str, Any] = prop(default={})
    env: Mapping[str, str | Secret] = prop(default={})
    compatibility_date: str = "2026-01-01"
    compatibility_flags: list[str] = prop(default=[])
    workers_dev: bool = True

    script_name: str = output()
    url: str | None = output()
    etag: str = output(volatile=True)

    def inputs(self) -> dict[str, Any]:
        """The module's digest: a changed file is a changed Worker."""
        check_bindings(self.address, self.bindings, self.env)
        if unknown_sources(self.entrypoint):  # another resource will write it
            return super().inputs()
        return {**super().inputs(), "module": read_module(self.address, self.entrypoint).digest}

    async def create(self, ctx: Context) -> Outputs:
        return await self._upload(ctx, ctx.name)

    async def update(self, ctx: Context, before: Worker) -> Outputs:
        outputs = await self._upload(ctx, self.known_id)
        names = {*self.bindings, *self.env}
        for name in sorted(secret_names(before.bindings, before.env) - names):  # an upload keeps every secret
            try:
                await self.api(ctx).call("DELETE", self.path, self.known_id, "secrets", name)
            except CloudError as error:
                if not is_gone(error):
                    raise
        return outputs

    async def read(self, ctx: Context) -> Outputs | None:
        api, name = self.api(ctx), self.known_id or ctx.name
        script = await self.lookup(api, name)
        if script is None:
            return None
        if not self._is_ours(script, ctx):
            raise self._not_ours(name)
        public = await api.call("GET", self.path, name, "subdomain")
        return {**self.described(script), "url": await self._url(api, name) if public.get("enabled") else None}

    async def observe(self, ctx: Context) -> dict[str, Any] | None:
        """Code by its etag: another one than our last upload got is other code. Secrets by name."""
        api, name = self.api(ctx), self.known_id or ctx.name
        script, settings = await self.lookup(api, name), await api.find(self.path, name, "settings")
        if script is None or settings is None:
            return None
        public = await api.call("GET", self.path, name, "subdomain")
        found: dict[str, Any] = {"workers_dev": bool(api.checked(public).get("enabled"))}
        if isinstance(settings.get("bindings"), list):
            found["bindings"], found["env"] = seen_bindings(self.bindings, self.env, settings["bindings"])
        if isinstance(settings.get("compatibility_date"), str):
            found["compatibility_date"] = settings["compatibility_date"]
        flags = settings.get("compatibility_flags")
        if isinstance(flags, list):  # the order means nothing
            same = sorted(map(str, flags)) == sorted(self.compatibility_flags)
            found["compatibility_flags"] = self.compatibility_flags if same else flags
        sent, now = self.outputs.get("etag"), script.get("etag")
        if sent and now and sent != now:
            found["module"] = f"other code (etag {safe_text(now, 12)})"
        return found

    async def delete(self, ctx: Context) -> None:
        script = await self.lookup(self.api(ctx), self.known_id)
        if script is not None and not self._is_ours(script, ctx):
            ctx.note(f"the Worker {self.known_id} belongs to somebody else now: it is left as it is")
            return
        await super().delete(ctx)

    async def lookup(self, api: Api, name: str) -> dict[str, Any] | None:
        found = await api.find("workers/services", name)  # code, tags and settings in one answer
        environment = (found or {}).get("default_environment") or {}
        return None if found is None else {**api.checked(environment.get("script")), "id": name}

    def _is_ours(self, script: dict[str, Any], ctx: Context) -> bool:
        """By name when the name holds our mark, else by tag; without any tag of ours, by having it in the state."""
        if ctx.adopted or (self.name is None and not self.known_id):
            return True
        marks = [tag for tag in script.get("tags") or () if tag.startswith(_MARK)]
        return _MARK + ctx.token in marks if marks else bool(self.known_id)

    def _not_ours(self, name: str) -> Refused:
        if self.known_id == name:  # a row of before: restored, or recovered
            return Refused(
                f"the Worker {name} was made anew since what the state knows of {self.address}",
                hint="if it is the same one, as after going back to a backup, take it over with adopt=True: its code "
                "will be replaced; else choose another name",
            )
        return Refused(
            f"a Worker called {name} exists already and was not made by this resource",
            hint="choose another name, or take it over with adopt=True: its code will be replaced",
        )

    async def _upload(self, ctx: Context, name: str) -> dict[str, Any]:
        api, module = self.api(ctx), read_module(self.address, self.entrypoint)
        there = await self.lookup(api, name)
        if there is not None and not self._is_ours(there, ctx):
            raise self._not_ours(name)
        tags = [tag for tag in (there or {}).get("tags") or () if not tag.startswith(_MARK)]
        metadata = {
            "bindings": binding_list(self.bindings, self.env),
            "compatibility_date": self.compatibility_date,
            "compatibility_flags": self.compatibility_flags,
            "keep_bindings": ["secret_text", "secret_key"],  # those that were put there by hand
            "tags": [*tags, _MARK + ctx.token],
        }
        sent = await api.call("PUT", self.path, name, files=upload_form(module, metadata))
        url = await self._url(api, name) if self.workers_dev else None
        if self.workers_dev and url is None:
            ctx.note(
                f"{name} has no address: the account has no workers.dev subdomain yet (see Cloudflare's dashboard)"
            )
        elif self.workers_dev or there is not None:
            await api.call("POST", self.path, name, "subdomain", json={"enabled": self.workers_dev})
        return {**self.described(sent), "url": url}

    async def _url(self, api: Api, name: str) -> str | None:
        account = await api.find("workers/subdomain")
        return f"https://{name}.{account['subdomain']}.workers.dev" if account else None
