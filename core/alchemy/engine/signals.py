"""Ctrl-C and SIGTERM: start nothing more, let calls in flight finish, leave with 130. The second signal leaves now.

Installed while a session has something open, in the main thread only. Crash-safe either way: intents are on disk.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any, NoReturn

from alchemy.engine.session import open_sessions
from alchemy.errors import AlchemyError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """One for the process; it belongs to the loop and the task that opened the outermost scope."""

    def __init__(self) -> None:
        self.count = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[Any] | None = None
        self.draining: asyncio.Task[None] | None = None  # after it, the program is cancelled

    def install(self) -> None:
        """Called before a scope waits for its lock; again is harmless."""
        if self._loop is not None and not self._loop.is_closed():
            return
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        try:
            for number in _SIGNALS:
                loop.add_signal_handler(number, self._received)
        except (NotImplementedError, RuntimeError, ValueError):
            return
        self._loop, self._main = loop, asyncio.current_task()

    def remove(self) -> None:
        """When nothing is open any more. A signal that came stays counted: the program still leaves with 130."""
        if self._loop is None or open_sessions():
            return
        loop, self._loop, self._main = self._loop, None, None
        for number in _SIGNALS:
            if not loop.is_closed():
                loop.remove_signal_handler(number)
        # asyncio.run had put its own handler there: without it Ctrl-C would do nothing until the loop ends.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def _received(self) -> None:
        self.count += 1
        if self.count > 1:
            sys.stderr.flush()
            os._exit(130)
        assert self._loop is not None
        for session in open_sessions():
            session.calls.stopping.set()
        self.draining = self._loop.create_task(self._drain())

    async def _drain(self) -> None:
        sessions = open_sessions()
        for session in sessions:
            for run in list(session.runs.values()):
                from alchemy.model.events import Noted

                run.emit(Noted(str(run.ledger.path), "interrupted: finishing what is in flight (again to leave now)"))
        await asyncio.gather(*(session.calls.drain() for session in sessions))
        for session in sessions:
            for run in list(session.runs.values()):
                if run.ledger.writable and run.ledger.failure is None:
                    with suppress(AlchemyError):  # said when the scope is left
                        await run.ledger.flush()
        if self._main is not None and not self._main.done() and not any(s.closing for s in sessions):
            self._main.cancel()


interrupts = Interrupts()


async def halt() -> NoReturn:
    """For a program that goes on after the stop: it waits for its cancellation, and is cancelled again after that."""
    draining = interrupts.draining
    if draining is not None and not draining.done():
        await asyncio.get_running_loop().create_future()
    raise asyncio.CancelledError
