"""Asking the process that holds a lock to stop, as Ctrl-C does: it finishes what is in flight and gives the lock back.

Only one that is certainly the holder: on this machine, with the process number and the start time of the record.
"""

from __future__ import annotations

import os
import signal

from alchemy.errors import Refused
from alchemy.model.locks import LockView, Verdict
from alchemy.model.paths import ScopePath
from alchemy.model.values import Holder
from alchemy.operations.verdicts import person
from alchemy.store import identity
from alchemy.store.store import Store

PATIENCE = 8.0  # seconds: a run that is interrupted waits six for its calls
_LOOK = 0.1


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
