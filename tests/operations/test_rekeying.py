"""Another password, another key: what was sealed opens afterwards, and whatever moment it dies at."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from alchemy.errors import UsageError
from alchemy.model.masking import hash_props
from alchemy.model.paths import ScopePath
from alchemy.model.records import Op, Put
from alchemy.model.values import ResourceState, ScopeKind, Status
from alchemy.operations import rekeying
from alchemy.settings import Options
from alchemy.store.backups import write_backup
from alchemy.store.keyfiles import open_or_create_ring, open_ring, store_ring
from alchemy.store.keyring import Cost, KeyRing, WrongPassword
from alchemy.store.layout import Layout
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from alchemy.store.objects.store import ObjectStore
from alchemy.store.sealing import Where
from alchemy.store.store import Store
from alchemy.testing.objects import MemoryObjects
from tests.cli.driver import alchemy
from tests.crash.stepping import DEAD
from tests.operations.dying import RING, ROTATE, Mortal
from tests.operations.trees import PASSWORD

EVERY = bool(os.environ.get("ALCHEMY_EVERY"))
CHEAP = Cost(8, 1, 1)  # an Argon2id that costs nothing: what is stretched is not tried here
STAGES = ("shop/prod", "shop/dev")
Places = Callable[[], Store]


async def fill(store: Store) -> None:
    """Two stages with a secret in props, outputs and announced props of one row each, and one row without."""
    ring = KeyRing.create("shop", PASSWORD, store.clock.now(), CHEAP)
    store_ring(store, ring)
    for stage in STAGES:
        store.prepare()
        path = ScopePath.parse(stage)
        ledger = await Ledger.open(store, path, ScopeKind.STAGE, purpose="deploy", timeout=5.0)

        def sealed(pointer: str, stage: str = stage, lineage: str = ledger.fold.lineage) -> dict[str, str]:
            return ring.seal(f"value-at-{pointer}", Where(lineage, stage, stage, "row", pointer))

        props = {"env": {"KEY/~": sealed("/props/env/KEY~1~0"), "plain": 1}, "list": [sealed("/props/list/0")]}
        row = ResourceState(
            address=f"{stage}/row",
            kind="acme:Row",
            status=Status.UPDATING,
            physical_name="row",
            token="1",
            props=props,
            props_hash=hash_props(props),
            outputs={"token": sealed("/outputs/token")},
            pending={"list": [sealed("/props/list/0")]},
        )
        plain = replace(row, address=f"{stage}/plain", token="2", props={}, outputs={}, pending=None, props_hash="")
        ops: list[Op] = [Put(row), Put(plain)]
        await ledger.intend(ops)
        ledger.close(outcome="done", counts={}, failures=[])


@pytest.fixture
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Places:
    """A store of its own for each call, over the same state; of files, where a test says nothing else."""
    objects, root = MemoryObjects(), tmp_path / ".alchemy"
    if getattr(request, "param", "files") == "files":
        return lambda: LocalStore(Layout(root), os.urandom(16).hex())
    return lambda: ObjectStore(objects, root, os.urandom(16).hex(), prefix="team/")


def rekey(store: Store, password: str = PASSWORD, new_password: str = "", rotate: bool = False) -> rekeying.RekeyReport:
    done = rekeying.rekey(store, "shop", Options(), password=password, new_password=new_password, rotate=rotate)
    return asyncio.run(done)


def open_all(store: Store, password: str = PASSWORD) -> set[str]:
    """Opens every sealed value; the keys they name."""
    ring = open_ring(store, "shop", password)
    assert ring is not None
    named: set[str] = set()
    for stage in STAGES:
        fold = store.read_fold(ScopePath.parse(stage))
        row = fold.resources[f"{stage}/row"]
        assert row.pending is not None
        assert row.props_hash == hash_props(row.props)
        found = {
            "/props/env/KEY~1~0": row.props["env"]["KEY/~"],
            "/props/list/0": row.props["list"][0],
            "/outputs/token": row.outputs["token"],
        }
        for pointer, sealed in [*found.items(), ("/props/list/0", row.pending["list"][0])]:
            where = Where(fold.lineage, stage, stage, "row", pointer)
            assert ring.open(sealed, where) == f"value-at-{pointer}"
            named.add(sealed["$secret"].split(".")[1])
    return named


def test_another_password_opens_the_same_rows_and_the_old_one_nothing(places: Places) -> None:
    asyncio.run(fill(places()))
    before = [places().read_fold(ScopePath.parse(stage)).serial for stage in STAGES]
    report = rekey(places(), new_password="another-horse")
    assert (report.password_changed, report.rotated, report.resealed) == (True, False, ())
    assert [places().read_fold(ScopePath.parse(stage)).serial for stage in STAGES] == before
    open_all(places(), "another-horse")
    with pytest.raises(WrongPassword):
        open_ring(places(), "shop", PASSWORD)
    with pytest.raises(WrongPassword):
        rekey(places(), rotate=True)


@pytest.mark.parametrize("places", ["files", "bucket"], indirect=True)
def test_another_key_seals_every_row_and_the_old_one_goes_with_the_last_backup_that_names_it(places: Places) -> None:
    asyncio.run(fill(places()))
    first = open_all(places())
    report = rekey(places(), rotate=True)
    assert open_all(places()) == {report.key} != first
    assert report.resealed == tuple((stage, 1) for stage in sorted(STAGES))
    assert set(report.kept) == first, "the backups before it name it"
    store = places()
    for stage in map(ScopePath.parse, STAGES):
        write_backup(store, store.read_fold(stage), "after")
        for name in store.backups(stage)[:-1]:
            store.remove_backup(stage, name)
    again = rekey(places(), rotate=True)
    assert again.retired == tuple(first)
    assert set(again.kept) == {report.key}
    assert open_all(places()) == {again.key}


def test_a_value_that_does_not_open_stays_and_is_named(places: Places) -> None:
    asyncio.run(fill(places()))
    store = places()
    ring = KeyRing.create("shop", PASSWORD, store.clock.now(), CHEAP)  # the first one is lost
    store_ring(store, ring)
    report = rekey(places(), rotate=True)
    assert len(report.left) == 8
    assert report.resealed == ()
    assert "shop/prod/row/outputs/token" in report.left


def test_nobody_deploys_meanwhile(tmp_path: Path) -> None:
    store = LocalStore(Layout(tmp_path / ".alchemy"), os.urandom(16).hex())
    asyncio.run(fill(store))

    async def deploying() -> None:
        path = ScopePath.parse("shop/prod")
        ledger = await Ledger.open(store, path, ScopeKind.STAGE, purpose="deploy", timeout=1.0)
        try:
            typed = ("scope", "rekey", "shop", "--rotate", "--yes", "--lock-timeout", "0")
            refused = await asyncio.to_thread(lambda: alchemy(*typed, cwd=tmp_path, ALCHEMY_PASSWORD=PASSWORD))
            assert refused.code == 3, refused.err
        finally:
            ledger.close(outcome="done", counts={}, failures=[])

    before = open_all(store)
    asyncio.run(deploying())
    assert open_all(store) == before


def test_an_application_without_secrets_says_so(tmp_path: Path) -> None:
    store = LocalStore(Layout(tmp_path / ".alchemy"), "a" * 32)
    with pytest.raises(UsageError, match="has no secrets"):
        rekeying.look(store, "shop")


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    mortal = Mortal(tmp_path_factory.mktemp("mortal") / "errors")
    yield mortal
    mortal.close()


@pytest.mark.slow
def test_a_rekey_that_dies_anywhere_is_finished_by_the_same_command(mortal: Mortal, tmp_path: Path) -> None:
    def made(name: str) -> LocalStore:
        store = LocalStore(Layout(tmp_path / name), os.urandom(16).hex())
        asyncio.run(fill(store))
        return store

    code, places = mortal.migrate(made("whole").root, tmp_path, ROTATE)
    assert code == 0, mortal.errors.read_text()
    seed = random.randrange(10**6)
    sample = range(places) if EVERY else sorted(random.Random(seed).sample(range(places), 8))
    for place in sample:
        store = made(f"died-{place}")
        old = open_all(store)
        died, _ = mortal.migrate(store.root, tmp_path, ROTATE, die_at=place)
        assert died == DEAD or place > places - 5, (seed, place)
        open_all(store)
        code, _ = mortal.migrate(store.root, tmp_path, ROTATE)
        assert code == 0, (seed, place, mortal.errors.read_text())
        ring = open_ring(store, "shop", PASSWORD)
        assert ring is not None
        assert not ring.extra, (seed, place)
        assert open_all(store) == {ring.current}, (seed, place)
        assert old <= ring.created.keys(), (seed, place, "backups name it")


@pytest.mark.slow
def test_whoever_dies_while_the_first_secret_is_met_leaves_a_ring_or_none(mortal: Mortal, tmp_path: Path) -> None:
    code, places = mortal.migrate(tmp_path / "whole", tmp_path, RING)
    assert (code, places > 3) == (0, True), mortal.errors.read_text()
    for place in range(places):
        store = LocalStore(Layout(tmp_path / f"died-{place}"), "a" * 32)
        died, _ = mortal.migrate(store.root, tmp_path, RING, die_at=place)
        assert died == DEAD, place
        ring = open_or_create_ring(store, "shop", PASSWORD)
        again = open_ring(store, "shop", PASSWORD)
        assert again is not None
        assert again.current == ring.current, place


def test_the_command_takes_passwords_from_the_environment_only_and_asks_first(tmp_path: Path) -> None:
    store = LocalStore(Layout(tmp_path / ".alchemy"), "a" * 32)
    asyncio.run(fill(store))
    given = {"ALCHEMY_PASSWORD": PASSWORD, "NEW": "another-horse"}
    shown = alchemy("scope", "rekey", "shop", "--dry-run", cwd=tmp_path)
    assert shown.code == 0, shown.err
    assert "shop/prod: 4 sealed values in 1 row\n" in shown.err
    for arguments, says in (
        (["--rotate"], "there is no terminal to ask on"),
        (["--new-password-env", "NOT_THERE"], "NOT_THERE is not set, or empty"),
        ([], "a password has to be given"),
    ):
        refused = alchemy("scope", "rekey", "shop", *arguments, cwd=tmp_path, **given)
        assert refused.code == 2
        assert says in refused.err
    assert open_all(store)
    done = alchemy("scope", "rekey", "shop/prod", "--new-password-env", "NEW", "--yes", "--json", cwd=tmp_path, **given)
    assert done.code == 0, done.err
    assert '"password_changed": true' in done.out
    assert open_all(store, "another-horse")
    assert "horse" not in done.out + done.err
