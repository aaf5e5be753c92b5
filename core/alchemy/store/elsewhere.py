"""Whether an application has its state in the other place: in the files of this machine, or in a bucket.

Variables that are set or forgotten would make everything a second time. So a run that finds nothing of its own where it
was led looks at the other place first. The directory remembers a bucket by `<app>/bucket.json`; a bucket is asked for
by nobody without its variables. Neighbours: `place` chooses, `admission` asks, `moving` moves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from alchemy.errors import AlchemyError, Refused, StateInvalid, StorageFailed
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from alchemy.store.moving import ARRIVING, MOVED, make_mark, means, read_mark
from alchemy.store.shelf import shelf_of
from alchemy.store.store import Store

BUCKET: Final = "bucket.json"
_NAMES: Final = "R2_ACCESS_KEY_ID R2_SECRET_ACCESS_KEY R2_BUCKET_NAME"
_FILES: Final = 'state_store = "file" in [tool.alchemy]'


class Elsewhere(NamedTuple):
    """`said`: what lies there. `ways`: what to type."""

    said: str
    ways: str


def refuse_second_place(store: Store, fold: Fold) -> None:
    """For every run, with what is stored where it was led. Refused when that is nothing, and the other place has it.

    Tests are made anew each time; and a place that a person named is meant.
    """
    path = ScopePath.parse(fold.path)
    if store.meant or fold.resources or _is_test(fold.path):
        return
    found = other_place(store, path.app)
    if found is not None:
        raise Refused(
            f"{found.said}, and nothing of {path} is in {safe_text(store.place)}: "
            "a run there would make everything a second time",
            hint=found.ways,
        )


def remember(store: Store, path: ScopePath) -> None:
    """That the application is in this bucket, once something of it is. Best effort: a run needs no directory for it."""
    if not store.remote or _is_test(str(path)):
        return
    local = LocalStore(Layout(store.root))
    name = f"{path.app}/{BUCKET}"
    with suppress(StorageFailed, StateInvalid):
        mark = read_mark(local, name)
        if mark is None or not means(mark.place, store):
            made = make_mark(store, (path.app,), store.clock.now())
            shelf_of(local).replace(name, made.to_bytes())


def forget_bucket(store: Store, app: str) -> None:
    """The state of `app` has come into these files."""
    if not store.remote:
        shelf_of(store).remove(f"{app}/{BUCKET}")


def other_place(store: Store, app: str) -> Elsewhere | None:
    """What the place that was not chosen has of `app`. StateInvalid when its mark cannot be read."""
    return _in_files(store, app) if store.remote else _in_bucket(store, app)


def notes(store: Store) -> Iterator[Elsewhere]:
    """Of every application that the other place has something of, for whoever looks at this one."""
    if store.meant:
        return
    local = LocalStore(Layout(store.root))
    try:
        names = local.files.names(local.root)
        apps = [n for n in names if local.files.exists(local.root / n / (BUCKET if not store.remote else "state.json"))]
        for app in apps:
            found = other_place(store, app)
            if found is not None:
                yield found
    except AlchemyError:  # whoever looks at that place itself is told
        return


def _in_bucket(store: Store, app: str) -> Elsewhere | None:
    file = store.root / app / BUCKET
    mark = read_mark(store, f"{app}/{BUCKET}")
    if mark is None:
        return None
    return Elsewhere(
        f"the state of {app} is in the bucket {safe_text(mark.place, 300)}, whose R2_* variables are not set "
        f"(used by {safe_text(mark.by, 80)} since {safe_text(mark.at, 40)})",
        f"export {_NAMES} and R2_ACCOUNT_ID (or R2_ENDPOINT); or, when files are meant: {_FILES}, or --state-dir "
        f"{safe_text(store.root)}; `alchemy scope migrate --to file` brings the state here. When the bucket is of no "
        f"use any more: rm {safe_text(file)}",
    )


def _in_files(store: Store, app: str) -> Elsewhere | None:
    """Of what moved away, or is not whole here yet, nothing counts."""
    local = LocalStore(Layout(store.root))
    if any(local.files.exists(local.root / name) for name in (MOVED, f"{app}/{ARRIVING}")):
        return None
    for owner in local.owners():
        if owner.split("/")[0] != app or _is_test(owner):
            continue
        try:
            count = len(local.read_fold(owner).resources)
        except AlchemyError:  # nobody can tell what is in it
            count = -1
        if count:
            what = "which cannot be read" if count < 0 else f"{count} resources" if count > 1 else "1 resource"
            root, folder = safe_text(local.root), safe_text(local.root / app)
            return Elsewhere(
                f"{app} has state in the files of {root} ({owner}: {what})",
                f"`alchemy scope migrate --to r2` moves it into the bucket; `unset {_NAMES}`, or {_FILES}, goes on "
                f"with the files; --state-dir {root} names them for one command. When they are of no use any more: "
                f"mv {folder} {safe_text(local.root.parent / app)}-before",
            )
    return None


def _is_test(path: str) -> bool:
    return path.split("/")[1:2] == ["test"]
