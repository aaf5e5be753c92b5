"""What happens to one resource between two runs: kept, updated, replaced, adopted, forgotten."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import re
from typing import Any

import pytest

from alchemy import Context, Outputs, Resource, Scope, output
from alchemy.model.events import BackupTaken, ChangePlanned, Noted, Progressed
from alchemy.model.naming import plain_name
from alchemy.operations.workspace import Workspace
from tests.scenarios.world import CLOUD, PROD, Body, Cloud, Named, Solid, Thing, World, nothing


def one(id: str = "db", kind: type[Any] = Thing, **props: Any) -> Body[Any]:
    async def body(app: Scope) -> Any:
        return await kind(id, **props)

    return body


def reasons(world: World) -> dict[str, str]:
    return {e.subject.rpartition("/")[2]: e.reason for e in world.events if isinstance(e, ChangePlanned)}


def test_what_did_not_change_is_kept_without_a_call_or_a_write(world: World, cloud: Cloud) -> None:
    first = world.deploy(one(size=2))
    serial, view = world.fold().serial, world.layout.resource_view(f"{PROD}/db").read_bytes()
    cloud.log.clear()
    second = world.deploy(one(size=2))
    assert cloud.log == []
    assert world.outcomes() == ["keep db done"]
    assert world.fold().serial == serial
    assert world.layout.resource_view(f"{PROD}/db").read_bytes() == view
    assert first.uid == second.uid, "outputs come from the state"


@pytest.mark.parametrize(
    ("before", "after"), [({"a": 1, "b": 2.0}, {"b": 2, "a": 1}), ((1, 2), [1, 2]), ([{"x": 1.0}], ({"x": 1},))]
)
def test_another_way_to_write_the_same_value_is_no_change(world: World, cloud: Cloud, before: Any, after: Any) -> None:
    world.deploy(one(uses=before))
    world.deploy(one(uses=after))
    assert world.outcomes() == ["keep db done"]


def test_a_changed_prop_updates_in_place_and_the_verb_sees_both(world: World, cloud: Cloud) -> None:
    seen: list[tuple[int, int, str]] = []

    class Watched(Thing, kind="world:Watched"):
        async def update(self, ctx: Context, before: Any) -> Outputs:
            seen.append((before.size, self.size, before.uid))
            return await super().update(ctx, before)

    first = world.deploy(one(kind=Watched, size=1))
    second = world.deploy(one(kind=Watched, size=5))
    assert seen == [(1, 5, first.uid)]
    assert (second.uid, second.area) == (first.uid, 5), "an output that update does not return stays"
    assert reasons(world)["db"] == "changed: size"
    assert world.rows()["db"].props["size"] == 5
    assert cloud.calls() == ["create db", "update db"]


def test_a_fixed_prop_replaces_and_the_old_one_goes_last(world: World, cloud: Cloud) -> None:
    def program(region: str) -> Body[None]:
        async def body(app: Scope) -> None:
            db = Thing("db", region=region)
            Thing("api", uses=db)

        return body

    world.deploy(program("eu"))
    old = world.rows()["db"]
    cloud.log.clear()
    world.deploy(program("us"))
    new = world.rows()["db"]
    assert cloud.calls() == ["create db", "update api", "delete db"], "dependents have moved on before it goes"
    assert "fixed prop changed: region" in reasons(world)["db"] or "newer incarnation" in reasons(world)["db"]
    assert (new.generation, new.physical_name != old.physical_name) == (1, True)
    assert world.formers() == []
    assert {name: o["region"] for name, o in cloud.objects.items() if o["id"] == "db"} == {new.physical_name: "us"}


def test_a_kind_without_update_is_replaced(world: World, cloud: Cloud) -> None:
    world.deploy(one(kind=Solid, size=1))
    world.deploy(one(kind=Solid, size=2))
    assert cloud.calls() == ["create db", "create db", "delete db"]
    assert [o["size"] for o in cloud.objects.values()] == [2]


def test_another_kind_replaces_and_the_old_kind_deletes(world: World, cloud: Cloud) -> None:
    world.deploy(one(kind=Solid))
    world.deploy(one(kind=Thing))
    assert world.rows()["db"].kind == "world:Thing"
    assert cloud.calls() == ["create db", "create db", "delete db"]
    assert len(cloud.objects) == 1
    assert "region" in next(iter(cloud.objects.values()))


def test_with_a_name_of_its_own_the_old_one_goes_first(world: World, cloud: Cloud) -> None:
    world.deploy(one(kind=Named, name="orders", region="eu"))
    world.deploy(one(kind=Named, name="orders", region="us"))
    assert cloud.calls() == ["create db", "delete db", "create db"]
    assert cloud.objects["orders"]["region"] == "us"
    assert world.rows()["db"].physical_name == "orders"
    assert world.formers() == []


def test_a_renamed_resource_is_created_before_the_old_one_goes(world: World, cloud: Cloud) -> None:
    world.deploy(one("old"))
    world.deploy(one("new"))
    assert cloud.calls() == ["create old", "create new", "delete old"]


def test_a_physical_name_says_where_it_belongs_and_never_changes(world: World, cloud: Cloud) -> None:
    world.deploy(one("Main DB"))
    world.deploy(one("Main DB", size=2))
    world.deploy(one("Main DB"), stage="dev")
    (prod,) = {row.physical_name for row in world.rows().values()}
    (dev,) = {row.physical_name for row in world.rows("my-app/dev").values()}
    assert re.fullmatch(r"my-app-prod-main-db-[0-9a-f]{6}", prod)
    assert re.fullmatch(r"my-app-dev-main-db-[0-9a-f]{6}", dev)
    assert set(cloud.objects) == {prod, dev}


def test_two_checkouts_never_meet_under_one_name(world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    world.deploy(one())
    monkeypatch.setenv("ALCHEMY_STATE_DIR", "elsewhere")
    world.deploy(one())
    assert len(set(cloud.names)) == 2
    assert (world.root / "elsewhere" / "my-app" / "prod").is_dir()


@pytest.mark.parametrize("flag", [{"protect": True}, {"retain": True}, {"on_destroy": "forget"}, {"timeout": 9.0}])
def test_flags_are_saved_when_nothing_else_changed(world: World, cloud: Cloud, flag: dict[str, Any]) -> None:
    world.deploy(one())
    world.deploy(one(**flag))
    ((name, value),) = flag.items()
    assert getattr(world.rows()["db"], name) == value
    assert cloud.calls() == ["create db"]
    world.deploy(one())
    assert getattr(world.rows()["db"], name) != value


def existing(cloud: Cloud, name: str) -> None:
    cloud.objects[name] = {"id": "db", "uid": "uid-from-before", "size": 9, "region": "eu"}


def test_adopting_takes_over_what_has_the_plain_name_and_brings_it_to_the_wish(world: World, cloud: Cloud) -> None:
    existing(cloud, plain_name(f"{PROD}/db"))
    made = world.deploy(one(adopt=True, size=2))
    assert made.uid == "uid-from-before"
    assert cloud.calls() == ["update db"]
    assert cloud.objects[plain_name(f"{PROD}/db")]["size"] == 2
    row = world.rows()["db"]
    assert (row.adopted, row.physical_name) == (True, "my-app-prod-db")
    world.deploy(one(adopt=True, size=2))
    assert cloud.calls() == ["update db"], "the second time it is ours to keep"


def test_adopting_looks_for_an_explicit_name(world: World, cloud: Cloud) -> None:
    existing(cloud, "orders")
    world.deploy(one(kind=Named, name="orders", adopt=True))
    assert world.rows()["db"].adopted
    assert cloud.calls("create") == []


def test_adopting_what_is_not_there_creates_it_and_it_is_ours(world: World, cloud: Cloud) -> None:
    world.deploy(one(adopt=True))
    assert cloud.calls() == ["create db"]
    assert not world.rows()["db"].adopted
    world.deploy(nothing)
    assert cloud.objects == {}


def test_what_was_there_before_is_forgotten_not_deleted(world: World, cloud: Cloud) -> None:
    existing(cloud, "my-app-prod-db")
    world.deploy(one(adopt=True))
    world.deploy(nothing)
    assert world.rows() == {}
    assert list(cloud.objects) == ["my-app-prod-db"]
    assert world.outcomes() == ["forget db done"]


def test_what_was_there_before_is_deleted_when_the_program_says_so(world: World, cloud: Cloud) -> None:
    existing(cloud, "my-app-prod-db")
    world.deploy(one(adopt=True, on_destroy="delete"))
    world.deploy(nothing)
    assert cloud.objects == {}


def test_an_adopted_object_that_is_replaced_is_left_alone(world: World, cloud: Cloud) -> None:
    existing(cloud, "my-app-prod-db")
    world.deploy(one(adopt=True))
    world.deploy(one(adopt=True, region="us"))
    assert cloud.objects["my-app-prod-db"]["uid"] == "uid-from-before"
    assert len(cloud.objects) == 2
    assert world.formers() == []
    world.deploy(nothing)
    assert list(cloud.objects) == ["my-app-prod-db"]


def test_what_is_retained_is_forgotten_and_stays(world: World, cloud: Cloud) -> None:
    world.deploy(one(retain=True))
    world.deploy(nothing)
    assert world.rows() == {}
    assert cloud.ids() == ["db"]


def test_a_value_that_may_differ_each_time_touches_nobody(world: World, cloud: Cloud) -> None:
    class Clocked(Thing, kind="world:Clocked"):
        seen_at: str = output(volatile=True)

        async def update(self, ctx: Context, before: Any) -> Outputs:
            return {**await super().update(ctx, before), "area": 1, "seen_at": str(len(CLOUD.get().log))}

    def program(size: int) -> Body[None]:
        async def body(app: Scope) -> None:
            Thing("api", uses=Clocked("db", size=size))

        return body

    world.deploy(program(1))
    world.deploy(program(2))
    assert world.outcomes() == ["update db done", "keep api done"]


def test_a_value_that_changed_updates_those_who_use_it(world: World, cloud: Cloud) -> None:
    def program(size: int) -> Body[None]:
        async def body(app: Scope) -> None:
            Thing("api", uses={"area": Thing("db", size=size).area})

        return body

    world.deploy(program(1))
    world.deploy(program(2))
    assert world.outcomes() == ["update db done", "update api done"]
    assert world.rows()["api"].props["uses"] == {"area": 2}


def test_a_note_is_in_the_log_of_the_run_and_progress_only_on_screen(world: World, cloud: Cloud) -> None:
    class Chatty(Thing, kind="world:Chatty"):
        async def create(self, ctx: Context) -> Outputs:
            ctx.note("copying\x1b[2J")
            ctx.progress(1, 4)
            assert ctx.scope == PROD
            assert ctx.address == f"{PROD}/db"
            return await super().create(ctx)

    world.deploy(one(kind=Chatty))
    note = Noted(f"{PROD}/db", "copying␛[2J")
    assert note in world.events
    assert Progressed(f"{PROD}/db", 1.0, 4.0) in world.events
    workspace = Workspace(world.state)
    workspace.refresh()
    logged = [entry.event for entry in workspace.entries(PROD)]
    assert note in logged
    assert not any(isinstance(event, Progressed) for event in logged)


def test_before_the_first_change_of_a_run_there_is_a_copy_of_what_was(world: World) -> None:
    world.deploy(one(size=1))
    world.deploy(one(size=2))
    world.deploy(one(size=2))
    assert not any(isinstance(e, BackupTaken) for e in world.events)
    world.deploy(one(size=3))
    (taken,) = [e for e in world.events if isinstance(e, BackupTaken)]
    assert (world.layout.backups(PROD) / taken.file).is_file()
    assert taken.reason == "before R-4"


def test_a_list_a_kind_has_as_default_is_nobody_elses(world: World) -> None:
    class Listed(Thing, kind="world:Listed"):
        tags: list[str] = []  # noqa: RUF012 - as users write it

    async def body(app: Scope) -> list[str]:
        first = Listed("a")
        first.tags.append("x")
        return Listed("b").tags

    assert world.deploy(body) == []


class Pinned(Resource, kind="world:Pinned"):
    """Its create may be sent again: the token makes it one object."""

    uid: str = output()
    idempotent = True

    async def create(self, ctx: Context) -> Outputs:
        cloud = CLOUD.get()
        async with cloud.call("create", self.id):
            cloud.tokens.append(ctx.token)
            cloud.objects.setdefault(ctx.token, {"id": self.id, "uid": cloud.uid()})
        return {"uid": cloud.objects[ctx.token]["uid"]}

    async def read(self, ctx: Context) -> Outputs | None:
        raise AssertionError("create is asked again instead")

    async def delete(self, ctx: Context) -> None:
        CLOUD.get().objects.pop(ctx.token, None)


def test_a_kind_whose_create_can_be_repeated_is_not_looked_up(world: World, cloud: Cloud) -> None:
    from alchemy import CloudError

    cloud.fail("create db", CloudError("busy", status=503), CloudError("busy", status=503))
    world.deploy(one(kind=Pinned))
    assert len(cloud.calls("create")) == 3
    assert len(set(cloud.tokens)) == 1
