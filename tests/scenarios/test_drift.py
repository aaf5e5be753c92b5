"""Objects that were changed or deleted behind our back: a deploy that is told to refresh sees it, and heals it."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import random
from typing import Any

import pytest

from alchemy import Context, Outputs, RunFailed, Scope, output
from alchemy.model.events import ChangePlanned, Noted
from alchemy.model.values import Status
from tests.scenarios.test_verifying import go_back
from tests.scenarios.world import CLOUD, Cloud, Named, Solid, Thing, World, nothing


class Seen(Named, kind="drift:Seen"):
    """A thing whose size and region can be asked for."""

    label: str | None = None

    async def observe(self, ctx: Context) -> dict[str, Any] | None:
        cloud = CLOUD.get()
        async with cloud.call("observe", self.id):
            found = cloud.objects.get(ctx.name)
        return {"size": found["size"], "region": found["region"], "label": found.get("label")} if found else None


async def db(scope: Scope) -> None:
    Seen("db", size=5)


async def pair(scope: Scope) -> None:
    base = Seen("base")
    Thing("user", uses=base.uid)


def there(world: World, cloud: Cloud, id: str = "db") -> dict[str, Any]:
    return cloud.objects[world.rows()[id].physical_name]


def reasons(world: World) -> dict[str, str]:
    """What was decided about each first: an old incarnation is deleted later."""
    planned = [event for event in world.events if isinstance(event, ChangePlanned)]
    return {e.subject.rpartition("/")[2]: f"{e.action}: {e.reason}" for e in reversed(planned)}


def test_without_a_refresh_nothing_is_asked(world: World, cloud: Cloud) -> None:
    world.deploy(db)
    there(world, cloud)["size"] = 2
    cloud.log.clear()
    world.deploy(db)
    assert cloud.log == []


def test_what_is_as_it_was_is_kept_and_nothing_is_written(world: World, cloud: Cloud) -> None:
    world.deploy(db)
    before = world.rows()
    cloud.log.clear()
    world.deploy(db, refresh=True)
    assert cloud.log == ["read db", "observe db"]
    assert reasons(world) == {"db": "keep: nothing changed"}
    assert world.rows() == before


def test_what_drifted_is_updated_back_to_the_wish(world: World, cloud: Cloud) -> None:
    world.deploy(db)
    there(world, cloud)["size"] = 2
    world.deploy(db, refresh=True)
    assert reasons(world) == {"db": "update: drifted: size 2 → 5"}
    assert there(world, cloud)["size"] == 5
    assert world.rows()["db"].props["size"] == 5
    world.deploy(db, refresh=True)
    assert reasons(world) == {"db": "keep: nothing changed"}


def test_a_wish_that_changed_as_well_is_told_apart(world: World, cloud: Cloud) -> None:
    async def more(scope: Scope) -> None:
        Seen("db", size=5, uses="more")

    world.deploy(db)
    there(world, cloud)["size"] = 2
    world.deploy(more, refresh=True)
    assert reasons(world) == {"db": "update: drifted: size 2 → 5; changed: uses"}


def test_what_the_cloud_has_already_is_only_written_down(world: World, cloud: Cloud) -> None:
    async def smaller(scope: Scope) -> None:
        Seen("db", size=2)

    world.deploy(db)
    there(world, cloud)["size"] = 2
    cloud.log.clear()
    world.deploy(smaller, refresh=True)
    assert cloud.calls("update") == []
    assert reasons(world)["db"] == "keep: as the cloud has it: size 5 → 2, outputs.area 5 → 2"
    assert (world.rows()["db"].props["size"], world.rows()["db"].outputs["area"]) == (2, 2)


def test_what_is_left_to_the_cloud_does_not_drift(world: World, cloud: Cloud) -> None:
    world.deploy(db)
    there(world, cloud)["label"] = "by hand"
    world.deploy(db, refresh=True)
    assert reasons(world) == {"db": "keep: nothing changed"}


def test_a_fixed_prop_that_drifted_replaces(world: World, cloud: Cloud) -> None:
    world.deploy(db)
    old = there(world, cloud)
    old["region"] = "us"
    world.deploy(db, refresh=True)
    assert reasons(world) == {"db": 'replace: drifted: region "us" → "eu"; region cannot be changed'}
    assert [each["region"] for each in cloud.objects.values()] == ["eu"]
    assert there(world, cloud)["uid"] != old["uid"]


def test_what_is_gone_is_created_again_and_what_uses_it_follows(world: World, cloud: Cloud) -> None:
    world.deploy(pair)
    del cloud.objects[world.rows()["base"].physical_name]
    cloud.log.clear()
    world.deploy(pair, refresh=True)
    assert cloud.calls() == ["create base", "update user"]
    assert reasons(world)["base"] == "create: not found in the cloud"
    assert world.rows()["user"].props["uses"] == there(world, cloud, "base")["uid"]


def test_a_plan_shows_the_same_and_writes_nothing(world: World, cloud: Cloud) -> None:
    async def three(scope: Scope) -> None:
        Seen("a", size=5)
        Seen("b")
        Seen("c")

    world.deploy(three)
    there(world, cloud, "a")["size"] = 2
    del cloud.objects[world.rows()["b"].physical_name]
    before = world.tree()
    changes = {change.address[-1]: change for change in world.planned(three, refresh=True)}
    assert {id: f"{c.action}: {c.reason}" for id, c in changes.items()} == {
        "a": "update: drifted: size 2 → 5",
        "b": "create: not found in the cloud",
        "c": "keep: nothing changed",
    }
    assert [(d.path, d.before, d.after) for d in changes["a"].diff] == [("size", 2, 5)]
    assert world.tree() == before
    assert cloud.calls("create") == ["a", "b", "c"]


def test_outputs_that_changed_are_taken_over_where_no_prop_drifted(world: World, cloud: Cloud) -> None:
    world.deploy(pair)
    there(world, cloud, "base")["uid"] = "uid-of-somebody"
    cloud.log.clear()
    world.deploy(pair, refresh=True)
    assert reasons(world)["base"] == 'keep: as the cloud has it: outputs.uid "uid-00000001" → "uid-of-somebody"'
    assert cloud.calls("update") == ["user"]
    assert world.rows()["base"].outputs["uid"] == "uid-of-somebody"
    [note] = [event for event in world.events if isinstance(event, Noted)]
    assert note.text == 'taken over as the cloud has it: outputs.uid "uid-00000001" → "uid-of-somebody"'


def test_an_orphan_that_is_gone_is_dropped_without_a_call(world: World, cloud: Cloud) -> None:
    world.deploy(pair)
    cloud.objects.clear()
    cloud.log.clear()
    world.deploy(nothing, refresh=True)
    assert cloud.calls() == []
    assert world.rows() == {}


def test_an_update_that_failed_is_made_good_without_a_refresh(world: World, cloud: Cloud) -> None:
    """The intent says what the object is: a kind that compares with `before` heals it."""
    world.deploy(db)
    there(world, cloud)["size"] = 2
    cloud.fail("update db")
    with pytest.raises(RunFailed):
        world.deploy(db, refresh=True)
    row = world.rows()["db"]
    assert (row.status, row.props["size"], (row.pending or {})["size"]) == (Status.UPDATING, 2, 5)
    world.deploy(db)
    assert there(world, cloud)["size"] == 5


def test_a_create_that_failed_after_something_was_gone_is_made_good(world: World, cloud: Cloud) -> None:
    world.deploy(db)
    cloud.objects.clear()
    cloud.fail("create db")
    with pytest.raises(RunFailed):
        world.deploy(db, refresh=True)
    assert world.rows()["db"].status is Status.CREATING
    world.deploy(db)
    assert (there(world, cloud)["size"], len(cloud.objects)) == (5, 1)


def test_one_that_cannot_be_asked_fails_alone(world: World, cloud: Cloud) -> None:
    async def two(scope: Scope) -> None:
        Seen("a", size=5)
        Seen("b", size=5)

    world.deploy(two)
    for id in ("a", "b"):
        there(world, cloud, id)["size"] = 2
    cloud.fail("observe a")
    with pytest.raises(RunFailed, match="1 resource"):
        world.deploy(two, refresh=True)
    assert (there(world, cloud, "a")["size"], there(world, cloud, "b")["size"]) == (2, 5)


def test_an_object_that_took_the_name_of_one_that_is_gone_is_not_touched(world: World, cloud: Cloud) -> None:
    async def named(scope: Scope) -> None:
        Ided("db", name="the-one")

    async def adopting(scope: Scope) -> None:
        Ided("db", name="the-one", adopt=True)

    world.deploy(named)
    cloud.objects["the-one"] = {"id": "db", "uid": "uid-of-somebody", "size": 7, "region": "eu"}
    with pytest.raises(RunFailed) as failed:
        world.deploy(named, refresh=True)
    assert "is another object than the one in the state" in failed.value.failures[0][1]
    assert cloud.objects["the-one"]["size"] == 7
    world.deploy(adopting, refresh=True)
    assert (world.rows()["db"].adopted, world.rows()["db"].outputs["uid"]) == (True, "uid-of-somebody")


class Ided(Named, kind="drift:Ided"):
    """Found by its id once it has one."""

    async def read(self, ctx: Context) -> Outputs | None:
        found = await super().read(ctx)
        return found if found and self.outputs.get("uid", found["uid"]) == found["uid"] else None


class Sealed(Seen, kind="drift:Sealed"):
    """Tells everything, also what it must not."""

    word: Any = ""
    key: str = output(secret=True)

    async def create(self, ctx: Context) -> Outputs:
        return {**await super().create(ctx), "key": "key-of-the-object"}

    async def observe(self, ctx: Context) -> dict[str, Any] | None:
        return {"word": {"one": "other-word-in-the-cloud", "open": "wide"}, "size": 1}


def test_a_secret_is_never_compared_nor_shown(world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    from alchemy import alchemy

    async def sealed(scope: Scope) -> None:
        Sealed("db", word={"one": alchemy.secret("first-word"), "open": "shut"})

    monkeypatch.setenv("ALCHEMY_PASSWORD", "under the mat")
    world.deploy(sealed)
    world.deploy(sealed, refresh=True)
    assert reasons(world) == {"db": 'update: drifted: word.open "wide" → "shut"'}
    assert "other-word" not in str(world.tree()) + str(world.events)


class Rigid(Solid, kind="drift:Rigid"):
    """Cannot be updated; with it goes what is in it."""

    holds_data = True

    async def observe(self, ctx: Context) -> dict[str, Any] | None:
        return {"size": CLOUD.get().objects[ctx.name]["size"]}


async def box(scope: Scope) -> None:
    Rigid("box")


def test_a_replacement_that_would_lose_data_waits_for_consent(world: World, cloud: Cloud) -> None:
    world.deploy(box)
    there(world, cloud, "box")["size"] = 9
    before = world.rows()
    (planned,) = world.planned(box, refresh=True)
    assert planned.reason == "drifted: size 9 → 1; drift:Rigid cannot be updated"
    assert planned.loses == "would lose data: needs --yes or allow_data_loss=True"
    with pytest.raises(RunFailed):
        world.deploy(box, refresh=True)
    assert (world.rows(), len(cloud.objects)) == (before, 1), "and a plain deploy finds nothing to do"
    world.deploy(box, refresh=True, asked={"yes": True})
    assert [each["size"] for each in cloud.objects.values()] == [1]


def test_half_an_update_is_finished_and_made_again_when_its_object_is_gone(world: World, cloud: Cloud) -> None:
    async def larger(scope: Scope) -> None:
        Seen("db", size=6)

    world.deploy(db)
    cloud.fail("update db")
    with pytest.raises(RunFailed):
        world.deploy(larger)
    world.deploy(larger, refresh=True)
    assert reasons(world) == {"db": "update: changed: size"}
    assert there(world, cloud)["size"] == 6
    cloud.fail("update db")
    with pytest.raises(RunFailed):
        world.deploy(db)
    cloud.objects.clear()
    world.deploy(db, refresh=True)
    assert reasons(world) == {"db": "create: not found in the cloud"}
    assert there(world, cloud)["size"] == 5


def test_rows_that_came_back_from_a_copy_are_believed_after_a_refresh(world: World, cloud: Cloud) -> None:
    world.deploy(db)
    go_back(world)
    cloud.log.clear()
    world.deploy(db, refresh=True)
    assert cloud.log == ["read db", "observe db"]
    assert not world.rows()["db"].verify


@pytest.mark.parametrize("seed", range(6))
def test_whatever_was_done_by_hand_one_refresh_makes_the_wish_true_again(world: World, cloud: Cloud, seed: int) -> None:
    dice = random.Random(seed)
    wishes = {f"r{number}": (dice.randint(1, 3), dice.choice(["eu", "us"])) for number in range(6)}

    async def all_of_it(scope: Scope) -> None:
        made: list[Seen] = []
        for id, (size, region) in wishes.items():
            uses = dice.choice(made).uid if made and dice.random() < 0.5 else None
            made.append(Seen(id, size=size, region=region, uses=uses))

    shape = dice.getstate()
    world.deploy(all_of_it)
    for name in sorted(cloud.objects):
        match dice.randint(0, 4):
            case 0:
                del cloud.objects[name]
            case 1:
                cloud.objects[name]["size"] = 7
            case 2:
                cloud.objects[name] |= {"region": "moon", "size": 8}
            case 3:
                cloud.objects[name]["uid"] = "uid-of-somebody"
    if dice.random() < 0.5:
        wishes["r3"] = (9, "eu")
    dice.setstate(shape)
    foreseen = {c.address.rpartition("/")[2]: str(c.action) for c in world.planned(all_of_it, refresh=True)}
    dice.setstate(shape)
    world.deploy(all_of_it, refresh=True)
    assert {o["id"]: (o["size"], o["region"]) for o in cloud.objects.values()} == wishes
    assert len(cloud.objects) == len(wishes)
    done = {id: said.partition(":")[0] for id, said in reasons(world).items()}
    assert {id for id in foreseen if foreseen[id] == "create"} == {id for id in done if done[id] == "create"}
    rows = world.rows()
    assert all(row.outputs["uid"] == there(world, cloud, id)["uid"] for id, row in rows.items())
    dice.setstate(shape)
    assert {str(change.action) for change in world.planned(all_of_it, refresh=True)} == {"keep"}
