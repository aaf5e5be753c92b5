"""A kind of one's own: what its class may say, and what is said of one that is not right."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

from typing import Any, Literal

import pytest

from alchemy import Context, Outputs, Resource, RunFailed, Scope, UsageError, output, prop
from alchemy.engine import kinds
from tests.scenarios.conftest import cloud, world
from tests.scenarios.world import CLOUD, PROD, Cloud, Thing, World

__all__ = ["cloud", "world"]


class Verbs(Resource):
    """Create, read and delete for kinds that say something else."""

    async def create(self, ctx: Context) -> Outputs:
        CLOUD.get().log.append(f"create {self.id}")
        return {}

    async def read(self, ctx: Context) -> Outputs | None:
        return None

    async def delete(self, ctx: Context) -> None:
        pass


@pytest.mark.parametrize("kind", ["plain", ":x", "x:", "a:b:c", "a/b:c", "a:\x1b", ":"])
def test_a_kind_has_a_vendor_and_a_name(kind: str) -> None:
    with pytest.raises(UsageError, match="is not of the form 'vendor:Name'") as error:
        type("Odd", (Verbs,), {}, kind=kind)
    assert error.value.message.isprintable()


@pytest.mark.parametrize("missing", ["create", "read", "delete"])
def test_a_kind_without_one_of_three_verbs_is_refused_when_it_is_defined(missing: str) -> None:
    async def verb(self: Any, ctx: Context) -> None:
        pass

    verbs: dict[str, Any] = {name: verb for name in ("create", "read", "delete") if name != missing}
    with pytest.raises(UsageError, match="needs the methods create, read and delete"):
        type("Half", (Resource,), verbs, kind="test:Half")
    assert kinds.find("test:Half") is None


def test_a_kind_defined_again_is_the_newer_one() -> None:
    first = type("Again", (Verbs,), {}, kind="test:Again")
    second = type("Again", (Verbs,), {}, kind="test:Again")
    assert kinds.find("test:Again") is second is not first


@pytest.mark.parametrize("name", ["id", "kind", "address", "outputs", "create", "update", "read", "delete", "inputs"])
def test_a_prop_cannot_have_a_name_that_is_taken(name: str) -> None:
    with pytest.raises(UsageError, match=f"Taken.{name}: the name is taken"):
        type("Taken", (Verbs,), {"__annotations__": {name: "str"}}, kind="test:Taken")


class Shaped(Verbs, kind="test:Shaped"):
    size: int
    ratio: float = 1.0
    name_of: str | None = None
    level: Literal["low", "high"] = "low"
    tags: list[str] = []  # noqa: RUF012 - as users write it
    limits: dict[str, int] = prop(default={})
    uses: Any = None
    uid: str = output()


def test_a_prop_that_is_missing_or_too_much_is_named(world: World) -> None:
    async def body(app: Scope) -> None:
        with pytest.raises(UsageError, match=r"Shaped\('a'\) needs size="):
            Shaped("a")  # type: ignore[call-arg]
        with pytest.raises(UsageError, match=r"Shaped\('a'\) has no colour, sze") as error:
            Shaped("a", size=1, sze=2, colour="red")  # type: ignore[call-arg]
        assert "it takes" in error.value.hint
        assert "size" in error.value.hint
        with pytest.raises(UsageError, match="has no uid"):
            Shaped("a", size=1, uid="mine")  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            Shaped()  # type: ignore[call-arg]

    world.deploy(body)
    assert world.rows() == {}


@pytest.mark.parametrize(
    ("props", "place"),
    [
        ({"size": "3"}, "size"),
        ({"size": True}, "size"),
        ({"size": None}, "size"),
        ({"size": 1, "ratio": "1"}, "ratio"),
        ({"size": 1, "level": "middle"}, "level"),
        ({"size": 1, "tags": ["a", 7]}, "tags.1"),
        ({"size": 1, "limits": {"a": "b"}}, "limits.a"),
        ({"size": 1, "name_of": 5}, "name_of"),
    ],
)
def test_a_prop_of_the_wrong_type_fails_its_resource_before_any_call(
    world: World, cloud: Cloud, props: dict[str, Any], place: str
) -> None:
    async def body(app: Scope) -> None:
        Shaped("shaped", **props)

    with pytest.raises(RunFailed) as error:
        world.deploy(body)
    ((address, why),) = error.value.failures
    assert address == f"{PROD}/shaped"
    assert why.startswith(f"{PROD}/shaped: {place}: ")
    assert cloud.log == []


def test_what_fits_is_taken(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        Shaped("a", size=1, ratio=2, name_of="x", level="high", tags=("a",), limits={"a": 1})  # type: ignore[arg-type]
        db = Thing("db")
        Shaped("b", size=db.area, tags=[db.uid], uses=[db])

    world.deploy(body)
    assert world.rows()["b"].props["size"] == 1
    world.deploy(body)
    assert set(world.outcomes()) == {"keep a done", "keep b done", "keep db done"}


def test_a_value_from_another_resource_is_checked_when_it_is_there(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> None:
        Shaped("bad", size=Thing("db").uid)  # type: ignore[arg-type]

    with pytest.raises(RunFailed) as error:
        world.deploy(body)
    assert [address for address, _ in error.value.failures] == [f"{PROD}/bad"]
    assert "size" in error.value.failures[0][1]


@pytest.mark.parametrize("given", [None, 7, ["a"], "text"])
def test_a_verb_that_returns_no_outputs_is_told_so(world: World, given: Any) -> None:
    class Odd(Verbs, kind="test:Odd"):
        async def create(self, ctx: Context) -> Outputs:
            answer: Outputs = given
            return answer

    async def body(app: Scope) -> None:
        Odd("odd")

    with pytest.raises(RunFailed) as error:
        world.deploy(body)
    assert "where outputs were expected" in error.value.failures[0][1]


def test_a_class_may_build_on_another_and_keep_its_props() -> None:
    class Wider(Shaped, kind="test:Wider"):
        depth: int = 2

    assert {"size", "depth", "uid"} <= set(Wider._fields)
    assert "depth" not in Shaped._fields
    assert Wider.kind == "test:Wider"
    assert Shaped.kind == "test:Shaped"


@pytest.mark.parametrize("flag", [{"protect": "yes"}, {"retain": 1}, {"adopt": "no"}, {"on_destroy": "explode"}])
def test_a_flag_that_is_none_is_refused(world: World, flag: dict[str, Any]) -> None:
    ((name, _),) = flag.items()

    async def body(app: Scope) -> None:
        with pytest.raises(UsageError, match=name):
            Thing("db", **flag)

    world.deploy(body)


def test_a_prop_of_a_newer_class_has_its_default_for_old_rows_and_is_no_change(world: World, cloud: Cloud) -> None:
    seen: list[Any] = []

    class First(Verbs, kind="test:Grown"):
        size: int = 1

        async def update(self, ctx: Context, before: Any) -> Outputs:
            return {}

    async def first(app: Scope) -> None:
        First("x", size=3)

    world.deploy(first)

    class Second(Verbs, kind="test:Grown"):
        size: int = 1
        depth: int = 7

        async def update(self, ctx: Context, before: Any) -> Outputs:
            seen.append((before.size, before.depth, self.depth))
            return {}

    async def second(app: Scope, size: int = 3) -> None:
        Second("x", size=size)

    world.deploy(second)
    assert seen == []
    assert world.rows()["x"].props == {"size": 3, "depth": 7}, "the row says it from now on"

    async def third(app: Scope) -> None:
        await second(app, size=4)

    world.deploy(third)
    assert seen == [(3, 7, 7)]


def test_what_a_prop_points_at_can_be_part_of_the_comparison(world: World, cloud: Cloud) -> None:
    content = ["one"]

    class Pointing(Verbs, kind="test:Pointing"):
        path: str = "x"

        def inputs(self) -> dict[str, Any]:
            return {"digest": content[0]}

        async def update(self, ctx: Context, before: Any) -> Outputs:
            return {}

    async def body(app: Scope) -> None:
        Pointing("p")

    world.deploy(body)
    world.deploy(body)
    assert world.outcomes() == ["keep p done"]
    content[0] = "two"
    world.deploy(body)
    assert world.outcomes() == ["update p done"]


def test_a_context_tells_a_verb_everything_it_needs(world: World, cloud: Cloud) -> None:
    seen: list[Any] = []

    class Curious(Verbs, kind="test:Curious"):
        async def create(self, ctx: Context) -> Outputs:
            seen.append((ctx.name, len(ctx.token), ctx.scope, ctx.address, ctx.adopted, self.id, self.address))
            return {}

    async def body(app: Scope) -> None:
        async with app.run("inner"):
            Curious("c")

    world.deploy(body)
    row = world.rows()["inner/c"]
    scope = f"{PROD}/inner"
    assert seen == [(row.physical_name, 32, scope, f"{scope}/c", False, "c", f"{scope}/c")]
    assert row.token not in row.physical_name
