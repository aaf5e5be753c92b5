"""Everything below one state directory, as a front end sees it: a View that changes only when something did.

Synchronous and light: no asyncio, no locks taken, nothing written. Call it from one thread at a time. The same over
files and over a bucket; there a look costs requests, and nothing tells when one is due.
"""

from __future__ import annotations

from pathlib import Path

from alchemy.errors import UsageError
from alchemy.model.events import Entry
from alchemy.model.locks import LockView, Verdict
from alchemy.model.masking import masked_text
from alchemy.model.text import safe_text
from alchemy.model.values import ScopeKind
from alchemy.operations import backups, history
from alchemy.operations.history import Follow
from alchemy.operations.owners import Owner
from alchemy.operations.shapes import BackupInfo, Health, ResourceNode, ScopeNode, View
from alchemy.store.activity import Activity, touches
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from alchemy.store.store import Store

_WORST = list(Health)
_ORDER = (Verdict.LIVE, Verdict.HELD, Verdict.UNKNOWN, Verdict.STALE, Verdict.FREE)
PACE = 2.0  # seconds: also finds what sends no event, like a lock whose holder died
PACE_REMOTE = 5.0
_SMALL = 2000  # directories: below that the whole tree is watched


def find_workspace(given: str | Path | None = None) -> Workspace:
    """Where the state of this project is: what was given, else the environment, the project file, `.alchemy`."""
    from alchemy.settings import find_project
    from alchemy.store.place import find_store

    return Workspace(find_store(find_project(), given))


class Workspace:
    """Of a store, or of a state directory, which may not exist yet."""

    def __init__(self, place: Store | Path) -> None:
        self.store = place if isinstance(place, Store) else LocalStore(Layout(place))
        self._owners: dict[str, Owner] = {}
        self._view = View(0, self.store.place)
        self._locks: tuple[LockView, ...] = ()
        self._seen: Activity | None = None  # as of the last look

    @property
    def root(self) -> Path:
        """The state directory on this machine."""
        return self.store.root

    @property
    def pace(self) -> float:
        """Seconds between two looks when nothing says that one is due: in a bucket each costs requests."""
        return PACE_REMOTE if self.store.remote else PACE

    def refresh(self, *, full: bool = False) -> View:
        """Reads what changed; the same View object when nothing did.

        `full` also looks at every view on disk, and in a bucket at journals in whose scope no lock was taken since.
        """
        before, self._seen = self._seen, None  # a look that fails is followed by one at everything
        seen = self.store.activity()
        moved = seen.since(before) if seen and before and not full else None  # None: who knows
        changed = self._discover() if moved is None or moved else False
        for owner in self._owners.values():
            if moved is None or owner.restless or touches(moved, owner.path):
                changed = owner.refresh(full=full) or changed
        locks = self._all_locks()
        if _marks(locks) != _marks(self._locks):
            self._locks, changed = locks, True
        if changed or not self._view.version:
            self._view = self._assemble()
        self._seen = seen
        return self._view

    def _all_locks(self) -> tuple[LockView, ...]:
        """Those somebody holds or left behind, and scopes that a person reserved."""
        found = {lock.path: lock for lock in self.store.lock_views()}
        known = [owner.lock for owner in self._owners.values()]
        found |= {lock.path: lock for lock in known if lock.hold or (lock.holder and lock.path in found)}
        return tuple(sorted(found.values(), key=lambda lock: (_ORDER.index(lock.verdict), lock.path)))

    def _discover(self) -> bool:
        """Applications, their stages and tests."""
        found = self.store.owners()
        if found == list(self._owners):
            return False
        kept = self._owners
        self._owners = {path: kept.get(path) or Owner(self.store, path) for path in found}
        return True

    def _assemble(self) -> View:
        scopes: dict[str, ScopeNode] = {}
        resources: dict[str, ResourceNode] = {}
        shown = [owner for owner in self._owners.values() if owner.alive]
        for owner in shown:
            scopes.update(owner.scopes)
            resources.update(owner.resources)
        for app in dict.fromkeys(owner.path.split("/")[0] for owner in shown):
            below = [o.path for o in shown if o.path.startswith(app + "/")]
            own = scopes.get(app)
            children = (*(own.children if own else ()), *below)
            total = (own.total if own else 0) + sum(scopes[p].total for p in below if p in scopes)
            healths = [scopes[p].health for p in below if p in scopes] + ([own.health] if own else [])
            worst = min(healths, key=_WORST.index, default=Health.OK)
            inside = own.resources if own else ()
            problem = own.problem if own else ""
            row = own.row if own else None
            scopes[app] = ScopeNode(app, ScopeKind.APPLICATION, app, row, children, inside, total, worst, problem)
        applications = tuple(sorted(path for path in scopes if "/" not in path))
        return View(
            version=self._view.version + 1,
            root=self.store.place,
            applications=applications,
            scopes=scopes,
            resources=resources,
            locks=tuple(lock for lock in self._locks if lock.verdict is not Verdict.FREE),
            runs={o.path: o.runs for o in shown if o.runs},
            active={o.path: o.active for o in shown if o.active is not None},
            findings=tuple(finding for owner in shown for finding in owner.findings),
        )

    # -- one subject --------------------------------------------------------------------------------------------

    def owner_of(self, scope: str) -> str:
        """The application, stage or test whose journal holds `scope` (or the resource of that address)."""
        parts = scope.split("/")
        for count in range(len(parts), 0, -1):
            path = "/".join(parts[:count])
            if path in self._owners:
                return path
        raise UsageError(f"{safe_text(scope, 80)} is not in the state", hint="`alchemy scope list` shows what is")

    def entries(self, scope: str, run: str = "", limit: int = 1000) -> list[Entry]:
        """Newest last, of one run ("" is the newest) of the owner of `scope`."""
        records = history.run_records(self.store, self._newest_owner(scope), run)
        return history.entries_of(records)[-limit:]

    def backups(self, scope: str) -> tuple[BackupInfo, ...]:
        """Newest first."""
        return backups.listing(self.store, self.owner_of(scope))

    def state_text(self, subject: str) -> str:
        """The JSON document of a scope or resource as stored, secrets masked; the raw text where it is torn."""
        text = self._owners[self.owner_of(subject)].text_of(subject)
        if text is None:
            raise UsageError(f"{safe_text(subject, 80)} is not in the state", hint="`alchemy scope list` shows what is")
        return masked_text(text)

    def follow(self, scope: str) -> Follow:
        return Follow(self.store, self._newest_owner(scope))

    def _newest_owner(self, scope: str) -> str:
        """Whose runs tell of `scope`: of an application without a journal of its own, the stage that ran last."""
        below = [o for o in self._owners.values() if o.path.startswith(f"{scope}/") and o.runs]
        own = self._owners.get(scope)
        if below and (own is None or not own.runs):
            return max(below, key=lambda owner: owner.runs[0].started_at).path
        return self.owner_of(scope)

    def watch_paths(self) -> list[Path]:
        """What a watcher should watch now: the tree while it is small, else journals and locks; nothing of a bucket."""
        if not isinstance(self.store, LocalStore):
            return []
        rows = len(self._view.scopes) + len(self._view.resources)
        if rows < _SMALL:
            return [self.root]
        layout = self.store.layout
        journals = [layout.journal(path) for path in self._owners]
        return [path for path in (self.root / "locks", *journals) if path.is_dir()]


def _marks(locks: tuple[LockView, ...]) -> list[tuple[object, ...]]:
    """What has to differ to be worth drawing: ages always do."""
    return [(lock.path, lock.verdict, lock.holder, lock.hold) for lock in locks]
