"""One state from whatever is left of a scope, and the journal that begins with it in the place of the damaged one.

A damaged journal is set aside, never deleted, by one rename; until a new one has begun, every reader says so and nobody
opens the scope. Neighbours: `evidence` reads what is left, `localjournal` begins, `opening` refuses what is damaged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alchemy.errors import LockHeld
from alchemy.model.fold import Fold, Stamp
from alchemy.model.locks import Verdict
from alchemy.model.paths import ScopePath
from alchemy.model.records import Record
from alchemy.model.values import ResourceState, ScopeKind, ScopeState
from alchemy.store.beginnings import BEGINS, Salvaged, begun
from alchemy.store.evidence import Image, Seen, aside_names, read_images, read_records, read_views
from alchemy.store.files import Files
from alchemy.store.layout import Layout

if TYPE_CHECKING:
    from alchemy.store.store import Store


def salvage(files: Files, layout: Layout, store: Store, path: ScopePath | str) -> Salvaged:
    """Also of a scope of which nothing is left. StateInvalid only for what a newer version wrote."""
    records = read_records(files, layout, path)
    problems = records.problems
    chain = [found.record for found in records.chain]
    image = _newest_image(files, layout, store, path, chain)
    fold = image.fold if image else Fold(str(path))
    start = fold.seq
    made = Salvaged(fold)
    if image:
        made.sources = dict.fromkeys([*fold.resources, *("\x00" + scope for scope in fold.scopes)], image.source)
    dropped: dict[str, int] = {}
    known: set[int] = set()
    for found in records.chain:
        if found.record.seq > start:
            try:
                _apply(fold, found.record, found.check, made.sources, dropped)
            except (KeyError, TypeError, ValueError, AttributeError):
                problems.append(f"record {found.record.seq} has a good checksum and is not of this tool")
                continue
            known.add(found.record.seq)
    made.missing = sum(seq not in known for seq in range(_first(chain, start), fold.seq))
    views = _own(str(path), list(read_views(files, layout, path)))
    for seen in views:
        covered = seen.stamp.seq <= start or seen.stamp.seq in known
        if not covered and _is_newer(seen, fold, dropped):
            _take(seen, fold, made.sources)
    made.problems = tuple(problems)
    numbers = [(fold.epoch, fold.seq, fold.serial), *(seen.stamp for seen in views)]
    made.epoch = max(records.epoch, *(number[0] for number in numbers))
    made.seq = max(records.seq, *(number[1] for number in numbers))
    made.serial = max(records.serial, *(number[2] for number in numbers))
    return made


def _own(path: str, views: list[Seen]) -> list[Seen]:
    """Without those of stages and tests that lie below an application: their journals are their own."""
    scopes = [seen.row for seen in views if isinstance(seen.row, ScopeState)]
    others = [row.path for row in scopes if row.kind is not ScopeKind.NESTED and row.path != path]
    return [seen for seen in views if not any(_is_below(seen.row, other) for other in others)]


def _is_below(row: ResourceState | ScopeState, path: str) -> bool:
    mine = row.path if isinstance(row, ScopeState) else row.address
    return mine == path or mine.startswith(f"{path}/")


def _first(chain: list[Record], start: int) -> int:
    """The first number that something should be known of: all before it is in an image, or was begun with."""
    begins = chain[0].body.get(BEGINS) if chain else None
    return max(start, begins["seq"] if begins else 0) + 1


def _newest_image(
    files: Files, layout: Layout, store: Store, path: ScopePath | str, chain: list[Record]
) -> Image | None:
    """Of the same lineage as the records, as far as they say. One from before the journal's beginning is of no use."""
    lineages = [record.body.get("lineage") for record in chain if record.kind == "open"]
    begins = chain[0].body.get(BEGINS) if chain else None
    images = [
        image
        for image in read_images(files, layout, store, path)
        if (not lineages or image.fold.lineage == lineages[-1]) and (not begins or image.fold.seq > begins["seq"])
    ]
    return max(images, key=lambda image: image.fold.seq, default=None)


def _apply(fold: Fold, record: Record, check: str, sources: dict[str, str], dropped: dict[str, int]) -> None:
    if BEGINS in record.body:
        for table in (fold.resources, fold.scopes, fold.stamps, sources):
            table.clear()
        fold.declared = begun(fold.path, record.body[BEGINS]).declared
    rows, scopes = fold.apply(record, check)
    for key in [*rows, *("\x00" + scope for scope in scopes)]:
        if key in fold.stamps:
            sources[key] = "journal"
        else:
            sources.pop(key, None)
            dropped[key] = record.seq


def _is_newer(seen: Seen, fold: Fold, dropped: dict[str, int]) -> bool:
    stamp = fold.stamps.get(seen.key)
    if seen.key == "\x00" + fold.path and stamp is not None:
        return False  # the owner's own view carries the journal's end, not the record that wrote it
    return seen.stamp.seq > max(stamp.seq if stamp else 0, dropped.get(seen.key, 0))


def _take(seen: Seen, fold: Fold, sources: dict[str, str]) -> None:
    sources[seen.key] = seen.source
    if isinstance(seen.row, ResourceState):
        fold.set_row(seen.row, Stamp(*seen.stamp))
    elif isinstance(seen.row, ScopeState):
        fold.stamps[seen.key] = Stamp(*seen.stamp)
        fold.scopes[seen.row.path] = seen.row


def set_aside(files: Files, layout: Layout, path: ScopePath | str) -> str:
    """Renames the journal's directory; returns its name now, "" when there is none. The caller holds the scope alone.

    What is left has a `backups` directory: by that the scope stays known as one that had a journal.
    """
    if not files.exists(layout.journal(path)):
        return ""
    files.make_directory(layout.backups(path))
    names = aside_names(files, layout, path)
    number = int(names[-1].rpartition("-")[2]) + 1 if names else 1
    name = f"journal.damaged-{number}"
    files.move(layout.journal(path), name)
    return name


def refuse_while_held(store: Store, path: ScopePath | str) -> None:
    """LockHeld unless nobody holds `path`, or this session does."""
    view = store.lock_view(path)
    mine = view.holder is not None and view.holder.session == store.session
    if view.verdict in (Verdict.LIVE, Verdict.UNKNOWN) and not mine:
        evidence = f": {view.evidence[0]}" if view.evidence else ""
        raise LockHeld(
            f"Failed to acquire lock {path}: its journal cannot be set aside while somebody holds it{evidence}",
            hint="`alchemy scope locks` shows who; wait for them, or ask them to stop",
        )
