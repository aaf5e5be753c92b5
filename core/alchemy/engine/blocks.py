"""Entering and leaving: what `alchemy(...)`, `run` and `test` return before they are awaited or entered.

Leaving without an error finalizes or seals; leaving with one collects nothing and gives the lock back.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any

from alchemy.engine.entering import open_nested
from alchemy.engine.leaving import abandon, finish
from alchemy.engine.scope import Scope, step_out
from alchemy.engine.signals import halt
from alchemy.errors import Interrupted, UsageError
from alchemy.model.text import safe_text

Function = Callable[..., Awaitable[Any]]


class Opening:
    """A scope about to be opened: `await` it, or enter it with `async with`."""

    def __init__(self, open: Callable[[], Awaitable[Scope]], fn: Function | None = None) -> None:
        self._open = open
        self._fn = fn
        self._scope: Scope | None = None

    def __await__(self) -> Generator[Any, None, Any]:
        return (self._open() if self._fn is None else self._call(self._fn)).__await__()

    async def _call(self, fn: Function) -> Any:
        async with self as scope:
            takes = len(inspect.signature(fn).parameters)
            return await (fn(scope) if takes else fn())

    async def __aenter__(self) -> Scope:
        self._scope = await self._open()
        return self._scope

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._scope is not None
        try:
            await self._leave(self._scope, error)
        finally:
            step_out(self._scope)

    async def _leave(self, scope: Scope, error: BaseException | None) -> None:
        if error is None:
            if scope.owner:
                await finish(scope)
            elif not scope.closed:
                await scope.seal()
            return
        if scope.closed:
            return
        stopped = scope.interrupted  # a test takes new calls to destroy with
        await abandon(scope, error)
        stopped = stopped or scope.interrupted
        if stopped and isinstance(error, asyncio.CancelledError) and scope.outer_holder() is None and scope.by_signal:
            raise Interrupted from None


def nested(parent: Scope | None, name: str, fn: Function | None, options: dict[str, Any]) -> Opening:
    async def opened() -> Scope:
        if parent is None:
            raise UsageError(
                f"alchemy.run({safe_text(name, 80)!r}) outside a scope",
                hint='open one first: `async with alchemy("my-app"):`',
            )
        if parent.interrupted:
            await halt()
        return open_nested(parent, name, options)

    return Opening(opened, fn)
