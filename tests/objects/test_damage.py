"""Objects of a journal cut, emptied, edited, swapped, misplaced: an error that names one, or the same state."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from alchemy.errors import StateInvalid
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Put
from alchemy.model.values import ScopeKind
from alchemy.store.ledger import Ledger
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.store import ObjectStore
from alchemy.testing.objects import MemoryObjects
from tests.model import rows

PROD = ScopePath.parse("my-app/prod")
LIMITS = Limits(gap=0.0, pause=0.001, poll=0.01, tail=12, history=8)


def store_of(bodies: dict[str, bytes], root: Path, limits: Limits = LIMITS) -> ObjectStore:
    objects = MemoryObjects()
    for key, body in bodies.items():
        objects.create(key, body)
    return ObjectStore(objects, root, "5e55" * 8, limits=limits)


def deploy(store: ObjectStore, *ids: str) -> None:
    async def work() -> None:
        ledger = await Ledger.open(store, PROD, ScopeKind.STAGE, purpose="deploy", timeout=5.0)
        for id in ids:
            await ledger.intend([Put(rows.row(f"{PROD}/{id}"))])
        ledger.close(outcome="done", counts={}, failures=[])

    asyncio.run(work())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Some runs, the first of them compacted, the last with a tail."""
    objects = MemoryObjects()
    for number in range(3):
        store = ObjectStore(objects, tmp_path_factory.mktemp("root"), f"{number:032x}", limits=LIMITS)
        deploy(store, *(f"r{number}-{count}" for count in range(14)))
    deploy(ObjectStore(objects, tmp_path_factory.mktemp("root"), "4" * 32, limits=LIMITS), "last", "very-last")
    bodies = {key: body for key, body in objects.bodies().items() if key.startswith("my-app/prod/")}
    assert sum("/snapshots/" in key for key in bodies) == 2
    return {key: body for key, body in bodies.items() if "/backups/" not in key}


def spoil(dice: random.Random, whole: dict[str, bytes]) -> tuple[dict[str, bytes], str]:
    """(the objects with one accident, what happened)."""
    bodies = dict(whole)
    newest = max(key for key in bodies if "/journal/" in key)
    key = dice.choice(sorted(bodies))
    body = bodies[key]
    at = dice.randrange(len(body))
    match dice.randrange(7):
        case 0:
            bodies[key] = body[:at]
            what = f"cut to {at} bytes"
        case 1:
            bodies[key] = body[:at] + bytes([body[at] ^ (1 << dice.randrange(8))]) + body[at + 1 :]
            what = f"byte {at} is another"
        case 2:
            bodies[key] = b""
            what = "emptied"
        case 3:
            other = dice.choice(sorted(bodies))
            bodies[key], bodies[other] = bodies[other], body
            what = f"swapped with {other}"
        case 4:
            bodies[key] = dice.choice([b"null", b"[]", b'{"r":{},"c":""}\n', b"[" * 5000, b"\xff\xfe" * 40])
            what = "something else"
        case 5:
            bodies[key] = body + body
            what = "doubled"
        case _:
            if key == newest:  # that it was there, nothing else says
                key = min(bodies)
            del bodies[key]
            what = "gone"
    return bodies, f"{key}: {what}"


@pytest.mark.parametrize("part", range(4))
def test_an_accident_is_named_or_changes_nothing(part: int, whole: dict[str, bytes], tmp_path: Path) -> None:
    expected = store_of(whole, tmp_path).read_fold(PROD).to_snapshot()
    named = 0
    for seed in range(part * 100, part * 100 + 100):
        bodies, what = spoil(random.Random(seed), whole)
        store = store_of(bodies, tmp_path)
        before = {key: store.objects.get(key) for key in bodies}
        fold, error = read(store)
        if error is None:
            assert fold is not None
            assert fold.to_snapshot() == expected, what
            continue
        named += 1
        assert any(key in error.message for key in whole), (what, error.message)
        assert error.hint
        with pytest.raises(StateInvalid):
            deploy(store, "new")
        assert {key: store.objects.get(key) for key in bodies} == before, "left as it was"
    assert named > 5


def read(store: ObjectStore) -> tuple[Fold | None, StateInvalid | None]:
    try:
        return store.read_fold(PROD), None
    except StateInvalid as error:
        return None, error


def test_a_journal_of_another_scope_is_not_taken_for_ours(whole: dict[str, bytes], tmp_path: Path) -> None:
    moved = {key.replace("my-app/prod/", "my-app/dev/"): body for key, body in whole.items()}
    store = store_of(moved, tmp_path, replace(LIMITS))
    with pytest.raises(StateInvalid) as error:
        store.read_fold("my-app/dev")
    assert "my-app/dev/" in error.value.message
