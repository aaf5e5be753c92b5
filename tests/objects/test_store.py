"""The store in a bucket as the engine uses it: what a run costs in requests, which scopes there are, what goes."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alchemy.errors import StateInvalid
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Put
from alchemy.model.values import ScopeKind, Status
from alchemy.operations.workspace import Workspace
from alchemy.store.ledger import Ledger
from alchemy.store.localjournal import EpochFile
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.log import Log
from alchemy.store.objects.port import Objects
from alchemy.store.objects.requests import perform
from alchemy.store.objects.settings import BucketSettings
from alchemy.store.objects.store import ObjectStore, bucket_store
from alchemy.store.shelf import shelf_of
from alchemy.testing import ManualClock
from alchemy.testing.objects import MemoryObjects
from alchemy.testing.s3 import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server
from tests.model import rows
from tests.objects.gated import Gated

QUICK = Limits(gap=0.0, pause=0.001, poll=0.01)
PROD = ScopePath.parse("my-app/prod")
TEST = ScopePath.parse("my-app/test/e2e-abc123")


class Bucket:
    """One place; each `store()` is a process of its own, whose requests are counted."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.objects = MemoryObjects(f"memory://{root.name}")
        self.count = 0

    def store(self, **given: Any) -> ObjectStore:
        self.count += 1
        gated = Gated(self.objects, f"{self.objects.place}#{self.count}")
        return ObjectStore(gated, self.root, f"{self.count:032x}", prefix="team/", limits=QUICK, **given)

    def writes(self, store: ObjectStore) -> list[str]:
        assert isinstance(store.objects, Gated)
        return store.objects.writes

    def reads(self, store: ObjectStore) -> list[str]:
        assert isinstance(store.objects, Gated)
        return store.objects.reads


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path)


def intent(scope: ScopePath, id: str, **changed: Any) -> Put:
    return Put(rows.row(f"{scope}/{id}", status=Status.CREATING, **changed), phase="intent", action="create")


def result(scope: ScopePath, id: str, **changed: Any) -> Put:
    return Put(rows.row(f"{scope}/{id}", **changed), phase="result", action="create")


async def open_ledger(store: ObjectStore, path: ScopePath = PROD, kind: ScopeKind = ScopeKind.STAGE) -> Ledger:
    store.prepare()
    return await Ledger.open(store, path, kind, purpose="deploy", timeout=5.0)


def end(ledger: Ledger) -> None:
    ledger.close(outcome="done", counts={}, failures=[])


def run(store: ObjectStore, *ids: str, path: ScopePath = PROD, kind: ScopeKind = ScopeKind.STAGE) -> None:
    """One after the other: each intent is awaited, each result rides along."""

    async def work() -> None:
        ledger = await open_ledger(store, path, kind)
        for id in ids:
            await ledger.intend([intent(path, id)])
            ledger.record([result(path, id)])
        end(ledger)

    asyncio.run(work())


def test_results_that_nobody_awaits_come_together_for_longer_where_each_record_is_a_request(tmp_path: Path) -> None:
    assert 4 * EpochFile.linger <= Limits().linger < 0.5, "and what a killed run has not written is small"
    objects = Gated(MemoryObjects(f"memory://{tmp_path.name}"))
    store = ObjectStore(objects, tmp_path, "f" * 32, limits=replace(QUICK, linger=30.0))

    async def work() -> list[str]:
        ledger = await open_ledger(store)
        await ledger.intend([intent(PROD, id) for id in "abc"])
        before = len(objects.writes)
        for id in "abc":
            ledger.record([result(PROD, id)])
            await asyncio.sleep(3 * EpochFile.linger)
        assert objects.writes[before:] == []
        began = time.monotonic()
        await ledger.intend([intent(PROD, "d")])
        assert time.monotonic() - began < 10, "who awaits is not kept waiting"
        came = objects.writes[before:]
        end(ledger)
        return came

    assert len([key for key in asyncio.run(work()) if "/journal/" in key]) == 1


def test_a_run_in_which_nothing_changed_writes_its_claim_its_opener_its_release_and_no_more(bucket: Bucket) -> None:
    run(bucket.store(), "a", "b")
    store = bucket.store()
    run(store)
    lock, journal = "team/locks/my-app/prod.lock", "team/my-app/prod/journal/"
    writes = bucket.writes(store)
    assert [key for key in writes if key != lock] == sorted(key for key in writes if key.startswith(journal))
    assert len([key for key in writes if key.startswith(journal)]) == 2
    assert len([key for key in writes if key == lock]) == 2, "claimed, freed: a write in between would be waited for"
    # snapshots, records, and twice who is above; once who has it and who is below; the tail
    assert len(bucket.reads(store)) <= 10 + 6


def test_changed_resources_cost_two_requests_each_at_most(bucket: Bucket) -> None:
    store = bucket.store()
    ids = [f"r{number}" for number in range(40)]
    run(store, *ids)
    writes = bucket.writes(store)
    assert len(writes) + len(bucket.reads(store)) <= 2 * len(ids) + 20
    assert len([key for key in writes if "/journal/" in key]) <= 2 * len(ids) + 2


def test_resources_changed_side_by_side_share_their_requests(bucket: Bucket) -> None:
    store = bucket.store()

    async def make(ledger: Ledger, number: int) -> None:
        await ledger.intend([intent(PROD, f"r{number}")])
        await asyncio.sleep(0.01)
        ledger.record([result(PROD, f"r{number}")])

    async def work() -> None:
        ledger = await open_ledger(store)
        await asyncio.gather(*(make(ledger, number) for number in range(200)))
        end(ledger)

    asyncio.run(work())
    assert len(bucket.writes(store)) + len(bucket.reads(store)) <= 60
    assert len(bucket.store().read_fold(PROD).resources) == 200


def test_what_was_read_for_a_name_is_not_read_again_for_opening(bucket: Bucket) -> None:
    run(bucket.store(), "a", "b", "c")
    store = bucket.store()
    assert store.stored_kind(PROD) is ScopeKind.STAGE
    run(bucket.store(), "d")
    run(store)
    records = [read for read in bucket.reads(store) if read.startswith("get") and "/journal/" in read]
    assert len(records) == len(set(records)) > 6
    assert len(bucket.store().read_fold(PROD).resources) == 4


def test_a_look_at_which_nothing_is_new_is_one_request(bucket: Bucket) -> None:
    run(bucket.store(), "a")
    store = bucket.store()
    reader = store.reader(PROD)
    assert reader.poll()
    before = len(bucket.reads(store))
    for _ in range(5):
        assert not reader.poll()
    assert len(bucket.reads(store)) == before + 5


def test_an_application_without_a_journal_costs_nothing_of_its_own_to_look_at(bucket: Bucket) -> None:
    run(bucket.store(), "a")
    clock = ManualClock()
    store = bucket.store(clock=clock)
    workspace = Workspace(store)
    workspace.refresh()
    for _ in range(3):
        clock.move(workspace.pace)
        before = len(bucket.reads(store))
        workspace.refresh(full=True)
        asked = bucket.reads(store)[before:]
        own = [read for read in asked if read.endswith(("team/my-app/", "my-app/journal/", "my-app/snapshots/"))]
        assert [read for read in own if "prod" not in read] == ["folders team/my-app/"], "the list of scopes"
    clock.move(workspace.pace)
    run(bucket.store(), "b", path=ScopePath.parse("my-app"), kind=ScopeKind.APPLICATION)
    assert "my-app/b" in workspace.refresh().resources


def test_looking_at_stages_in_which_nothing_happens_is_one_request(tmp_path: Path) -> None:
    with Server() as server:
        settings = BucketSettings(
            endpoint=server.endpoint, bucket="state", access_key_id=ACCESS_KEY_ID, secret_access_key=SECRET_ACCESS_KEY
        )
        for name in ("prod", "dev", "qa"):
            run(bucket_store(settings, tmp_path, os.urandom(16).hex()), "a", path=ScopePath.parse(f"my-app/{name}"))
        clock = ManualClock()
        workspace = Workspace(bucket_store(settings, tmp_path, clock=clock))
        view = workspace.refresh()
        for _ in range(3):
            clock.move(workspace.pace)
            before = Counter(server.counts())
            assert workspace.refresh() is view
            assert Counter(server.counts()) - before == {"LIST": 1}
        run(bucket_store(settings, tmp_path, os.urandom(16).hex()), "a", "b")
        assert "my-app/prod/b" in workspace.refresh().resources, "it came and went between two looks"


def test_a_look_sees_whatever_took_a_lock_since_and_a_full_one_everything(bucket: Bucket) -> None:
    run(bucket.store(), "a")
    clock = ManualClock()
    workspace = Workspace(bucket.store(clock=clock))
    assert set(workspace.refresh().scopes) == {"my-app", "my-app/prod"}

    clock.move(0.5)  # what is known of scopes is fresh
    run(bucket.store(), "a", path=ScopePath.parse("my-app/dev"))
    assert "my-app/dev/a" in workspace.refresh().resources, "another stage"
    run(bucket.store(), "b", path=ScopePath.parse("my-app"), kind=ScopeKind.APPLICATION)
    assert "my-app/b" in workspace.refresh().resources, "the application itself"

    async def scene() -> None:
        ledger = await open_ledger(bucket.store())
        assert "my-app/prod" in workspace.refresh().active
        for id in "cd":
            await ledger.intend([intent(PROD, id)])
            assert f"my-app/prod/{id}" in workspace.refresh().resources, "a run that goes on, without another lock"
        end(ledger)
        assert not workspace.refresh().active
        unlocked = await Ledger.open(
            bucket.store(), PROD, ScopeKind.STAGE, purpose="deploy", timeout=0.0, locking=False
        )
        await unlocked.intend([intent(PROD, "e")])
        end(unlocked)

    asyncio.run(scene())
    workspace.refresh()
    assert "my-app/prod/e" in workspace.refresh(full=True).resources, "a run that took no lock"


def test_opening_costs_no_more_after_a_hundred_runs(bucket: Bucket) -> None:
    for _ in range(35):
        run(bucket.store())
    store = bucket.store()
    log = Log(store.keys, PROD)
    perform(store.objects, store.clock, log.load())
    assert log.floor > 0
    assert len(bucket.reads(store)) <= 64 + 5


def test_scopes_are_known_by_their_keys(bucket: Bucket) -> None:
    run(bucket.store(), "a")
    run(bucket.store(), "a", path=ScopePath.parse("my-app/dev"))
    run(bucket.store(), "a", path=TEST, kind=ScopeKind.TEST)
    run(bucket.store(), "a", path=ScopePath.parse("other"), kind=ScopeKind.APPLICATION)
    bucket.objects.create("team/audit/x.json", b"{}")
    bucket.objects.create("team/.hidden/journal/0000000000000001.json", b"")
    bucket.objects.create("elsewhere/prod/journal/0000000000000001.json", b"")
    store = bucket.store()
    assert store.owners() == ["my-app", "my-app/dev", "my-app/prod", str(TEST), "other"]
    kinds = {path: store.stored_kind(ScopePath.parse(path)) for path in ("my-app", "my-app/dev", "other", "nothing")}
    expected = [ScopeKind.APPLICATION, ScopeKind.STAGE, ScopeKind.APPLICATION, None]
    assert list(kinds.values()) == expected
    assert store.stored_kind(TEST) is ScopeKind.TEST
    assert store.has_journal(PROD)
    assert not store.has_journal("my-app")
    assert not store.has_journal("my-app/nowhere")
    assert {"dev", "prod"} <= {*store.siblings(PROD)}
    assert {"my-app", "other"} <= {*store.siblings(ScopePath.parse("my-app"))}


def test_nested_scopes_are_rows_of_the_journal_above(bucket: Bucket) -> None:
    store = bucket.store()
    nested = ScopePath.parse("my-app/prod/database")

    async def work() -> None:
        ledger = await open_ledger(store)
        await ledger.intend([Put(rows.scope(str(nested)))])
        asked = len(bucket.reads(store))
        assert store.stored_kind(nested) is ScopeKind.NESTED
        assert store.siblings(nested) == ["database"]
        assert len(bucket.reads(store)) == asked, "what is open here needs no request"
        assert store.stored_kind(nested.child("deeper")) is None
        end(ledger)

    asyncio.run(work())
    assert bucket.store().stored_kind(nested) is ScopeKind.NESTED
    assert store.stored_kind(nested) is ScopeKind.NESTED


def test_a_test_scope_leaves_nothing(bucket: Bucket) -> None:
    run(bucket.store(), "a")
    before = bucket.objects.bodies()
    store = bucket.store()
    run(store, *(f"r{number}" for number in range(80)), path=TEST, kind=ScopeKind.TEST)
    assert bucket.objects.bodies() != before
    store.forget(TEST)
    assert bucket.objects.bodies() == before
    assert store.owners() == ["my-app", "my-app/prod"]


def test_forgetting_that_is_cut_off_leaves_a_journal(bucket: Bucket) -> None:
    run(bucket.store(), *(f"r{number}" for number in range(80)), path=TEST, kind=ScopeKind.TEST)
    whole = bucket.objects.bodies()
    run(bucket.store(), "late", path=TEST, kind=ScopeKind.TEST)

    class CutOff(Exception):
        pass

    class Scissors(Gated):
        left = 0

        def delete(self, key: str) -> None:
            if not self.left:
                raise CutOff
            self.left -= 1
            super().delete(key)

    assert any("/snapshots/" in key for key in whole)
    cut = 0
    while True:
        scissors = Scissors(bucket.objects)
        scissors.left = 1
        store = ObjectStore(scissors, bucket.root, "c" * 32, prefix="team/", limits=QUICK)
        try:
            store.forget(TEST)
        except CutOff:
            cut += 1
            assert isinstance(bucket.store().read_fold(TEST), Fold)
        else:
            break
    assert cut > 3


def test_a_snapshot_that_was_edited_is_passed_over_and_named_when_it_is_missed(bucket: Bucket) -> None:
    run(bucket.store(), *(f"r{number}" for number in range(150)))
    whole = bucket.store().read_fold(PROD)
    (key,) = [key for key in bucket.objects.bodies() if "/snapshots/" in key]
    found = bucket.objects.get(key)
    assert found is not None
    bucket.objects.replace(key, found.body.replace(b"my-app", b"my-apq", 1), found.etag)
    assert bucket.store().read_fold(PROD).to_snapshot() == whole.to_snapshot(), "the records are still there"
    bucket.objects.delete("team/my-app/prod/journal/0000000000000002.json")
    with pytest.raises(StateInvalid) as damage:
        bucket.store().read_fold(PROD)
    assert key in damage.value.message
    with pytest.raises(StateInvalid):
        run(bucket.store(), "a")


def test_old_records_are_cleared_away_some_at_a_time_and_runs_are_still_told(bucket: Bucket) -> None:
    limits = replace(QUICK, tail=10, history=20, sweep=15)
    for number in range(8):
        store = bucket.store()
        store = ObjectStore(store.objects, bucket.root, store.session, prefix="team/", limits=limits)
        before = {key for key in bucket.objects.bodies() if "/journal/" in key}
        run(store, *(f"r{number}-{count}" for count in range(12)))
        assert len(before - {*bucket.objects.bodies()}) <= 15
    records = [key for key in bucket.objects.bodies() if "/journal/" in key]
    assert len(records) < 8 * 14
    assert len([key for key in bucket.objects.bodies() if "/snapshots/" in key]) == 2
    store = bucket.store()
    assert len(store.read_fold(PROD).resources) == 8 * 12
    assert store.epochs(PROD) == list(range(1, 9))
    for epoch in store.epochs(PROD):
        told = store.read_epoch(PROD, epoch)
        assert (told[0].kind, told[-1].kind) == ("open", "release")


def test_a_record_that_is_missing_is_named(bucket: Bucket) -> None:
    run(bucket.store(), "a", "b", "c")
    key = "team/my-app/prod/journal/0000000000000003.json"
    bucket.objects.delete(key)
    with pytest.raises(StateInvalid, match="the journal is damaged") as damage:
        bucket.store().read_fold(PROD)
    assert key in damage.value.message


def test_what_a_bucket_holds_beside_records_is_passed_over(bucket: Bucket) -> None:
    run(bucket.store(), "a")
    for name in ("notes.txt", "1.json", "00000000000000x1.json", "0000000000000001.json.bak"):
        bucket.objects.create(f"team/my-app/prod/journal/{name}", b"not ours")
    assert list(bucket.store().read_fold(PROD).resources) == [f"{PROD}/a"]


def test_nothing_is_written_to_a_place_that_was_not_tried_whoever_asks(bucket: Bucket) -> None:
    class Untried(Exception):
        pass

    def admit() -> tuple[Objects, Objects]:
        raise Untried

    store = ObjectStore(Gated(bucket.objects), bucket.root, "a" * 32, limits=QUICK, admit=admit)
    writers: list[Callable[[], object]] = [
        lambda: asyncio.run(store.acquire(PROD, timeout=0.0)),
        lambda: asyncio.run(Ledger.open(store, PROD, ScopeKind.STAGE, purpose="save", timeout=0.0, locking=False)),
        lambda: store.create_backup(PROD, "state-20240101T000000Z.json", b"{}"),
        lambda: store.mark_backup(PROD, "state-20240101T000000Z.json", "pin", "why"),
        lambda: store.audit({"act": "unlock"}),
        lambda: store.free(PROD, "feed" * 8),
        lambda: shelf_of(store).create("my-app/keys.json", b"{}"),
        lambda: shelf_of(store).replace("moved.json", b"{}"),
    ]
    for write in writers:
        with pytest.raises(Untried):
            write()
    assert bucket.objects.bodies() == {}


def test_a_place_is_tried_once_however_many_ask_at_a_time(bucket: Bucket) -> None:
    tried: list[int] = []
    trusted = Gated(bucket.objects)

    def admit() -> tuple[Objects, Objects]:
        tried.append(threading.get_ident())
        time.sleep(0.05)
        return trusted, trusted

    store = ObjectStore(Gated(bucket.objects), bucket.root, "a" * 32, limits=QUICK, admit=admit)
    with ThreadPoolExecutor(8) as pool:
        for number in range(8):
            pool.submit(store.audit, {"act": str(number)})
    assert len(tried) == 1
    assert len(trusted.writes) == 8, "and what it said to use is used"


def test_only_r2_is_spared_a_second_write_of_a_key_within_a_second(tmp_path: Path) -> None:
    def gap(endpoint: str) -> float:
        asked = BucketSettings(endpoint=endpoint, bucket="state", access_key_id="a", secret_access_key="b")
        return bucket_store(asked, tmp_path).limits.gap

    assert gap("https://0123abcd.eu.r2.cloudflarestorage.com") > 1.0
    assert gap("https://s3.example.com") == 0.0
    assert gap("http://127.0.0.1:9000") == 0.0


@pytest.mark.slow
def test_a_store_that_ignores_conditions_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    from alchemy.errors import Refused
    from alchemy.testing.s3 import Fault

    with Server() as server:
        settings = BucketSettings(
            endpoint=server.endpoint, bucket="state", access_key_id=ACCESS_KEY_ID, secret_access_key=SECRET_ACCESS_KEY
        )
        server.faults.add(Fault("ignore-conditions"))
        with pytest.raises(Refused, match="cannot hold state"):
            run(bucket_store(settings, tmp_path, "a" * 32), "a")
        server.faults.clear()
        run(bucket_store(settings, tmp_path, "b" * 32), "a")
        assert list(bucket_store(settings, tmp_path).read_fold(PROD).resources) == [f"{PROD}/a"]
