"""Which scopes there are in a bucket. There are no folders and no views: names of keys, and the rows of journals.

Neighbours: `store` asks; `keys` has the names.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from alchemy.errors import AlchemyError, InvalidName
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.values import ScopeKind
from alchemy.store.clock import Clock
from alchemy.store.objects.epochs import Writer
from alchemy.store.objects.keys import Keys
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.port import Objects
from alchemy.store.objects.requests import abreast, perform

JUST_NOW = 1.0  # seconds for which a scope that was seen to have no journal has none
FRESH = 5.0  # seconds for which the list of scopes, or a journal read only for a name in it, answers
_NOT_SCOPES = frozenset(["locks", "local-cloud", "audit", "spill"])
_INSIDE = frozenset(["journal", "snapshots", "backups", "resources", "locks"])
_SIGNS = frozenset(["journal", "snapshots", "backups"])  # it has a journal, or had one


class Scopes:
    """`opened` are the folds of journals this session has open: what they say needs no request."""

    def __init__(
        self, objects: Objects, keys: Keys, clock: Clock, limits: Limits, opened: dict[ScopePath, Fold]
    ) -> None:
        self._objects = objects
        self._keys = keys
        self._clock = clock
        self._limits = limits
        self._opened = opened
        self._owners: list[str] = []
        self._looked: float | None = None
        self._read: dict[ScopePath, tuple[float, Writer]] = {}
        self._with_journal: dict[ScopePath, float] = {}  # when that was seen
        self._without: dict[str, float] = {}  # nor any trace of one

    def changed(self) -> None:
        """We opened or removed one: what is known is old."""
        self._looked = None
        self._read.clear()
        self._with_journal.clear()
        self._without.clear()

    def owners(self) -> list[str]:
        """Every application, and every scope that has a journal or had one; in order of path."""
        now = self._clock.elapsed()
        if self._looked is None or not 0 <= now - self._looked < FRESH:
            self._owners, self._looked = self._find(), now
        return list(self._owners)

    def _find(self) -> list[str]:
        apps = [name for name in self._objects.folders(self._keys.prefix) if name not in _NOT_SCOPES and _named(name)]
        now = self._clock.elapsed()
        inside = self._below(apps)
        self._without = {app: now for app, names in zip(apps, inside, strict=True) if not _SIGNS & {*names}}
        stages = [f"{app}/{name}" for app, names in zip(apps, inside, strict=True) for name in names if _is_scope(name)]
        tests = [stage for stage in stages if stage.endswith("/test") and stage.count("/") == 1]
        for test, names in zip(tests, self._below(tests), strict=True):
            stages.remove(test)
            stages += [f"{test}/{name}" for name in names if _is_scope(name)]
        found = [stage for stage, names in zip(stages, self._below(stages), strict=True) if _SIGNS & {*names}]
        ours = {stage.split("/")[0] for stage in found}  # other folders of the bucket are somebody else's
        found += [app for app in apps if app in ours or app not in self._without]
        return sorted(found, key=lambda path: path.split("/"))

    def _below(self, paths: Sequence[str]) -> list[Sequence[str]]:
        return abreast(lambda path: self._objects.folders(self._keys.scope(path)), paths)

    def lacks(self, path: ScopePath | str) -> bool:
        """It was just seen to have no journal, nor anything that speaks of one."""
        seen = self._without.get(str(path))
        return seen is not None and 0 <= self._clock.elapsed() - seen < JUST_NOW

    def has_journal(self, path: ScopePath) -> bool:
        if self.lacks(path):
            return False
        now = self._clock.elapsed()
        if path in self._opened or now - self._with_journal.get(path, now - FRESH) < FRESH:
            return True
        found = bool({"journal", "snapshots"} & {*self._objects.folders(self._keys.scope(path))})
        if found:
            self._with_journal[path] = now
        return found

    def kind(self, path: ScopePath) -> ScopeKind | None:
        """None when it is not there, or cannot be told."""
        for owner, fold in list(self._opened.items()):
            if owner.holds(path) and str(path) in fold.scopes:
                return fold.scopes[str(path)].kind
        if path in self._opened:
            return None
        inside = {*self._objects.folders(self._keys.scope(path))}
        if inside & _SIGNS:
            return self._kind_in(path, path)
        if path.parent is None:
            return ScopeKind.APPLICATION if inside else None
        above = next((up for up in reversed(path.ancestors) if up in self._opened), None)
        if above is not None and (above.parent is not None or path.parent == above):
            return None  # its journal would know
        return self._kind_in(self._owner_above(path), path)

    def _owner_above(self, path: ScopePath) -> ScopePath:
        """Whose journal would have a row for `path`, when `path` has none of its own."""
        depth = 3 if len(path.parts) > 3 and path.parts[1].lower() == "test" else 2
        return ScopePath(path.parts[: min(depth, len(path.parts) - 1)])

    def _kind_in(self, owner: ScopePath, path: ScopePath) -> ScopeKind | None:
        try:
            row = self.fold(owner).scopes.get(str(path))
        except AlchemyError:
            return None  # a damaged journal is said by whoever reads it for its rows
        return row.kind if row else None

    def fold(self, owner: ScopePath) -> Fold:
        """As of some seconds ago at most: for names, never for decisions about rows."""
        if owner in self._opened:
            return self._opened[owner]
        now = self._clock.elapsed()
        known = self._read.get(owner)
        if known is None or now - known[0] >= FRESH:
            writer = Writer(self._keys, owner, self._limits)
            perform(self._objects, self._clock, writer.load())
            known = self._read[owner] = (now, writer)
        return known[1].fold

    def take_writer(self, path: ScopePath) -> Writer:
        """For opening the journal of `path`: what was read of it only for a name is not read again."""
        _, writer = self._read.pop(path, (0.0, None))
        return writer or Writer(self._keys, path, self._limits)

    def siblings(self, path: ScopePath) -> list[str]:
        """Names beside `path`, its own included."""
        parent = path.parent
        if parent is None:
            return list(self._objects.folders(self._keys.prefix))
        names: set[str] = set()
        if len(path.parts) == 2 or (len(path.parts) == 3 and path.parts[1].lower() == "test"):
            names.update(self._objects.folders(self._keys.scope(parent)))
        for owner, fold in list(self._opened.items()):
            if owner.holds(parent):
                names.update(other.parts[-1] for other in map(_parse, list(fold.scopes)) if other.parent == parent)
        return sorted(names)


def _parse(path: str) -> ScopePath:
    return ScopePath(tuple(path.split("/")))


def _is_scope(name: str) -> bool:
    return name not in _INSIDE and _named(name)


def _named(name: str) -> bool:
    """Names outside the grammar are not scopes; `validate` reports them."""
    with suppress(InvalidName):
        ScopePath.parse(f"x/{name}")
        return True
    return False
