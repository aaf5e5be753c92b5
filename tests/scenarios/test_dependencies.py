"""Handles: they start when they are declared, wait for what they use, and remember it."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from alchemy import NotYetKnown, RunFailed, Scope, alchemy, prop
from tests.scenarios.world import PROD, Body, Cloud, Solid, Thing, World, nothing


def test_what_is_declared_starts_at_once_and_runs_side_by_side(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        cloud.gates = {f"create t{n}": asyncio.Event() for n in range(4)}
        for n in range(4):
            Thing(f"t{n}")
        await cloud.until(lambda: cloud.now == 4)
        for gate in cloud.gates.values():
            gate.set()

    world.deploy(body)
    assert cloud.most == 4


def test_no_more_calls_at_once_than_allowed(world: World, cloud: Cloud) -> None:
    """Creating, updating, replacing and deleting alike, with the looks that a failed call costs."""

    def things(size: int, region: str = "eu") -> Body[None]:
        async def body(app: Scope) -> None:
            for n in range(20):
                Thing(f"t{n}", size=size, region=region)

        return body

    programs = {
        "create": things(1),
        "update": things(2),
        "create ": things(2, "us"),  # replaces: 20 deletes follow
        "delete": nothing,
    }
    for verb, program in programs.items():
        cloud.log.clear()
        cloud.most, cloud.crowd = 0, 3
        cloud.fail(f"{verb.strip()} t5", ConnectionError("lost"))
        world.deploy(program, max_concurrency=3, destroy_strategy="parallel")
        assert cloud.most == 3, verb
        assert sorted(set(cloud.calls(verb.strip()))) == sorted(f"t{n}" for n in range(20)), verb
        assert "read t5" in cloud.log or verb == "update"
    assert cloud.objects == {}


def test_waiting_for_another_takes_no_place(world: World, cloud: Cloud) -> None:
    """With one place only, a chain declared backwards would otherwise never end."""

    async def body(app: Scope) -> None:
        last: Any = None
        for n in range(5):
            last = Thing(f"t{n}", uses=last)

    world.deploy(body, max_concurrency=1)
    assert cloud.calls("create") == ["t0", "t1", "t2", "t3", "t4"]
    assert cloud.most == 1


def test_a_resource_waits_for_everything_in_its_props(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        one, two = Thing("one"), Thing("two")
        Thing("user", uses={"deep": [one, {"deeper": two.uid}]})
        cloud.gates["create one"] = asyncio.Event()
        await two
        for _ in range(50):
            await asyncio.sleep(0)
        assert "create user" not in cloud.log
        cloud.gates["create one"].set()

    world.deploy(body)
    assert cloud.calls("create")[-1] == "user"
    stored = world.rows()["user"]
    assert stored.props["uses"]["deep"][1] == {"deeper": world.rows()["two"].outputs["uid"]}
    assert stored.props["uses"]["deep"][0]["$resource"] == f"{PROD}/one"


USES: dict[str, Callable[[Any], Any]] = {
    "the resource": lambda db: db,
    "an output": lambda db: db.uid,
    "in a list": lambda db: [1, db],
    "in a dict": lambda db: {"a": {"b": db.uid}},
    "an awaited string": lambda db: str(db.uid),
    "a text with it": lambda db: f"https://{db.uid}.example/x?y=1",
    "a part of a path": lambda db: ["a", {"b": "/".join(["x", db.uid, "z"])}],
}


@pytest.mark.parametrize("how", USES)
def test_the_edge_is_stored_however_it_is_used(world: World, how: str) -> None:
    async def body(app: Scope) -> None:
        db = Thing("db")
        if how.startswith("a") and "output" not in how:
            await db
        Thing("api", uses=USES[how](db))

    world.deploy(body)
    assert world.rows()["api"].depends_on == (f"{PROD}/db",)
    assert world.rows()["db"].depends_on == ()


def test_an_edge_can_be_named_where_nothing_shows_it(world: World, cloud: Cloud) -> None:
    def program(*needed: str) -> Body[None]:
        async def body(app: Scope) -> None:
            things = {id: Thing(id) for id in ("a", "b")}
            Thing("api", depends_on=[things[id] for id in needed])

        return body

    world.deploy(program("a", "b"))
    assert world.rows()["api"].depends_on == (f"{PROD}/a", f"{PROD}/b")
    assert cloud.calls("create")[-1] == "api"
    world.deploy(program("b"))
    assert world.rows()["api"].depends_on == (f"{PROD}/b",), "saved although nothing else changed"
    assert cloud.calls("update") == []


def test_an_edge_that_came_or_went_changes_the_order_of_the_end(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        late = Thing("late")
        Thing("early", depends_on=[late])

    async def turned(app: Scope) -> None:
        early = Thing("early")
        Thing("late", depends_on=[early])

    world.deploy(body)
    world.deploy(turned)
    world.deploy(nothing)
    assert cloud.calls("delete") == ["late", "early"]


@pytest.mark.parametrize("by", ["props", "depends_on"])
@pytest.mark.parametrize("then", ["dropped", "replaced"])
def test_what_an_update_that_failed_may_still_use_goes_after_it(world: World, cloud: Cloud, by: str, then: str) -> None:
    """The program does not use it any more, but the object that is there still does."""

    def program(*used: str, region: str = "eu", size: int = 1) -> Body[None]:
        async def body(app: Scope) -> None:
            things = [Thing(id) for id in used]
            uses: dict[str, Any] = {"uses": things} if by == "props" else {"depends_on": things}
            Thing("user", size=size, region=region, **uses)

        return body

    world.deploy(program("db"))
    cloud.fail("update user", times=1)
    with pytest.raises(RunFailed):
        world.deploy(program(size=2), max_retries=0)
    assert world.rows()["user"].depends_on == (f"{PROD}/db",)
    world.deploy(nothing if then == "dropped" else program(region="us"), destroy_strategy="parallel")
    assert cloud.calls("delete") == ["user", "db"]
    assert [row.depends_on for row in world.rows().values()] == ([] if then == "dropped" else [()])


def test_an_edge_may_cross_blocks(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        async with alchemy.run("database"):
            db = Thing("db")
        async with alchemy.run("compute"):
            Thing("api", uses=db)

    world.deploy(body)
    assert world.rows()["compute/api"].depends_on == (f"{PROD}/database/db",)
    world.deploy(nothing)
    assert cloud.calls("delete") == ["api", "db"]


def test_awaiting_gives_the_resource_with_its_outputs_as_often_as_wanted(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> tuple[Any, ...]:
        db = Thing("db", size=3)
        assert await db is db
        same, other = await asyncio.gather(db, db)
        return same is other, db.uid, db.area, db.id, db.address

    assert world.deploy(body) == (True, "uid-00000001", 3, "db", f"{PROD}/db")
    assert cloud.calls("create") == ["db"]


OPERATORS: dict[str, Callable[[Any], object]] = {
    "str": str,
    "f-string": lambda v: f"{v}",
    "format": lambda v: format(v, ">10"),
    "percent": lambda v: v % 3,
    "bool": bool,
    "not": lambda v: not v,
    "len": len,
    "int": int,
    "float": float,
    "iterate": list,
    "index": lambda v: v[0],
    "slice": lambda v: v[1:],
    "contains": lambda v: "x" in v,
    "in a list": lambda v: v in ["x"],
    "equal": lambda v: v == "x",
    "not equal": lambda v: v != "x",
    "less": lambda v: v < "x",
    "greater": lambda v: v >= "x",
    "add": lambda v: v + "x",
    "add to": lambda v: "x" + v,
    "times": lambda v: v * 2,
    "minus": lambda v: 3 - v,
    "divide": lambda v: v / 2,
    "negative": lambda v: -v,
    "range": range,
    "method": lambda v: v.upper(),
    "join": lambda v: "/".join(["a", str(v)]),
}


@pytest.mark.parametrize("how", OPERATORS)
def test_an_output_cannot_be_used_in_python_before_it_is_there(world: World, how: str) -> None:
    async def body(app: Scope) -> None:
        db = Thing("db")
        with pytest.raises(NotYetKnown, match=f"{PROD}/db.uid is not known yet") as error:
            OPERATORS[how](db.uid)
        assert "await db" in error.value.hint
        assert "not yet known" in repr(db.uid)

    world.deploy(body)


def test_an_output_that_a_kind_never_gave_is_named(world: World) -> None:
    async def body(app: Scope) -> None:
        solid = await Solid("solid")
        with pytest.raises(AttributeError, match="area"):
            Thing("api", uses=solid.area)  # type: ignore[attr-defined]

    world.deploy(body)


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}, b"x", 1 << 70, {1: 2}, "\ud800", {"\ud800": 1}])
def test_a_prop_that_cannot_be_stored_fails_that_resource_by_its_place(
    world: World, cloud: Cloud, value: object
) -> None:
    async def body(app: Scope) -> None:
        Thing("bad", uses=[value])
        Thing("good")

    with pytest.raises(RunFailed) as error:
        world.deploy(body)
    ((address, why),) = error.value.failures
    assert address == f"{PROD}/bad"
    assert f"{PROD}/bad.uses[0]" in why
    assert why.isprintable()
    assert cloud.calls("create") == ["good"]


class Row(Thing, kind="world:Row"):
    """Has props that are tuples, somewhere or everywhere, and one that is a list."""

    pair: tuple[str, int] = ("a", 1)
    some: tuple[str, ...] | None = None
    deep: dict[str, list[tuple[int, int]]] = prop(default={})
    many: list[str] = prop(default=[])


def test_a_tuple_is_a_tuple_and_does_for_a_list(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        Row("db", pair=("b", 2), some=("x",), deep={"at": [(1, 2)]}, many=("c",))  # type: ignore[arg-type]

    world.deploy(body)
    props = world.rows()["db"].props
    assert [props[name] for name in ("pair", "some", "deep", "many")] == [["b", 2], ["x"], {"at": [[1, 2]]}, ["c"]]
    cloud.log.clear()
    world.deploy(body)
    assert cloud.log == []


@pytest.mark.parametrize(
    ("props", "where"),
    [
        ({"pair": ("b", "2")}, "pair.1: "),
        ({"pair": ("b",)}, "pair.1: "),
        ({"some": (1,)}, "some"),
        ({"some": "x"}, "some"),
        ({"deep": {"at": [(1, 2.5)]}}, "deep.at.0.1: "),
    ],
)
def test_a_tuple_of_other_things_is_refused_by_its_place(world: World, props: dict[str, Any], where: str) -> None:
    async def body(app: Scope) -> None:
        Row("db", **props)

    with pytest.raises(RunFailed) as failed:
        world.deploy(body)
    assert f"my-app/prod/db: {where}" in failed.value.failures[0][1]


def test_a_prop_that_holds_itself_fails_and_does_not_hang(world: World, cloud: Cloud) -> None:
    loop: list[Any] = []
    loop.append(loop)

    async def body(app: Scope) -> None:
        Thing("bad", uses=loop)

    with pytest.raises(RunFailed, match="1 resource"):
        world.deploy(body)


def test_outputs_that_cannot_be_stored_fail_that_resource_only(world: World, cloud: Cloud) -> None:
    from alchemy import Context, Outputs

    class Odd(Thing, kind="world:Odd"):
        async def create(self, ctx: Context) -> Outputs:
            return {**await super().create(ctx), "uid": "half \ud800"}

    async def body(app: Scope) -> None:
        Odd("odd")
        Thing("good")

    with pytest.raises(RunFailed) as error:
        world.deploy(body)
    assert [address for address, _ in error.value.failures] == [f"{PROD}/odd"]
    assert "odd outputs.uid" in error.value.failures[0][1]
    assert world.rows()["good"].status == "ready"
    assert world.rows()["odd"].status == "creating", "it may exist: the next run looks"


def test_a_users_own_key_is_never_taken_for_ours(world: World, cloud: Cloud) -> None:
    mine = {"$resource": "my-app/prod/nothing", "$$x": 1, "plain": {"$inputs": []}}

    async def body(app: Scope) -> Any:
        return (await Thing("a", uses=mine)).uses

    assert world.deploy(body) == mine
    world.deploy(body)
    assert world.outcomes() == ["keep a done"]
    world.deploy(nothing)
    assert cloud.objects == {}


def test_a_thing_that_is_no_resource_in_depends_on_is_refused(world: World) -> None:
    from alchemy import UsageError

    async def body(app: Scope) -> None:
        db = Thing("db")
        for wrong in (["db"], [None], db, "db"):
            with pytest.raises(UsageError, match="depends_on takes resources"):
                Thing("api", depends_on=wrong)  # type: ignore[arg-type]

    world.deploy(body)
