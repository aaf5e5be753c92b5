"""The backups one run makes: before its first change, after a stage's first run; and those that go for them.

A failure before a change stops the run; after the release everything is saved already, so there it is a warning.
Neighbours: `backups` writes and removes files, `ledger` says when.
"""

from __future__ import annotations

from alchemy.errors import AlchemyError
from alchemy.model.fold import Fold
from alchemy.model.text import safe_text
from alchemy.store.backups import last_serial, prune_after, write_backup
from alchemy.store.store import Store


class RunBackups:
    """Of one journal."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._done = False
        self._newest = ""  # that this run wrote
        self._failure: AlchemyError | None = None
        self.warning = ""  # what went wrong and is no reason to fail

    def before_change(self, fold: Fold, reason: str, *, always: bool) -> str:
        """The file's name, or "" when the newest backup is of the same serial or this run made one already."""
        if self._done and not always:
            return ""
        if self._failure is not None:  # once is enough: each try may wait long for a store that does not answer
            raise self._failure
        file = ""
        try:
            if always or (fold.resources and last_serial(self._store, fold.path) != fold.serial):
                self._newest = file = write_backup(self._store, fold, reason)
        except AlchemyError as error:
            self._failure = error
            raise
        self._done = True
        return file

    def prune(self, fold: Fold) -> None:
        """Old ones go when there is a new one."""
        if not self._newest:
            return
        try:
            prune_after(self._store, fold.path, self._newest)
        except Exception as error:  # also what an interpreter that is shutting down cannot do: the release matters more
            self.warning = f"old backups are not removed: {safe_text(error, 300)}"

    def after_first(self, fold: Fold) -> None:
        """Of a stage that has none yet."""
        try:
            if fold.resources and last_serial(self._store, fold.path) < 0:
                write_backup(self._store, fold, "after the first run")
        except (AlchemyError, OSError) as error:
            self.warning = f"everything is saved, but no backup could be written: {safe_text(error, 300)}"
