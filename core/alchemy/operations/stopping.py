"""Asking the run that holds a lock to stop: it finishes what is in flight and gives the lock back.

From anywhere by a request that lies beside the lock; at once by a signal, to a process of this machine that certainly
is the holder. Neighbours: `engine.asked` finds the request, `unlocking` signals before it forces.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from alchemy.errors import Refused
from alchemy.model.locks import LockView, Verdict
from alchemy.model.paths import ScopePath
from alchemy.model.stops import StopRequest, decode, place_of
from alchemy.model.text import safe_text
from alchemy.model.values import Holder
from alchemy.operations.auditing import note
from alchemy.operations.verdicts import explain, journal_of, me, person
from alchemy.store import identity
from alchemy.store.shelf import Shelf, shelf_of
from alchemy.store.store import Store

PATIENCE = 8.0  # seconds: a run that is interrupted waits six for its calls
_LOOK = 0.1
_LOOK_REMOTE = 2.0  # at the longest


@dataclass(frozen=True, slots=True)
class Stopped:
    """`outcome`: free (nobody was at work), stopped, or asked (it is still finishing). `path` owns the journal."""

    path: str
    outcome: str
    holder: Holder | None = None
    request: StopRequest | None = None  # by whoever asked first


def request_stop(store: Store, path: ScopePath | str, *, run: str = "", reason: str = "") -> Stopped:
    """Asks; returns at once. Refused when it is another run than `run` (R-17), or one that is dead."""
    scope = path if isinstance(path, ScopePath) else ScopePath.parse(path)
    owner = journal_of(store, scope) or scope
    view = explain(store, owner)
    holder = view.holder
    if view.verdict in (Verdict.FREE, Verdict.HELD) or holder is None:
        return Stopped(str(owner), "free")
    if run and run != f"R-{holder.epoch}":
        raise Refused(
            f"{owner} is held by run R-{holder.epoch} of {person(holder)}, not by {safe_text(run, 40)}",
            hint=f"`alchemy scope logs {owner}` shows the runs; leave --run out to stop the one that is at work",
        )
    if view.verdict is Verdict.STALE:
        raise Refused(
            f"run R-{holder.epoch} of {person(holder)} is dead: there is nobody to ask",
            hint=f"`alchemy scope unlock {owner} --token {view.token}` opens its lock; "
            f"`alchemy scope resume {owner}` finishes what it left",
        )
    if not holder.epoch:
        raise Refused(
            f"{person(holder)} has only just taken the lock of {owner}: its run has not begun",
            hint="ask again in a moment",
        )
    wish = StopRequest(str(owner), holder.token, me(), store.clock.now(), safe_text(reason.strip(), 300))
    request = _leave(shelf_of(store), wish)
    if request is wish:
        note(store, "stop", str(owner), "done", wish.reason, token=holder.token)
    return Stopped(str(owner), "asked", holder, request)


def _leave(shelf: Shelf, wish: StopRequest) -> StopRequest:
    """Beside the lock, once; what earlier runs were asked goes. The request that lies there then."""
    place = place_of(wish.path)
    while not shelf.create(place, wish.encode()):
        found = decode(shelf.read(place))
        if found is not None and _epoch(found) >= _epoch(wish):
            return found
        shelf.remove(place)
    return wish


def _epoch(request: StopRequest) -> int:
    number = request.token.partition("-")[0]
    return int(number) if number.isdecimal() and len(number) < 16 else 0


async def wait_stopped(store: Store, asked: Stopped, seconds: float) -> Stopped:
    """Until that run is over, or so many seconds passed; then the request goes, or stays for the run to find."""
    if asked.holder is None:
        return asked
    end = store.clock.elapsed() + seconds
    while True:
        view = store.lock_view(asked.path)
        if view.verdict in (Verdict.FREE, Verdict.STALE) or view.token != asked.holder.token:
            shelf_of(store).remove(place_of(asked.path))
            return Stopped(asked.path, "stopped", asked.holder, asked.request)
        if store.clock.elapsed() > end:
            return asked
        await store.clock.sleep(min(store.look_every, _LOOK_REMOTE))


def can_be_asked(holder: Holder) -> bool:
    """It runs here, and is the one that wrote the record."""
    if holder.host != identity.host() or (holder.boot_id and holder.boot_id != identity.boot_id()):
        return False
    return bool(holder.process_start) and identity.process_start(holder.pid) == holder.process_start


async def ask(store: Store, scope: ScopePath, holder: Holder) -> LockView:
    """The lock as it is when this holder has given it back, or patience ends. Refused: it cannot be asked."""
    if not can_be_asked(holder):
        raise Refused(
            f"pid {holder.pid} of {person(holder)} cannot be asked to stop from here",
            hint="it runs on another machine, or is another process by now: ask where it runs",
        )
    _interrupt(holder)
    end = store.clock.elapsed() + PATIENCE
    while True:
        view = store.lock_view(scope)
        if view.verdict in (Verdict.FREE, Verdict.STALE) or view.token != holder.token or store.clock.elapsed() > end:
            return view
        await store.clock.sleep(_LOOK)


def _interrupt(holder: Holder) -> None:
    """By a descriptor where there is one: between the look and the signal the number may go to another process."""
    try:
        if not hasattr(os, "pidfd_open"):
            os.kill(holder.pid, signal.SIGINT)
            return
        descriptor = os.pidfd_open(holder.pid)
        try:
            if can_be_asked(holder):
                signal.pidfd_send_signal(descriptor, signal.SIGINT)
        finally:
            os.close(descriptor)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise Refused(
            f"pid {holder.pid} of {person(holder)} cannot be asked to stop: it is another user's",
            hint="ask that user, or unlock with --force",
        ) from error
