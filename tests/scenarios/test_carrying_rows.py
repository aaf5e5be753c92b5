"""`scope rm`, `export` and `import`: rows forgotten or carried to another place, objects taken in as they are found."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import alchemy as api
from alchemy import AlchemyError, Refused, Scope, UsageError, alchemy, prop
from alchemy.engine.session import Run, recorded_runs
from alchemy.errors import InvalidName, StateInvalid, UnknownKind
from alchemy.model.canonical import digest
from alchemy.model.exports import Export, read_export
from alchemy.model.paths import ScopePath
from alchemy.model.records import Put
from alchemy.model.values import ResourceState, ScopeKind, Status, Target
from alchemy.operations.auditing import audit_log
from alchemy.operations.cleaning import plan_cleanup
from alchemy.operations.restoring import restore
from alchemy.operations.surgery.exporting import export, load, save
from alchemy.operations.surgery.forgetting import forget, plan_forget
from alchemy.operations.surgery.importing import bring_in, plan_import
from alchemy.operations.surgery.record import Written
from alchemy.operations.surgery.taking import plan_take, take
from alchemy.operations.validate import validate
from alchemy.settings import Options, Project
from alchemy.store.keyring import MissingPassword, WrongPassword
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from tests.scenarios.world import PROD, Body, Broken, Cloud, Named, Solid, Thing, World, nothing

OPTIONS = Options(lock_timeout=0.0, retry_delay=0.0)
STAGE = ScopePath.parse(PROD)
PASSWORD, OTHER = "open sesame, please", "another one, for the other project"


async def base_and_user(scope: Scope) -> None:
    base = Thing("base")
    Thing("user", uses=base)
    async with alchemy.run("inner"):
        Thing("deep", uses=base.uid)


async def base_alone(scope: Scope) -> None:
    Thing("base")


def store_of(world: World) -> LocalStore:
    return LocalStore(world.layout, "f" * 32)


def forgotten(world: World, *ids: str, former: bool = False) -> Written:
    plan = plan_forget(store_of(world), [f"{PROD}/{id}" for id in ids], former=former)
    return asyncio.run(forget(store_of(world), plan, OPTIONS))


def imported(
    world: World, document: Export, into: str, password: str | None = None, source: str | None = None
) -> Written:
    plan = plan_import(store_of(world), document, ScopePath.parse(into))
    bringing = bring_in(store_of(world), plan, OPTIONS, password=password, source_password=source or password)
    return asyncio.run(bringing)


def taken(world: World, address: str, kind: str, name: str, **props: str) -> Written:
    project = Project(world.root, {})

    async def both() -> Written:
        plan = await plan_take(store_of(world), address, kind, name, props, OPTIONS, project=project)
        return await take(store_of(world), plan, OPTIONS, project=project)

    return asyncio.run(both())


def write(world: World, *rows: ResourceState) -> None:
    async def run() -> None:
        ledger = await Ledger.open(world.store, STAGE, ScopeKind.STAGE, purpose="test", timeout=1.0)
        await ledger.intend([Put(row) for row in rows])
        ledger.close(outcome="done", counts={}, failures=[])

    asyncio.run(run())


# -- rm


def test_rows_go_and_the_objects_stay(world: World, cloud: Cloud) -> None:
    world.deploy(base_and_user)
    objects = dict(cloud.objects)
    cloud.log.clear()
    written = forgotten(world, "base", "inner/deep")
    assert set(world.rows()) == {"user"}
    assert (cloud.log, cloud.objects) == ([], objects)
    (record,) = [r for r in world.store.read_epoch(PROD, 2) if any(op["op"] == "drop" for op in r.ops)]
    assert [op["address"] for op in record.ops if op["op"] == "drop"] == [f"{PROD}/base", f"{PROD}/inner/deep"]
    (entry,) = audit_log(world.store)
    assert [left["address"] for left in entry.detail["left_behind"]] == [f"{PROD}/base", f"{PROD}/inner/deep"]
    asyncio.run(restore(world.store, PROD, written.before))
    world.deploy(base_and_user)
    assert cloud.calls() == []
    assert cloud.objects == objects


def test_who_uses_what_is_forgotten_is_named(world: World) -> None:
    world.deploy(base_and_user)
    assert plan_forget(world.store, [f"{PROD}/base"]).users == (f"{PROD}/inner/deep", f"{PROD}/user")
    assert plan_forget(world.store, [f"{PROD}/user", f"{PROD}/inner/deep"]).users == ()


def test_old_incarnations_go_with_it_or_alone(world: World) -> None:
    world.deploy(base_and_user)
    old = replace(world.rows()["base"], former=True, generation=7, physical_name="left-behind", token="old")
    write(world, old)
    forgotten(world, "base", former=True)
    assert (world.formers(), set(world.rows())) == ([], {"base", "user", "inner/deep"})
    with pytest.raises(Refused, match="no old incarnation"):
        forgotten(world, "base", former=True)
    write(world, old)
    forgotten(world, "base")
    assert (world.formers(), set(world.rows())) == ([], {"user", "inner/deep"})


def test_one_whose_creation_has_no_known_end_can_be_forgotten(world: World) -> None:
    world.deploy(base_and_user)
    write(world, replace(world.rows()["user"], status=Status.CREATING, protect=True))
    forgotten(world, "user")
    assert "user" not in world.rows()


@pytest.mark.parametrize(
    ("ids", "error", "said"),
    [
        (["bass"], UsageError, "did you mean my-app/prod/base"),
        (["inner"], UsageError, "scope reset my-app/prod/inner"),
        (["base", "nope"], UsageError, "not in the state"),
        (["base", "../dev/base"], UsageError, "a journal each"),
    ],
)
def test_rm_refuses_with_nothing_done(world: World, ids: list[str], error: type[AlchemyError], said: str) -> None:
    world.deploy(base_and_user)
    world.deploy(base_alone, stage="dev")
    tree = world.tree()
    with pytest.raises(error) as raised:
        plan_forget(world.store, [f"{PROD}/{id}".replace("prod/../", "") for id in ids])
    assert said in f"{raised.value.message} {raised.value.hint}"
    assert world.tree() == tree


def test_rm_refuses_what_is_another_one_by_now(world: World) -> None:
    world.deploy(base_and_user)
    plan = plan_forget(world.store, [f"{PROD}/base"])
    write(world, replace(world.rows()["base"], token="another"))
    with pytest.raises(Refused, match="changed meanwhile"):
        asyncio.run(forget(world.store, plan, OPTIONS))


# -- export, and import of what was exported


def test_a_stage_is_carried_to_another_one(world: World, cloud: Cloud, tmp_path: Path) -> None:
    world.deploy(base_and_user)
    objects, file = dict(cloud.objects), tmp_path / "prod.json"
    tree = world.tree()
    document = export(world.store, PROD)
    assert world.tree() == tree
    save(json.dumps(document.to_json()).encode(), file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert load(file) == document
    tokens = {row.token for row in world.rows().values()}
    forgotten(world, "base", "user", "inner/deep")
    cloud.log.clear()
    imported(world, load(file), "my-app/next")
    rows = world.rows("my-app/next")
    assert cloud.log == []
    assert all(row.verify for row in rows.values())
    assert {row.token for row in rows.values()} == tokens
    assert rows["user"].props["uses"]["$resource"] == "my-app/next/base"
    assert rows["inner/deep"].depends_on == ("my-app/next/base",)
    world.deploy(base_and_user, stage="next")
    assert cloud.calls() == []
    assert cloud.objects == objects
    world.deploy(nothing, stage="next")
    assert cloud.objects == {}
    assert validate(world.state) == []


def test_one_resource_and_a_nested_scope_come_into_a_scope_that_is_new(world: World) -> None:
    world.deploy(base_and_user)
    one, inner = export(world.store, f"{PROD}/base"), export(world.store, f"{PROD}/inner")
    forgotten(world, "base", "inner/deep")
    imported(world, one, f"{PROD}/parts/first")
    plan = plan_import(world.store, inner, ScopePath.parse(f"{PROD}/parts"))
    assert plan.foreign == (f"{PROD}/base",)
    imported(world, inner, f"{PROD}/parts")
    assert set(world.rows()) == {"user", "parts/first/base", "parts/deep"}
    assert {f"{PROD}/parts", f"{PROD}/parts/first"} <= set(world.fold().scopes)
    assert world.rows()["parts/first/base"].made_as == f"{PROD}/base"


def test_back_at_its_own_place_it_is_as_it_was(world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALCHEMY_PASSWORD", PASSWORD)
    world.deploy(keeping)
    document, before = export(world.store, PROD), world.rows()["vault"]
    forgotten(world, "vault")
    imported(world, document, PROD)  # without the password: it is sealed for this place
    now = world.rows()["vault"]
    assert replace(now, run="", updated_at="", seq=0, verify=False) == replace(before, run="", updated_at="", seq=0)
    world.deploy(keeping)
    assert cloud.calls("create") == ["vault"]
    assert cloud.calls("update") == []


def test_what_came_in_is_nothing_that_a_failed_deploy_left(world: World, cloud: Cloud) -> None:
    world.deploy(base_and_user)
    document = export(world.store, PROD)
    forgotten(world, "base", "user", "inner/deep")
    imported(world, document, "my-app/next")
    cloud.fail("create other")

    async def other(scope: Scope) -> None:
        Thing("other")

    with pytest.raises(api.RunFailed):
        world.deploy(other, stage="next", max_retries=0)
    steps = plan_cleanup(world.store, ScopePath.parse("my-app/next")).deletions
    assert {step.address for step in steps} <= {"my-app/next/other"}


def test_nothing_is_written_over_and_one_object_has_one_row(world: World) -> None:
    world.deploy(base_and_user)
    world.deploy(base_alone, stage="dev")
    document = export(world.store, PROD)
    tree = world.tree()
    with pytest.raises(Refused, match="nothing is written over"):
        imported(world, document, PROD)
    with pytest.raises(Refused, match="object of my-app/prod/base already"):
        imported(world, document, "my-app/next")
    with pytest.raises(Refused, match="base is a resource"):
        imported(world, document, f"{PROD}/base/more")
    with pytest.raises(Refused, match="written over"):
        imported(world, document, "my-app/dev")
    for into, error in (("my-app/test/x", UsageError), ("my-app/Prod", InvalidName), ("my-app/journal", InvalidName)):
        with pytest.raises(error):
            imported(world, document, into)
    with pytest.raises(InvalidName, match="too deep"):
        imported(world, document, "/".join(["my-app", "next", *["d"] * 14]))
    assert world.tree() == tree


def test_another_account_is_refused_and_an_empty_stage_takes_it_over(world: World) -> None:
    world.deploy(base_alone)
    target = Target(account="a" * 32, name="Cloudflare")
    document = export(world.store, PROD)
    forgotten(world, "base")
    document = replace(document, rows=tuple(replace(row, account="a" * 32) for row in document.rows))
    with pytest.raises(Refused, match="does not name"):
        imported(world, document, "my-app/next")
    imported(world, replace(document, target=target), "my-app/next")
    assert world.fold("my-app/next").target == target
    other = replace(document.rows[0], account="b" * 32, address=f"{PROD}/x", physical_name="x")
    with pytest.raises(Refused, match="deployed to Cloudflare"):
        imported(world, replace(document, rows=(other,)), "my-app/next")


def tampered(change: Callable[[dict[str, Any]], object], *, seal: bool = True) -> Callable[[dict[str, Any]], bytes]:
    def made(body: dict[str, Any]) -> bytes:
        change(body)
        if seal:
            body.pop("sha256", None)
            body["sha256"] = digest(body)
        return json.dumps(body).encode()

    return made


def first(body: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = body["resources"][0]
    return row


BAD: dict[str, tuple[Callable[[dict[str, Any]], bytes], str]] = {
    "torn": (lambda body: json.dumps(body).encode()[:-40], "Invalid JSON"),
    "empty": (lambda _: b"", "Invalid JSON"),
    "a list": (lambda _: b"[]", "not written by"),
    "a key twice": (lambda body: b'{"a":1,"a":2}', "twice"),
    "edited": (tampered(lambda b: first(b).update(physical_name="other"), seal=False), "checksum"),
    "a newer format": (tampered(lambda b: b.update(format=2)), "format 2"),
    "a format that is none": (tampered(lambda b: b.update(format=True)), "format"),
    "a newer status": (tampered(lambda b: first(b).update(status="frozen")), "unknown to this version"),
    "an address outside": (tampered(lambda b: first(b).update(address="my-app/other/x")), "misplaced"),
    "an address that climbs": (tampered(lambda b: first(b).update(address=f"{PROD}/../x")), "not allowed"),
    "a control character": (tampered(lambda b: first(b).update(address=f"{PROD}/a\x1b[2J")), "control character"),
    "a wrong type": (tampered(lambda b: first(b).update(seq="1")), "seq"),
    "a row twice": (tampered(lambda b: b["resources"].append(first(b))), "twice"),
    "no rows": (tampered(lambda b: b.update(resources=[], scopes=[])), "nothing is in it"),
    "rows that are none": (tampered(lambda b: b.update(resources=[1])), "no list"),
    "a target that is none": (tampered(lambda b: b.update(target=[1])), "target"),
    "keys that are none": (tampered(lambda b: b.update(keys="x")), "keys"),
    "an owner that is no path": (tampered(lambda b: b.update(owner="../x")), "not allowed"),
    "an integer beyond us": (tampered(lambda b: first(b)["props"].update(size=10**30), seal=False), ""),
}


@pytest.mark.parametrize("what", BAD)
def test_a_document_that_cannot_be_believed_is_refused_by_name(what: str) -> None:
    make, said = BAD[what]
    row = ResourceState(
        address=f"{PROD}/x",
        kind="world:Thing",
        status=Status.READY,
        physical_name="x",
        token="t",
        props={"size": 1},
        props_hash="",
        outputs={},
        seq=1,
    )
    whole = Export(scope=PROD, owner=PROD, lineage="l", taken="", by="", tool="", target=None, scopes=(), rows=(row,))
    assert read_export(json.dumps(whole.to_json()).encode(), "it.json") == whole
    with pytest.raises(StateInvalid) as raised:
        read_export(make(whole.to_json()), "it.json")
    assert "it.json" in raised.value.message
    assert said in raised.value.message
    assert "\x1b" not in raised.value.message


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        save(b"{}", tmp_path / "x.json")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert (tmp_path / "x.json").read_text() == "mine"


# -- secrets


class Safe(Thing, kind="world:Safe"):
    key: str = prop(secret=True, default="")


async def keeping(scope: Scope) -> None:
    Safe("vault", key="needle-in-a-haystack")


def test_secrets_are_sealed_for_the_new_place_also_in_another_project(
    world: World, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALCHEMY_PASSWORD", PASSWORD)
    world.deploy(keeping)
    document = export(world.store, PROD)
    assert "needle" not in json.dumps(document.to_json())
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other", cloud)
    for password, source, error in (
        (None, None, MissingPassword),
        (OTHER, "wrong", WrongPassword),
        (None, PASSWORD, MissingPassword),
    ):
        with pytest.raises(error):
            imported(other, document, "our-app/live", password, source)
        assert not other.layout.journal("our-app/live").exists()
    imported(other, document, "our-app/live", OTHER, PASSWORD)
    monkeypatch.setenv("ALCHEMY_PASSWORD", OTHER)
    (change,) = other_plan(other)
    assert (change.action, change.diff) == ("keep", ())


def other_plan(world: World) -> list[Any]:
    runs: list[Run] = []
    token = recorded_runs.set(runs)
    try:

        async def main() -> None:
            async with alchemy("our-app", stage="live", phase="plan"):
                Safe("vault", key="needle-in-a-haystack")

        world.run(main, state_dir=world.state)
    finally:
        recorded_runs.reset(token)
    return [change for run in runs for change in run.planned]


# -- import of an object


def thing(cloud: Cloud, name: str, size: int = 1) -> None:
    cloud.objects[name] = {"id": name, "uid": f"uid-{name}", "size": size, "region": "eu"}


def named(size: int = 1) -> Body[None]:
    async def program(scope: Scope) -> None:
        Named("old", name="found-object", size=size)

    return program


def test_an_object_is_taken_in_as_it_is_found(world: World, cloud: Cloud) -> None:
    thing(cloud, "found-object", size=3)
    objects = {name: dict(item) for name, item in cloud.objects.items()}
    taken(world, f"{PROD}/old", "world:Named", "found-object", size="3")
    assert cloud.objects == objects
    row = world.rows()["old"]
    assert (row.adopted, row.verify, row.status, row.physical_name) == (True, True, Status.READY, "found-object")
    assert row.outputs == {"uid": "uid-found-object", "area": 3}
    assert row.props["size"] == 3
    assert [(change.action, change.diff) for change in world.planned(named(size=3))] == [("update", ())]
    (change,) = world.planned(named(size=4))
    assert [(each.path, each.before, each.after) for each in change.diff] == [("size", 3, 4)]
    world.deploy(named(size=4))
    assert cloud.objects["found-object"]["size"] == 4
    assert cloud.calls("create") == []
    world.deploy(nothing)
    assert "found-object" in cloud.objects, "it was there before us"


def test_a_kind_without_update_is_believed(world: World, cloud: Cloud) -> None:
    cloud.objects["rock"] = {"id": "rock", "uid": "u", "size": 1}
    taken(world, f"{PROD}/deep/rock", "world:Solid", "rock")

    async def program(scope: Scope) -> None:
        async with alchemy.run("deep"):
            Solid("rock")

    assert [change.action for change in world.planned(program)] == ["keep"]
    world.deploy(program)
    assert cloud.calls() == []


@pytest.mark.parametrize(
    ("address", "kind", "name", "props", "error", "said"),
    [
        (f"{PROD}/x", "world:Named", "nowhere", {}, Refused, "there is no world:Named called nowhere"),
        (f"{PROD}/base", "world:Named", "there", {}, Refused, "in the state already"),
        (f"{PROD}/inner", "world:Named", "there", {}, Refused, "in the state already"),
        (f"{PROD}/base/x", "world:Named", "there", {}, Refused, "base is a resource"),
        (f"{PROD}/x", "world:Nothing", "there", {}, UnknownKind, "no loaded class"),
        (f"{PROD}/x", "world:Named", "..", {}, UsageError, "is no name"),
        (f"{PROD}/x", "world:Named", "there", {"sise": "1"}, UsageError, "no prop sise"),
        (f"{PROD}/x", "world:Named", "there", {"size": "big"}, UsageError, "size"),
        (f"{PROD}/x", "world:Safe", "there", {"key": "s3cret"}, UsageError, "is a secret"),
        (f"{PROD}/a\x07", "world:Named", "there", {}, InvalidName, "control character"),
        ("x", "world:Named", "there", {}, InvalidName, "not empty"),
    ],
)
def test_taking_refuses_with_nothing_done(
    world: World,
    cloud: Cloud,
    address: str,
    kind: str,
    name: str,
    props: dict[str, str],
    error: type[AlchemyError],
    said: str,
) -> None:
    world.deploy(base_and_user)
    thing(cloud, "there")
    tree = world.tree()
    with pytest.raises(error) as raised:
        taken(world, address, kind, name, **props)
    assert said in raised.value.message
    assert world.tree() == tree


def test_what_another_stage_has_is_refused_and_a_failing_look_leaves_nothing(world: World, cloud: Cloud) -> None:
    world.deploy(base_alone)
    name = world.rows()["base"].physical_name
    with pytest.raises(Refused, match="object of my-app/prod/base already"):
        taken(world, "my-app/dev/base", "world:Thing", name)
    thing(cloud, "there")
    cloud.fail("read x", times=9)
    with pytest.raises(Broken):
        taken(world, "my-app/dev/x", "world:Thing", "there")
    assert not world.layout.journal("my-app/dev").exists()
