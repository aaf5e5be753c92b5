"""Leaving a scope because something raised: what is in flight finishes, nothing is collected, locks are given back.

Two exceptions: a failed `run` block takes back what it created, and a test scope is destroyed whatever happened.
"""

from __future__ import annotations

import asyncio

from alchemy.engine.calls import GRACE, Calls, describe
from alchemy.engine.finalize import roll_back
from alchemy.engine.scope import Scope
from alchemy.errors import Interrupted, ResourceFailed, RunFailed, StateInvalid
from alchemy.model.events import Noted

_CANCELLED_GRACE = 1.0  # seconds for calls in flight when something else than a signal cancels the program


async def abandon(scope: Scope, error: BaseException) -> None:
    """`error` is what is being raised; cancellation and signals count as interruption, not as failure."""
    scope.session.closing += 1  # a signal that comes now must not cut the release off
    try:
        await _abandon(scope, error)
    finally:
        scope.session.closing -= 1


async def _abandon(scope: Scope, error: BaseException) -> None:
    for each in (scope, *scope.all_below()):
        each.aborting = True
    calm = isinstance(error, Exception) and not scope.interrupted
    if not calm:
        await scope.session.calls.drain(GRACE if scope.by_signal else _CANCELLED_GRACE)
    await scope.settle()
    why = describe(error)
    if not scope.owner:
        if calm and scope.options.on_error != "keep" and scope.phase == "up":
            await roll_back(scope.run_state, scope.path, scope.options, [scope, *scope.all_below()], why)
        scope.run_state.broken.append(str(scope.path))
        await scope.seal()
        return
    for each in reversed(scope.below):
        if each.owner and not each.closed:
            await abandon(each, error)
    if calm and scope.options.on_error == "cleanup" and scope.phase == "up" and not scope.closed:
        await roll_back(scope.run_state, scope.path, scope.options, [scope, *scope.all_below()], why)
    if scope.test_cleanup and not isinstance(error, StateInvalid):
        await asyncio.shield(asyncio.ensure_future(_destroy_test(scope)))
    elif not scope.closed:
        if calm:
            _say_why(scope, error)
        await scope.leave("failed" if calm else "interrupted")


def _say_why(scope: Scope, error: BaseException) -> None:
    """In the log, before its end: what ended the run where no resource says it. The terminal has the error itself."""
    run = scope.run_state
    if run.ledger.failure is not None:
        return
    told = {each.address for each in run.failures}
    if error.address in told if isinstance(error, ResourceFailed) else isinstance(error, RunFailed) and told:
        return
    run.ledger.emit(Noted(str(scope.path), describe(error), "error").scrubbed())


async def _destroy_test(scope: Scope) -> None:
    if scope.interrupted:  # a stop ends the test, not its cleanup; a second signal still leaves at once
        scope.session.calls = Calls(scope.options.max_concurrency, scope.session.note)
    scope.run_state.failures.clear()
    try:
        await finish(scope)
    except Interrupted:  # whoever leaves the scope raises it: in a task of its own it would end the loop
        return
    except RunFailed as left:
        for address, why in left.failures:
            scope.run_state.emit(Noted(str(scope.path), f"left behind: {address}: {why}", "warning"))
        for hint in left.hints:
            scope.run_state.emit(Noted(str(scope.path), hint))


async def finish(scope: Scope) -> None:
    """The ordinary end of a scope that owns a journal; a test that went cleanly leaves no trace."""
    try:
        await scope.finalize()
    except Interrupted:  # it has ended, and all is destroyed
        _forget_test(scope)
        raise
    _forget_test(scope)


def _forget_test(scope: Scope) -> None:
    if scope.test_cleanup and not scope.run_state.ledger.fold.resources:
        scope.session.store.forget(scope.path)


async def give_up(scope: Scope, error: BaseException) -> None:
    """Leaving was itself cut short: whatever happens, the lock is given back."""
    first, scope.gave_up, scope.closed = not scope.gave_up, True, not scope.owner
    if scope.owner and first:
        await abandon(scope, error)
    elif scope.owner:
        await scope.leave("interrupted" if scope.interrupted else "failed")
