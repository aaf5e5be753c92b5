"""Test scopes whose process died before it could destroy them: the next test of the same name takes them away.

Neighbours: `leaving` destroys a test that ends by itself; `model.deletions` has the same rule for `scope cleanup`.
"""

from __future__ import annotations

import re

from alchemy.engine.calls import describe
from alchemy.engine.entering import open_owner
from alchemy.engine.leaving import finish
from alchemy.engine.scope import step_out
from alchemy.engine.session import Session
from alchemy.errors import AlchemyError, RunFailed
from alchemy.model.events import Entry, Noted
from alchemy.model.locks import Verdict
from alchemy.model.paths import ScopePath
from alchemy.model.values import ScopeKind, Target
from alchemy.settings import Options
from alchemy.store.afar import in_thread
from alchemy.store.store import Store

ENDING = 7  # characters of `-` and six hex digits, different for each run of a test


def died(store: Store, path: ScopePath) -> bool:
    """Nobody holds it, and its last run did not say goodbye. A kept test did: it is left alone."""
    if store.lock_view(path).verdict not in (Verdict.FREE, Verdict.STALE):
        return False
    try:
        return not store.read_fold(path).released
    except AlchemyError:  # damaged: `scope validate` tells
        return False


def find_dead(store: Store, path: ScopePath) -> list[ScopePath]:
    """Of the same prefix and file as the test at `path`."""
    same = re.compile(re.escape(path.name[:-ENDING]) + "-[0-9a-f]{6}")
    parent = ScopePath(path.parts[:-1])
    others = [name for name in store.siblings(path) if name != path.name and same.fullmatch(name)]
    return [each for each in map(parent.child, others) if store.has_journal(each) and died(store, each)]


async def clear_dead(session: Session, path: ScopePath, options: Options, target: Target | None) -> None:
    """Before the test at `path` begins. What cannot be taken away is told and stays: it is no fault of this test."""
    store = session.store
    for each in await in_thread(lambda: find_dead(store, path)) if store.remote else find_dead(store, path):
        try:
            scope = await open_owner(
                session, each, ScopeKind.TEST, options.but(str(each), lock_timeout=0.0), target=target, purpose="test"
            )
        except AlchemyError as error:  # somebody else is at it, or it went to another cloud
            _note(session, each, f"left by a test that died: {describe(error)}")
            continue
        scope.test_cleanup = True
        _note(session, each, "left by a test that died: it is destroyed now")
        try:
            await finish(scope)
        except RunFailed as left:
            for address, why in left.failures:
                _note(session, each, f"left behind: {address}: {why}")
        except AlchemyError as error:  # the disk is full, somebody took over: the test at `path` may do well without
            _note(session, each, f"not destroyed: {describe(error)}")
        finally:
            step_out(scope)


def _note(session: Session, path: ScopePath, text: str) -> None:
    session.tell(Entry("", 0, session.store.clock.now(), Noted(str(path), text, "warning")))
