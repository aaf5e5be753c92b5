"""What `scope validate` tells of a bucket: its journals, backups, claims and strays; and of spills, wherever they are.

There are no views in a bucket and no files of runs. Reads only. Neighbour: `validate` asks, and looks at files itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alchemy.errors import AlchemyError
from alchemy.model.backup import read_whole
from alchemy.model.text import safe_text
from alchemy.operations.shapes import Finding
from alchemy.operations.spills import spills
from alchemy.store.store import Store

if TYPE_CHECKING:
    from alchemy.store.objects.store import ObjectStore

_KNOWN = re.compile(
    r"(journal|snapshots)/[0-9]{16}\.json|backups/(state-[0-9TZ-]+\.json(\.[a-z]+)?|superseded-[0-9]+\.json)"
    r"|keys\.json|arriving\.json"
)


def look_at_bucket(store: Store, owners: Sequence[str], wanted: Sequence[str]) -> Iterator[Finding]:
    """`owners` are all there are, `wanted` those to be looked at."""
    from alchemy.store.objects.store import ObjectStore

    assert isinstance(store, ObjectStore)
    for owner in wanted:
        yield from _journal(store, owner)
        yield from _backups(store, owner)
        yield from _strays(store, owner, [other for other in owners if other.startswith(f"{owner}/")])
    yield from _claims(store, wanted)


def _journal(store: ObjectStore, owner: str) -> Iterator[Finding]:
    try:
        fold = store.read_fold(owner)
        error = store.lost_records(fold, thorough=True) if fold.seq else None
    except AlchemyError as damage:
        error = damage
    if error is not None:
        yield Finding(f"{owner}/journal", owner, "error", error.message, error.hint)


def _backups(store: ObjectStore, owner: str) -> Iterator[Finding]:
    for name in store.backups(owner):
        try:
            read_whole(name, store.read_backup(owner, name)[0], owner)
        except (ValueError, AlchemyError, FileNotFoundError) as problem:
            advice = f"nobody can go back to it; `alchemy scope backup {owner}` makes another"
            yield Finding(f"{owner}/backups/{name}", owner, "warning", str(problem), advice)


def _strays(store: ObjectStore, owner: str, below: Sequence[str]) -> Iterator[Finding]:
    prefix = store.keys.scope(owner)
    others = tuple(store.keys.scope(each) for each in below)
    for item in store.objects.list(prefix):
        name = item.key[len(prefix) :]
        if not item.key.startswith(others) and not _KNOWN.fullmatch(name):
            advice = "see who put it there, then remove it from the bucket: the state does not need it"
            problem = "nothing of alchemy is called so"
            yield Finding(f"{owner}/{safe_text(name, 300)}", owner, "warning", problem, advice)


def _claims(store: ObjectStore, wanted: Sequence[str]) -> Iterator[Finding]:
    from alchemy.store.objects.claims import decode_claim, is_free

    for item in store.objects.list(store.keys.locks):
        path = store.keys.locked(item.key)
        if not path or is_free(item) or not any(f"{path}/".startswith(f"{owner}/") for owner in wanted):
            continue
        found = store.objects.get(item.key)
        if found is not None and not is_free(found) and not decode_claim(path, found.body).id:
            problem = "who holds the lock cannot be told: it is no claim of alchemy"
            advice = f"the next run takes it over when nothing moves for a minute; or `alchemy scope unlock {path}`"
            yield Finding(f"locks/{safe_text(path, 200)}.lock", path, "warning", problem, advice)


def look_at_spills(store: Store, scope: str, told: list[Finding]) -> Iterator[Finding]:
    """What runs could not write, also in the directory for temporary files, where a full disk leaves it."""
    known = {one.file for one in told}
    for info in spills(store, scope):
        path = Path(info.file)
        file = safe_text(path.relative_to(store.root) if path.is_relative_to(store.root) else path)
        if file in known:
            continue
        problem = info.problem or f"{info.run} of {info.scope} could not write {info.changes} changes to its journal"
        advice = f"`alchemy scope recover {safe_text(info.file)}` writes them"
        if info.problem:
            advice = "keep it: it may hold the only copy of an id that the cloud gave"
        yield Finding(file, info.scope, "error" if info.problem else "warning", problem, advice)
