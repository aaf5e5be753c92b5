"""Driving the real dashboard without a terminal: keys in, the lines of the screen out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from alchemy.operations.workspace import Workspace
from alchemy_tui.app import AlchemyApp
from alchemy_tui.screens.browse.screen import Browse
from alchemy_tui.session import Session
from alchemy_tui.store.deeds import Deeds, Operations
from alchemy_tui.store.live import Live
from alchemy_tui.store.source import Source
from tests.dashboard.deeds import HandMadeDeeds
from tests.dashboard.worlds import NOW, HandMade, World

SMALL, MEDIUM, LARGE = (80, 24), (120, 40), (200, 60)
PATIENCE = 20.0  # seconds; a busy machine is slow, not wrong


@dataclass
class Driver:
    app: AlchemyApp
    pilot: Pilot[None]

    @property
    def browse(self) -> Browse:
        screen = self.app.screen_stack[0]
        assert isinstance(screen, Browse)
        return screen

    @property
    def lines(self) -> list[str]:
        """What is on screen, row by row."""
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
        await self.settle()

    async def type(self, text: str) -> None:
        await self.press(*text)

    async def settle(self) -> None:
        """Until nothing is under way: messages handled, documents read."""
        for _ in range(2):
            await self.pilot.pause()
            quick = [w for w in self.app.workers if w.group != "watch" and not w.is_finished]
            if quick:
                await self.app.workers.wait_for_complete(quick)

    async def until(self, what: Callable[[], Any], why: str = "") -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not what():
            assert asyncio.get_running_loop().time() < deadline, f"never happened: {why}\n{self.text}"
            await self.pilot.pause(0.02)
        await self.settle()

    async def sees(self, text: str) -> None:
        await self.until(lambda: text in self.text, f"{text!r} on screen")


@asynccontextmanager
async def dashboard(
    world: World | Source,
    size: tuple[int, int] = SMALL,
    *,
    root: Path | None = None,
    notifications: bool = True,
    loaded: bool = True,
    **session: Any,
) -> AsyncIterator[Driver]:
    source: Source = HandMade(world, root or Path("/nonexistent/.alchemy")) if isinstance(world, World) else world
    deeds: Deeds
    if isinstance(source, Workspace):
        deeds, source = Operations(source), Live(source)
    else:
        assert isinstance(source, HandMade)
        deeds = HandMadeDeeds(source)
    values: dict[str, Any] = {"animate": False, "now": NOW.timestamp, **session}
    app = AlchemyApp(source, Session(**values), deeds)
    async with app.run_test(size=size, notifications=notifications) as pilot:
        driver = Driver(app, pilot)
        if loaded:
            await driver.until(lambda: app.store.loaded, "the first look")
        yield driver
