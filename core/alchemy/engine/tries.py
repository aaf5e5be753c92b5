"""Calls about one row, tried again as the options say: who waits for an answer, and who is told of each pause.

Neighbours: `calls` has the pauses and the time limits, `session` the run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from alchemy.engine.calls import retrying, transient
from alchemy.engine.session import Run
from alchemy.model.values import ResourceState
from alchemy.settings import Options

T = TypeVar("T")


async def patiently(
    run: Run,
    row: ResourceState,
    attempt: Callable[[int], Awaitable[T]],
    options: Options,
    *,
    worth: Callable[[BaseException], bool] = transient,
) -> T:
    """`attempt(n)` until it returns; n is 0 for the first. Raises the last error; Stopped as soon as the run ends."""
    return await retrying(
        run.session.calls,
        attempt,
        retries=options.max_retries,
        delay=options.retry_delay,
        worth=worth,
        announce=run.retry(row.address, options.max_retries),
    )
