"""What wrangler sends, in the order it sends it, as recorded from the real one (4.164)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from alchemy.localcloud import BASE_PATH
from tests.localcloud.driver import Cloud, form

AGENT = {"user-agent": "wrangler/4.164.0"}
TEXT = {"content-type": "text/plain;charset=UTF-8"}


def test_a_first_deploy_and_a_later_one_and_a_delete(cloud: Cloud) -> None:
    database = cloud.result("POST", "d1/database", json={"name": "db1"})["uuid"]
    namespace = cloud.result("POST", "storage/kv/namespaces", json={"title": "KVNS"})["id"]
    cloud.result("POST", "r2/buckets", content=b'{"name":"bucket-1"}', headers=TEXT)
    queue = cloud.result("POST", "queues", content=b'{"queue_name":"q1"}', headers=TEXT)["queue_id"]
    bindings: list[dict[str, Any]] = [
        {"name": "X", "type": "plain_text", "text": "1"},
        {"name": "KV", "type": "kv_namespace", "namespace_id": namespace},
        {"name": "Q", "type": "queue", "queue_name": "q1"},
        {"name": "B", "type": "r2_bucket", "bucket_name": "bucket-1"},
        {"name": "DB", "type": "d1", "id": database},
    ]
    metadata = {
        "bindings": bindings,
        "compatibility_flags": [],
        "code_update_strategy": {"mode": "deferred", "max_delay": 300},
        "keep_bindings": ["secret_text", "secret_key"],
    }
    for path, refusal in (
        ("workers/services/w1", (404, 10090)),
        ("workers/scripts/w1/secrets", (404, 10007)),
        ("workers/scripts/w1/deployments", (404, 10007)),
        ("workers/scripts/w1/settings", (404, 10007)),
    ):
        assert cloud.refusal("GET", path) == refusal
    assert cloud.result("GET", "workers/subdomain")["subdomain"]
    assert cloud.result("GET", "queues?name=q1&page=1")[0]["queue_id"] == queue
    source_map = ("worker.js.map", ("worker.js.map", "{}", "application/source-map"))
    query = "excludeScript=true&bindings_inherit=strict"
    uploaded = cloud.result("PUT", f"workers/scripts/w1?{query}", files=[*form(metadata), source_map], headers=AGENT)
    assert uploaded["deployment_id"]
    assert cloud.result("GET", "workers/workers/w1")["subdomain"] == {"enabled": False, "previews_enabled": False}
    cloud.result("POST", "workers/scripts/w1/subdomain", json={"enabled": True})
    cloud.result("PUT", "workers/scripts/w1/schedules", json=[{"cron": "*/5 * * * *"}])
    consumer = b'{"type":"worker","script_name":"w1","settings":{"batch_size":5}}'
    made = cloud.result("POST", f"queues/{queue}/consumers", content=consumer, headers=TEXT)

    service = cloud.result("GET", "workers/services/w1")["default_environment"]
    assert service["script"]["last_deployed_from"] == "wrangler"  # or it would ask before it overwrites
    bindings[2] = {"name": "Q", "type": "inherit"}
    version = cloud.result("POST", "workers/scripts/w1/versions?bindings_inherit=strict", files=form(metadata, "two"))
    split = {"strategy": "percentage", "versions": [{"version_id": version["id"], "percentage": 100}]}
    cloud.result("POST", "workers/scripts/w1/deployments", json={**split, "annotations": {}})
    settings = {"observability": {"enabled": False}, "tags": []}
    cloud.result("PATCH", "workers/scripts/w1/script-settings", json=settings)
    assert cloud.refusal("POST", f"queues/{queue}/consumers", content=consumer, headers=TEXT) == (400, 11004)

    assert cloud.result("GET", "workers/durable_objects/namespaces?per_page=1000&page=1") == []
    assert cloud.refusal("DELETE", "workers/services/w1?force=true") == (400, 10064)
    cloud.send("DELETE", f"queues/{queue}/consumers/{made['consumer_id']}")
    cloud.result("DELETE", "workers/services/w1?force=true")
    for path in (f"d1/database/{database}", f"storage/kv/namespaces/{namespace}", "r2/buckets/bucket-1"):
        cloud.result("DELETE", path)
    assert cloud.send("DELETE", f"queues/{queue}").json() == {"success": True, "errors": [], "messages": []}


def test_a_file_is_executed_and_exported(cloud: Cloud) -> None:
    where = f"d1/database/{cloud.result('POST', 'd1/database', json={'name': 'db1'})['uuid']}"
    content = b"CREATE TABLE t (a, b);\nINSERT INTO t VALUES (1, 'it''s'), (NULL, x'00ff');\nCREATE INDEX i ON t (a);\n"
    etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
    begun = cloud.result("POST", f"{where}/import", json={"action": "init", "etag": etag})
    address = begun["upload_url"].partition(BASE_PATH)[2]
    nobody = {"authorization": ""}  # the upload goes without the token
    assert cloud.send("PUT", address, content=content, headers=nobody).headers["etag"] == f'"{etag}"'
    ingest = {"action": "ingest", "filename": begun["filename"], "etag": etag}
    done = cloud.result("POST", f"{where}/import", json=ingest)
    assert (done["status"], done["result"]["num_queries"], done["result"]["meta"]["changes"]) == ("complete", 3, 2)
    assert cloud.refusal("POST", f"{where}/import", json=ingest) == (404, 7400)
    options = {"no_schema": False, "no_data": False, "tables": []}
    body = {"output_format": "polling", "dump_options": options}
    exported = cloud.result("POST", f"{where}/export", json=body)
    script = cloud.send("GET", exported["result"]["signed_url"].partition(BASE_PATH)[2], headers=nobody).text
    assert 'INSERT INTO "t" ("a","b") VALUES(NULL,X\'00FF\');' in script
    copy = f"d1/database/{cloud.result('POST', 'd1/database', json={'name': 'db2'})['uuid']}/query"
    cloud.result("POST", copy, json={"sql": script})
    [answer] = cloud.result("POST", copy, json={"sql": "SELECT * FROM t INDEXED BY i WHERE a = 1"})
    assert answer["results"] == [{"a": 1, "b": "it's"}]


@pytest.mark.parametrize("name", ["../account-id", "%2e%2e%2faccount-id", "A" * 32, "0" * 32])
def test_a_transfer_that_was_not_begun_reads_and_writes_nothing(cloud: Cloud, name: str) -> None:
    assert cloud.send("GET", f"/transfers/{name}").status_code == 404
    assert cloud.send("PUT", f"/transfers/{name}", content=b"x").status_code == 404
    assert not (cloud.directory / "transfers").exists()


def test_a_file_with_an_error_changes_nothing(cloud: Cloud) -> None:
    where = f"d1/database/{cloud.result('POST', 'd1/database', json={'name': 'db1'})['uuid']}"
    content = b"CREATE TABLE t (a); INSERT INTO nowhere VALUES (1);"
    etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
    begun = cloud.result("POST", f"{where}/import", json={"action": "init", "etag": etag})
    cloud.result("PUT", begun["upload_url"].partition(BASE_PATH)[2], content=content)
    ingest = {"action": "ingest", "filename": begun["filename"], "etag": etag}
    done = cloud.result("POST", f"{where}/import", json=ingest)
    assert (done["success"], done["error"]) == (False, "no such table: nowhere: SQLITE_ERROR")
    assert cloud.result("GET", where)["num_tables"] == 0


def test_migrations_are_applied_with_three_queries(cloud: Cloud) -> None:
    where = f"d1/database/{cloud.result('POST', 'd1/database', json={'name': 'db1'})['uuid']}/query"
    table = (
        'CREATE TABLE IF NOT EXISTS "d1_migrations"(\n\t\tid         INTEGER PRIMARY KEY AUTOINCREMENT,\n'
        "\t\tname       TEXT UNIQUE,\n\t\tapplied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL\n);"
    )
    step = "create table m(a);\n\nINSERT INTO \"d1_migrations\" (name)\nvalues ('0001_x.sql');"
    for sql in (table, step):
        cloud.result("POST", where, json={"sql": sql})
    [answer] = cloud.result("POST", where, json={"sql": 'SELECT *\n\t\tFROM "d1_migrations"\n\t\tORDER BY id'})
    assert [row["name"] for row in answer["results"]] == ["0001_x.sql"]
