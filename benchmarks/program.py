"""What is measured: BENCH_N resources that do nothing, declared one by one or all at once, in one stage.

BENCH_MODE is `sequential`, `parallel` or `ten` (at a time), BENCH_DROP leaves every tenth out, BENCH_PHASE is `up` or
`destroy`, BENCH_MODULES names a file that gets the modules loaded at the end.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from alchemy import Context, Outputs, Resource, alchemy, output


class Item(Resource, kind="bench:Item"):
    """Six props, one output, no cloud."""

    title: str = ""
    region: str = "eu-west"
    size: int = 3
    enabled: bool = True
    tags: str = "a,b,c"
    note: str = ""
    item_id: str = output()

    async def create(self, ctx: Context) -> Outputs:
        return {"item_id": f"local-{self.id}"}

    async def read(self, ctx: Context) -> Outputs | None:
        return {"item_id": f"local-{self.id}"}

    async def update(self, ctx: Context, before: Item) -> Outputs:
        return {"item_id": f"local-{self.id}"}

    async def delete(self, ctx: Context) -> None:
        return None


async def declare() -> None:
    mode = os.environ.get("BENCH_MODE")
    n = int(os.environ["BENCH_N"])
    if mode == "ten":
        await asyncio.gather(*(declare_some(range(first, n, 10), one_by_one=True) for first in range(10)))
    else:
        await declare_some(range(n), one_by_one=mode == "sequential")


async def declare_some(numbers: Iterable[int], *, one_by_one: bool) -> None:
    drop = bool(os.environ.get("BENCH_DROP"))
    for number in numbers:
        if drop and number % 10 == 9:
            continue
        item = Item(f"r{number}", title=f"item-{number}", size=3 + number % 7, enabled=number % 2 == 0, note="x" * 40)
        if one_by_one:
            _ = await item


async def main() -> None:
    strategy = "sequential" if os.environ.get("BENCH_MODE") == "sequential" else "parallel"
    phase = os.environ.get("BENCH_PHASE", "up")
    async with alchemy("bench", stage="bench", phase=phase, destroy_strategy=strategy, quiet=True):
        await declare()


if __name__ == "__main__":
    asyncio.run(main())
    if os.environ.get("BENCH_MODULES"):
        Path(os.environ["BENCH_MODULES"]).write_text("\n".join(sorted(sys.modules)))
