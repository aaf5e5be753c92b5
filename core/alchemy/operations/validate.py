"""Looking at everything stored for damage: each finding names the file, what is wrong and the way out.

Reads only, except `rewrite_views`, which puts views right from the journal. One damaged file never hides others.
Neighbours: `soundness` has an opinion on each file, this module on journals, and on what the files say together.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from alchemy.errors import AlchemyError
from alchemy.model.fold import Fold
from alchemy.model.locks import Verdict
from alchemy.model.paths import skeleton
from alchemy.model.records import BadLine, decode
from alchemy.model.text import safe_text
from alchemy.operations.bucketwide import look_at_bucket, look_at_spills
from alchemy.operations.shapes import Finding
from alchemy.operations.soundness import CUT, Soundness
from alchemy.store.beginnings import BEGINS
from alchemy.store.files import Files
from alchemy.store.holders import lock_views, read_holder
from alchemy.store.inventory import Inventory, Item, What
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from alchemy.store.opening import JournalInvalid, epoch_numbers, load, lost_records, read_fold
from alchemy.store.store import Store
from alchemy.store.viewfile import ViewFile, place_of, read_view
from alchemy.store.views import Views, lost_owner


def validate(place: Store | Path, scope: str | None = None) -> list[Finding]:
    """Findings by file. `scope` limits it to that path and what is below it, and to the journal they are in."""
    store = place if isinstance(place, Store) else LocalStore(Layout(place))
    owners = Owners(store.owners())
    wanted = [owner for owner in owners.paths if not scope or _in(owner, scope) or owner == owners.of(scope)]
    if not isinstance(store, LocalStore):
        found = [*look_at_bucket(store, owners.paths, wanted)]
        return [*found, *look_at_spills(store, scope or "", found)]
    sound = Soundness(store.files, store.layout, owners.of)
    inventory = Inventory(store.files, store.layout)
    items = [item for item in inventory.everything() if not scope or _concerns(item, scope, owners.of(scope))]
    found = [finding for item in items for finding in sound.look_at(item)]
    for path, where, error in inventory.problems:
        if not scope or _in(where, scope):
            found.append(sound.finding(path, owners.of(where), error.message, error.hint))
    for owner in wanted:
        views = [item.path for item in items if item.what is What.VIEW and owners.of(item.scope) == owner]
        found = Journal(store, sound, owner, scope or owner).findings(found, views)
    found += _leftovers(store, sound, items, scope)
    if not scope:
        found += _root(store)
    found += look_at_spills(store, scope or "", found)
    return sorted(found, key=lambda finding: (finding.file, finding.severity))


def _in(path: str, scope: str) -> bool:
    return path == scope or path.startswith(f"{scope}/")


def _concerns(item: Item, scope: str, owner: str) -> bool:
    return _in(item.scope, scope) or (item.scope == owner and item.what in (What.EPOCH, What.SNAPSHOT, What.BACKUP))


class Owners:
    """Which journal a path is in."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self._known = frozenset(paths)

    def of(self, path: str) -> str:
        """The nearest at or above it; the path itself when there is none."""
        parts = path.split("/")
        found = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
        return next((each for each in found if each in self._known), path)


class Journal:
    """One journal and the views of its rows below `scope`."""

    def __init__(self, store: LocalStore, sound: Soundness, owner: str, scope: str) -> None:
        self._files = store.files
        self._layout = store.layout
        self._sound = sound
        self._owner = owner
        self._scope = scope
        self._lock = store.lock_view(owner)

    def findings(self, found: list[Finding], views: list[Path]) -> list[Finding]:
        """`found` so far, with what is told twice taken out and the rest added."""
        fold: Fold | None = None
        try:
            loaded = load(self._files, self._layout, self._owner)
        except JournalInvalid as error:
            file = self._sound.finding(error.file, self._owner, error.message, error.hint)
            same = f"line {error.line}: " if error.line else f": {CUT}"
            found = [one for one in found if one.file != file.file or same not in one.problem]
            found.append(file)
        except AlchemyError as error:  # one of its files is a link, a directory: told already
            told = any(one.file.startswith(f"{self._owner}/journal") and one.severity == "error" for one in found)
            if not told:
                found.append(self._of_journal(error.message, error.hint))
        else:
            fold = loaded.fold
            found = [self._softened(one) for one in found]
            found += [*self._lost(fold), *self._gaps()]
            if loaded.torn and not any(one.file == f"{self._owner}/journal" for one in found):
                path = self._layout.epoch(self._owner, loaded.last)
                problem = f"its last {loaded.torn} bytes are torn: a run died writing them"
                found.append(
                    self._sound.finding(
                        path, self._owner, problem, "the next `alchemy deploy` goes on before them", error=False
                    )
                )
        errors = {one.file for one in found if one.severity == "error"}  # of a link nothing more is to be said
        looked = [one for one in self._views(fold, views) if not errors & {one.file, *map(str, Path(one.file).parents)}]
        return [*found, *looked, *(self._names(fold) if fold else ())]

    def _of_journal(self, problem: str, way_out: str) -> Finding:
        return self._sound.finding(self._layout.journal(self._owner), self._owner, problem, way_out)

    def _softened(self, finding: Finding) -> Finding:
        """A bad line that no reading of the state meets, because a snapshot holds what was in it."""
        if not finding.file.startswith(f"{self._owner}/journal/") or not finding.problem.startswith("line "):
            return finding
        covered = "the state can be read without it, only the log of that run is incomplete"
        return replace(finding, severity="warning", problem=f"{finding.problem}; {covered}")

    def _lost(self, fold: Fold) -> Iterator[Finding]:
        bare = "/" not in self._owner and not self._files.exists(self._layout.journal(self._owner))
        try:
            lost = None if bare else lost_records(self._files, self._layout, fold, thorough=True)
        except AlchemyError:  # a directory of views that is a link: told by itself
            return
        if lost is not None:
            file = lost.file if isinstance(lost, JournalInvalid) else self._layout.journal(self._owner)
            yield self._sound.finding(file, self._owner, lost.message, lost.hint)
            return
        holder = read_holder(self._layout, self._files, self._owner)
        last = max(epoch_numbers(self._files, self._layout, self._owner), default=0)
        if holder is not None and holder.epoch > last:
            problem = f"the lock was taken by run R-{holder.epoch}, and the journal ends at R-{last}: its file is gone"
            yield self._of_journal(problem, f"put back your own copy, or run `alchemy scope rebuild {self._owner}`")

    def _gaps(self) -> Iterator[Finding]:
        """Files of runs that a snapshot makes up for."""
        epochs = epoch_numbers(self._files, self._layout, self._owner)
        there = set(epochs)
        gone = [epoch for epoch in range(epochs[0], epochs[-1]) if epoch not in there] if epochs else []
        if epochs and not self._begins(epochs[0]):
            gone.insert(0, epochs[0] - 1)
        if gone:
            runs = ", ".join(f"R-{epoch}" for epoch in gone[:5]) + (", …" if len(gone) > 5 else "")
            problem = f"the files of runs are gone ({runs}): the state can be read without them, their logs cannot"
            advice = "put back your own copy, if you have one"
            yield self._sound.finding(self._layout.journal(self._owner), self._owner, problem, advice, error=False)

    def _begins(self, epoch: int) -> bool:
        """Nothing was before it. True also where that cannot be told: what is wrong then is told already."""
        try:
            raw = self._files.read(self._layout.epoch(self._owner, epoch))
            record, _ = decode(raw[: raw.find(b"\n") + 1])
        except (AlchemyError, BadLine, FileNotFoundError):
            return True
        return not record.prev or BEGINS in record.body

    # -- views --------------------------------------------------------------------------------------------------

    def _views(self, fold: Fold | None, there: list[Path]) -> Iterator[Finding]:
        known = {place_of(self._layout, key): key for key in fold.stamps} if fold else {}
        if fold and not fold.seq:  # an application that only has stages
            known = {}
        rewrite = f"`alchemy scope validate {self._owner} --fix` writes it again from the journal"
        base = self._layout.scope(self._scope)
        for path in sorted({*(path for path in known if base in path.parents), *there}):
            key = known.get(path, "")
            found = read_view(self._files, path, key)
            if found is None:
                if not self._busy:
                    yield self._sound.finding(path, self._owner, "it is missing", rewrite, error=False)
            elif found.problem:
                yield self._damaged(path, found.problem, found.line, rewrite)
            elif found.key and place_of(self._layout, found.key) != path:
                whose = safe_text(found.key.strip("\0").replace("\0", " of generation "), 200)
                advice = f"remove it: `rm {safe_text(path)}`"
                yield self._sound.finding(path, self._owner, f"misplaced: it is the file of {whose}", advice)
            elif not key and fold is not None and fold.seq and not self._bare(path, found):
                lost = lost_owner(self._files, self._layout, fold, path)
                yield self._off(path, found, fold, rewrite) if not lost else self._unknown(path, lost)
            elif fold and key and key != f"\0{self._owner}" and found.stamp != fold.stamps[key] and not self._busy:
                yield self._off(path, found, fold, rewrite, known=True)

    def _bare(self, path: Path, found: ViewFile) -> bool:
        """Of an application that was destroyed and has stages again: it is known by this file, without a row."""
        return path == self._layout.scope_view(self._owner) and found.stamp is not None and not found.stamp.seq

    def _off(self, path: Path, found: ViewFile, fold: Fold, rewrite: str, *, known: bool = False) -> Finding:
        """Of another moment than the journal: before what it says now, or after what is left of it."""
        problem = "it is behind the journal" if known else "the journal knows no such row"
        if found.stamp and found.stamp.seq > fold.seq:
            problem = f"it is ahead of the journal: record {found.stamp.seq}, from which it was written, is gone"
            rewrite = f"`alchemy scope rebuild {self._owner}` goes by it"
        return self._sound.finding(path, self._owner, problem, rewrite, error=False)

    def _unknown(self, path: Path, lost: str) -> Finding:
        advice = f"put back your own copy, or run `alchemy scope rebuild {lost}`, which begins with what is left"
        return self._sound.finding(path, lost, f"of {lost} nothing but such files is left, its journal is gone", advice)

    @property
    def _busy(self) -> bool:
        """A run is writing: its views come after its records."""
        return self._lock.verdict is Verdict.LIVE

    def _damaged(self, path: Path, problem: str, line: int, rewrite: str) -> Finding:
        name = safe_text(path.relative_to(self._layout.root))
        if line:
            what, _, why = problem.partition(": ")
            problem = f"{what} in {name}:{line}{f': {why}' if why else ''}"
        way_out = f"{rewrite}; what is in it now is kept beside it"
        if problem.startswith("edited"):
            way_out += f"; `alchemy scope validate {self._owner} --accept-edit` makes it the state instead"
        elif problem.startswith("format"):
            way_out = "use the version that wrote it, or a later one"
        return self._sound.finding(path, self._owner, problem, way_out)

    def _names(self, fold: Fold) -> Iterator[Finding]:
        """Rows that people, or the disks of others, cannot tell apart."""
        seen: dict[tuple[str, str], str] = {}
        for row in fold.resources.values():
            other = seen.setdefault((row.scope, skeleton(row.id)), row.id)
            if other != row.id and _in(row.scope, self._scope):
                problem = f"{row.id!a} and {other!a} look alike"
                path, advice = self._layout.resource_view(row.address), "give one another id if that is not meant"
                yield self._sound.finding(path, self._owner, problem, advice, error=False)
        lower: dict[str, str] = {}
        for scope in sorted(fold.scopes):
            other = lower.setdefault(scope.lower(), scope)
            if other != scope:
                problem = f"{scope} and {other} differ only in case: on many disks they are one directory"
                path, advice = self._layout.scope(scope), "give one of the two another name"
                yield self._sound.finding(path, self._owner, problem, advice)


def _leftovers(store: LocalStore, sound: Soundness, items: list[Item], scope: str | None) -> Iterator[Finding]:
    for lock in lock_views(store.layout, store.files, store.clock):
        if lock.verdict is Verdict.STALE and (not scope or _in(lock.path, scope)):
            why = lock.evidence[0] if lock.evidence else "its holder is gone"
            advice = f"run the same command again, which takes it over; or `alchemy scope unlock {lock.path}`"
            file = store.layout.holder(lock.path)
            yield sound.finding(file, lock.path, f"a run died with the lock: {why}", advice, error=False)
    for item in items:
        if item.what is What.TEMPORARY and stat.S_ISREG(item.found.st_mode):
            try:
                now = item.path.lstat()
            except OSError:  # whoever wrote it has finished
                continue
            if (now.st_ino, now.st_mtime_ns) == (item.found.st_ino, item.found.st_mtime_ns):
                problem, advice = "left behind by a process that died while it wrote", f"rm {safe_text(item.path)}"
                yield sound.finding(item.path, item.scope, problem, advice, error=False)


def _root(store: LocalStore) -> Iterator[Finding]:
    """The state directory itself."""
    shown = safe_text(store.root)
    if store.files.warning:
        yield Finding(
            ".", "", "warning", store.files.warning, f"run as its owner, or `chown -R {os.geteuid()} {shown}`"
        )
    try:
        writable = store.root.stat().st_mode & stat.S_IWGRP
    except OSError:
        return
    if writable:
        yield Finding(".", "", "warning", "others may write it", f"chmod 700 {shown}")


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
