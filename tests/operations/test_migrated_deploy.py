"""What a tree of the real package describes is in the local cloud: the next deploy makes none of it a second time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.driver import alchemy
from tests.localcloud.driver import Cloud
from tests.operations.trees import NEW, PASSWORD, lay_out, texts

PROGRAM = """
from alchemy import D1Database, KVNamespace, Queue, R2Bucket, Resource, Worker, alchemy

async def main() -> None:
    async with alchemy("shop", stage="prod"):
        db = D1Database("main-db", location_hint="weur")
        cache = KVNamespace("cache", name="shop-cache")
        files = R2Bucket("files")
        jobs = Queue("jobs", name="shop-jobs", delivery_delay=5)
        Worker(
            "api", entrypoint="api.mjs", compatibility_date="2025-09-01",
            bindings={"DB": db, "CACHE": cache, "FILES": files, "JOBS": jobs},
            env={"REGION": "eu", "API_KEY": alchemy.secret("needle-api-key")},
        )
"""
LISTS = {
    "d1/database": ("uuid", "name"),
    "storage/kv/namespaces": ("id", "title"),
    "queues": ("queue_id", "queue_name"),
    "r2/buckets": ("name", "name"),
    "workers/scripts": ("id", "id"),
}


def objects(cloud: Cloud) -> dict[str, str]:
    """{name: id} of everything there is."""
    found: dict[str, str] = {}
    for path, (id, name) in LISTS.items():
        listed: Any = cloud.result("GET", path)
        for each in listed["buckets"] if isinstance(listed, dict) else listed:
            found[each[name]] = each[id]
    return found


@pytest.mark.slow
def test_a_deploy_after_the_migration_makes_nothing_twice_and_a_destroy_takes_all_of_it(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path / ".alchemy" / "local-cloud")
    database = cloud.result("POST", "d1/database", json={"name": "shop-main-db-prod", "primary_location_hint": "weur"})
    namespace = cloud.result("POST", "storage/kv/namespaces", json={"title": "shop-cache"})
    cloud.result("POST", "r2/buckets", json={"name": "shop-files-prod"})
    queue = cloud.result("POST", "queues", json={"queue_name": "shop-jobs", "settings": {"delivery_delay": 5}})
    cloud.upload("shop-api-prod", {})
    before = objects(cloud)
    assert len(before) == 5

    written = {name: json.loads(text) for name, text in texts(NEW).items()}
    instead = {
        written["shop/prod/main-db.json"]["output"]["id"]: database["uuid"],
        written["shop/prod/cache.json"]["output"]["namespaceId"]: namespace["id"],
        written["shop/prod/jobs.json"]["output"]["id"]: queue["queue_id"],
        written["shop/prod/jobs.json"]["output"]["accountId"]: cloud.account,
    }
    tree = lay_out(NEW, tmp_path / "before", **instead) / "shop" / "prod"
    (tree.parent / "prod.json").unlink()  # the topics are no objects of this cloud
    for name in ("beat.json", "half-made.json", "backend.json"):
        (tree / name).unlink()
    for file in sorted((tree / "backend").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()

    done = alchemy("scope", "migrate", str(tree), "--into", "shop/prod", cwd=tmp_path, ALCHEMY_PASSWORD=PASSWORD)
    assert done.code == 0, done.err
    (tmp_path / "alchemy_run.py").write_text(PROGRAM)
    (tmp_path / "api.mjs").write_text("export default { async fetch() { return new Response('hello') } }")

    plan = alchemy("plan", "--json", cwd=tmp_path, ALCHEMY_PASSWORD=PASSWORD)
    assert plan.code == 0, plan.err
    planned = json.loads(plan.out)["scopes"][0]["changes"]
    changed = {difference["path"] for change in planned for difference in change["diff"]}
    assert not [path for path in changed if path.startswith("env")], "its secret opens here, and is the same"
    changes = {change["address"]: change["action"] for change in planned}
    assert changes.pop("shop/prod/api") == "update", "its module is ours now"
    assert set(changes.values()) <= {"keep"}, plan.out

    deployed = alchemy("deploy", cwd=tmp_path, ALCHEMY_PASSWORD=PASSWORD)
    assert deployed.code == 0, deployed.err
    assert objects(cloud) == before

    gone = alchemy("destroy", "shop/prod", "--yes", cwd=tmp_path)
    assert gone.code == 0, gone.err
    assert objects(cloud) == {}
