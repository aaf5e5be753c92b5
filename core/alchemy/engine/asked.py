"""A run looks now and then whether somebody asks it to stop, and then ends as after Ctrl-C, saying who asked.

Its step in flight is finished, however long that takes within its own time limit. Neighbours: `signals` does the
ending, `operations.stopping` asks.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

from alchemy.engine.session import Run
from alchemy.engine.signals import interrupts
from alchemy.errors import AlchemyError
from alchemy.model.events import Noted
from alchemy.model.stops import StopRequest, decode, place_of
from alchemy.store.shelf import shelf_of


def listen(run: Run) -> None:
    """From now until the run's journal is closed. The first look is one pace away: a short run costs nothing."""
    asyncio.get_running_loop().call_later(run.ledger.store.look_every, _look, run)


def _look(run: Run) -> None:
    if not run.ledger.writable or run.session.calls.stopping.is_set():
        return
    if not run.ledger.store.remote:
        _heard(run, _read(run))
        return
    loop = asyncio.get_running_loop()

    def ask() -> None:
        found = _read(run)
        with suppress(RuntimeError):  # the loop is closed: the run is over
            loop.call_soon_threadsafe(_heard, run, found)

    # A daemon: a store that is silent shall not keep the interpreter from ending.
    threading.Thread(target=ask, name=f"asked {run.ledger.path}", daemon=True).start()


def _read(run: Run) -> StopRequest | None:
    try:
        return decode(shelf_of(run.ledger.store).read(place_of(run.ledger.path)))
    except (AlchemyError, OSError):  # looked at again soon; what is wrong with the place is said by whoever writes
        return None


def _heard(run: Run, request: StopRequest | None) -> None:
    if not run.ledger.writable or run.session.calls.stopping.is_set():
        return
    holder = run.ledger.fold.holder
    if request is None or holder is None or request.token != holder.token:
        listen(run)
        return
    said = f"asked to stop by {request.words}: finishing what is in flight (Ctrl-C to leave now)"
    run.emit(Noted(str(run.ledger.path), said, "warning"), durable=True)
    interrupts.ask(run.session)
