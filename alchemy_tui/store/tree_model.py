"""The tree as a flat list of visible rows: folding, filter, marks, and a cursor that is an identity, never a number.

A row's identity is its scope path or its address; the list may change under the cursor at any moment, and the cursor
stays on the thing a person was looking at, or moves to the nearest scope above it that still exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from alchemy.operations.shapes import LockView, ResourceNode, ScopeNode, View
from alchemy_tui.store.filter import Filter, Subject

OPEN_ALL = 200  # rows: smaller trees open unfolded, larger ones show applications and stages


@dataclass(frozen=True, slots=True)
class Row:
    """`identity` is a scope path or an address; `foldable` rows have something below them."""

    identity: str
    depth: int
    scope: bool
    foldable: bool = False
    opened: bool = False


@dataclass(slots=True)
class TreeModel:
    """Mutable, owned by one tree widget. After any change `rows`, `cursor` and `index` agree."""

    view: View = field(default_factory=lambda: View(version=0, root=""))
    rows: list[Row] = field(default_factory=list)
    cursor: str = ""
    index: int = -1  # of `cursor` in `rows`; -1 only when there is no row
    filter: Filter = field(default_factory=Filter)
    marks: set[str] = field(default_factory=set)
    matched: int = 0  # rows that match the filter (their scopes are shown too)
    locks: dict[str, LockView] = field(default_factory=dict)
    now: float = 0.0
    _fold: dict[str, bool] = field(default_factory=dict)  # what the user decided: path to opened
    _fold_filtered: dict[str, bool] = field(default_factory=dict)
    _matches: set[str] = field(default_factory=set)
    _shown: set[str] = field(default_factory=set)  # with a filter: matches and the scopes above them

    # -- the world ------------------------------------------------------------------------------------------------

    def load(self, view: View, *, structure: bool = True, now: float = 0.0) -> None:
        """Takes over a view. Without `structure` rows stay (their content is looked up when drawn), unless filtered."""
        self.view = view
        self.now = now or self.now
        self.locks = {lock.path: lock for lock in view.locks}
        if structure or self.filter.active:
            self.marks = {mark for mark in self.marks if mark in view.scopes or mark in view.resources}
            self.rebuild()

    def set_filter(self, new: Filter) -> None:
        """The cursor stays on its row while that matches, else it goes to the first match."""
        self.filter = new
        self._fold_filtered.clear()
        self.rebuild()
        if self.filter.active and self.cursor not in self._matches:
            first = next((number for number, row in enumerate(self.rows) if row.identity in self._matches), -1)
            if first >= 0:
                self.move_to(first)

    def rebuild(self) -> None:
        if self.filter.active:
            self._search()
        self.rows = list(self._walk(self.view.applications, 0))
        self._settle()

    def _walk(self, paths: tuple[str, ...], depth: int) -> Iterator[Row]:
        scopes, shown = self.view.scopes, self._shown if self.filter.active else None
        stack: list[tuple[str, int, bool]] = [(path, depth, True) for path in reversed(paths)]
        while stack:
            path, level, is_scope = stack.pop()
            if shown is not None and path not in shown:
                continue
            if not is_scope:
                yield Row(path, level, False)
                continue
            node = scopes.get(path)
            if node is None:
                continue
            foldable = bool(node.children or node.resources)
            opened = foldable and self.is_open(path, level)
            yield Row(path, level, True, foldable, opened)
            if opened:
                stack.extend((child, level + 1, True) for child in reversed(node.children))
                stack.extend((address, level + 1, False) for address in reversed(node.resources))

    def _search(self) -> None:
        matched: set[str] = set()
        found = 0
        for path, node in self.view.scopes.items():
            subject = Subject(path, path.rpartition("/")[2].lower(), node, self.locks.get(path), self.now)
            if self.filter.matches(subject):
                found += 1
                matched.add(path)
        for key, resource in self.view.resources.items():
            address = resource.state.address
            subject = Subject(address, resource.state.id.lower(), resource, None, self.now)
            if self.filter.matches(subject):
                found += 1
                matched.add(key)
        self._matches = set(matched)
        for path in list(matched):
            while (path := path.rpartition("/")[0]) and path not in matched:
                matched.add(path)
        self._shown = matched
        self.matched = found

    def _settle(self) -> None:
        """Puts the cursor back where it was, or on the nearest scope above."""
        if not self.rows:
            self.index = -1
            return
        if 0 <= self.index < len(self.rows) and self.rows[self.index].identity == self.cursor:
            return
        places = {row.identity: number for number, row in enumerate(self.rows)}
        wanted = self.cursor
        while wanted and wanted not in places:
            wanted = wanted.rpartition("/")[0]
        self.index = places.get(wanted, 0)
        self.cursor = self.rows[self.index].identity

    # -- folding --------------------------------------------------------------------------------------------------

    def is_open(self, path: str, depth: int) -> bool:
        if self.filter.active:
            return self._fold_filtered.get(path, True)
        decided = self._fold.get(path)
        if decided is not None:
            return decided
        small = len(self.view.scopes) + len(self.view.resources) <= OPEN_ALL
        return small or depth == 0

    def fold(self, opened: bool, path: str = "") -> bool:
        """Opens or closes the row under the cursor (or `path`); False when there is nothing to do."""
        at = self.index if not path else next((n for n, row in enumerate(self.rows) if row.identity == path), -1)
        if at < 0:
            return False
        row = self.rows[at]
        if not row.foldable or row.opened == opened:
            return False
        (self._fold_filtered if self.filter.active else self._fold)[row.identity] = opened
        end = at + 1
        if not opened:
            while end < len(self.rows) and self.rows[end].depth > row.depth:
                end += 1
        self.rows[at:end] = self._walk((row.identity,), row.depth)  # only this part: a fold costs what it shows
        self._settle()
        return True

    def toggle(self) -> bool:
        row = self.current
        return row is not None and self.fold(not row.opened)

    def fold_all(self, opened: bool) -> None:
        """Every scope; closed leaves the applications open, so that something is to be seen."""
        decided = {path: opened or path in self.view.applications for path in self.view.scopes}
        if self.filter.active:
            self._fold_filtered = decided
        else:
            self._fold = decided
        self.rebuild()

    # -- the cursor -----------------------------------------------------------------------------------------------

    @property
    def current(self) -> Row | None:
        return self.rows[self.index] if 0 <= self.index < len(self.rows) else None

    def move_to(self, index: int) -> bool:
        """Clamped; False when the cursor stays."""
        if not self.rows:
            return False
        index = max(0, min(index, len(self.rows) - 1))
        moved = index != self.index
        self.index, self.cursor = index, self.rows[index].identity
        return moved

    def move_by(self, step: int) -> bool:
        return self.move_to(self.index + step)

    def go_to(self, identity: str) -> bool:
        """Opens whatever hides `identity` and puts the cursor on it; False when it does not exist (or is filtered)."""
        if identity not in self.view.scopes and identity not in self.view.resources:
            return False
        chosen = self._fold_filtered if self.filter.active else self._fold
        above = identity.rpartition("/")[0]
        while above:
            chosen[above] = True
            above = above.rpartition("/")[0]
        self.cursor = identity
        self.rebuild()
        return self.cursor == identity

    def go_up(self) -> bool:
        """To the scope the current row is in."""
        row = self.current
        if row is None:
            return False
        for number in range(self.index - 1, -1, -1):
            if self.rows[number].depth < row.depth:
                return self.move_to(number)
        return False

    # -- marks ----------------------------------------------------------------------------------------------------

    def toggle_mark(self) -> None:
        self.marks ^= {self.cursor} if self.current else set()

    def matches(self, row: Row) -> bool:
        """False for rows that are shown only because something below them matches."""
        return not self.filter.active or row.identity in self._matches

    # -- what a row is --------------------------------------------------------------------------------------------

    def node(self, row: Row) -> ScopeNode | ResourceNode | None:
        return self.view.scopes.get(row.identity) if row.scope else self.view.resources.get(row.identity)
