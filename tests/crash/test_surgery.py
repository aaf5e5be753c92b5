"""Surgery that is killed, or loses its power, between any two of its file operations: before or after, never half.

A half would be two rows that stand for one object, or none. What undoes it is whole wherever it is done; the same
command finishes what was not. The last test has the state in a bucket, where a record is one object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Op, Put
from alchemy.model.renaming import REFERENCE
from alchemy.model.values import ResourceState, ScopeKind
from alchemy.operations.surgery.exporting import export
from alchemy.operations.surgery.forgetting import forget, plan_forget
from alchemy.operations.surgery.importing import bring_in, plan_import
from alchemy.operations.surgery.moving import move, plan_move
from alchemy.operations.surgery.record import Written
from alchemy.operations.validate import validate
from alchemy.settings import Options
from alchemy.store.backups import read_valid
from alchemy.store.layout import Layout
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from alchemy.store.objects.store import ObjectStore
from alchemy.store.opening import load
from alchemy.store.store import Store
from alchemy.testing.s3 import Server
from tests.crash.cuts import Disk, Recorder, Remains
from tests.crash.runs import chance
from tests.model import rows
from tests.objects.buckets import bucket_at

PROD, NEXT = "my-app/prod", "my-app/next"
OPTIONS = Options(enable_locking=False)  # whose lock is whose is tried elsewhere; the journal fences all the same
CUTS = 3  # ways to lose what was not synced, for each moment


async def run(store: Store, path: str, *ops: Op) -> None:
    ledger = await Ledger.open(
        store, ScopePath.parse(path), ScopeKind.STAGE, purpose="test", timeout=1.0, locking=False
    )
    await ledger.intend(ops)
    await asyncio.to_thread(lambda: ledger.close(outcome="done", counts={}, failures=[]))


def stage() -> list[Op]:
    """A nested scope of three, one of them an old incarnation, and who refers to it."""
    base = rows.row(f"{PROD}/db/base", props={"size": 1}, seq=1)
    reference = {REFERENCE: base.address, "kind": base.kind, "outputs": {}}
    found = [
        base,
        replace(base, former=True, generation=4, physical_name="old", seq=2),
        rows.row(f"{PROD}/db/deep", base.address, props={"uses": reference}, seq=3),
        rows.row(f"{PROD}/user", base.address, props={"uses": [reference]}, seq=4),
    ]
    return [Put(rows.scope(f"{PROD}/db")), *map(Put, found)]


async def moving(store: Store) -> Written:
    return await move(store, plan_move(store, f"{PROD}/db", f"{PROD}/data/main"), OPTIONS)


async def forgetting(store: Store) -> Written:
    return await forget(store, plan_forget(store, [f"{PROD}/db/base", f"{PROD}/user"]), OPTIONS)


async def importing(store: Store) -> Written:
    """What was taken out of the stage before, into another one that is new."""
    taken = [rows.row(f"{PROD}/gone/{id}", seq=n, physical_name=f"gone-{id}") for n, id in enumerate("ab", 1)]
    document = replace(export(store, PROD), scope=f"{PROD}/gone", scopes=(), rows=tuple(taken))
    plan = plan_import(store, document, ScopePath.parse(NEXT))
    return await bring_in(store, plan, OPTIONS, password=None, source_password=None)


ACTS: dict[str, tuple[Callable[[Store], Coroutine[Any, Any, Written]], str]] = {
    "move": (moving, PROD),
    "forget": (forgetting, PROD),
    "import": (importing, NEXT),
}


def told(fold: Fold) -> tuple[dict[str, ResourceState], set[str]]:
    """The rows and scopes, but for who wrote them last; a stage that is opened and empty is as good as none."""
    found = {key: replace(row, run="", updated_at="") for key, row in fold.resources.items()}
    return found, set(fold.scopes) - {fold.path}


@pytest.mark.parametrize("name", ACTS)
def test_before_or_after_wherever_it_dies(name: str, tmp_path: Path) -> None:
    act, path = ACTS[name]
    root, recorder, dice = tmp_path / ".alchemy", Recorder(), chance(0)
    root.mkdir()
    layout, store = Layout(root), LocalStore(Layout(root), "a" * 32, recorder)
    asyncio.run(run(store, PROD, *stage()))
    begin, old = len(recorder.steps), told(store.read_fold(path))
    written = asyncio.run(act(store))
    new = told(store.read_fold(path))
    assert old != new
    disk, seen = Disk(root), list[str]()
    for number, step in enumerate(recorder.steps):
        disk.do(step)
        if number < begin:
            continue
        remains = [disk.killed(), *(disk.any_cut(dice) for _ in range(CUTS))]
        for cut, files in enumerate(remains):
            fold = load(Remains(files), layout, path).fold
            after = told(fold)
            assert after in (old, new), f"step {number} ({step.verb} {step.path.name}): half of it"
            if cut == 0:
                seen.append("new" if after == new else "old")
        if seen[-1] == "new" and written.before:
            backup = layout.backups(path) / written.before
            assert all(files.get(backup) == remains[0][backup] for files in remains), "what undoes it can be lost"
    assert len(seen) > 10
    assert seen == sorted(seen, reverse=True), "first old, then new"
    assert {"old", "new"} == set(seen)
    for number in (begin + seen.index("new") - 1, begin + seen.index("new")):
        disk = Disk(root)
        for step in recorder.steps[: number + 1]:
            disk.do(step)
        Remains(disk.killed()).write_out(root, tmp_path / f"again-{number}")
        again(name, tmp_path / f"again-{number}", new)


def again(name: str, place: Path, new: tuple[dict[str, ResourceState], set[str]]) -> None:
    """After a kill right before the moment, and right after it: the same command does it, or finds it done."""
    act, path = ACTS[name]
    store = LocalStore(Layout(place), "b" * 32)
    if told(store.read_fold(path)) != new:
        asyncio.run(act(store))
    assert told(store.read_fold(path)) == new
    assert [one for one in validate(place) if one.severity == "error"] == []
    asyncio.run(run(store, path, Put(rows.row(f"{path}/later"))))


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.slow
def test_in_a_bucket_it_is_one_object(name: str, tmp_path: Path) -> None:
    act, path = ACTS[name]
    with Server() as server:
        store = ObjectStore(bucket_at(server.endpoint), tmp_path, "c" * 32)
        asyncio.run(run(store, PROD, *stage()))
        old = told(store.read_fold(path))
        written = asyncio.run(act(store))
        new = told(store.read_fold(path))
        assert old != new
        if written.before:
            assert told(read_valid(store, path, written.before).fold) == old
        records = store.read_epoch(path, int(written.run[2:]))
        changing = [record for record in records if record.body.get("surgery") == name]
        assert len(changing) == 1
        assert sum(op["op"] in ("put", "drop") for op in changing[0].ops) > 1
