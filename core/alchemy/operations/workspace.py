"""Everything below one state directory, as a front end sees it: a View that changes only when something did.

Synchronous and light: no asyncio, no locks taken, nothing written. Call it from one thread at a time.
"""

from __future__ import annotations

from pathlib import Path

from alchemy.errors import UsageError
from alchemy.model.events import Entry
from alchemy.model.locks import LockView, Verdict
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.model.values import ScopeKind
from alchemy.operations import history
from alchemy.operations.history import Follow
from alchemy.operations.owners import Owner
from alchemy.operations.shapes import BackupInfo, Health, ResourceNode, ScopeNode, View
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.holders import lock_views
from alchemy.store.layout import VIEW, Layout

_NOT_SCOPES = frozenset(["locks", "local-cloud", "audit", "spill"])
_INSIDE = frozenset(["journal", "snapshots", "backups", "resources", "locks"])
_WORST = list(Health)
_SMALL = 2000  # directories: below that the whole tree is watched


def state_root(given: str | Path | None = None) -> Path:
    """The state directory: what was given, else the environment, the project file, `.alchemy` of the project."""
    from alchemy.settings import find_project

    return find_project().state_dir(given)


class Workspace:
    """`root` may not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files = Files()
        self._layout = Layout(root)
        self._clock = Clock()
        self._owners: dict[str, Owner] = {}
        self._view = View(0, str(root))
        self._locks: tuple[LockView, ...] = ()

    def refresh(self, *, full: bool = False) -> View:
        """Reads what changed; the same View object when nothing did. `full` also looks at every view on disk."""
        changed = self._discover()
        for owner in self._owners.values():
            changed = owner.refresh(full=full) or changed
        locks = tuple(lock_views(self._layout, self._files, self._clock))
        marks = [(lock.path, lock.verdict, lock.holder) for lock in locks]
        if marks != [(lock.path, lock.verdict, lock.holder) for lock in self._locks]:
            self._locks, changed = locks, True
        if changed or not self._view.version:
            self._view = self._assemble()
        return self._view

    def _discover(self) -> bool:
        """Applications, their stages and tests, by their directories."""
        found: list[str] = []
        for app in self._files.names(self.root):
            directory = self.root / app
            if app in _NOT_SCOPES or not _named(app) or not _is_directory(directory):
                continue
            if self._owns(directory) or self._files.exists(directory / VIEW):
                found.append(app)
            for name in self._files.names(directory):
                if name in _INSIDE or not _named(name):
                    continue
                if self._owns(directory / name):
                    found.append(f"{app}/{name}")
                elif name == "test":
                    tests = self._files.names(directory / name)
                    found += [f"{app}/test/{t}" for t in tests if _named(t) and self._owns(directory / name / t)]
        if found == list(self._owners):
            return False
        kept = self._owners
        self._owners = {path: kept.get(path) or Owner(self._files, self._layout, self._clock, path) for path in found}
        return True

    def _owns(self, directory: Path) -> bool:
        """It has a journal, or had one: views and backups stay when somebody removes it."""
        if not _is_directory(directory):
            return False
        return any(self._files.exists(directory / name) for name in ("journal", "backups", "snapshots"))

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
            root=str(self.root),
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
        records = history.run_records(self._files, self._layout, self._newest_owner(scope), run)
        return history.entries_of(records)[-limit:]

    def backups(self, scope: str) -> tuple[BackupInfo, ...]:
        """Newest first."""
        return history.backups(self._files, self._layout, self.owner_of(scope))

    def state_text(self, subject: str) -> str:
        """The JSON document of a scope or resource as stored; the raw text where it is torn."""
        text = self._owners[self.owner_of(subject)].text_of(subject)
        if text is None:
            raise UsageError(f"{safe_text(subject, 80)} is not in the state", hint="`alchemy scope list` shows what is")
        return text

    def follow(self, scope: str) -> Follow:
        return Follow(self._files, self._layout, self._newest_owner(scope))

    def _newest_owner(self, scope: str) -> str:
        """Whose runs tell of `scope`: of an application without a journal of its own, the stage that ran last."""
        below = [o for o in self._owners.values() if o.path.startswith(f"{scope}/") and o.runs]
        own = self._owners.get(scope)
        if below and (own is None or not own.runs):
            return max(below, key=lambda owner: owner.runs[0].started_at).path
        return self.owner_of(scope)

    def watch_paths(self) -> list[Path]:
        """What a watcher should watch now: the whole tree while it is small, else journals and locks only."""
        rows = len(self._view.scopes) + len(self._view.resources)
        if rows < _SMALL:
            return [self.root]
        journals = [self._layout.journal(path) for path in self._owners]
        return [path for path in (self.root / "locks", *journals) if path.is_dir()]


def _named(name: str) -> bool:
    """Names outside the grammar are not scopes; `validate` reports them."""
    try:
        ScopePath.parse(f"x/{name}")
    except UsageError:
        return False
    return True


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
