"""A small client of one local cloud, through the same door as the engine: httpx.ASGITransport."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx

from alchemy.localcloud import BASE_PATH, account_id, create_app


class Cloud:
    """One directory, one application. Paths are below the account, or below the base when they begin with a slash."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.app = create_app(directory)
        account = account_id(directory)
        assert account is not None
        self.account = account

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        where = path if path.startswith("/") else f"/accounts/{self.account}/{path}"
        headers = {"authorization": "Bearer local", **options.pop("headers", {})}

        async def exchange() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app=self.app), base_url=f"http://local.test{BASE_PATH}"
            ) as client:
                return await client.request(method, where, headers=headers, **options)

        return asyncio.run(exchange())

    def result(self, method: str, path: str, **options: Any) -> Any:
        """The `result` of a call that must succeed."""
        response = self.send(method, path, **options)
        assert response.status_code == 200, response.text
        envelope = response.json()
        assert (envelope["success"], envelope["errors"]) == (True, [])
        return envelope.get("result")

    def refusal(self, method: str, path: str, **options: Any) -> tuple[int, int]:
        """HTTP status and error code of a call that must be refused, in Cloudflare's envelope."""
        response = self.send(method, path, **options)
        envelope = response.json()
        assert (envelope["success"], envelope["result"], envelope["messages"]) == (False, None, [])
        [error] = envelope["errors"]
        assert error["message"]
        return response.status_code, error["code"]

    def upload(self, name: str, metadata: dict[str, Any], code: str = "export default {}", **options: Any) -> Any:
        return self.result("PUT", f"workers/scripts/{name}", files=form(metadata, code), **options)


def form(metadata: dict[str, Any], code: str = "export default {}", part: str = "worker.js") -> list[Any]:
    """A Worker upload as wrangler sends it: metadata without a content type, then the module."""
    described = {"main_module": "worker.js", "compatibility_date": "2026-01-01", **metadata}
    return [
        ("metadata", (None, json.dumps(described))),
        (part, ("worker.js", code, "application/javascript+module")),
    ]
