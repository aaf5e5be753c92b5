"""The fixture `alchemy_scope` for pytest: a test scope of its own for each test, destroyed whatever happens in it.

    async def test_checkout(alchemy_scope):
        db = await D1Database("db")

pytest loads this file wherever Alchemy Scope is installed: it imports nothing of it before a test asks for a scope.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import TracebackType

    from alchemy.engine.blocks import Opening
    from alchemy.engine.scope import Scope

FIXTURE = "alchemy_scope"


class TestScope:
    """Not open yet. A test that is a coroutine gets the open scope in its place; others open it themselves.

    `run(fn)` calls `async def fn(scope)` in it and gives back the value; `async with` does where a loop runs already.
    """

    __test__ = False

    def __init__(self, file: str, options: dict[str, Any]) -> None:
        self._file = file
        self._options = options
        self._opening: Opening | None = None

    def run(self, fn: Callable[..., Awaitable[Any]]) -> Any:
        """UsageError where an event loop runs already."""

        async def main() -> Any:
            async with self as scope:
                return await (fn(scope) if inspect.signature(fn).parameters else fn())

        return asyncio.run(main())

    async def __aenter__(self) -> Scope:
        from alchemy.program import alchemy

        self._opening = alchemy.test(self._file, **self._options)
        return await self._opening.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._opening is not None
        await self._opening.__aexit__(kind, error, trace)

    def __getattr__(self, name: str) -> Any:
        from alchemy.errors import UsageError

        raise UsageError(
            f"the test scope is not open: it has no {name} yet",
            hint=f"use `async with {FIXTURE} as scope:`, or `{FIXTURE}.run(fn)` in a test that is no coroutine",
        )


@pytest.fixture(name=FIXTURE)
def alchemy_scope(request: pytest.FixtureRequest) -> TestScope:
    """A scope `<app>/test/<file>-<6 hex>`; `@pytest.mark.alchemy(app="shop", ...)` gives `alchemy.test` its options."""
    options: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("alchemy"))):
        options |= marker.kwargs
    return TestScope(str(request.path), options)


def pytest_configure(config: pytest.Config) -> None:
    """`--strict-markers` knows ours."""
    config.addinivalue_line("markers", "alchemy(app, prefix, auto_cleanup, ...): options of the test's scope")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a coroutine that takes the fixture: no other plugin is needed for it."""
    opening = pyfuncitem.funcargs.get(FIXTURE)
    if not isinstance(opening, TestScope) or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    given = {name: pyfuncitem.funcargs[name] for name in wanted}

    async def test(scope: Scope) -> None:
        await pyfuncitem.obj(**{**given, FIXTURE: scope} if FIXTURE in given else given)

    opening.run(test)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Ctrl-C ends the session as pytest expects it: the scope has been destroyed by then."""
    from alchemy.errors import Interrupted

    try:
        return (yield)
    except Interrupted:
        raise KeyboardInterrupt from None
