from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alchemy.errors import LockHeld, Refused, StateInvalid, StorageFailed, UsageError
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.values import ResourceState, ScopeKind
from alchemy.operations import migrating
from alchemy.operations.imports.leftover import flat_state_line
from alchemy.settings import Options
from alchemy.store.files import Files
from alchemy.store.keyfiles import open_or_create_ring, open_ring
from alchemy.store.layout import Layout
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from alchemy.store.objects.store import ObjectStore
from alchemy.store.sealing import Where
from alchemy.testing.objects import MemoryObjects
from tests.cli.driver import alchemy
from tests.crash.stepping import DEAD
from tests.operations.dying import Mortal
from tests.operations.dying import migration as migrate_again
from tests.operations.trees import NEEDLES, NEW, OLD, PASSWORD, lay_out

EVERY = bool(os.environ.get("ALCHEMY_EVERY"))
FLAT = {
    "resources": {
        "db": {
            "kind": "cloudflare:D1Database",
            "outputs": {"database_id": "0a1b2c3d-0000-4000-8000-1234567890ab", "database_name": "shop-db"},
        },
        "topic": {"kind": "acme:Topic", "props": {"db": "0a1b2c3d-0000-4000-8000-1234567890ab"}, "name": "shop-topic"},
    }
}


class Desk:
    """A state directory, and sources beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / ".alchemy"

    @property
    def store(self) -> LocalStore:
        return LocalStore(Layout(self.root), os.urandom(16).hex())

    def flat(self, body: Any = FLAT, name: str = "old.json") -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(body))
        return path

    def tree(self, which: str = OLD) -> Path:
        return lay_out(which, self.directory / "before") / "shop" / ("prod" if which == NEW else "old")

    def prepare(self, source: Path, into: str = "shop/prod", account: str = "", **options: Any) -> migrating.Migration:
        path = ScopePath.parse(into)
        return migrating.prepare(self.store, source, path, replace(Options(), **options), account=account)

    def migrate(self, source: Path, into: str = "shop/prod", password: str | None = PASSWORD) -> str:
        return migrate_again(self.root, source, into, Files(), password)

    def fold(self, owner: str = "shop/prod") -> Fold:
        return self.store.read_fold(owner)

    def row(self, address: str) -> ResourceState:
        return self.fold("/".join(address.split("/")[:2])).resources[address]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def bytes_below(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file())


def test_a_flat_file_becomes_rows_of_one_record_and_stays_as_it_is(desk: Desk) -> None:
    source = desk.flat()
    before = source.read_bytes()
    assert desk.migrate(source) == "R-1"
    fold = desk.fold()
    assert fold.resources.keys() == {"shop/prod/db", "shop/prod/topic"}
    assert fold.released
    assert {fold.stamps[key].seq for key in fold.resources} == {2}, "all in one record, after the opener"
    assert fold.resources["shop/prod/topic"].depends_on == ("shop/prod/db",)
    assert fold.resources["shop/prod/topic"].physical_name == "shop-topic"
    assert source.read_bytes() == before


def test_the_views_and_the_checks_know_the_rows(desk: Desk) -> None:
    desk.migrate(desk.flat())
    view = json.loads((desk.root / "shop/prod/resources/db/state.json").read_text())
    assert view["outputs"]["database_name"] == "shop-db"
    done = alchemy("scope", "validate", cwd=desk.directory)
    assert done.code == 0, done.out + done.err


def test_a_real_tree_arrives_with_its_secrets_sealed_for_their_places(desk: Desk) -> None:
    desk.migrate(desk.tree(NEW))
    fold = desk.fold()
    assert len(fold.resources) == 14
    written = bytes_below(desk.root)
    for needle in (*NEEDLES, PASSWORD):
        assert needle.encode() not in written
    ring = open_ring(desk.store, "shop", PASSWORD)
    assert ring is not None
    row = fold.resources["shop/prod/backend/events"]
    where = Where(fold.lineage, "shop/prod", "shop/prod/backend", "events", "/props/both")
    assert ring.open(row.props["both"], where) == {"user": "ana", "code": "needle-object"}
    key = fold.resources["shop/prod/api"].props["env"]["API_KEY"]
    assert (
        ring.open(key, Where(fold.lineage, "shop/prod", "shop/prod", "api", "/props/env/API_KEY")) == "needle-api-key"
    )
    with pytest.raises(StateInvalid):
        ring.open(key, where)


def test_nested_scopes_are_stored_with_their_rows(desk: Desk) -> None:
    desk.migrate(desk.tree(NEW))
    kinds = {path: row.kind for path, row in desk.fold().scopes.items()}
    assert kinds == {
        "shop/prod": ScopeKind.STAGE,
        "shop/prod/backend": ScopeKind.NESTED,
        "shop/prod/backend/deep": ScopeKind.NESTED,
        "shop/prod/backend/group-in": ScopeKind.NESTED,
    }


@pytest.mark.parametrize(("into", "owner"), [("shop", "shop"), ("shop/prod/data/old", "shop/prod")])
def test_it_may_become_an_application_or_a_nested_scope(desk: Desk, into: str, owner: str) -> None:
    desk.migrate(desk.flat(), into)
    fold = desk.fold(owner)
    assert f"{into}/db" in fold.resources
    assert fold.scopes[into].kind is (ScopeKind.APPLICATION if into == owner else ScopeKind.NESTED)


def test_two_sources_share_a_stage_in_scopes_of_their_own(desk: Desk) -> None:
    desk.migrate(desk.flat(name="a.json"), "shop/prod/a")
    desk.migrate(desk.flat(name="b.json"), "shop/prod/b")
    assert {row.id for row in desk.fold().below("shop/prod/a")} == {row.id for row in desk.fold().below("shop/prod/b")}
    assert len({row.seq for row in desk.fold().resources.values()}) == 4


def test_a_bucket_takes_the_rows_and_the_ring_as_files_do(desk: Desk) -> None:
    objects = MemoryObjects()

    def bucket() -> ObjectStore:
        return ObjectStore(objects, desk.root, os.urandom(16).hex(), prefix="team/")

    source, into = desk.tree(), ScopePath.parse("shop/prod")
    for again in (False, True):
        migration = migrating.prepare(bucket(), source, into, Options())
        assert migration.done is again
        run = migrating.migrate(bucket(), migration, Options(), source_password=PASSWORD, password=PASSWORD)
        assert asyncio.run(run) == "R-1"
    fold = bucket().read_fold(into)
    ring = open_ring(bucket(), "shop", PASSWORD)
    assert ring is not None
    where = Where(fold.lineage, "shop/prod", "shop/prod", "events", "/props/key")
    assert ring.open(fold.resources["shop/prod/events"].props["key"], where) == "needle-topic-key"
    here = [path for path in desk.root.rglob("*") if path.is_file()]
    assert here == [desk.root / "shop/bucket.json"], "nothing of it is on this machine, but where it is"
    for needle in NEEDLES:
        assert needle.encode() not in b"".join(objects.bodies().values())


# -- the cloud it is in ---------------------------------------------------------------------------------------------


def test_the_account_that_the_source_names_becomes_the_stages(desk: Desk) -> None:
    migration = desk.prepare(desk.tree(NEW))
    assert migration.target is not None
    assert len(migration.target.account) == 32
    desk.migrate(desk.tree(NEW))
    target = desk.fold().target
    assert target == migration.target
    rows = [row for row in desk.fold().resources.values() if row.kind.startswith("cloudflare:")]
    assert {row.account for row in rows} == {migration.target.account}


def test_an_account_that_nobody_names_is_asked_for(desk: Desk) -> None:
    migration = desk.prepare(desk.flat())
    assert migration.target is None
    assert "--account" in migration.notes[0]
    assert desk.prepare(desk.flat(), account="a" * 32).target is not None
    assert desk.prepare(desk.flat(), api_token="t", account_id="b" * 32).target is not None


def test_objects_of_two_accounts_do_not_fit_one_stage(desk: Desk) -> None:
    body = json.loads(json.dumps(FLAT))
    body["resources"]["db"]["props"] = {"accountId": "1" * 32}
    body["resources"]["q"] = {"kind": "cloudflare:Queue", "props": {"accountId": "2" * 32}}
    with pytest.raises(UsageError, match="2 accounts"):
        desk.prepare(desk.flat(body))


def test_a_stage_of_another_account_is_refused(desk: Desk) -> None:
    desk.migrate(desk.tree(NEW))
    with pytest.raises(Refused, match="is deployed to"):
        desk.prepare(desk.flat(), "shop/prod/more", account="c" * 32)


def test_a_run_that_came_in_between_has_its_account_kept(desk: Desk) -> None:
    topics = {"resources": {"x": {"kind": "acme:Topic"}}}
    there = desk.prepare(desk.flat(), "shop/prod/more", account="c" * 32)
    nowhere = desk.prepare(desk.flat(topics, "topics.json"), "shop/prod/topics")

    async def write(migration: migrating.Migration) -> None:
        await migrating.migrate(desk.store, migration, Options(), source_password=None, password=None)

    asyncio.run(write(desk.prepare(desk.flat(name="first.json"), account="a" * 32)))
    with pytest.raises(Refused, match="is deployed to"):
        asyncio.run(write(there))
    asyncio.run(write(nowhere))
    target = desk.fold().target
    assert target is not None
    assert target.account == "a" * 32
    assert "shop/prod/topics/x" in desk.fold().resources


# -- what is refused ------------------------------------------------------------------------------------------------


def test_a_scope_that_holds_something_is_refused_with_a_way_out(desk: Desk) -> None:
    desk.migrate(desk.flat())
    other = desk.flat({"resources": {"x": {"kind": "acme:Topic"}}}, "other.json")
    with pytest.raises(Refused, match="holds 2 resources already") as caught:
        desk.prepare(other)
    assert "shop/another" in caught.value.hint
    assert len(desk.fold().resources) == 2


def test_a_name_that_is_taken_is_refused(desk: Desk) -> None:
    desk.migrate(desk.flat())
    with pytest.raises(Refused, match="shop/prod/db is taken"):
        desk.prepare(desk.flat({"resources": {"x": {"kind": "acme:Topic"}}}, "other.json"), "shop/prod/db")


def test_a_test_scope_is_no_place(desk: Desk) -> None:
    with pytest.raises(UsageError, match="test scope"):
        desk.prepare(desk.flat(), "shop/test/t1")


def test_a_tree_in_the_place_of_the_new_state_has_to_be_moved_first(desk: Desk) -> None:
    tree = lay_out(NEW, desk.root)
    for source in (tree, tree / "shop", tree / "shop/prod"):
        with pytest.raises(UsageError, match="lies where") as caught:
            desk.prepare(source)
        assert "mv" in caught.value.hint
    assert desk.prepare(tree / "shop", "other/prod").plan.rows


def test_our_own_state_is_not_migrated_into_itself(desk: Desk, tmp_path: Path) -> None:
    desk.migrate(desk.flat())
    shutil.copytree(desk.root, tmp_path / "copy")
    with pytest.raises(UsageError, match="state of this tool already"):
        desk.prepare(tmp_path / "copy", "shop/again")


def test_nothing_at_the_path_says_so(desk: Desk) -> None:
    with pytest.raises(UsageError, match="there is nothing at"):
        desk.prepare(desk.directory / "gone.json")


def test_what_is_no_file_or_cannot_be_looked_at_is_said_without_waiting_for_it(desk: Desk) -> None:
    pipe, loop = desk.directory / "pipe", desk.directory / "loop"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    with pytest.raises(UsageError, match="is a pipe, neither a file nor a directory"):
        desk.prepare(pipe)
    with pytest.raises(StorageFailed, match=r"cannot look at .*loop"):
        desk.prepare(loop)


def test_somebody_elses_lock_is_waited_for_and_then_named(desk: Desk) -> None:
    migration = desk.prepare(desk.flat())

    async def while_held() -> None:
        desk.store.prepare()
        lease = await desk.store.acquire(ScopePath.parse("shop/prod"), timeout=1.0)
        try:
            options = Options(lock_timeout=0.0)
            await migrating.migrate(desk.store, migration, options, source_password=None, password=None)
        finally:
            lease.release()

    with pytest.raises((LockHeld, UsageError)):
        asyncio.run(while_held())
    assert not desk.fold().resources


def test_rows_that_came_between_looking_and_locking_stop_it(desk: Desk) -> None:
    migration = desk.prepare(desk.flat())
    desk.migrate(desk.flat({"resources": {"x": {"kind": "acme:Topic"}}}, "other.json"))
    with pytest.raises(Refused, match="already"):
        asyncio.run(migrating.migrate(desk.store, migration, Options(), source_password=None, password=None))
    fold = desk.fold()
    assert fold.resources.keys() == {"shop/prod/x"}
    assert fold.released


@pytest.mark.parametrize("password", [None, "wrong-horse"])
def test_without_the_password_nothing_is_begun(desk: Desk, password: str | None) -> None:
    source = desk.tree()
    with pytest.raises(UsageError, match=r"\.json: /"):
        desk.migrate(source, password=password)
    assert not desk.root.exists()


def test_without_a_password_of_ours_nothing_is_begun_either(desk: Desk) -> None:
    migration = desk.prepare(desk.tree())
    for password, before in ((None, ""), ("new-horse", "old-horse")):
        if before:
            open_or_create_ring(desk.store, "shop", before)
        with pytest.raises(UsageError, match=r"keys\.json"):
            asyncio.run(
                migrating.migrate(desk.store, migration, Options(), source_password=PASSWORD, password=password)
            )
        assert not (desk.root / "shop/prod").exists()


# -- twice, and interrupted -----------------------------------------------------------------------------------------


def test_a_second_time_is_recognised_and_does_nothing(desk: Desk) -> None:
    source = desk.flat()
    desk.migrate(source)
    before = bytes_below(desk.root)
    assert desk.prepare(source).before == "R-1"
    assert desk.migrate(source) == "R-1"
    assert bytes_below(desk.root) == before


def test_also_when_the_source_was_moved_meanwhile(desk: Desk) -> None:
    source = desk.tree()
    desk.migrate(source)
    moved = source.rename(desk.directory / "moved")
    assert desk.prepare(moved).before == "R-1"


def test_what_was_destroyed_since_can_be_brought_again(desk: Desk) -> None:
    source = desk.flat({"resources": {"x": {"kind": "acme:Topic"}}})
    desk.migrate(source)

    async def empty() -> None:
        from alchemy.model.records import Drop

        kind = ScopeKind.STAGE
        ledger = await Ledger.open(desk.store, ScopePath.parse("shop/prod"), kind, purpose="test", timeout=1.0)
        await ledger.intend([Drop("shop/prod/x", kind="acme:Topic")])
        ledger.close(outcome="done", counts={}, failures=[])

    asyncio.run(empty())
    assert desk.prepare(source).before == ""
    assert desk.migrate(source) == "R-3"
    assert desk.fold().resources.keys() == {"shop/prod/x"}


def test_reading_back_finds_what_differs(desk: Desk) -> None:
    desk.migrate(desk.flat())
    fold = desk.fold()
    rows = list(fold.resources.values())
    into = ScopePath.parse("shop/prod")
    migrating.verify(fold, into, rows)
    for wrong in (
        [replace(rows[0], physical_name="other"), *rows[1:]],
        rows[1:],
        [*rows, replace(rows[0], address="x/y")],
    ):
        with pytest.raises(StateInvalid, match="not what was written"):
            migrating.verify(fold, into, wrong)


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    mortal = Mortal(tmp_path_factory.mktemp("mortal") / "errors")
    yield mortal
    mortal.close()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["flat", "tree with secrets"])
def test_a_migration_that_dies_anywhere_is_finished_by_running_it_again(
    desk: Desk, mortal: Mortal, what: str, tmp_path: Path
) -> None:
    source = desk.flat() if what == "flat" else desk.tree()
    code, places = mortal.migrate(tmp_path / "whole", source)
    assert code == 0, mortal.errors.read_text()
    seed = random.randrange(10**6)
    sample = range(places) if EVERY else sorted(random.Random(seed).sample(range(places), 12 if what == "flat" else 4))
    half = 0
    for place in sample:
        desk.root = tmp_path / f"died-{place}"
        died, _ = mortal.migrate(desk.root, source, die_at=place)
        assert died == DEAD or place > places - 5, (seed, place)  # how many views are due at the end differs
        found = desk.fold().resources if (desk.root / "shop/prod/journal").exists() else {}
        assert len(found) in (0, 2), (seed, place, "all of it or nothing")
        half += not found
        code, _ = mortal.migrate(desk.root, source)
        assert code == 0, (seed, place, mortal.errors.read_text())
        fold = desk.fold()
        assert len(fold.resources) == 2, (seed, place)
        assert fold.released, (seed, place)
    assert 0 < half < len(sample) or not EVERY


# -- the command ----------------------------------------------------------------------------------------------------


def test_the_command_shows_where_everything_comes_and_leaves_the_source(desk: Desk) -> None:
    desk.tree(NEW)
    password = {"ALCHEMY_PASSWORD": PASSWORD}
    arguments = ["scope", "migrate", "before/shop/prod", "--into", "shop/prod"]
    shown = alchemy(*arguments, "--dry-run", cwd=desk.directory)
    assert shown.code == 0, shown.err
    assert "nothing was written" in shown.err
    assert not desk.root.exists()
    assert "shop/prod/backend/deep/leaf" in shown.out
    assert "shop-main-db-prod" in shown.out
    assert "acme:Topic is loaded: destroying them stays blocked" in shown.out
    done = alchemy(*arguments, "--json", cwd=desk.directory, **password)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert (document["run"], document["already_done"], document["dry_run"]) == ("R-1", False, False)
    assert len(document["resources"]) == 14
    assert document["source"]["tool"] == "Alchemy (TypeScript)"
    assert f"{desk.directory}/before/shop/prod was left as it is" in done.err
    again = alchemy(*arguments, cwd=desk.directory, **password)
    assert (again.code, again.out) == (0, "")
    assert "already, in R-1: nothing was done" in again.err
    for needle in NEEDLES:
        assert needle not in done.out + done.err + shown.out


def test_the_command_takes_the_old_password_from_another_variable(desk: Desk) -> None:
    desk.tree()
    arguments = ["scope", "migrate", "before", "--into", "shop/prod", "--password-from", "OLD_PASSWORD"]
    missing = alchemy(*arguments, cwd=desk.directory, ALCHEMY_PASSWORD="new-horse")
    assert missing.code == 2
    assert "OLD_PASSWORD" in missing.err
    done = alchemy(*arguments, cwd=desk.directory, ALCHEMY_PASSWORD="new-horse", OLD_PASSWORD=PASSWORD)
    assert done.code == 0, done.err
    assert open_ring(desk.store, "shop", "new-horse") is not None


def test_hostile_text_of_a_source_is_not_shown_raw(desk: Desk) -> None:
    body = {"resources": {"a‮\u200bb": {"kind": "x:\x1b[31mY", "name": "n\x1b[2J", "odd\x07": 1}}}
    desk.flat(body)
    done = alchemy("scope", "migrate", "old.json", "--into", "shop/prod", cwd=desk.directory)
    assert done.code == 0, done.err
    for sign in "\x1b\x07‮\u200b":
        assert sign not in done.out + done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["old.json"], "--into"),
        (["--into", "shop/prod"], "PATH"),
        (["old.json", "--into", "sh op"], "not allowed"),
        (["old.json", "--into", "shop/prod", "--account", "nope"], "'nope' is not the id of an account"),
        (["gone", "--into", "shop/prod"], "there is nothing at"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused(desk: Desk, arguments: list[str], says: str) -> None:
    desk.flat()
    done = alchemy("scope", "migrate", *arguments, cwd=desk.directory)
    assert done.code == 2
    assert says in done.err


def test_flat_state_at_the_root_of_the_state_directory_is_named(desk: Desk) -> None:
    assert flat_state_line(desk.root) == ""
    desk.flat(name=".alchemy/state.json")
    line = flat_state_line(desk.root)
    assert f"alchemy scope migrate {desk.root}/state.json --into my-app/prod" in line
    assert "--into shop/prod" in flat_state_line(desk.root, "shop")
    assert desk.migrate(desk.root) == "R-1", "the directory may be named as well"
