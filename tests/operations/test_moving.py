from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alchemy.errors import AlchemyError, Fenced, Refused, StateInvalid, StorageFailed
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Drop, Put
from alchemy.model.values import ScopeKind, Target
from alchemy.operations.moving import Move, move_state, prepare_move
from alchemy.operations.rebuilding import plan_rebuild, rebuild
from alchemy.operations.resetting import plan_reset, reset
from alchemy.operations.restoring import restore
from alchemy.settings import Options, find_project
from alchemy.store import identity
from alchemy.store.backups import write_backup
from alchemy.store.layout import Layout
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from alchemy.store.moving import make_mark, means, read_mark, refuse_arriving, refuse_moved
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.port import Found, Listed
from alchemy.store.objects.store import ObjectStore
from alchemy.store.shelf import shelf_of
from alchemy.store.store import Store
from alchemy.testing.objects import MemoryObjects
from alchemy.testing.s3 import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server
from tests.cli.driver import alchemy
from tests.crash.stepping import DEAD
from tests.model import rows
from tests.operations.dying import Mortal as Executioner

EVERY = bool(os.environ.get("ALCHEMY_EVERY"))
# A claim that a dead process left is broken soon.
QUICK = Limits(gap=0.0, pause=0.001, poll=0.01, patience=0.01, heartbeat=0.02, lease=0.1, give_up=0.08)
PROD, DEV, APP = (ScopePath.parse(path) for path in ("shop/prod", "shop/dev", "shop"))


class Mortal:
    """An object store that takes `left` more requests that change something (-1: any number), and then none."""

    def __init__(self, inner: MemoryObjects) -> None:
        self.inner = inner
        self.left = -1
        self.writes = 0

    @property
    def place(self) -> str:
        return self.inner.place

    def _write(self) -> None:
        if self.left == 0:
            raise StorageFailed("the wire is cut")
        self.left -= self.left > 0
        self.writes += 1

    def create(self, key: str, body: bytes) -> str:
        self._write()
        return self.inner.create(key, body)

    def replace(self, key: str, body: bytes, etag: str) -> str:
        self._write()
        return self.inner.replace(key, body, etag)

    def get(self, key: str) -> Found | None:
        return self.inner.get(key)

    def list(self, prefix: str, *, after: str = "") -> Sequence[Listed]:
        return self.inner.list(prefix, after=after)

    def folders(self, prefix: str) -> Sequence[str]:
        return self.inner.folders(prefix)

    def delete(self, key: str) -> None:
        self._write()
        self.inner.delete(key)


class Places:
    """A directory and a bucket; each `files()` and `bucket()` is another process at them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.objects = Mortal(MemoryObjects())

    def files(self) -> LocalStore:
        return LocalStore(Layout(self.root), os.urandom(16).hex())

    def bucket(self, prefix: str = "team/") -> ObjectStore:
        return ObjectStore(self.objects, self.root, os.urandom(16).hex(), prefix=prefix, limits=QUICK)

    def move(self, *, back: bool = False) -> Move:
        source, target = (self.bucket(), self.files()) if back else (self.files(), self.bucket())
        move = prepare_move(source, target)
        asyncio.run(move_state(move, Options(lock_timeout=5.0), told=lambda text: None))
        return move


def write(store: Store, path: ScopePath, *ops: Any, kind: ScopeKind = ScopeKind.STAGE) -> None:
    """One run."""

    async def run() -> None:
        store.prepare()
        if kind is ScopeKind.STAGE:
            store.ensure_application(path)
        ledger = await Ledger.open(store, path, kind, purpose="deploy", timeout=5.0)
        for op in ops:
            await ledger.intend([op])
        ledger.close(outcome="done", counts={}, failures=[], declared={"complete": True, "orphans": ["shop/prod/b"]})

    asyncio.run(run())


def fill(store: Store) -> None:
    """Two stages, one of them with history, a former incarnation, a backup, a key ring and an audit entry."""
    row = rows.row
    write(
        store, PROD, Put(row("shop/prod/a", seq=1)), Put(row("shop/prod/b", seq=2)), Put(row("shop/prod/gone", seq=3))
    )
    former = row("shop/prod/b", seq=2, former=True)
    write(store, PROD, Drop("shop/prod/gone"), Put(former), Put(row("shop/prod/b", seq=4, generation=1)))
    nested = rows.scope("shop/dev/data")
    write(store, DEV, Put(nested), Put(row("shop/dev/data/x", seq=1, extra={"later": {"field": 1}})))
    name = write_backup(store, store.read_fold(PROD), "by hand")
    store.mark_backup(PROD, name, "pin", "before the move")
    shelf_of(store).create("shop/keys.json", b'{"a ring": 1}')
    store.audit({"what": "unlock", "scope": "shop/prod"})


def image(store: Store) -> dict[str, Any]:
    """What has to be the same on both sides."""
    shelf = shelf_of(store)
    files = {
        f"{o}/backups/{n}": shelf.read(f"{o}/backups/{n}") for o in store.owners() for n in shelf.names(f"{o}/backups")
    }
    files |= {f"audit/{name}": shelf.read(f"audit/{name}") for name in shelf.names("audit")}
    return {
        "rows": {owner: rows_of(store.read_fold(owner)) for owner in store.owners()},
        "files": files,
        "keys": shelf.read("shop/keys.json"),
    }


def rows_of(fold: Fold) -> Any:
    """Without what a run that changes nothing writes: the owner's own row."""
    body = fold.to_snapshot()
    return (
        fold.lineage,
        fold.next_seq,
        fold.declared,
        body["resources"],
        [s for s in body["scopes"] if s["path"] != fold.path],
    )


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(tmp_path / ".alchemy")
    fill(places.files())
    return places


def test_everything_arrives_in_the_bucket_and_goes_on_there(places: Places) -> None:
    before, serial = image(places.files()), places.files().read_fold(PROD).serial
    move = places.move()
    assert (move.apps, move.owners, move.resources) == (("shop",), ("shop", "shop/dev", "shop/prod"), 4)
    bucket = places.bucket()
    assert image(bucket) == before
    fold = bucket.read_fold(PROD)
    assert fold.serial >= serial
    assert fold.released
    write(bucket, PROD, Put(rows.row("shop/prod/new", seq=9)))
    assert "shop/prod/new" in places.bucket().read_fold(PROD).resources
    assert places.bucket().read_fold(PROD).epoch == fold.epoch + 1


@pytest.mark.parametrize("back", [False, True], ids=["in the bucket", "there and back"])
def test_the_runs_of_a_journal_can_still_be_looked_at(places: Places, back: bool) -> None:
    def runs(store: Store) -> dict[int, list[tuple[int, str, int]]]:
        return {e: [(r.seq, r.kind, len(r.ops)) for r in store.read_epoch(PROD, e)] for e in store.epochs(PROD)}

    before = runs(places.files())
    assert len(before) == 2
    places.move()
    if back:
        places.move(back=True)
    after = runs(places.files() if back else places.bucket())
    assert {epoch: after[epoch] for epoch in before} == before
    assert len(after) == len(before) + (4 if back else 2), "each move is a run on both sides"


def test_the_old_place_refuses_and_names_the_new_one(places: Places) -> None:
    refuse_moved(places.files())
    places.move()
    with pytest.raises(Refused, match=r"was moved to memory://objects") as caught:
        refuse_moved(places.files())
    assert caught.value.exit_code == 5
    assert "--state-dir" in caught.value.hint
    refuse_moved(places.bucket())
    refuse_arriving(places.bucket(), PROD)
    assert places.files().read_fold(PROD).resources, "what was there is still there"


def test_there_and_back_again(places: Places) -> None:
    before = image(places.files())
    places.move()
    write(places.bucket(), DEV, Put(rows.row("shop/dev/meanwhile", seq=8)))
    places.move(back=True)
    after = image(places.files())
    assert after["files"] == before["files"]
    assert after["rows"]["shop/prod"] == before["rows"]["shop/prod"]
    assert "shop/dev/meanwhile" in places.files().read_fold(DEV).resources
    view = json.loads((places.root / "shop/dev/resources/meanwhile/state.json").read_text())
    assert view["address"] == "shop/dev/meanwhile"
    refuse_moved(places.files())
    with pytest.raises(Refused, match="was moved to"):
        refuse_moved(places.bucket())
    write(places.files(), PROD, Put(rows.row("shop/prod/again", seq=10)))


def test_files_move_into_another_directory_too(places: Places, tmp_path: Path) -> None:
    before = image(places.files())
    target = LocalStore(Layout(tmp_path / "elsewhere"), "s")
    asyncio.run(move_state(prepare_move(places.files(), target), Options(), told=lambda text: None))
    assert image(target) == before
    assert (tmp_path / "elsewhere/shop/state.json").exists()
    assert (tmp_path / "elsewhere/shop/prod/resources/a/state.json").exists()


def test_an_empty_place_has_nothing_to_move(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds no state"):
        Places(tmp_path / "none").move()


def test_a_place_is_not_moved_into_itself(places: Places) -> None:
    with pytest.raises(Refused, match="is the place already"):
        prepare_move(places.files(), places.files())


def test_a_mark_means_its_place_however_that_was_spelled(places: Places, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (tmp_path / "link").symlink_to(target, target_is_directory=True)
    asyncio.run(move_state(prepare_move(places.files(), there := at(target)), Options(), told=lambda text: None))
    shelf, mark = shelf_of(places.files()), read_mark(places.files(), "moved.json")
    assert mark is not None
    host = identity.host()
    for spelled in (f"{host}:{target}/", f"{host.upper()}:{tmp_path}/./link", f"{host}:{target}"):
        shelf.replace("moved.json", replace(mark, place=spelled).to_bytes())
        assert prepare_move(places.files(), there).decided, spelled
        assert prepare_move(places.files(), at(tmp_path / "link")).decided, spelled
    for other in (f"{host}-2:{target}", f"{host}:{target}-2", str(target), "s3://s3.example/state"):
        shelf.replace("moved.json", replace(mark, place=other).to_bytes())
        with pytest.raises(Refused, match=r"was moved to .* already"):
            prepare_move(places.files(), there)
    with pytest.raises(Refused, match="is the place already"):
        prepare_move(there, at(tmp_path / "link"))


def at(root: Path) -> LocalStore:
    return LocalStore(Layout(root), os.urandom(16).hex())


def test_a_mark_means_its_bucket_however_that_was_spelled() -> None:
    store = ObjectStore(MemoryObjects("s3://s3.example/state/team"), Path("unused"))
    for spelled in ("s3://s3.example/state/team", "s3://S3.example:443/state/team/", "S3://s3.example./state//team"):
        assert means(spelled, store), spelled
    for other in ("s3://s3.example/state", "s3://s3.example/State/team", "s3://s3.example:9000/state/team", "vm:/x"):
        assert not means(other, store), other


def test_an_application_that_is_there_already_is_not_joined(places: Places) -> None:
    bucket = places.bucket()
    bucket.meant = True  # else a run would be refused already
    write(bucket, PROD, Put(rows.row("shop/prod/other", seq=1)))
    with pytest.raises(Refused, match="holds an application shop already"):
        places.move()
    refuse_moved(places.files())


def test_other_applications_of_a_bucket_are_left_alone(places: Places) -> None:
    other = ScopePath.parse("other/prod")
    write(places.bucket(), other, Put(rows.row("other/prod/x", seq=1)))
    before = places.bucket().read_fold(other)
    places.move()
    assert places.bucket().read_fold(other).to_snapshot() == before.to_snapshot()


def test_what_a_run_could_not_commit_stops_the_move(places: Places) -> None:
    (places.root / "spill").mkdir()
    (places.root / "spill" / "x.json").write_bytes(b"{}")
    with pytest.raises(Refused, match="could not commit"):
        places.move()


def test_the_local_cloud_of_a_machine_is_no_place_for_a_team(places: Places) -> None:
    stage = rows.scope("shop/prod", ScopeKind.STAGE)
    write(places.files(), PROD, Put(replace(stage, target=Target(account="a" * 32, name="local cloud"))))
    with pytest.raises(Refused, match="shop/prod is deployed to the local cloud"):
        places.move()


def test_damage_is_found_before_anything_is_written(places: Places) -> None:
    epoch = places.root / "shop/prod/journal/000001.jsonl"
    epoch.write_bytes(epoch.read_bytes().replace(b'"shop/prod/a"', b'"shop/prod/z"', 1))
    with pytest.raises(StateInvalid, match="damaged"):
        places.move()
    assert not [key for key in places.objects.inner.bodies() if not key.startswith("team/locks/")]


def test_a_run_that_lost_its_lock_can_write_no_longer(places: Places) -> None:
    async def run() -> None:
        ledger = await Ledger.open(places.files(), PROD, ScopeKind.STAGE, purpose="deploy", timeout=1.0, locking=False)
        try:
            await move_state(prepare_move(places.files(), places.bucket()), Options(), told=lambda text: None)
            with pytest.raises(Fenced):
                await ledger.intend([Put(rows.row("shop/prod/late", seq=7))])
        finally:
            with pytest.raises(Fenced):
                ledger.close(outcome="failed", counts={}, failures=[])

    asyncio.run(run())
    assert "shop/prod/late" not in places.bucket().read_fold(PROD).resources


def test_a_second_move_that_waited_leaves_alone_what_was_made_at_the_new_place(places: Places) -> None:
    second = prepare_move(places.files(), places.bucket())
    places.move()
    write(places.bucket(), PROD, Put(rows.row("shop/prod/new", seq=9)))
    asyncio.run(move_state(second, Options(lock_timeout=5.0), told=lambda text: None))
    assert "shop/prod/new" in places.bucket().read_fold(PROD).resources
    refuse_arriving(places.bucket(), PROD)


def test_a_run_that_waited_for_a_move_writes_nothing_at_the_old_place(places: Places) -> None:
    waited = places.files()
    refuse_moved(waited)
    before = image(places.files())
    places.move()
    with pytest.raises(Refused, match="was moved to memory://objects"):
        write(waited, PROD, Put(rows.row("shop/prod/late", seq=9)))
    assert image(places.files()) == before


def test_a_stage_that_was_made_while_the_move_waited_goes_with_it(places: Places) -> None:
    late = ScopePath.parse("shop/late")
    move = prepare_move(places.files(), places.bucket())
    write(places.files(), late, Put(rows.row("shop/late/a", seq=1)))
    asyncio.run(move_state(move, Options(lock_timeout=5.0), told=lambda text: None))
    assert set(places.bucket().read_fold(late).resources) == {"shop/late/a"}


def test_an_application_that_appears_while_the_move_waits_is_not_left_behind(places: Places) -> None:
    move = prepare_move(places.files(), places.bucket())
    write(places.files(), ScopePath.parse("other/prod"), Put(rows.row("other/prod/a", seq=1)))
    with pytest.raises(Refused, match="other appeared in"):
        asyncio.run(move_state(move, Options(lock_timeout=5.0), told=lambda text: None))
    refuse_moved(places.files())
    assert places.move().apps == ("other", "shop")


def test_a_move_that_was_finished_long_ago_does_not_bring_a_place_back_to_life(places: Places, tmp_path: Path) -> None:
    places.move()
    third = Places(tmp_path / "third")
    asyncio.run(move_state(prepare_move(places.bucket(), third.files()), Options(), told=lambda text: None))
    with pytest.raises(Refused, match=r"memory://objects was moved to .*third"):
        places.move()
    with pytest.raises(Refused):
        refuse_moved(places.bucket())


@pytest.mark.parametrize("how", ["arriving", "moved"])
@pytest.mark.parametrize("deed", ["rebuild", "restore", "reset"])
def test_no_journal_begins_where_the_state_is_not(places: Places, deed: str, how: str) -> None:
    file = sorted((places.root / "shop/prod/journal").iterdir())[0]
    file.write_bytes(b"#\n" + file.read_bytes())
    store = places.files()
    mark = make_mark(places.bucket(), ("shop",), store.clock.now()).to_bytes()
    shelf_of(store).create("shop/arriving.json" if how == "arriving" else "moved.json", mark)

    async def mend() -> None:
        options = Options(lock_timeout=0.0)
        if deed == "rebuild":
            plan = await plan_rebuild(store, PROD, options, project=find_project(places.root.parent))
            await rebuild(store, plan, options)
        elif deed == "restore":
            await restore(store, str(PROD), "latest", over_damage=True)
        else:
            await reset(store, plan_reset(store, PROD), options)

    with pytest.raises(Refused, match="on its way" if how == "arriving" else "was moved to"):
        asyncio.run(mend())
    assert file.read_bytes().startswith(b"#"), "it is where it was"


def test_an_application_that_is_not_whole_yet_is_closed_to_runs(places: Places) -> None:
    places.objects.left = 5
    with pytest.raises(AlchemyError):
        places.move()
    places.objects.left = -1
    with pytest.raises(Refused, match="on its way into memory://objects") as caught:
        refuse_arriving(places.bucket(), PROD)
    assert "scope migrate --to r2" in caught.value.hint
    refuse_arriving(places.bucket(), ScopePath.parse("other/prod"))
    refuse_moved(places.files())


def test_a_bucket_that_lost_what_was_moved_there_is_not_believed(places: Places) -> None:
    places.move()
    places.objects = Mortal(MemoryObjects())
    with pytest.raises(Refused, match="and shop is not there") as caught:
        places.move()
    assert "moved.json" in caught.value.hint


def test_somebody_elses_unfinished_move_is_not_taken_over(places: Places, tmp_path: Path) -> None:
    places.objects.left = 5
    with pytest.raises(AlchemyError):
        places.move()
    places.objects.left = -1
    shutil.copytree(places.root, tmp_path / "copy")
    with pytest.raises(Refused, match="on its way into"):
        prepare_move(LocalStore(Layout(tmp_path / "copy"), "s"), places.bucket())


@pytest.mark.slow
@pytest.mark.parametrize("back", [False, True], ids=["to the bucket", "to files"])
def test_a_move_that_dies_at_any_request_is_finished_by_running_it_again(tmp_path: Path, back: bool) -> None:
    def begun(name: str) -> Places:
        places = Places(tmp_path / name)
        fill(places.files())
        if back:
            places.move()
        return places

    whole = begun("whole")
    whole.objects.writes = 0
    whole.move(back=back)
    count = whole.objects.writes
    seed = random.randrange(10**6)
    for place in range(count) if EVERY else sorted(random.Random(seed).sample(range(count), min(count, 6))):
        places = begun(f"died-{place}")
        old, new = (places.bucket, places.files) if back else (places.files, places.bucket)
        expected = image(old())
        places.objects.left = place
        with suppress(AlchemyError):  # that the claims could not be given back at the end is no failure
            places.move(back=back)
        places.objects.left = -1
        moved = shelf_of(old()).read("moved.json") is not None
        if not moved:
            assert image(old()) == expected, (seed, place)
            write(old(), DEV, Put(rows.row("shop/dev/between", seq=7)))  # the old place still works
        places.move(back=back)
        found = image(new())
        if moved:
            assert found == expected, (seed, place)
        else:
            assert "shop/dev/between" in new().read_fold(DEV).resources, (seed, place)
            assert found["rows"]["shop/prod"] == expected["rows"]["shop/prod"], (seed, place)
        refuse_moved(new())
        refuse_arriving(new(), PROD)
        with pytest.raises(Refused):
            refuse_moved(old())


@pytest.mark.slow
def test_a_move_that_dies_at_any_file_operation_is_finished_by_running_it_again(tmp_path: Path) -> None:
    mortal = Executioner(tmp_path / "errors")
    whole = Places(tmp_path / "whole")
    fill(whole.files())
    code, count = mortal.migrate(tmp_path / "whole-there", whole.root, "")
    assert code == 0, mortal.errors.read_text()
    seed = random.randrange(10**6)
    for place in range(count) if EVERY else sorted(random.Random(seed).sample(range(count), 6)):
        old = Places(tmp_path / f"old-{place}")
        fill(old.files())
        new = Places(tmp_path / f"new-{place}")
        expected = image(old.files())
        died, _ = mortal.migrate(new.root, old.root, "", die_at=place)
        assert died == DEAD or place > count - 9, (seed, place)  # how many views are due at the end differs
        if not (old.root / "moved.json").exists():
            assert image(old.files()) == expected, (seed, place)
        code, _ = mortal.migrate(new.root, old.root, "")
        assert code == 0, (seed, place, mortal.errors.read_text())
        assert image(new.files()) == expected, (seed, place)
        refuse_arriving(new.files(), PROD)
        with pytest.raises(Refused):
            refuse_moved(old.files())
    mortal.close()


# -- the command, over HTTP -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_moves_a_project_into_its_bucket_and_back(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps({"resources": {"topic": {"kind": "acme:Topic"}}}))
    brought = alchemy("scope", "migrate", "old.json", "--into", "shop/prod", cwd=tmp_path)
    assert brought.code == 0, brought.err
    unnamed = alchemy("scope", "migrate", "--to", "r2", cwd=tmp_path)
    assert unnamed.code == 2
    assert "no bucket is named: the R2_* variables are not set" in unnamed.err
    with Server() as server:
        bucket = {
            "R2_ENDPOINT": server.endpoint,
            "R2_BUCKET_NAME": "state",
            "R2_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "R2_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        }
        shown = alchemy("scope", "migrate", "--to", "r2", "--dry-run", "--json", cwd=tmp_path, **bucket)
        assert shown.code == 0, shown.err
        document = json.loads(shown.out)
        assert (document["applications"], document["resources"], document["dry_run"]) == (["shop"], 1, True)
        assert document["to"] == f"s3://{server.endpoint.removeprefix('http://')}/state"
        moved = alchemy("scope", "migrate", "--to", "r2", cwd=tmp_path, **bucket)
        assert moved.code == 0, moved.err
        assert f"the state is in {document['to']} from now on" in moved.err
        assert SECRET_ACCESS_KEY not in moved.out + moved.err + shown.out + shown.err
        left = alchemy("scope", "list", cwd=tmp_path)
        assert left.code == 5, "the old place sends everybody on"
        assert f"was moved to {document['to']}" in left.err
        there = alchemy("scope", "list", "--json", cwd=tmp_path, **bucket)
        assert "shop/prod/topic" in there.out
        back = alchemy("scope", "migrate", "--to", "file", cwd=tmp_path, **bucket)
        assert back.code == 0, back.err
        assert "unset the R2_* variables" in back.err
        here = alchemy("scope", "list", "--json", cwd=tmp_path)
        assert "shop/prod/topic" in here.out
        again = alchemy("scope", "migrate", "--to", "file", cwd=tmp_path, **bucket)
        assert again.code == 0, "done already"


@pytest.mark.parametrize("more", [["old.json"], ["--into", "shop/prod"]])
def test_a_path_and_a_move_do_not_go_together(tmp_path: Path, more: list[str]) -> None:
    done = alchemy("scope", "migrate", "--to", "r2", *more, cwd=tmp_path)
    assert (done.code, "leave them out" in done.err) == (2, True)
