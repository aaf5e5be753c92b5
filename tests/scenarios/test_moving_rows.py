"""`scope mv`: other addresses for what is stored; the objects, and everything that tells them apart, stay."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

import alchemy as api
from alchemy import AlchemyError, LockHeld, Refused, Scope, UsageError, alchemy, prop
from alchemy.errors import Fenced, InvalidName, StateInvalid
from alchemy.model.paths import ScopePath
from alchemy.model.records import Put, Reserve
from alchemy.model.values import Hold, ResourceState, ScopeKind, Status
from alchemy.operations.auditing import audit_log
from alchemy.operations.cleaning import plan_cleanup
from alchemy.operations.rebuilding import plan_rebuild
from alchemy.operations.restoring import restore
from alchemy.operations.spills import spills
from alchemy.operations.surgery.moving import move, plan_move
from alchemy.operations.surgery.record import Written
from alchemy.operations.validate import validate
from alchemy.settings import Options, Project
from alchemy.store.keyring import MissingPassword, WrongPassword
from alchemy.store.layout import Layout
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from tests.scenarios.world import PROD, Body, Cloud, Thing, World, nothing

OPTIONS = Options(lock_timeout=0.0)
STAGE = ScopePath.parse(PROD)
PASSWORD = "open sesame, please"


def moved(world: World, before: str, now: str, password: str | None = None) -> Written:
    store = LocalStore(world.layout, "f" * 32)
    plan = plan_move(store, f"{PROD}/{before}", f"{PROD}/{now}")
    return asyncio.run(move(store, plan, OPTIONS, password=password))


def write(world: World, *rows: ResourceState) -> None:
    """As a run would that set them."""

    async def run() -> None:
        ledger = await Ledger.open(world.store, STAGE, ScopeKind.STAGE, purpose="test", timeout=1.0)
        await ledger.intend([Put(row) for row in rows])
        ledger.close(outcome="done", counts={}, failures=[])

    asyncio.run(run())


async def base_and_user(scope: Scope) -> None:
    base = Thing("base")
    Thing("user", uses=base, depends_on=[base])
    async with alchemy.run("inner"):
        Thing("deep", uses=base.uid)


async def renamed(scope: Scope) -> None:
    base = Thing("main")
    Thing("user", uses=base, depends_on=[base])
    async with alchemy.run("inner"):
        Thing("deep", uses=base.uid)


async def nested(scope: Scope) -> None:
    async with alchemy.run("inner"):
        base = Thing("base")
        Thing("deep", uses=base.uid)
    Thing("user", uses=base, depends_on=[base])


async def deeper(scope: Scope) -> None:
    base = Thing("base")
    Thing("user", uses=base, depends_on=[base])
    async with alchemy.run("outer"), alchemy.run("core"):
        Thing("deep", uses=base.uid)


MOVES: dict[str, tuple[str, str, Body[None]]] = {
    "another id": ("base", "main", renamed),
    "into a nested scope": ("base", "inner/base", nested),
    "a nested scope into a new one": ("inner", "outer/core", deeper),
}


@pytest.mark.parametrize("how", MOVES)
def test_the_next_deploy_of_the_renamed_program_finds_nothing_changed(world: World, cloud: Cloud, how: str) -> None:
    before, now, program = MOVES[how]
    world.deploy(base_and_user)
    objects, old = dict(cloud.objects), world.rows()
    cloud.log.clear()
    moved(world, before, now)
    assert cloud.log == []
    new = world.rows()
    same = {(row.physical_name, row.token, row.seq, row.generation) for row in old.values()}
    assert {(row.physical_name, row.token, row.seq, row.generation) for row in new.values()} == same
    assert [(change.action, change.reason) for change in world.planned(program)] == [("keep", "nothing changed")] * 3
    assert not any(change.save for change in world.planned(program))
    world.deploy(program)
    assert cloud.calls() == []
    assert cloud.objects == objects
    assert world.rows().keys() == new.keys()
    assert validate(world.state) == []


def test_a_scope_that_moves_takes_its_row_and_leaves_none(world: World) -> None:
    world.deploy(base_and_user)
    made = world.fold().scopes[f"{PROD}/inner"].created_at
    moved(world, "inner", "outer/core")
    scopes = world.fold().scopes
    assert set(scopes) == {PROD, f"{PROD}/outer", f"{PROD}/outer/core"}
    assert scopes[f"{PROD}/outer/core"].created_at == made


def test_it_is_one_record_with_who_did_it_in_the_log_and_the_audit(world: World) -> None:
    world.deploy(base_and_user)
    written = moved(world, "base", "main")
    records = world.store.read_epoch(PROD, int(written.run[2:]))
    changing = [r for r in records if any(op["op"] in ("put", "drop") for op in r.ops) and r.kind != "release"]
    assert [(r.kind, r.body) for r in changing] == [("commit", {"surgery": "move"})]
    (entry,) = audit_log(world.store)
    assert (entry.act, entry.scope, entry.outcome) == ("move", PROD, "done")
    assert entry.detail["from"] == f"{PROD}/base"
    assert entry.detail["backup"] == written.before


def test_a_restore_of_the_backup_before_it_takes_it_back(world: World, cloud: Cloud) -> None:
    world.deploy(base_and_user)
    before = world.rows()
    written = moved(world, "base", "inner/main")
    asyncio.run(restore(world.store, PROD, written.before))
    assert {k: (r.physical_name, r.props, r.depends_on) for k, r in world.rows().items()} == {
        k: (r.physical_name, r.props, r.depends_on) for k, r in before.items()
    }
    world.deploy(base_and_user)
    assert len(cloud.objects) == 3
    assert cloud.calls("create") == ["base", "user", "deep"]


def test_what_gets_the_old_address_later_gets_a_name_of_its_own(world: World, cloud: Cloud) -> None:
    world.deploy(base_and_user)
    moved(world, "base", "main")

    async def both(scope: Scope) -> None:
        await renamed(scope)
        Thing("base")

    world.deploy(both)
    rows = world.rows()
    assert rows["main"].physical_name != rows["base"].physical_name
    assert len(cloud.objects) == 4
    world.deploy(nothing)
    assert cloud.objects == {}


def test_moved_and_replaced_it_is_named_by_its_new_address_and_the_old_object_goes(world: World, cloud: Cloud) -> None:
    async def before(scope: Scope) -> None:
        Thing("base")

    async def after(scope: Scope) -> None:
        Thing("main", region="us")

    world.deploy(before)
    moved(world, "base", "main")
    assert world.rows()["main"].made_as == f"{PROD}/base"
    world.deploy(after)
    (row,) = world.fold().resources.values()
    assert row.made_as == ""
    assert row.physical_name.startswith("my-app-prod-main-")
    assert list(cloud.objects) == [row.physical_name]


def test_moved_back_it_is_as_it_was(world: World) -> None:
    world.deploy(base_and_user)
    before = world.rows()
    moved(world, "base", "main")
    moved(world, "main", "base")
    assert {k: replace(r, run="", updated_at="") for k, r in world.rows().items()} == {
        k: replace(r, run="", updated_at="") for k, r in before.items()
    }


def test_old_incarnations_move_along_and_go_under_the_new_address(world: World, cloud: Cloud) -> None:
    world.deploy(base_and_user)
    row = world.rows()["base"]
    write(world, replace(row, former=True, generation=7, physical_name="left-behind", token="old"))
    cloud.objects["left-behind"] = {"id": "base", "uid": "uid-old", "size": 1, "region": "eu"}
    moved(world, "base", "main")
    assert world.formers() == ["main"]
    world.deploy(renamed)
    assert world.formers() == []
    assert "left-behind" not in cloud.objects
    assert len(cloud.objects) == 3


def test_references_in_an_announced_update_are_rewritten(world: World, cloud: Cloud) -> None:
    world.deploy(base_and_user)
    user = world.rows()["user"]
    write(world, replace(user, status=Status.UPDATING, pending={**user.props, "size": 9}))
    moved(world, "base", "main")
    user = world.rows()["user"]
    assert user.pending is not None
    assert user.pending["uses"]["$resource"] == user.props["uses"]["$resource"] == f"{PROD}/main"
    assert user.depends_on == (f"{PROD}/main",)
    assert user.status is Status.UPDATING
    world.deploy(renamed)
    assert cloud.calls("update") == ["user"]


def test_what_was_an_orphan_is_one_under_its_new_address_and_its_user_too(world: World) -> None:
    world.deploy(base_and_user)

    async def release() -> None:
        ledger = await Ledger.open(world.store, STAGE, ScopeKind.STAGE, purpose="deploy", timeout=1.0)
        orphans = [f"{PROD}/base", f"{PROD}/user"]
        said = {"complete": True, "orphans": orphans, "next_seq": ledger.fold.next_seq}
        ledger.close(outcome="done", counts={}, failures=[], declared=said)

    asyncio.run(release())
    moved(world, "base", "main")
    assert {step.address for step in plan_cleanup(world.store, STAGE).deletions} == {f"{PROD}/main", f"{PROD}/user"}


REFUSED: dict[str, tuple[str, str, type[AlchemyError], str]] = {
    "what is not stored": ("bass", "x", UsageError, "did you mean my-app/prod/base"),
    "its own name": ("base", "base", UsageError, "called that already"),
    "a name that is taken": ("base", "user", Refused, "in the state already"),
    "a scope's name": ("base", "inner", Refused, "mv my-app/prod/base my-app/prod/inner/base"),
    "a resource's name": ("inner", "base", Refused, "in the state already"),
    "into a resource": ("base", "user/base", Refused, "user is a resource"),
    "a scope into itself": ("inner", "inner/more", InvalidName, "into itself"),
    "only another case": ("base", "Inner/base", Refused, "differ only in case"),
    "a reserved name": ("inner", "journal", InvalidName, "reserved"),
    "up and out": ("base", "../../else/base", InvalidName, "not allowed"),
    "a control character": ("base", "a\x1b[31m", InvalidName, "control character"),
    "no name": ("base", "", InvalidName, "empty"),
    "too deep": ("inner", "/".join(["d"] * 16), InvalidName, "too deep"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_refused_with_nothing_done(world: World, why: str) -> None:
    world.deploy(base_and_user)
    before, now, error, said = REFUSED[why]
    tree = world.tree()
    with pytest.raises(error) as raised:
        moved(world, before, now)
    assert said in f"{raised.value.message} {raised.value.hint}"
    assert "\x1b" not in f"{raised.value.message} {raised.value.hint}"
    assert world.tree() == tree


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (PROD, "my-app/other", "scope export my-app/prod --out"),
        (f"{PROD}/base", "my-app/dev/base", "then scope import FILE --into my-app/dev"),
        (f"{PROD}/inner", "other/prod/inner", "--into other/prod/inner"),
        (f"{PROD}/base", "main", f"the whole of it: {PROD}/main"),
        ("nobody/knows", "nobody/else", "scope list"),
    ],
)
def test_another_journal_is_refused_with_the_way_there(world: World, before: str, now: str, said: str) -> None:
    world.deploy(base_and_user)
    world.deploy(nothing, stage="dev")
    with pytest.raises((Refused, UsageError)) as raised:
        plan_move(world.store, before, now)
    assert said in raised.value.hint


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.READY])
def test_a_call_without_a_known_end_has_to_be_finished_first(world: World, status: Status) -> None:
    world.deploy(base_and_user)
    write(world, replace(world.rows()["base"], status=status))
    with pytest.raises(Refused, match=f"still {status}"):
        moved(world, "base", "main")


def test_refused_when_something_else_is_stored_by_now(world: World) -> None:
    world.deploy(base_and_user)
    plan = plan_move(world.store, f"{PROD}/base", f"{PROD}/main")
    write(world, replace(world.rows()["base"], token="another"))
    with pytest.raises(Refused, match="changed meanwhile"):
        asyncio.run(move(world.store, plan, OPTIONS))
    assert "base" in world.rows()


def test_a_reserved_scope_and_a_protected_resource(world: World) -> None:
    async def program(scope: Scope) -> None:
        Thing("base", protect=True)

    world.deploy(program)
    moved(world, "base", "main")
    assert world.rows()["main"].protect

    async def reserve() -> None:
        ledger = await Ledger.open(world.store, STAGE, ScopeKind.STAGE, purpose="lock", timeout=1.0)
        ledger.record([Reserve(Hold(reason="inventory", by="ana@vm", since="2026-01-01T00:00:00.000Z"))])
        ledger.close(outcome="reserved", counts={}, failures=[])

    asyncio.run(reserve())
    with pytest.raises(LockHeld, match="inventory"):
        moved(world, "main", "base")


def test_a_damaged_journal_is_named(world: World) -> None:
    world.deploy(base_and_user)
    file = sorted(world.layout.journal(PROD).iterdir())[0]
    file.write_bytes(b"#\n" + file.read_bytes())
    with pytest.raises(StateInvalid, match="000001"):
        plan_move(world.store, f"{PROD}/base", f"{PROD}/main")


def test_who_refers_to_it_from_another_journal_is_told(world: World) -> None:
    async def main() -> None:
        async with alchemy("my-app"):
            shared = Thing("shared")
            async with alchemy("my-app", stage="prod"):
                Thing("user", uses=shared.uid)

    world.run(main)
    plan = plan_move(world.store, "my-app/shared", "my-app/common")
    assert plan.elsewhere == (f"{PROD}/user",)
    assert plan.users == ()


# -- secrets


class Vault(Thing, kind="world:Vault"):
    """A thing with a key, also among what it gives."""

    key: str = prop(secret=True, default="")
    more: dict[str, str] = prop(default={})


def keeping(id: str, secret: str = "needle-in-a-haystack") -> Body[None]:
    async def program(scope: Scope) -> None:
        vault = Vault(id, key=secret, more={"a/b~c": api.Secret(secret)})  # type: ignore[dict-item]
        Thing("user", uses=vault)

    return program


def test_secrets_are_sealed_for_the_new_address(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALCHEMY_PASSWORD", PASSWORD)
    world.deploy(keeping("vault"))
    before = world.rows()["vault"]
    moved(world, "vault", "safe", PASSWORD)
    now = world.rows()["safe"]
    assert now.props["key"] != before.props["key"]
    assert now.props_hash != before.props_hash
    changes = world.planned(keeping("safe"))
    assert [(change.action, change.save) for change in changes] == [("keep", False)] * 2
    world.deploy(keeping("safe", "another-needle-entirely"))
    assert "update safe done" in world.outcomes()


@pytest.mark.parametrize(("password", "error"), [(None, MissingPassword), ("wrong", WrongPassword)])
def test_without_the_password_nothing_is_done(
    world: World, monkeypatch: pytest.MonkeyPatch, password: str | None, error: type[AlchemyError]
) -> None:
    monkeypatch.setenv("ALCHEMY_PASSWORD", PASSWORD)
    world.deploy(keeping("vault"))
    tree = world.tree()
    with pytest.raises(error):
        moved(world, "vault", "safe", password)
    assert world.tree() == tree
    moved(world, "user", "client")  # which holds none
    assert "client" in world.rows()


# -- a run that may not write any more


def test_who_is_fenced_writes_nothing_of_it_and_spills_nothing(world: World) -> None:
    """A part of it would be two rows of one object, or none."""
    world.deploy(base_and_user)
    plan = plan_move(world.store, f"{PROD}/base", f"{PROD}/main")
    before = world.fold().resources

    async def seize() -> None:
        store = LocalStore(world.layout, "e" * 32)
        other = await Ledger.open(store, STAGE, ScopeKind.STAGE, purpose="test", timeout=0, locking=False)
        other.close(outcome="done", counts={}, failures=[])

    store = Overtaken(world.layout, "f" * 32, lambda: asyncio.run(seize()))
    with pytest.raises(Fenced):
        asyncio.run(move(store, plan, replace(OPTIONS, enable_locking=False)))
    assert world.fold().resources == before
    assert list(spills(world.store)) == []


class Overtaken(LocalStore):
    """Somebody takes over while the newest backup is looked for."""

    def __init__(self, layout: Layout, session: str, seize: Callable[[], None]) -> None:
        super().__init__(layout, session)
        self.seize: Callable[[], None] | None = seize

    def backups(self, path: ScopePath | str) -> list[str]:
        seize, self.seize = self.seize, None
        if seize is not None:
            thread = threading.Thread(target=seize)
            thread.start()
            thread.join()
        return super().backups(path)


# -- looking for it later


def test_a_lost_id_is_looked_for_by_the_name_that_it_keeps(world: World, cloud: Cloud) -> None:
    """The name holds our mark, so whatever has it is ours, as for a row that was never moved."""
    world.deploy(base_and_user)
    moved(world, "base", "main")
    row = world.rows()["main"]
    write(world, replace(row, verify=True, outputs={"uid": "a-lost-one"}))
    cloud.objects[row.physical_name]["uid"] = "made-anew"
    world.deploy(renamed)
    assert cloud.calls("create") == ["base", "user", "deep"]
    assert world.rows()["main"].outputs["uid"] == "made-anew"


def test_a_rebuild_takes_the_object_for_nothing_else(world: World, cloud: Cloud) -> None:
    world.deploy(base_and_user)
    moved(world, "base", "main")
    world.root.joinpath("both.py").write_text(PROGRAM)
    options, project = Options(retry_delay=0.0), Project(world.root, {})
    plan = asyncio.run(plan_rebuild(world.store, STAGE, options, project=project, program=world.root / "both.py"))
    assert sorted(row.address for row, _ in plan.rows) == [f"{PROD}/inner/deep", f"{PROD}/main", f"{PROD}/user"]
    assert plan.problems == ()


PROGRAM = """
from alchemy import alchemy
from tests.scenarios.world import Thing


async def main():
    async with alchemy("my-app", stage="prod"):
        base = Thing("main")
        Thing("base")
        Thing("user", uses=base, depends_on=[base])
        async with alchemy.run("inner"):
            Thing("deep", uses=base.uid)
"""
