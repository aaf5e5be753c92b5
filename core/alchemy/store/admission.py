"""Who keeps everybody out of a scope, asked by whoever opens its journal, or sets it aside and begins another one.

Neighbours: `ledger` asks for every run; `reservations`, `moving` and `elsewhere` know.
"""

from __future__ import annotations

from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.store.elsewhere import refuse_second_place
from alchemy.store.moving import refuse_arriving
from alchemy.store.reservations import refuse_held, refuse_held_above
from alchemy.store.store import Store


def refuse_run(store: Store, path: ScopePath, fold: Fold, *, by_person: bool = False) -> None:
    """To be called with the lock held. `fold`: the best that is known of `path`.

    LockHeld while a person keeps runs out, unless `by_person`: the caller changes that. Refused while a move is under
    way, or when the state is elsewhere.
    """
    refuse_arriving(store, path)
    refuse_second_place(store, fold)
    if not by_person:
        refuse_held(fold, store.clock.now())
        refuse_held_above(store, path)


def admit_reader(store: Store, path: ScopePath) -> Fold:
    """What is stored, for whoever takes no lock; Refused where a run would be."""
    refuse_arriving(store, path)
    fold = store.read_fold(path)
    refuse_second_place(store, fold)
    return fold
