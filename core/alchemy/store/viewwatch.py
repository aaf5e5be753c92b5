"""Looking again and again at the `state.json` files of one journal: which are not as they were written.

Read by the operations for every refresh, so a file that did not change costs one stat. Neighbour: `views` writes them.
"""

from __future__ import annotations

from pathlib import Path

from alchemy.errors import AlchemyError
from alchemy.model.fold import Fold
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.viewfile import examine, read_view


class ViewWatch:
    """Of the journal that `path` owns."""

    def __init__(self, files: Files, layout: Layout, path: str) -> None:
        self.path = path
        self._files = files
        self._layout = layout
        self._seen: dict[Path, tuple[tuple[int, int, int], str]] = {}  # view -> (stat, problem)

    def problems(self, fold: Fold) -> tuple[tuple[str, str], ...]:
        """(address or path, problem) of every view that is not as it was written."""
        found: list[tuple[str, str]] = []
        for row in fold.resources.values():
            if row.former:
                continue
            problem = self._examine(self._layout.resource_view(row.address), row.address)
            if problem:
                found.append((row.address, problem))
        for scope in fold.scopes or (self.path,):
            problem = self._examine(self._layout.scope_view(scope), "\x00" + scope)
            if problem:
                found.append((scope, problem))
        return tuple(found)

    def _examine(self, path: Path, key: str) -> str:
        try:
            stat = path.lstat()
        except OSError:
            self._seen.pop(path, None)
            return ""
        mark = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        known = self._seen.get(path)
        if known and known[0] == mark:
            return known[1]
        try:
            found = read_view(self._files, path, key)
            problem = ""
            if found and found.problem:
                where = f"{path.name}:{found.line}" if found.line else path.name
                problem = f"{where}: {found.problem}"
        except AlchemyError as error:
            problem = error.message
        self._seen[path] = (mark, problem)
        return problem

    def mark(self) -> int:
        """Differs when the owner's own view was written again."""
        return self._files.size(self._layout.scope_view(self.path))

    def file(self, subject: str, *, resource: bool) -> str:
        """Where the view of an address or scope lies, relative to the state directory."""
        path = self._layout.resource_view(subject) if resource else self._layout.scope_view(subject)
        return str(path.relative_to(self._layout.root))

    def text(self, subject: str, *, resource: bool) -> str | None:
        """The file as it is, also a torn one; None when there is none."""
        path = self._layout.resource_view(subject) if resource else self._layout.scope_view(subject)
        try:
            return examine(self._files.read(path)).data.decode("utf-8", "replace")
        except FileNotFoundError:
            return None
