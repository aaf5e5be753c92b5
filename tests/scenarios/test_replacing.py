"""What a replacement may not take: the protected, what is not ours, and the only object there is."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

from typing import Any

import pytest

from alchemy import RunFailed, Scope
from tests.scenarios.world import PROD, Body, Broken, Cloud, Named, Thing, World, nothing

KEPT_FROM_DELETION: list[dict[str, Any]] = [
    {"protect": True},
    {"retain": True},
    {"on_destroy": "forget"},
    {"adopt": True},
]


def one(region: str, **props: Any) -> Body[None]:
    async def body(app: Scope) -> None:
        Thing("db", region=region, **props)

    return body


def named(region: str, **props: Any) -> Body[None]:
    async def body(app: Scope) -> None:
        Named("db", name="precious", region=region, **props)

    return body


def replaced(cloud: Cloud) -> dict[str, str]:
    return {name: made["region"] for name, made in cloud.objects.items()}


@pytest.mark.parametrize("flag", KEPT_FROM_DELETION, ids=str)
def test_what_may_not_be_deleted_is_not_replaced_under_its_one_name(
    world: World, cloud: Cloud, flag: dict[str, Any]
) -> None:
    if "adopt" in flag:
        cloud.objects["precious"] = {"id": "db", "uid": "uid-before", "size": 1, "region": "eu"}
    world.deploy(named("eu", **flag))
    cloud.log.clear()
    with pytest.raises(RunFailed, match="nothing was collected") as error:
        world.deploy(named("us", **flag))
    ((address, why),) = error.value.failures
    assert address == f"{PROD}/db"
    assert f"{PROD}/db would be replaced" in why
    assert "region" in why, "what it is that would replace it"
    assert cloud.calls() == []
    assert replaced(cloud) == {"precious": "eu"}
    assert world.rows()["db"].status == "ready"


@pytest.mark.parametrize("flag", KEPT_FROM_DELETION[:1] + KEPT_FROM_DELETION[3:], ids=str)
def test_it_is_replaced_when_the_program_allows_the_loss(world: World, cloud: Cloud, flag: dict[str, Any]) -> None:
    if "adopt" in flag:
        cloud.objects["precious"] = {"id": "db", "uid": "uid-before", "size": 1, "region": "eu"}
    world.deploy(named("eu", **flag))
    world.deploy(named("us", allow_data_loss=True, **flag))
    assert replaced(cloud) == {"precious": "us"}


def test_what_is_protected_is_not_replaced_under_another_name_either(world: World, cloud: Cloud) -> None:
    world.deploy(one("eu", protect=True))
    with pytest.raises(RunFailed):
        world.deploy(one("us", protect=True))
    assert list(replaced(cloud).values()) == ["eu"]
    assert world.formers() == []


def test_lifting_the_protection_in_the_same_program_is_not_enough(world: World, cloud: Cloud) -> None:
    world.deploy(one("eu", protect=True))
    with pytest.raises(RunFailed):
        world.deploy(one("us"))
    assert list(replaced(cloud).values()) == ["eu"], "it was protected when the program was written for the change"


def test_planning_says_which_consent_it_needs_and_does_not_fail(world: World, cloud: Cloud) -> None:
    world.deploy(named("eu", protect=True))
    assert [c.loses for c in world.planned(named("us", protect=True))] == ["protected: needs allow_data_loss=True"]
    assert [c.loses for c in world.planned(named("us", protect=True, allow_data_loss=True))] == [""]


def test_what_is_retained_and_has_a_new_name_is_replaced_and_stays(world: World, cloud: Cloud) -> None:
    world.deploy(one("eu", retain=True))
    world.deploy(one("us", retain=True))
    assert sorted(replaced(cloud).values()) == ["eu", "us"]
    assert world.formers() == []


@pytest.mark.parametrize("force", [False, True])
def test_the_former_object_stays_until_its_successor_is_there(world: World, cloud: Cloud, force: bool) -> None:
    world.deploy(one("eu"))
    cloud.fail("create db", Broken("quota"))
    with pytest.raises(RunFailed):
        world.deploy(one("us"), force=force)
    assert cloud.calls("delete") == []
    assert list(replaced(cloud).values()) == ["eu"]
    world.deploy(one("us"))
    assert list(replaced(cloud).values()) == ["us"]
    assert world.formers() == []


def test_dropped_from_the_program_half_way_both_incarnations_go(world: World, cloud: Cloud) -> None:
    world.deploy(one("eu"))
    cloud.fail("create db", ConnectionError("no answer"))
    with pytest.raises(RunFailed):
        world.deploy(one("us"), max_retries=0)
    assert world.formers() == ["db"]
    world.deploy(nothing)
    assert cloud.objects == {}
    assert (world.rows(), world.formers()) == ({}, [])


def test_a_former_object_stays_as_long_as_its_unfinished_successor_is_protected(world: World, cloud: Cloud) -> None:
    world.deploy(one("eu", protect=True))
    cloud.fail("create db", ConnectionError("no answer"))
    with pytest.raises(RunFailed):
        world.deploy(one("us", protect=True, allow_data_loss=True), max_retries=0)
    assert world.formers() == ["db"]
    with pytest.raises(RunFailed) as error:
        world.deploy(nothing)
    assert {why for _, why in error.value.failures} == {"it is protected"}
    assert cloud.calls("delete") == []
    assert list(replaced(cloud).values()) == ["eu"]


# -- one name ---------------------------------------------------------------------------------------------------


async def side_by_side(app: Scope) -> None:
    Named("a", name="n1")
    Named("b", name="n1")


async def only_a(app: Scope) -> None:
    Named("a", name="n1")


def test_two_resources_cannot_have_one_name_and_neither_takes_the_object_of_the_other(
    world: World, cloud: Cloud
) -> None:
    with pytest.raises(RunFailed) as error:
        world.deploy(side_by_side)
    ((address, why),) = error.value.failures
    assert (address, why) == (f"{PROD}/b", f"n1 is the name of {PROD}/a already")
    assert cloud.calls("create") == ["a"]
    with pytest.raises(RunFailed):
        world.deploy(side_by_side)
    assert list(world.rows()) == ["a"]
    cloud.log.clear()
    world.deploy(only_a)
    assert cloud.calls() == []
    assert cloud.ids() == ["a"]
