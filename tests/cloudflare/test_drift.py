"""Objects of the local cloud that are changed and deleted behind our back, through its API: seen, and brought back."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from alchemy import D1Database, KVNamespace, Queue, R2Bucket, Worker, alchemy
from alchemy.operations.drifting import DriftReport, find_drift
from alchemy.settings import Options, find_project
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from tests.cloudflare.shop import Shop

MODULE = 'export default { async fetch() { return new Response("hi") } }'


@pytest.fixture(autouse=True)
def module(shop: Shop) -> None:
    shop.write("src/api.js", MODULE)


def everything() -> None:
    db = D1Database("db", read_replication="auto")
    files = R2Bucket("files")
    jobs = Queue("jobs", delivery_delay=5)
    cache = KVNamespace("cache", name="shop-cache")
    Worker(
        "api", entrypoint="src/api.js", bindings={"DB": db, "FILES": files, "JOBS": jobs, "KV": cache}, env={"A": "1"}
    )


def drift(shop: Shop, scope: str = "shop/prod") -> DriftReport:
    shop.requests.clear()
    store = LocalStore(Layout(shop.state_dir), "a" * 32)
    return find_drift(store, scope, Options(retry_delay=0.01), project=find_project())


def said(report: DriftReport) -> dict[str, str]:
    return {
        row.address.rpartition("/")[2]: f"{row.outcome}{': ' if row.words else ''}{row.words}" for row in report.rows
    }


def settings(shop: Shop, given: dict[str, Any]) -> None:
    """As the dashboard changes a Worker."""
    name = shop.outputs("api")["script_name"]
    form = [("settings", (None, json.dumps(given).encode(), "application/json"))]
    shop.cloud.result("PATCH", f"workers/scripts/{name}/settings", files=form)


def test_nothing_drifted_after_a_deploy_and_the_look_changes_nothing(shop: Shop) -> None:
    shop.deploy(everything)
    before = {p: p.read_bytes() for p in shop.state_dir.rglob("*.json*") if "local-cloud" not in p.parts}
    report = drift(shop)
    assert set(said(report).values()) == {"same"}
    assert (report.drifted, report.unasked, len(report.rows)) == ((), (), 5)
    assert shop.changing() == []
    assert {p: p.read_bytes() for p in shop.state_dir.rglob("*.json*") if "local-cloud" not in p.parts} == before


def change_replication(shop: Shop) -> None:
    database = shop.outputs("db")["database_id"]
    shop.cloud.result("PATCH", f"d1/database/{database}", json={"read_replication": {"mode": "disabled"}})


def change_storage_class(shop: Shop) -> None:
    headers = {"cf-r2-storage-class": "InfrequentAccess"}
    shop.cloud.result("PATCH", f"r2/buckets/{shop.outputs('files')['bucket_name']}", headers=headers)


def change_delay(shop: Shop) -> None:
    queue = shop.outputs("jobs")
    body = {"queue_name": queue["queue_name"], "settings": {"delivery_delay": 60}}
    shop.cloud.result("PATCH", f"queues/{queue['queue_id']}", json=body)


def rename(shop: Shop) -> None:
    path = f"storage/kv/namespaces/{shop.outputs('cache')['namespace_id']}"
    shop.cloud.result("PUT", path, json={"title": "by-hand"})


def change_date(shop: Shop) -> None:
    settings(shop, {"compatibility_date": "2025-05-05"})


def change_bindings(shop: Shop) -> None:
    settings(shop, {"bindings": [{"type": "plain_text", "name": "A", "text": "2"}], "keep_bindings": []})


def change_code(shop: Shop) -> None:
    name = shop.outputs("api")["script_name"]
    there = shop.cloud.result("GET", f"workers/scripts/{name}/settings")
    kept = {n: there[n] for n in ("bindings", "compatibility_date", "tags")}
    shop.cloud.upload(name, kept, code="export default { evil: 1 }")


def hide(shop: Shop) -> None:
    name = shop.outputs("api")["script_name"]
    shop.cloud.result("POST", f"workers/scripts/{name}/subdomain", json={"enabled": False})


@pytest.mark.parametrize(
    ("change", "id", "seen"),
    [
        (change_replication, "db", 'read_replication "auto" → "disabled"'),
        (change_storage_class, "files", 'storage_class "Standard" → "InfrequentAccess"'),
        (change_delay, "jobs", "delivery_delay 5 → 60"),
        (rename, "cache", 'name "shop-cache" → "by-hand"'),
        (change_date, "api", 'compatibility_date "2026-01-01" → "2025-05-05"'),
        (change_bindings, "api", "bindings.DB"),
        (change_bindings, "api", 'env.A "1" → "2"'),
        (change_code, "api", "other code"),
        (hide, "api", "workers_dev true → false"),
    ],
)
def test_what_was_changed_by_hand_is_seen_and_brought_back(
    shop: Shop, change: Callable[[Shop], None], id: str, seen: str
) -> None:
    shop.deploy(everything)
    change(shop)
    report = drift(shop)
    [row] = report.drifted
    everything_said = " ".join(f"{d.path} {json.dumps(d.before)} → {json.dumps(d.after)}" for d in row.differences)
    assert (row.address, row.outcome, row.heals) == (f"shop/prod/{id}", "changed", "update")
    assert seen in everything_said
    shop.deploy(everything)
    assert drift(shop).drifted == (row,), "a deploy that does not refresh asks nobody"
    shop.deploy(everything, refresh=True)
    assert drift(shop).drifted == ()


def test_what_was_deleted_by_hand_is_made_again_and_bound_again(shop: Shop) -> None:
    shop.deploy(everything)
    old = shop.outputs("db")["database_id"]
    shop.cloud.result("DELETE", f"d1/database/{old}")
    shop.cloud.result("DELETE", f"workers/scripts/{shop.outputs('api')['script_name']}")
    assert said(drift(shop)) == {"db": "missing", "files": "same", "jobs": "same", "cache": "same", "api": "missing"}
    shop.deploy(everything, refresh=True)
    assert shop.outputs("db")["database_id"] != old
    assert set(said(drift(shop)).values()) == {"same"}


def test_a_secret_of_a_worker_is_told_by_its_name_alone(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALCHEMY_PASSWORD", "under the mat")

    def program() -> None:
        Worker("api", entrypoint="src/api.js", env={"KEY": alchemy.secret("needle-in-hay"), "A": "1"})

    shop.deploy(program)
    assert said(drift(shop)) == {"api": "same"}
    settings(shop, {"bindings": [{"type": "plain_text", "name": "A", "text": "1"}], "keep_bindings": []})
    monkeypatch.delenv("ALCHEMY_PASSWORD")
    report = drift(shop)
    assert said(report) == {"api": 'changed: env.KEY "•••" → nothing'}
    assert "needle" not in repr(report)


def test_secrets_put_there_by_hand_are_left_alone(shop: Shop) -> None:
    shop.deploy(everything)
    name = shop.outputs("api")["script_name"]
    shop.cloud.result(
        "PUT", f"workers/scripts/{name}/secrets", json={"name": "MINE", "text": "x", "type": "secret_text"}
    )
    assert said(drift(shop))["api"] == "same"
