"""Where state lives, as the engine and the operations see it: one store of many scopes, on local disk or in a bucket.

Contract of the port; `local` and `objects.store` implement it, one conformance suite covers both. Readings are
synchronous and may come from any one thread at a time; only taking a lock is asynchronous. What decides whether a
write counts is the journal (`journal`), never the lock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from alchemy.model.fold import Fold
from alchemy.model.locks import LockView
from alchemy.model.paths import ScopePath
from alchemy.model.records import Op, Record
from alchemy.model.retention import Retention
from alchemy.model.values import Holder, ScopeKind
from alchemy.store.clock import Clock

if TYPE_CHECKING:
    from alchemy.errors import AlchemyError
    from alchemy.store.activity import Activity
    from alchemy.store.beginnings import Beginning, Salvaged
    from alchemy.store.journal import Journal
    from alchemy.store.viewwatch import ViewWatch


class Lease(Protocol):
    """A lock that is held: `path`, with `exclusive` listing every path held alone (the owner's too)."""

    path: ScopePath
    exclusive: tuple[ScopePath, ...]

    @property
    def mine(self) -> bool:
        """False in a child forked by the process that took it, and once it is known to be somebody else's."""
        ...

    def publish(self, holder: Holder) -> None:
        """Show who holds it. Fenced when it was opened by force meanwhile."""
        ...

    def release(self) -> None:
        """Give it back; the second time nothing happens. Release what lies below it first."""
        ...


class Reader(Protocol):
    """One journal, followed without a lock. `fold` is the state as of the last poll."""

    path: str
    fold: Fold
    records: list[Record]  # what the last poll found
    reloaded: bool  # the last poll read everything anew
    clean: bool  # as of the last reload: the newest run was released and nothing is torn

    def poll(self) -> bool:
        """True when something changed. StateInvalid when the journal is damaged."""
        ...


class Store(ABC):
    """`session` names this program run in holders and records; "" only reads."""

    session: str
    clock: Clock
    root: Path  # the state directory on this machine: with a bucket only for spills and the local cloud
    remote: bool = False
    meant: bool = False  # a person named this very place: whether another one has more is nobody's business
    look_every: float = 0.5  # seconds between two looks at what others may have left for a run
    lock_timeout: float = 30.0  # seconds that are waited for a lock when nobody said how long
    retention: Retention = Retention()  # which backups stay
    troubled: Callable[[str], None] | None = None  # told, from any thread, what is wrong with the place just now

    def tell_trouble(self, text: str) -> None:
        if self.troubled is not None:
            self.troubled(text)

    @property
    @abstractmethod
    def place(self) -> str:
        """For people, and one text for one place: two stores of the same place hold the same state."""

    @property
    def warning(self) -> str:
        """What is doubtful about the place and no reason to stop, as far as was seen; "" when nothing is."""
        return ""

    # -- taking -------------------------------------------------------------------------------------------------

    @abstractmethod
    def prepare(self) -> None:
        """Before anything is written: makes the place, or says why it cannot be used."""

    @abstractmethod
    async def acquire(
        self,
        path: ScopePath,
        *,
        owner: ScopePath | None = None,
        timeout: float | None,
        held: Collection[ScopePath] = (),
        waiting: Callable[[str], None] | None = None,
    ) -> Lease:
        """Wait up to `timeout` seconds (0: one try; None: `lock_timeout`) for `path` alone; LockHeld names the holder.

        `owner`: the scope whose journal a nested `path` is in; it is held too. `held`: what this session holds already,
        so that paths below are free to it. `waiting` is told who is in the way, in words.
        """

    @abstractmethod
    def open_journal(
        self,
        path: ScopePath,
        *,
        holder: Callable[[int], Holder],
        ops: Callable[[Fold], Sequence[Op]],
        body: dict[str, Any],
        refuse: Callable[[Fold], None] | None = None,
        seen: int | None = None,
    ) -> Journal:
        """Opens the next epoch: from here on no earlier run can write. Blocks.

        `ops` sees the fold and adds rows to the opener; `refuse` sees it before anything is claimed and may raise.
        `seen`: only when that is still the newest epoch, else Refused: a forced opening breaks the holder it saw, never
        a newer one.
        """

    @abstractmethod
    def begin_journal(
        self, path: ScopePath, *, holder: Callable[[int], Holder], beginning: Beginning, body: dict[str, Any]
    ) -> Journal:
        """In the place of a journal that is damaged, gone, or to be forgotten, which is set aside, never deleted.

        `beginning`: from `salvage`. After a crash on the way every reader refuses the scope until it is done again.
        """

    @abstractmethod
    def set_journal_aside(self, path: ScopePath) -> str:
        """Its name now, "" when it stays where it is or there is none. LockHeld while another session holds `path`.

        For whoever holds `path` and goes on with `begin_journal`, which does this by itself.
        """

    @abstractmethod
    def salvage(self, path: ScopePath | str) -> Salvaged:
        """The best that is known of a scope, also of one that `read_fold` refuses. Changes nothing."""

    @abstractmethod
    def free(self, path: ScopePath, session: str) -> None:
        """After an opening by force: newcomers no longer wait for the lock on `path` of the holder that was broken."""

    # -- reading ------------------------------------------------------------------------------------------------

    @abstractmethod
    def owners(self) -> list[str]:
        """Every scope that has a journal or had one, applications that only have stages too; in order of path."""

    @abstractmethod
    def has_journal(self, path: ScopePath | str) -> bool:
        """It owns a journal now."""

    @abstractmethod
    def reader(self, path: ScopePath | str) -> Reader: ...

    @abstractmethod
    def read_fold(self, path: ScopePath | str) -> Fold:
        """As stored now; StateInvalid when damaged or when records are gone; an empty fold when there is nothing."""

    @abstractmethod
    def lost_records(self, fold: Fold, *, thorough: bool) -> AlchemyError | None:
        """Evidence that the journal once held more than `fold`; `thorough` looks everywhere."""

    @abstractmethod
    def epochs(self, path: ScopePath | str) -> list[int]:
        """The runs whose records are kept, oldest first."""

    @abstractmethod
    def read_epoch(self, path: ScopePath | str, epoch: int) -> list[Record]:
        """The whole records of one run, for showing; what cannot be read is left out."""

    @abstractmethod
    def lock_view(self, path: ScopePath | str) -> LockView:
        """The verdict on one path, with its evidence. Never raises for what is stored."""

    @abstractmethod
    def lock_views(self) -> list[LockView]:
        """Every lock somebody holds or left behind: live ones first, then by path."""

    def activity(self) -> Activity | None:
        """To be compared with a later one, before everything is looked at again; None where looking costs nothing."""
        return None

    def view_watch(self, path: ScopePath | str) -> ViewWatch | None:
        """The `state.json` files of a journal's rows; None where there are none."""
        return None

    # -- scopes as names ----------------------------------------------------------------------------------------

    @abstractmethod
    def stored_kind(self, path: ScopePath) -> ScopeKind | None:
        """What `path` is in the state; None when it is not there (or cannot be told)."""

    @abstractmethod
    def siblings(self, path: ScopePath) -> list[str]:
        """Names beside `path`, its own included."""

    @abstractmethod
    def ensure_application(self, path: ScopePath) -> None:
        """The application of `path` is known from now on, also before it has a journal of its own."""

    @abstractmethod
    def forget(self, path: ScopePath) -> None:
        """Removes what is left of a test scope, or of an application without a journal. The caller holds its lock."""

    # -- backups, audit -----------------------------------------------------------------------------------------

    @abstractmethod
    def backups(self, path: ScopePath | str) -> list[str]:
        """Names of the backup files of an owner, oldest first."""

    @abstractmethod
    def read_backup(self, path: ScopePath | str, name: str, *, head: int = 0) -> tuple[bytes, int]:
        """(its bytes, or the first `head` of them; its whole size). FileNotFoundError when it is not there."""

    @abstractmethod
    def create_backup(self, path: ScopePath | str, name: str, data: bytes) -> None:
        """Durable when this returns; FileExistsError when the name is taken."""

    @abstractmethod
    def remove_backup(self, path: ScopePath | str, name: str) -> None:
        """Not there is fine."""

    @abstractmethod
    def mark_backup(self, path: ScopePath | str, name: str, mark: str, text: str | None) -> None:
        """A note beside a backup (`mark`: "pin"); None takes it away."""

    @abstractmethod
    def backup_marks(self, path: ScopePath | str) -> dict[tuple[str, str], str]:
        """{(backup, mark): text} of an owner."""

    @abstractmethod
    def audit(self, entry: dict[str, Any]) -> None:
        """Who did what without holding a lock: one create-only entry; `at` and the name are given here."""

    @abstractmethod
    def audits(self) -> list[dict[str, Any]]:
        """Oldest first; entries that cannot be read are left out."""
