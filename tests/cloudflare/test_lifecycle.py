"""Each kind from its first deploy to its last, told by what the cloud answers over REST."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from alchemy import D1Database, KVNamespace, Queue, R2Bucket, Resource, RunFailed, Worker
from tests.cloudflare.shop import Shop

MODULE = 'export default { async fetch() { return new Response("hi") } }'


@dataclass(frozen=True)
class Case:
    """A kind: where its objects are listed, what identifies one, a change that updates and one that replaces."""

    kind: type[Resource]
    path: str
    id: str
    name: str
    listed: tuple[str, str]  # members of a listed object: id, name
    update: dict[str, Any]
    shown: dict[str, Any]  # what REST shows after the update
    replace: dict[str, Any]
    props: dict[str, Any] = field(default_factory=dict)
    rename_keeps: bool = False

    def declare(self, **props: Any) -> Resource:
        return self.kind("thing", **{**self.props, **props})

    def objects(self, shop: Shop) -> list[dict[str, Any]]:
        found = shop.cloud.result("GET", self.path)
        listed: list[dict[str, Any]] = found["buckets"] if isinstance(found, dict) else found
        return listed

    def details(self, shop: Shop) -> dict[str, Any]:
        one: dict[str, Any] = shop.cloud.result("GET", f"{self.path}/{shop.outputs('thing')[self.id]}")
        return one


CASES = [
    Case(
        kind=D1Database,
        path="d1/database",
        id="database_id",
        name="database_name",
        listed=("uuid", "name"),
        update={"read_replication": "auto"},
        shown={"read_replication": {"mode": "auto"}},
        replace={"jurisdiction": "eu"},
    ),
    Case(
        kind=KVNamespace,
        path="storage/kv/namespaces",
        id="namespace_id",
        name="title",
        listed=("id", "title"),
        update={"name": "other title"},
        shown={"title": "other title"},
        replace={"jurisdiction": "eu"},
        rename_keeps=True,
    ),
    Case(
        kind=R2Bucket,
        path="r2/buckets",
        id="bucket_name",
        name="bucket_name",
        listed=("name", "name"),
        update={"storage_class": "InfrequentAccess"},
        shown={"storage_class": "InfrequentAccess"},
        replace={"location_hint": "weur"},
    ),
    Case(
        kind=Queue,
        path="queues",
        id="queue_id",
        name="queue_name",
        listed=("queue_id", "queue_name"),
        update={"delivery_delay": 7, "delivery_paused": True},
        shown={"settings": {"delivery_delay": 7, "delivery_paused": True, "message_retention_period": 345_600}},
        replace={"jurisdiction": "eu"},
        rename_keeps=True,
    ),
    Case(
        kind=Worker,
        path="workers/scripts",
        id="script_name",
        name="script_name",
        listed=("id", "id"),
        update={"compatibility_date": "2025-05-05"},
        shown={"compatibility_date": "2025-05-05"},
        replace={"name": "another"},
        props={"entrypoint": "api.js"},
    ),
]
every_kind = pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind.__name__)


@pytest.fixture(autouse=True)
def module(shop: Shop) -> None:
    shop.write("api.js", MODULE)


@every_kind
def test_a_resource_is_created_under_its_name_and_its_outputs_are_what_the_cloud_says(case: Case, shop: Shop) -> None:
    shop.deploy(case.declare)
    [found] = case.objects(shop)
    assert found[case.listed[0]] == shop.outputs("thing")[case.id]
    assert found[case.listed[1]] == shop.outputs("thing")[case.name] == shop.state("thing")["physical_name"]
    assert found[case.listed[1]].startswith("shop-prod-thing-")


@every_kind
def test_an_unchanged_resource_costs_no_request(case: Case, shop: Shop) -> None:
    shop.deploy(case.declare)
    before = case.objects(shop)
    shop.deploy(case.declare)
    assert (shop.requests, case.objects(shop)) == ([], before)


@every_kind
def test_an_update_keeps_the_object(case: Case, shop: Shop) -> None:
    shop.deploy(case.declare)
    made = shop.outputs("thing")[case.id]
    shop.deploy(lambda: case.declare(**case.update))
    [found] = case.objects(shop)
    shown = found if case.kind is Worker else case.details(shop)
    assert (found[case.listed[0]], shop.outputs("thing")[case.id]) == (made, made)
    assert {member: shown[member] for member in case.shown} == case.shown


@every_kind
def test_what_an_update_set_goes_back_when_it_is_no_longer_asked_for(case: Case, shop: Shop) -> None:
    shop.deploy(case.declare)
    before = case.objects(shop)[0] if case.kind is Worker else case.details(shop)
    shop.deploy(lambda: case.declare(**case.update))
    shop.deploy(case.declare)
    after = case.objects(shop)[0] if case.kind is Worker else case.details(shop)
    if "name" in case.update:  # except a name, which stays
        before = {**before, **case.shown}
    assert {member: after[member] for member in case.shown} == {member: before[member] for member in case.shown}


@every_kind
def test_a_fixed_prop_makes_another_object_and_deletes_the_first(case: Case, shop: Shop) -> None:
    shop.deploy(case.declare)
    made = shop.outputs("thing")[case.id]
    shop.deploy(lambda: case.declare(**case.replace, allow_data_loss=True))
    [found] = case.objects(shop)
    assert found[case.listed[0]] == shop.outputs("thing")[case.id] != made


@every_kind
def test_a_resource_that_is_no_longer_declared_is_deleted(case: Case, shop: Shop) -> None:
    shop.deploy(case.declare)
    report = shop.deploy()
    assert (case.objects(shop), report.deleted, shop.state("thing")) == ([], ["shop/prod/thing"], {})


@every_kind
def test_an_object_that_somebody_deleted_by_hand_counts_as_deleted(case: Case, shop: Shop) -> None:
    shop.deploy(case.declare)
    shop.cloud.result("DELETE", f"{case.path}/{shop.outputs('thing')[case.id]}")
    assert shop.deploy().deleted == ["shop/prod/thing"]


@every_kind
def test_an_explicit_name_is_the_name(case: Case, shop: Shop) -> None:
    shop.deploy(lambda: case.declare(name="my-own-name"))
    assert [found[case.listed[1]] for found in case.objects(shop)] == ["my-own-name"]


@every_kind
def test_another_name_is_a_new_object_except_where_the_api_can_rename(case: Case, shop: Shop) -> None:
    shop.deploy(lambda: case.declare(name="first"))
    first = shop.outputs("thing")[case.id]
    shop.deploy(lambda: case.declare(name="second"))
    assert [found[case.listed[1]] for found in case.objects(shop)] == ["second"]
    assert (shop.outputs("thing")[case.id] == first) is case.rename_keeps


@every_kind
def test_two_stages_have_an_object_each(case: Case, shop: Shop) -> None:
    shop.deploy(case.declare, stage="prod")
    shop.deploy(case.declare, stage="dev")
    assert len(case.objects(shop)) == 2
    shop.deploy(stage="dev")
    assert [found[case.listed[0]] for found in case.objects(shop)] == [shop.outputs("thing")[case.id]]


@every_kind
@pytest.mark.parametrize("retries", [0, 3], ids=["the next run finds it", "the same run finds it"])
def test_an_object_whose_answer_was_lost_is_found_again(case: Case, retries: int, shop: Shop) -> None:
    lost: list[str] = []

    def loses(method: str, path: str) -> bool:
        first = method in ("POST", "PUT") and not lost
        lost.extend([path] if first else [])
        return first

    shop.loses = loses
    if retries:
        shop.deploy(case.declare, max_retries=retries)
    else:
        with pytest.raises(RunFailed):
            shop.deploy(case.declare, max_retries=0)
        [half] = case.objects(shop)
        assert shop.state("thing")["status"] == "creating"
        shop.deploy(case.declare)
        assert [found[case.listed[0]] for found in case.objects(shop)] == [half[case.listed[0]]]
    [found] = case.objects(shop)
    assert len(lost) == 1
    assert (shop.state("thing")["status"], shop.outputs("thing")[case.id]) == ("ready", found[case.listed[0]])
    shop.deploy(case.declare)
    assert shop.requests == []


@pytest.mark.parametrize("case", [case for case in CASES if case.kind is not Worker], ids=lambda c: c.kind.__name__)
@pytest.mark.parametrize("arrived", [True, False], ids=["the answer", "the request"])
@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("retries", [0, 3], ids=["the next run", "the same run"])
def test_a_creation_is_never_sent_again_before_a_look(
    case: Case, arrived: bool, named: bool, retries: int, shop: Shop
) -> None:
    """A POST that is repeated blindly would be refused as taken, or would make a second object."""
    lost: list[str] = []

    def first_post(method: str, path: str) -> bool:
        first = method == "POST" and not lost
        lost.extend([path] if first else [])
        return first

    shop.loses, shop.refuses = (first_post, shop.refuses) if arrived else (shop.loses, first_post)
    props = {"name": "my-own"} if named else {}
    if retries:
        shop.deploy(lambda: case.declare(**props), max_retries=retries)
        methods = [method for method, _ in shop.requests]
        following = methods[methods.index("POST") + 1 :]
    else:
        with pytest.raises(RunFailed):
            shop.deploy(lambda: case.declare(**props), max_retries=0)
        shop.deploy(lambda: case.declare(**props), max_retries=0)
        following = [method for method, _ in shop.requests]
    assert following[0] == "GET"
    assert following.count("POST") == (0 if arrived else 1)
    assert [found[case.listed[0]] for found in case.objects(shop)] == [shop.outputs("thing")[case.id]]


@every_kind
def test_an_object_whose_answer_was_lost_is_no_orphan_when_its_declaration_goes_away(case: Case, shop: Shop) -> None:
    shop.loses = lambda method, path: method in ("POST", "PUT")
    with pytest.raises(RunFailed):
        shop.deploy(case.declare, max_retries=0)
    assert len(case.objects(shop)) == 1
    shop.loses = lambda method, path: False
    shop.deploy()
    assert (case.objects(shop), shop.state("thing")) == ([], {})


@every_kind
def test_a_wish_that_changed_while_the_answer_was_lost_is_met_on_the_next_run(case: Case, shop: Shop) -> None:
    shop.loses = lambda method, path: method in ("POST", "PUT")
    with pytest.raises(RunFailed):
        shop.deploy(case.declare, max_retries=0)
    shop.loses = lambda method, path: False
    shop.deploy(lambda: case.declare(**case.update))
    [found] = case.objects(shop)
    shown = found if case.kind is Worker else case.details(shop)
    assert {member: shown[member] for member in case.shown} == case.shown


@every_kind
def test_a_lost_answer_to_a_delete_is_no_failure(case: Case, shop: Shop) -> None:
    shop.deploy(case.declare)
    lost: list[str] = []

    def loses(method: str, path: str) -> bool:
        first = method == "DELETE" and not lost
        lost.extend([path] if first else [])
        return first

    shop.loses = loses
    report = shop.deploy()
    assert (len(lost), report.deleted, case.objects(shop)) == (1, ["shop/prod/thing"], [])


@every_kind
def test_an_object_of_an_explicit_name_that_is_not_ours_is_never_taken_over_unasked(case: Case, shop: Shop) -> None:
    shop.deploy(lambda: case.declare(name="taken"), stage="dev")
    before = case.objects(shop)
    for _ in range(2):
        with pytest.raises(RunFailed, match="1 resource") as failed:
            shop.deploy(lambda: case.declare(name="taken", **extra(case)))
        [(address, why)] = failed.value.failures
        assert (address, "exist" in why or "taken" in why) == ("shop/prod/thing", True), why
        assert case.objects(shop) == before
    shop.deploy()
    assert case.objects(shop) == before


@pytest.mark.parametrize("case", [case for case in CASES if case.kind is not Worker], ids=lambda c: c.kind.__name__)
def test_a_name_that_somebody_takes_between_our_look_and_our_call_stays_theirs(case: Case, shop: Shop) -> None:
    def take(method: str, path: str) -> bool:
        if method == "POST":
            shop.refuses = lambda method, path: False
            with ThreadPoolExecutor() as elsewhere:  # the program's own loop is running
                elsewhere.submit(shop.cloud.result, "POST", case.path, json={case.listed[1]: "taken"}).result()
        return False

    shop.refuses = take
    with pytest.raises(RunFailed) as failed:
        shop.deploy(lambda: case.declare(name="taken"), max_retries=0)
    assert "HTTP 4" in failed.value.failures[0][1]
    assert len(case.objects(shop)) == 1


@every_kind
def test_a_longer_name_that_contains_ours_is_not_taken_for_it(case: Case, shop: Shop) -> None:
    shop.deploy(lambda: case.declare(name="a-part-and-more"), stage="dev")
    shop.deploy(lambda: case.declare(name="a-part"))
    assert shop.outputs("thing")[case.id] != shop.outputs("thing", "dev")[case.id]


@every_kind
def test_after_a_name_was_taken_another_name_will_do(case: Case, shop: Shop) -> None:
    shop.deploy(lambda: case.declare(name="taken"), stage="dev")
    with pytest.raises(RunFailed):
        shop.deploy(lambda: case.declare(name="taken"))
    shop.deploy(lambda: case.declare(name="free"))
    assert sorted(found[case.listed[1]] for found in case.objects(shop)) == ["free", "taken"]


@every_kind
def test_renaming_to_a_taken_name_fails_until_it_is_renamed_back_and_touches_nothing(case: Case, shop: Shop) -> None:
    shop.deploy(lambda: case.declare(name="taken"), stage="dev")
    shop.deploy(lambda: case.declare(name="first"))
    before = case.objects(shop)
    for _ in range(2):
        with pytest.raises(RunFailed):
            shop.deploy(lambda: case.declare(name="taken"))
        assert case.objects(shop) == before
    shop.deploy(lambda: case.declare(name="first"))
    assert [found[case.listed[1]] for found in case.objects(shop)] == [found[case.listed[1]] for found in before]
    shop.deploy()
    assert [found[case.listed[1]] for found in case.objects(shop)] == ["taken"]


@every_kind
def test_adopting_takes_an_object_over_and_leaves_it_when_it_is_no_longer_declared(case: Case, shop: Shop) -> None:
    shop.deploy(lambda: case.declare(name="taken"), stage="dev")
    shop.deploy(lambda: case.declare(name="taken", adopt=True))
    assert shop.outputs("thing", "prod")[case.id] == shop.outputs("thing", "dev")[case.id]
    shop.deploy()
    assert [found[case.listed[1]] for found in case.objects(shop)] == ["taken"]


@every_kind
def test_after_a_refusal_adopting_will_do(case: Case, shop: Shop) -> None:
    shop.deploy(lambda: case.declare(name="taken"), stage="dev")
    with pytest.raises(RunFailed):
        shop.deploy(lambda: case.declare(name="taken"))
    shop.deploy(lambda: case.declare(name="taken", adopt=True))
    shop.deploy()
    assert [found[case.listed[1]] for found in case.objects(shop)] == ["taken"]


@every_kind
def test_an_object_that_was_retained_is_ours_again_when_it_is_declared_again(case: Case, shop: Shop) -> None:
    shop.deploy(lambda: case.declare(retain=True))
    made = shop.outputs("thing")[case.id]
    shop.deploy()
    assert shop.state("thing") == {}
    shop.deploy(lambda: case.declare(**extra(case)))
    [found] = case.objects(shop)
    shown = found if case.kind is Worker else case.details(shop)
    assert found[case.listed[0]] == shop.outputs("thing")[case.id] == made
    if "name" not in case.update:
        assert {member: shown[member] for member in case.shown} == case.shown
    shop.deploy()
    assert case.objects(shop) == []


@every_kind
def test_another_name_after_a_lost_answer_leaves_one_object_of_the_new_name(case: Case, shop: Shop) -> None:
    shop.loses = lambda method, path: method in ("POST", "PUT")
    with pytest.raises(RunFailed):
        shop.deploy(lambda: case.declare(name="first"), max_retries=0)
    shop.loses = lambda method, path: False
    shop.deploy(lambda: case.declare(name="second"))
    assert [found[case.listed[1]] for found in case.objects(shop)] == ["second"]


@every_kind
def test_another_name_after_a_call_that_never_arrived_is_the_only_name(case: Case, shop: Shop) -> None:
    shop.refuses = lambda method, path: method in ("POST", "PUT")
    with pytest.raises(RunFailed):
        shop.deploy(lambda: case.declare(name="first"), max_retries=0)
    assert (case.objects(shop), shop.state("thing")["status"]) == ([], "creating")
    shop.refuses = lambda method, path: False
    shop.deploy(lambda: case.declare(name="second"))
    assert [found[case.listed[1]] for found in case.objects(shop)] == ["second"]
    assert shop.state("thing")["physical_name"] == "second"


@pytest.mark.parametrize("case", [case for case in CASES if case.rename_keeps], ids=lambda case: case.kind.__name__)
def test_after_a_rename_a_fixed_prop_replaces_the_object_under_the_new_name(case: Case, shop: Shop) -> None:
    shop.deploy(lambda: case.declare(name="first"))
    shop.deploy(lambda: case.declare(name="second"))
    shop.deploy(lambda: case.declare(name="second", **case.replace, allow_data_loss=True))
    assert [found[case.listed[1]] for found in case.objects(shop)] == ["second"]


def test_a_renamed_namespace_keeps_its_values(shop: Shop) -> None:
    shop.deploy(lambda: KVNamespace("thing", name="first"))
    key = f"storage/kv/namespaces/{shop.outputs('thing')['namespace_id']}/values/greeting"
    shop.cloud.result("PUT", key, content=b"hello")
    shop.deploy(lambda: KVNamespace("thing", name="second"))
    assert shop.cloud.send("GET", key).content == b"hello"


def test_a_bucket_that_holds_objects_is_not_deleted_and_says_what_to_do(shop: Shop) -> None:
    shop.deploy(lambda: R2Bucket("thing"))
    bucket = shop.outputs("thing")["bucket_name"]
    for number in range(3):
        shop.cloud.result("PUT", f"r2/buckets/{bucket}/objects/{number}", content=b"x")
    with pytest.raises(RunFailed) as failed:
        shop.deploy(max_retries=0)
    [(address, why)] = failed.value.failures
    assert (address, why) == (
        "shop/prod/thing",
        f"the bucket {bucket} is not empty: it holds 3 objects or more (r2 10008)",
    )
    for number in range(3):
        shop.cloud.result("DELETE", f"r2/buckets/{bucket}/objects/{number}")
    assert shop.deploy().deleted == ["shop/prod/thing"]


BAD_PROPS: list[tuple[type[Resource], dict[str, Any], str]] = [
    (D1Database, {"jurisdiction": "mars"}, "jurisdiction: Input should be 'eu', 'fedramp' or 'us'"),
    (D1Database, {"read_replication": True}, "read_replication: Input should be 'auto' or 'disabled'"),
    (KVNamespace, {"name": 5}, "name: Input should be a valid string"),
    (R2Bucket, {"name": "Capitals"}, "name='Capitals' cannot be a name"),
    (R2Bucket, {"name": "ab"}, "name='ab' cannot be a name"),
    (R2Bucket, {"name": "../d1"}, "name='../d1' cannot be a name"),
    (R2Bucket, {"storage_class": "Cold"}, "storage_class: Input should be 'Standard' or 'InfrequentAccess'"),
    (Queue, {"delivery_delay": "5"}, "delivery_delay: Input should be a valid integer"),
]


@pytest.mark.parametrize(("kind", "props", "why"), BAD_PROPS, ids=str)
def test_a_prop_that_cannot_be_is_refused_before_anything_is_called(
    kind: type[Resource], props: dict[str, Any], why: str, shop: Shop
) -> None:
    with pytest.raises(RunFailed) as failed:
        shop.deploy(lambda: kind("thing", **props))
    assert why in failed.value.failures[0][1]
    assert (shop.requests, shop.state("thing")) == ([], {})


def extra(case: Case) -> dict[str, Any]:
    """A wish that differs from the other stage's, where a difference could hide."""
    return case.update if "name" not in case.update else {}
