"""A project whose programs run in process against its own local cloud; its REST answers are the witness."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest

from alchemy import alchemy, wiring
from alchemy.engine.context import Connection
from alchemy.engine.finalize import Report
from alchemy.localcloud import BASE_PATH, account_id, create_app
from alchemy.model.values import Target
from alchemy.settings import Options
from alchemy.store.store import Store
from tests.localcloud.driver import Cloud

Request = tuple[str, str]  # method, path below the account


class Wire(httpx.AsyncBaseTransport):
    """The way into the local cloud: remembers each request and, asked to, loses it, or its answer."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.inner = httpx.ASGITransport(app=create_app(shop.cloud.directory))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        seen = request.method, request.url.path.partition(f"/accounts/{self.shop.cloud.account}/")[2]
        self.shop.requests.append(seen)
        if request.method == "PUT":
            self.shop.sent.append(await request.aread())
        if self.shop.refuses(*seen):
            raise httpx.ConnectError("connection refused", request=request)
        response = await self.inner.handle_async_request(request)
        if self.shop.loses(*seen):
            await response.aread()
            raise httpx.ReadError("connection reset by peer", request=request)
        return response


class Shop:
    """`deploy(fn)` runs a program that declares what fn declares."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.state_dir = directory / ".alchemy"
        self.cloud = Cloud(self.state_dir / "local-cloud")
        self.requests: list[Request] = []
        self.sent: list[bytes] = []  # the body of each PUT
        self.loses: Callable[[str, str], bool] = lambda method, path: False  # after the cloud has acted
        self.refuses: Callable[[str, str], bool] = lambda method, path: False  # before
        monkeypatch.chdir(directory)
        monkeypatch.setattr(wiring, "connect", self.connect)

    def connect(self, store: Store, options: Options) -> Connection:
        """What `wiring.connect` does without credentials, over our wire."""
        client = httpx.AsyncClient(
            transport=Wire(self),
            base_url=f"http://local-cloud{BASE_PATH}",
            headers={"Authorization": "Bearer local"},
        )
        account = account_id(store.root / "local-cloud")
        assert account is not None
        return Connection(client, Target(account=account, name="local cloud"))

    def deploy(self, declare: Callable[[], Any] = lambda: None, stage: str = "prod", **options: Any) -> Report:
        """RunFailed is the test's to expect. Pauses between tries are short."""
        self.requests.clear()

        async def program() -> Report:
            given = {"quiet": True, "retry_delay": 0.01, **options}
            scope = await alchemy("shop", stage=stage, state_dir=self.state_dir, **given)
            declare()
            report = await scope.finalize()
            assert isinstance(report, Report)
            return report

        return asyncio.run(program())

    def arun(self, program: Coroutine[Any, Any, None]) -> None:
        self.requests.clear()
        asyncio.run(program)

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def state(self, id: str, stage: str = "prod") -> dict[str, Any]:
        """The resource's state file; empty when there is none."""
        file = self.state_dir / "shop" / stage / "resources" / id / "state.json"
        stored: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return stored

    def outputs(self, id: str, stage: str = "prod") -> dict[str, Any]:
        outputs: dict[str, Any] = self.state(id, stage)["outputs"]
        return outputs

    def changing(self) -> list[Request]:
        """What the last program asked the cloud to change."""
        return [request for request in self.requests if request[0] != "GET"]
