"""The program that tests kill: ITEMS_N items on the server at ITEMS_URL, declared as the environment says.

ITEMS_MODE: `sequential` awaits each, `parallel` declares all. ITEMS_DROP leaves every tenth out, ITEMS_CHAIN makes
each depend on the one before, ITEMS_SIZE changes in place, ITEMS_REGION replaces, ITEMS_PHASE is the phase,
ITEMS_FINALLY names a file that the program's own `finally` writes. ITEMS_TREE declares a tree instead, ITEMS_FORM
`awaited` does without the context manager. Read only by the tests beside it.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import httpx

from alchemy import Context, Outputs, Resource, alchemy, output, prop

_clients: list[httpx.AsyncClient] = []


def client() -> httpx.AsyncClient:
    if not _clients:
        _clients.append(httpx.AsyncClient(base_url=os.environ["ITEMS_URL"], verify=False, timeout=20.0))
    return _clients[0]


async def ask(method: str, path: str, **more: Any) -> Any:
    response = await client().request(method, path, **more)
    response.raise_for_status()
    return response.json()


class Item(Resource, kind="crash:Item"):
    """An item whose server gives the id and knows no unique names."""

    size: int = 1
    region: str = prop(default="eu", fixed=True)
    after: str = ""
    item_id: str = output()

    async def create(self, ctx: Context) -> Outputs:
        made = await ask("POST", "/items", json={"name": ctx.name, "size": self.size, "region": self.region})
        return {"item_id": made["id"]}

    async def read(self, ctx: Context) -> Outputs | None:
        found = await ask("GET", "/items", params={"name": ctx.name})
        return {"item_id": found[0]["id"]} if found else None

    async def update(self, ctx: Context, before: Item) -> Outputs:
        await ask("PUT", f"/items/{self.item_id}", json={"size": self.size})
        return {"item_id": self.item_id}

    async def delete(self, ctx: Context) -> None:
        response = await client().delete(f"/items/{self.item_id}")
        if response.status_code != 404:
            response.raise_for_status()


async def declare_tree() -> None:
    """ITEMS_TREE blocks of five, each with a block of five more in it."""
    for group in range(int(os.environ["ITEMS_TREE"])):
        async with alchemy.run(f"g{group}"):
            outer = [Item(f"o{number}") for number in range(5)]
            async with alchemy.run("inner"):
                for number in range(5):
                    _ = await Item(f"n{number}", after=outer[number].item_id)


async def declare() -> None:
    if os.environ.get("ITEMS_TREE"):
        return await declare_tree()
    size = int(os.environ.get("ITEMS_SIZE", "1"))
    region = os.environ.get("ITEMS_REGION", "eu")
    chain = bool(os.environ.get("ITEMS_CHAIN"))
    made: list[Item] = []
    for number in range(int(os.environ.get("ITEMS_N", "50"))):
        if os.environ.get("ITEMS_DROP") and number % 10 == 9:
            continue
        made.append(Item(f"i{number:03d}", size=size, region=region, depends_on=made[-1:] if chain else []))
        if os.environ.get("ITEMS_MODE") == "sequential":
            _ = await made[-1]


def say_finally() -> None:
    if os.environ.get("ITEMS_FINALLY"):
        Path(os.environ["ITEMS_FINALLY"]).write_text("the user's own finally ran")


async def main() -> None:
    try:
        await deploy()
    finally:
        for each in _clients:
            await each.aclose()


async def deploy() -> None:
    stage = os.environ.get("ITEMS_STAGE", "prod")
    opening = alchemy(
        "crash",
        stage=stage,
        phase=os.environ.get("ITEMS_PHASE", "up"),
        enable_locking=os.environ.get("ITEMS_LOCKING") != "no",
        destroy_strategy=os.environ.get("ITEMS_STRATEGY", "parallel"),
        retry_delay=float(os.environ.get("ITEMS_RETRY_DELAY", "0.05")),
        timeout=float(os.environ.get("ITEMS_TIMEOUT", "60")),
    )
    if os.environ.get("ITEMS_FORM") == "awaited":
        app = await opening
        await declare()
        await app.finalize()
        return
    async with opening as scope:
        try:
            await declare()
            print(f"declared in {scope.path}", flush=True)
        finally:
            say_finally()


if __name__ == "__main__":
    asyncio.run(main())
