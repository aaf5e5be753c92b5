"""Looking at everything stored for damage: each finding names the file, what is wrong and the way out.

Reads only, except `rewrite_views`, which puts views right from the journal. One damaged file never hides others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from alchemy.errors import AlchemyError
from alchemy.model.fold import Fold
from alchemy.model.locks import Verdict
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.operations.shapes import Finding
from alchemy.operations.workspace import Workspace
from alchemy.store.backups import BACKUP, read_backup
from alchemy.store.copies import newest_snapshot
from alchemy.store.files import Files
from alchemy.store.holders import lock_views
from alchemy.store.layout import Layout
from alchemy.store.opening import load, lost_records, read_fold
from alchemy.store.viewfile import read_view
from alchemy.store.views import Views, view_files

_OWN = frozenset(["journal", "snapshots", "backups", "resources", "state.json", "keys.json"])


def validate(root: Path, scope: str | None = None) -> list[Finding]:
    """Findings in the order of the tree. `scope` limits it to that path and what is below it."""
    files, layout = Files(root), Layout(root)
    workspace = Workspace(root)
    view = workspace.refresh(full=True)
    owners = sorted({node.owner for node in view.scopes.values()})
    wanted = [workspace.owner_of(scope)] if scope else owners
    if scope:
        wanted += [owner for owner in owners if owner.startswith(scope + "/")]
    found: list[Finding] = []
    for owner in dict.fromkeys(wanted):
        found += _owner(files, layout, owner, scope or "")
    if not scope:
        found += _strangers(files, layout)
        found += _leftovers(files, layout)
    return found


def _owner(files: Files, layout: Layout, owner: str, scope: str) -> Iterator[Finding]:
    def finding(path: Path, severity: str, problem: str, way_out: str) -> Finding:
        return Finding(str(path.relative_to(layout.root)), owner, severity, problem, way_out)

    journal = layout.journal(owner)
    bare = not files.exists(journal) and "/" not in owner  # an application that only has stages
    try:
        loaded = load(files, layout, owner)
        fold = loaded.fold
        for note in loaded.notes:
            yield finding(layout.snapshots(owner), "warning", note, "nothing to do: the next run writes a new one")
        lost = None if bare else lost_records(files, layout, fold, thorough=True)
        if loaded.torn and lost is None:
            last = layout.epoch(owner, loaded.last)
            yield finding(
                last, "warning", f"its last {loaded.torn} bytes are torn: a run died writing them", "run deploy again"
            )
        if lost is not None:
            yield finding(journal, "error", lost.message, lost.hint)
    except AlchemyError as error:
        yield finding(journal, "error", error.message, error.hint)
        fold = newest_snapshot(files, layout, owner)[0] or Fold(owner)
    yield from _views(files, layout, fold, owner, scope)
    for name in files.names(layout.backups(owner)):
        path = layout.backups(owner) / name
        if BACKUP.fullmatch(name):
            try:
                read_backup(files.read(path))
            except (ValueError, AlchemyError) as error:
                yield finding(path, "warning", str(error), "delete it; the other backups are not affected")


def _views(files: Files, layout: Layout, fold: Fold, owner: str, scope: str) -> Iterator[Finding]:
    rewrite = f"`alchemy scope validate {owner} --fix` writes it again from the journal"
    known = {layout.resource_view(r.address, r.generation if r.former else None) for r in fold.resources.values()}
    known |= {layout.scope_view(path) for path in fold.scopes}
    base = layout.scope(scope) if scope and scope != owner else None
    for path in sorted({*known, *view_files(files, layout, fold)}):
        if base is not None and base not in path.parents:
            continue
        name = str(path.relative_to(layout.root))
        if path.is_symlink():
            yield Finding(name, owner, "error", "it is a symbolic link", "remove the link; " + rewrite)
            continue
        try:
            found = read_view(files, path)
        except AlchemyError as error:
            yield Finding(name, owner, "error", error.message, error.hint)
            continue
        if found is None:
            yield Finding(name, owner, "warning", "it is missing", rewrite)
        elif found.problem:
            problem = f"{found.problem} in {name}:{found.line}" if found.line else found.problem
            yield Finding(name, owner, "error", problem, rewrite + "; what is in it now is kept beside it")
        elif path not in known and fold.seq:
            yield Finding(name, owner, "warning", "the journal knows no such row", rewrite)
        if found is not None and path.lstat().st_mode & 0o077:
            yield Finding(name, owner, "warning", "others may read it", f"chmod 600 {safe_text(path)}")


def _strangers(files: Files, layout: Layout) -> Iterator[Finding]:
    """Names below the state directory that no scope can have, and links."""
    for app in files.names(layout.root):
        path = layout.root / app
        if app in ("locks", "local-cloud", "audit", "spill"):
            continue
        yield from _stranger(path, layout)
        if path.is_dir() and not path.is_symlink():
            for name in files.names(path):
                if name not in _OWN:
                    yield from _stranger(path / name, layout)


def _stranger(path: Path, layout: Layout) -> Iterator[Finding]:
    name = str(path.relative_to(layout.root))
    if path.is_symlink():
        yield Finding(name, "", "error", "it is a symbolic link: nothing below the state directory may be", "remove it")
        return
    try:
        ScopePath.parse(f"x/{path.name}")
    except AlchemyError as error:
        if path.is_dir() or not path.name.startswith("."):
            yield Finding(name, "", "warning", error.message, "move it out of the state directory")


def _leftovers(files: Files, layout: Layout) -> Iterator[Finding]:
    from alchemy.store.clock import Clock

    for lock in lock_views(layout, files, Clock()):
        if lock.verdict is Verdict.STALE:
            file = str(layout.holder(lock.path).relative_to(layout.root))
            why = lock.evidence[0] if lock.evidence else "its holder is gone"
            yield Finding(file, lock.path, "warning", f"a run died with the lock: {why}", "run the same command again")
    for name in (name for name in files.names(layout.spill) if name != "done"):
        problem = "a run could not write this to its journal"
        yield Finding(f"spill/{name}", "", "warning", problem, "compare it with `alchemy scope state`, then remove it")


def rewrite_views(root: Path, owner: str) -> int:
    """Every view of the journal that is missing, torn, edited or behind, written again; edits kept beside. How many.

    The caller holds the scope's lock.
    """
    files, layout = Files(root), Layout(root)
    fold = read_fold(files, layout, owner)  # views that are ahead of the journal are the last evidence: they stay
    views = Views(files, layout, fold)
    views.check_all(also_damaged=True)
    written = 0
    while views.behind:
        views.write_one()
        written += 1
    return written
