"""Who keeps everybody out of a scope, asked by whoever sets its journal aside and begins another one.

Neighbours: `ledger` asks the same for every run that opens a journal; `reservations` and `moving` know.
"""

from __future__ import annotations

from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.store.moving import refuse_arriving
from alchemy.store.reservations import refuse_held, refuse_held_above
from alchemy.store.store import Store


def refuse_beginning(store: Store, path: ScopePath, fold: Fold) -> None:
    """To be called with the lock held. `fold`: the best that is known of `path`.

    LockHeld while a person keeps runs out; Refused while a move is under way, or when the state went elsewhere.
    """
    refuse_arriving(store, path)
    refuse_held(fold, store.clock.now())
    refuse_held_above(store, path)
