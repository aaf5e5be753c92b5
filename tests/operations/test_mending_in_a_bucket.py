"""Cleanup, reset and rebuild where state is in a bucket: the same plans, the same records."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from alchemy.engine.blocks import Opening
from alchemy.engine.entering import open_owner
from alchemy.engine.session import Session
from alchemy.errors import Refused, StateInvalid
from alchemy.model.paths import ScopePath
from alchemy.model.values import ScopeKind
from alchemy.operations.accepting import plan_edits
from alchemy.operations.cleaning import cleanup, plan_cleanup
from alchemy.operations.rebuilding import plan_rebuild, rebuild
from alchemy.operations.resetting import plan_reset, reset
from alchemy.settings import Options, Project
from alchemy.store.ledger import Ledger
from alchemy.store.objects.store import ObjectStore
from alchemy.testing.objects import MemoryObjects
from alchemy.wiring import connect
from tests.scenarios.world import CLOUD, PROD, Cloud, Thing

pytestmark = pytest.mark.slow  # each tries its bucket first, as a real one

STAGE = ScopePath.parse(PROD)
OPTIONS = Options(retry_delay=0.0)


class Bucket:
    """A stage of things whose state is in objects."""

    def __init__(self, root: Path) -> None:
        self.objects = MemoryObjects()
        self.root = root
        self.sessions = 0

    @property
    def store(self) -> ObjectStore:
        self.sessions += 1
        return ObjectStore(self.objects, self.root, f"{self.sessions:032x}")

    def deploy(self, *ids: str) -> None:
        async def declare() -> None:
            session = Session(self.store, "up", OPTIONS, connect, None, "a dict")
            async with Opening(lambda: open_owner(session, STAGE, ScopeKind.STAGE, OPTIONS)):
                for id in ids:
                    Thing(id)

        asyncio.run(declare())

    def run(self, act: Callable[[ObjectStore], Awaitable[object]]) -> None:
        async def acted() -> None:
            await act(self.store)

        asyncio.run(acted())

    @property
    def ids(self) -> list[str]:
        return sorted(row.id for row in self.store.read_fold(PROD).resources.values())


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    cloud = Cloud()
    token = CLOUD.set(cloud)
    yield cloud
    CLOUD.reset(token)


@pytest.fixture
def bucket(tmp_path: Path, cloud: Cloud) -> Bucket:
    return Bucket(tmp_path)


def test_what_was_left_behind_goes(bucket: Bucket, cloud: Cloud) -> None:
    bucket.deploy("a", "b")

    async def release(store: ObjectStore) -> None:
        ledger = await Ledger.open(store, STAGE, ScopeKind.STAGE, purpose="deploy", timeout=5)
        declared = {"complete": True, "orphans": [f"{PROD}/b"], "next_seq": ledger.fold.next_seq}
        await asyncio.to_thread(lambda: ledger.close(outcome="done", counts={}, failures=[], declared=declared))

    bucket.run(release)
    assert [step.address for step in plan_cleanup(bucket.store, STAGE).deletions] == [f"{PROD}/b"]
    bucket.run(lambda store: cleanup(store, STAGE, OPTIONS, project=Project(bucket.root, {})))
    assert (cloud.ids(), bucket.ids) == (["a"], ["a"])


def test_a_reset_forgets_and_the_cloud_keeps(bucket: Bucket, cloud: Cloud) -> None:
    bucket.deploy("a", "b")
    lineage = bucket.store.read_fold(PROD).lineage
    bucket.run(lambda store: reset(store, plan_reset(store, STAGE), OPTIONS))
    assert (cloud.ids(), bucket.ids) == (["a", "b"], [])
    assert bucket.store.read_fold(PROD).lineage == lineage
    assert bucket.store.backups(PROD)


def test_what_only_files_have_is_refused(bucket: Bucket, cloud: Cloud) -> None:
    bucket.deploy("a")
    with pytest.raises(Refused, match="no files to edit"):
        plan_edits(bucket.store, PROD)


def test_sound_state_comes_out_the_same(bucket: Bucket, cloud: Cloud) -> None:
    bucket.deploy("a", "b")
    lineage = bucket.store.read_fold(PROD).lineage

    async def act(store: ObjectStore) -> None:
        plan = await plan_rebuild(store, STAGE, OPTIONS, project=Project(bucket.root, {}))
        assert plan.severe
        await rebuild(store, plan, OPTIONS)

    bucket.run(act)
    fold = bucket.store.read_fold(PROD)
    assert [(row.id, row.verify) for row in fold.resources.values()] == [("a", True), ("b", True)]
    assert fold.lineage == lineage
    cloud.log.clear()
    bucket.deploy("a", "b")
    assert sorted(cloud.log) == ["read a", "read b"]


def test_a_state_is_rebuilt_above_records_that_cannot_be_read(bucket: Bucket, cloud: Cloud) -> None:
    bucket.deploy("a", "b")
    key = f"{PROD}/journal/{2:016d}.json"
    found = bucket.objects.get(key)
    assert found is not None
    bucket.objects.replace(key, found.body.replace(b'"seq":2', b'"seq":7'), found.etag)
    with pytest.raises(StateInvalid):
        bucket.deploy("a", "b")

    async def act(store: ObjectStore) -> None:
        plan = await plan_rebuild(store, STAGE, OPTIONS, project=Project(bucket.root, {}))
        await rebuild(store, plan, OPTIONS)

    bucket.run(act)
    assert bucket.ids == ["a", "b"]
    bucket.deploy("a")
    assert (cloud.ids(), bucket.ids) == (["a"], ["a"])
    assert cloud.calls("create") == ["a", "b"]
