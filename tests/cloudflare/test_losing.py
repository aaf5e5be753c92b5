"""What is in a database, a bucket or a namespace is not lost by a replacement that nobody consented to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from alchemy import D1Database, KVNamespace, Queue, R2Bucket, Resource, RunFailed
from tests.cloudflare.shop import Shop


@dataclass(frozen=True)
class Holder:
    declare: Callable[..., Resource]
    id: str  # the output that is in the path
    fill: tuple[str, str, dict[str, Any]]  # method, path below the account, request
    other: dict[str, Any]  # what replaces it


TABLE = {"json": {"sql": "CREATE TABLE t (x)"}}
VALUE = {"content": b"x"}
WEST, EUROPE = {"location_hint": "weur"}, {"jurisdiction": "eu"}
HOLDERS = {
    "D1": Holder(D1Database, "database_id", ("POST", "d1/database/{}/query", TABLE), WEST),
    "R2": Holder(R2Bucket, "bucket_name", ("PUT", "r2/buckets/{}/objects/key", VALUE), WEST),
    "KV": Holder(KVNamespace, "namespace_id", ("PUT", "storage/kv/namespaces/{}/values/key", VALUE), EUROPE),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_only_what_is_empty_is_replaced_without_consent(name: str, shop: Shop) -> None:
    holder = HOLDERS[name]
    shop.deploy(lambda: holder.declare("thing"))
    first = shop.outputs("thing")[holder.id]
    shop.deploy(lambda: holder.declare("thing", **holder.other))
    second = shop.outputs("thing")[holder.id]
    assert first != second, "there was nothing in it"
    method, path, request = holder.fill
    shop.cloud.result(method, path.format(second), **request)
    with pytest.raises(RunFailed) as error:
        shop.deploy(lambda: holder.declare("thing"))
    assert shop.changing() == []
    ((address, why),) = error.value.failures
    assert (address, "would lose its data" in why) == ("shop/prod/thing", True)
    assert shop.outputs("thing")[holder.id] == second


def test_a_queue_cannot_be_looked_into_and_needs_consent(shop: Shop) -> None:
    shop.deploy(lambda: Queue("thing"))
    with pytest.raises(RunFailed):
        shop.deploy(lambda: Queue("thing", jurisdiction="eu"))
    assert shop.changing() == []
    shop.deploy(lambda: Queue("thing", jurisdiction="eu", allow_data_loss=True))


def test_its_own_name_replaces_no_database(shop: Shop) -> None:
    """Written into the program later, perhaps because somebody else has to know it."""
    shop.deploy(lambda: D1Database("thing"))
    made = shop.state("thing")
    shop.deploy(lambda: D1Database("thing", name=made["physical_name"]))
    assert shop.changing() == []
    assert shop.outputs("thing") == made["outputs"]
    assert shop.state("thing")["props"]["name"] == made["physical_name"]
    shop.deploy(lambda: D1Database("thing", name=made["physical_name"], read_replication="auto"))
    assert [method for method, _ in shop.changing()] == ["PATCH"]
