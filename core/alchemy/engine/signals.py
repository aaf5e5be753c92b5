"""Ctrl-C and SIGTERM: start nothing more, let calls in flight finish, leave with 130. The second signal leaves now.

Installed while a session has something open, in the main thread only. Crash-safe either way: intents are on disk.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from alchemy.engine.calls import GRACE
from alchemy.engine.session import Session, open_sessions
from alchemy.errors import AlchemyError
from alchemy.model.events import Entry, Noted

UNHURRIED = 3600.0  # seconds; each call has a time limit of its own
_LAST_PICTURE = 0.15  # seconds
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """One for the process; it belongs to the loop and the task that opened the outermost scope."""

    def __init__(self) -> None:
        self.count = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[Any] | None = None
        self._before: dict[signal.Signals, Any] = {}  # handlers of the program around us
        self.over = False  # nothing is open any more, and the program that was interrupted still cleans up
        self.draining: asyncio.Task[None] | None = None  # after it, the program is cancelled

    def install(self) -> None:
        """Called before a scope waits for its lock; again is harmless."""
        if self._loop is not None and not self._loop.is_closed() and not self.over:
            return
        if threading.current_thread() is not threading.main_thread():
            return
        self.count, self.draining, self.over = 0, None, False
        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        for number in _SIGNALS:
            # Not the loop's own handlers: those wait for a loop that a verb may be blocking.
            before = signal.signal(number, self._received)
            if before != self._received:
                self._before[number] = before

    def remove(self) -> None:
        """When nothing is open any more. A signal that came stays counted: the program still leaves with 130.

        Then the second signal leaves at once also while the program's own `finally` runs, until its task is done.
        """
        if self._loop is None or open_sessions() or threading.current_thread() is not threading.main_thread():
            return
        if self.count and not self.over and self._main is not None and not self._main.done():
            self.over = True
            self._main.add_done_callback(lambda _: self._restore() if self.over else None)
        elif not self.over:
            self._restore()

    def _restore(self) -> None:
        self._loop, self._main, self.over = None, None, False
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _received(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        loop = self._loop
        if self.count > 1 or loop is None or loop.is_closed():
            _rescue()
            os._exit(130)
        loop.call_soon_threadsafe(self._stop)

    def ask(self, session: Session) -> None:
        """As a first signal, but nobody is waiting: what is in flight has all its time. Whoever asks says so before."""
        if self._loop is not asyncio.get_running_loop():  # no signals reach this thread: only this session is known
            session.calls.stopping.set()
            return
        if self.draining is not None:
            return
        self.count = max(self.count, 1)
        for each in open_sessions():
            each.calls.stopping.set()
        self.draining = asyncio.get_running_loop().create_task(self._drain(UNHURRIED))

    def _stop(self) -> None:
        if self.draining is not None:
            return
        for session in open_sessions():
            session.calls.stopping.set()
            for run in list(session.runs.values()):
                run.emit(Noted(str(run.ledger.path), "interrupted: finishing what is in flight (again to leave now)"))
        self.draining = asyncio.get_running_loop().create_task(self._drain(GRACE))

    async def _drain(self, grace: float) -> None:
        sessions = open_sessions()
        await asyncio.gather(*(session.calls.drain(grace) for session in sessions))
        for session in sessions:
            for run in list(session.runs.values()):
                if run.ledger.writable and run.ledger.failure is None:
                    with suppress(AlchemyError):  # said when the scope is left
                        await run.ledger.flush()
        left = [session for session in sessions if session in open_sessions()]
        if self.over or (sessions and not left):
            return  # who left them has raised: the program is in its own `finally`, which nobody cuts off
        if self._main is not None and not self._main.done() and not any(session.closing for session in left):
            self._main.cancel()


def _rescue() -> None:
    """The second signal: nothing is waited for any more; what the cloud said and no store has goes into a spill."""
    try:
        for session in open_sessions():
            for path, run in list(session.runs.items()):
                hint = run.ledger.rescue(f"{path} was left while its state was being written")
                if hint:
                    run.emit(Noted(str(path), f"left while its state was being written{hint}", "warning"))
                said = Noted(str(path), "left at once: the next run looks up what was under way", "warning")
                session.tell(Entry(run.ledger.run, 0, session.store.clock.now(), said))  # the journal may be held
        sys.stderr.flush()
        if os.isatty(2):  # the shell's prompt is due on a line of its own, below what a live view draws last
            time.sleep(_LAST_PICTURE)
            os.write(2, b"\n")
    except Exception:  # whatever stands in the way, the person who pressed twice wants to be gone
        return


interrupts = Interrupts()


async def halt() -> NoReturn:
    """For a program that goes on after the stop: it waits for its cancellation, and is cancelled again after that."""
    draining = interrupts.draining
    if draining is not None and not draining.done():
        await asyncio.get_running_loop().create_future()
    raise asyncio.CancelledError
