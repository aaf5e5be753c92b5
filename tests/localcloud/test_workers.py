from __future__ import annotations

import json
from typing import Any

import pytest

from tests.localcloud.driver import Cloud, form

SCRIPTS = "workers/scripts"


@pytest.fixture
def bound(cloud: Cloud) -> list[dict[str, Any]]:
    """One of each resource a Worker can be bound to, as upload bindings."""
    cloud.result("POST", "r2/buckets", json={"name": "assets"})
    cloud.result("POST", "queues", json={"queue_name": "jobs"})
    return [
        {"type": "d1", "name": "DB", "id": cloud.result("POST", "d1/database", json={"name": "main"})["uuid"]},
        {
            "type": "kv_namespace",
            "name": "KV",
            "namespace_id": cloud.result("POST", "storage/kv/namespaces", json={"title": "cache"})["id"],
        },
        {"type": "r2_bucket", "name": "B", "bucket_name": "assets"},
        {"type": "queue", "name": "Q", "queue_name": "jobs"},
        {"type": "plain_text", "name": "T", "text": "hello"},
        {"type": "json", "name": "J", "json": {"a": None}},
        {"type": "secret_text", "name": "S", "text": "sekret"},
    ]


def names(bindings: list[dict[str, Any]]) -> set[str]:
    return {binding["name"] for binding in bindings}


def test_a_worker_lives_from_upload_to_delete(cloud: Cloud, bound: list[dict[str, Any]]) -> None:
    code = "export default { async fetch() { return new Response('hi') } }"
    made = cloud.upload("w1", {"bindings": bound, "tags": ["owner:x"], "annotations": {"workers/tag": "n1"}}, code)
    assert (made["id"], made["tags"], made["handlers"], made["has_modules"]) == ("w1", ["owner:x"], ["fetch"], True)
    response = cloud.send("GET", f"{SCRIPTS}/w1")
    assert response.headers["etag"] == f'"{made["etag"]}"'
    assert code.encode() in response.content
    [listed] = cloud.result("GET", SCRIPTS)
    assert (listed["etag"], listed["tag"]) == (made["etag"], made["tag"])
    assert cloud.result("GET", "workers/services/w1")["default_environment"]["script"]["id"] == "w1"
    assert cloud.result("GET", f"workers/workers/{made['tag']}")["name"] == "w1"
    assert cloud.result("DELETE", f"{SCRIPTS}/w1") is None
    for method, path, refusal in (
        ("GET", f"{SCRIPTS}/w1", (404, 10007)),
        ("DELETE", f"{SCRIPTS}/w1", (404, 10007)),
        ("GET", f"{SCRIPTS}/w1/settings", (404, 10007)),
        ("GET", "workers/services/w1", (404, 10090)),
        ("GET", "workers/workers/w1", (404, 10013)),
    ):
        assert cloud.refusal(method, path) == refusal


def test_answers_show_bindings_in_their_own_shape_and_no_secrets(cloud: Cloud, bound: list[dict[str, Any]]) -> None:
    cloud.upload("w1", {"bindings": bound})
    response = cloud.send("GET", f"{SCRIPTS}/w1/settings")
    found = {binding["name"]: binding for binding in response.json()["result"]["bindings"]}
    assert found["DB"] == {**bound[0], "database_id": bound[0]["id"]}
    assert found["S"] == {"type": "secret_text", "name": "S"}
    assert [found[name] for name in ("KV", "B", "Q", "T", "J")] == bound[1:6]
    for path in ("", "/settings", "/secrets", "/versions", "/deployments", "/content/v2"):
        assert b"sekret" not in cloud.send("GET", f"{SCRIPTS}/w1{path}").content
    producers = cloud.result("GET", "queues")[0]["producers"]
    assert producers == [{"type": "worker", "script": "w1"}]


BROKEN_BINDINGS = [
    ("database", {"type": "d1", "name": "X", "id": "c28e317a-9fbb-421e-bb3b-313b33206108"}),
    ("namespace", {"type": "kv_namespace", "name": "X", "namespace_id": "0" * 32}),
    ("bucket", {"type": "r2_bucket", "name": "X", "bucket_name": "none"}),
    ("bucket elsewhere", {"type": "r2_bucket", "name": "X", "bucket_name": "assets", "jurisdiction": "eu"}),
    ("queue", {"type": "queue", "name": "X", "queue_name": "none"}),
    ("service", {"type": "service", "name": "X", "service": "none"}),
    ("no target", {"type": "d1", "name": "X"}),
    ("no name", {"type": "plain_text", "text": "x"}),
    ("no type", {"name": "X"}),
    ("no object", "X"),
    ("a name twice", {"type": "plain_text", "name": "T", "text": "again"}),
    ("nothing to inherit", {"type": "inherit", "name": "X"}),
]


@pytest.mark.parametrize("binding", [case[1] for case in BROKEN_BINDINGS], ids=[case[0] for case in BROKEN_BINDINGS])
def test_a_binding_to_nothing_refuses_the_upload(cloud: Cloud, bound: list[dict[str, Any]], binding: Any) -> None:
    body = form({"bindings": [*bound, binding]})
    assert cloud.refusal("PUT", f"{SCRIPTS}/w1", files=body) == (400, 10021)
    assert cloud.result("GET", SCRIPTS) == []


FORMS = [
    ("no metadata", [("worker.js", ("worker.js", "x", "application/javascript+module"))], 10021),
    ("metadata that is no JSON", [("metadata", (None, "{"))], 10021),
    ("metadata that is a list", [("metadata", (None, "[]"))], 10021),
    ("no entry point", [("metadata", (None, "{}")), ("a.js", ("a.js", "x", "text/plain"))], 10021),
    ("an entry point that was not sent", form({"main_module": "other.js"}), 10021),
    ("one module twice", [*form({}), ("again", ("worker.js", "x", "text/plain"))], 10021),
    ("bindings that are no list", form({"bindings": {}} | {"bindings": {"a": 1}}), 10021),
]


@pytest.mark.parametrize(("body", "code"), [case[1:] for case in FORMS], ids=[case[0] for case in FORMS])
def test_a_broken_upload_is_refused(cloud: Cloud, body: list[Any], code: int) -> None:
    assert cloud.refusal("PUT", f"{SCRIPTS}/w1", files=body) == (400, code)


def test_an_upload_without_a_known_type_is_refused(cloud: Cloud) -> None:
    assert cloud.refusal("PUT", f"{SCRIPTS}/w1", content=b"x") == (400, 10001)


@pytest.mark.parametrize("name", ["a b", "%2e%2e%2fetc", "%00", "-a", "x" * 256, "a.b"])
def test_a_bad_worker_name_is_refused(cloud: Cloud, name: str) -> None:
    assert cloud.refusal("PUT", f"{SCRIPTS}/{name}", files=form({})) == (400, 10016)


def test_modules_are_known_by_filename_because_the_sdk_names_every_part_files(cloud: Cloud) -> None:
    metadata = json.dumps({"main_module": "src/main.js"})
    body = [
        ("metadata", (None, metadata)),
        ("files", ("src/main.js", "export default {}", "application/javascript+module")),
        ("files", ("data.wasm", b"\0asm\r\n--", "application/wasm")),
    ]
    cloud.result("PUT", f"{SCRIPTS}/w1", files=body)
    response = cloud.send("GET", f"{SCRIPTS}/w1/content/v2")
    assert b'filename="data.wasm"\r\nContent-Type: application/wasm\r\n\r\n\0asm\r\n--\r\n' in response.content
    assert response.headers["cf-entrypoint"] == "src/main.js"


def test_a_plain_script_comes_back_as_javascript(cloud: Cloud) -> None:
    code = "addEventListener('fetch', () => {})"
    cloud.result("PUT", f"{SCRIPTS}/w1", content=code, headers={"content-type": "application/javascript"})
    response = cloud.send("GET", f"{SCRIPTS}/w1")
    assert (response.text, response.headers["content-type"]) == (code, "application/javascript")


def test_the_etag_is_of_the_code_alone(cloud: Cloud) -> None:
    first = cloud.upload("w1", {}, "one")
    assert cloud.upload("w1", {"compatibility_date": "2025-01-01"}, "one")["etag"] == first["etag"]
    assert cloud.upload("w1", {}, "two")["etag"] != first["etag"]
    assert cloud.upload("w2", {}, "one")["etag"] == first["etag"]
    cloud.result("DELETE", f"{SCRIPTS}/w1")
    assert b"one" in cloud.send("GET", f"{SCRIPTS}/w2").content


def test_scripts_are_found_by_tag(cloud: Cloud) -> None:
    cloud.upload("w1", {"tags": ["app:a", "stage:prod"]})
    cloud.upload("w2", {"tags": ["app:b"]})
    for query, expected in (("app:a:yes", ["w1"]), ("app:a:no", ["w2"]), ("app:a:yes,stage:prod:yes", ["w1"])):
        assert [one["id"] for one in cloud.result("GET", f"{SCRIPTS}?tags={query}")] == expected
    assert cloud.refusal("GET", f"{SCRIPTS}?tags=app") == (400, 10021)


def test_tags_stay_until_they_are_sent_again(cloud: Cloud) -> None:
    cloud.upload("w1", {"tags": ["a"]})
    assert cloud.upload("w1", {})["tags"] == ["a"]
    assert cloud.result("PATCH", f"{SCRIPTS}/w1/script-settings", json={"tags": []})["tags"] == []
    settings = {"observability": {"enabled": True}, "logpush": True}
    changed = cloud.result("PATCH", f"{SCRIPTS}/w1/script-settings", json=settings)
    assert (changed["observability"], changed["logpush"]) == ({"enabled": True}, True)
    assert cloud.result("GET", f"{SCRIPTS}/w1/script-settings") == changed


def test_bindings_can_be_kept_or_inherited(cloud: Cloud, bound: list[dict[str, Any]]) -> None:
    cloud.upload("w1", {"bindings": bound})
    inherited = [{"type": "inherit", "name": "DB"}, {"type": "inherit", "name": "K2", "old_name": "KV"}]
    cloud.upload("w1", {"bindings": inherited, "keep_bindings": ["secret_text"]})
    found = cloud.result("GET", f"{SCRIPTS}/w1/settings")["bindings"]
    assert names(found) == {"DB", "K2", "S"}
    assert {"type": "kv_namespace", "name": "K2", "namespace_id": bound[1]["namespace_id"]} in found
    cloud.upload("w1", {"bindings": []})
    assert cloud.result("GET", f"{SCRIPTS}/w1/settings")["bindings"] == []


def test_settings_change_without_new_code(cloud: Cloud, bound: list[dict[str, Any]]) -> None:
    etag = cloud.upload("w1", {"bindings": bound})["etag"]
    sent = {"bindings": [{"type": "inherit", "name": "T"}], "compatibility_date": "2025-05-05", "tags": ["x"]}
    changed = cloud.result("PATCH", f"{SCRIPTS}/w1/settings", files={"settings": (None, json.dumps(sent))})
    assert (names(changed["bindings"]), changed["compatibility_date"], changed["tags"]) == ({"T"}, "2025-05-05", ["x"])
    assert cloud.result("GET", SCRIPTS)[0]["etag"] == etag
    bad = {"settings": (None, json.dumps({"bindings": [{"type": "queue", "name": "Q", "queue_name": "none"}]}))}
    assert cloud.refusal("PATCH", f"{SCRIPTS}/w1/settings", files=bad) == (400, 10021)


def test_a_secret_is_listed_by_name_and_deleted(cloud: Cloud) -> None:
    cloud.upload("w1", {"bindings": [{"type": "plain_text", "name": "T", "text": "x"}]})
    secret = {"name": "API_KEY", "text": "sekret", "type": "secret_text"}
    shown = {"name": "API_KEY", "type": "secret_text"}
    assert cloud.result("PUT", f"{SCRIPTS}/w1/secrets", json=secret) == shown
    assert cloud.result("GET", f"{SCRIPTS}/w1/secrets") == [shown]
    assert cloud.result("GET", f"{SCRIPTS}/w1/secrets/API_KEY") == shown
    assert names(cloud.result("GET", f"{SCRIPTS}/w1/settings")["bindings"]) == {"T", "API_KEY"}
    assert cloud.refusal("PUT", f"{SCRIPTS}/w1/secrets", json={**secret, "name": "T"}) == (400, 10021)
    bulk = {"secrets": {"API_KEY": None, "B": {"name": "B", "text": "x", "type": "secret_text"}}}
    cloud.result("PATCH", f"{SCRIPTS}/w1/secrets-bulk", json=bulk)
    assert cloud.result("GET", f"{SCRIPTS}/w1/secrets") == [{"name": "B", "type": "secret_text"}]
    assert cloud.result("DELETE", f"{SCRIPTS}/w1/secrets/B") is None
    assert cloud.refusal("DELETE", f"{SCRIPTS}/w1/secrets/B") == (404, 10056)
    assert cloud.refusal("PUT", f"{SCRIPTS}/none/secrets", json=secret) == (404, 10007)


def test_schedules_are_replaced_as_a_whole(cloud: Cloud) -> None:
    cloud.upload("w1", {})
    [first] = cloud.result("PUT", f"{SCRIPTS}/w1/schedules", json=[{"cron": "*/5 * * * *"}])["schedules"]
    crons = [{"cron": "*/5 * * * *"}, {"cron": "0 1 * * *"}]
    found = cloud.result("PUT", f"{SCRIPTS}/w1/schedules", json=crons)["schedules"]
    assert [one["cron"] for one in found] == ["*/5 * * * *", "0 1 * * *"]
    assert found[0]["created_on"] == first["created_on"]
    assert cloud.refusal("PUT", f"{SCRIPTS}/w1/schedules", json=[{"cron": "often"}]) == (400, 10100)
    assert cloud.result("GET", f"{SCRIPTS}/w1/schedules")["schedules"] == found
    assert cloud.result("PUT", f"{SCRIPTS}/w1/schedules", json=[]) == {"schedules": []}


def test_the_workers_dev_address_is_switched_on_and_off(cloud: Cloud) -> None:
    cloud.upload("w1", {})
    where = f"{SCRIPTS}/w1/subdomain"
    assert cloud.result("GET", where) == {"enabled": False, "previews_enabled": False}
    assert cloud.result("POST", where, json={"enabled": True}) == {"enabled": True, "previews_enabled": False}
    assert cloud.result("GET", "workers/workers/w1")["subdomain"]["enabled"] is True
    assert cloud.result("DELETE", where) == {"enabled": False, "previews_enabled": False}
    assert cloud.refusal("POST", where, json={}) == (400, 10021)
    assert cloud.result("GET", "workers/subdomain") == {"subdomain": "local"}
    assert cloud.result("PUT", "workers/subdomain", json={"subdomain": "mine"}) == {"subdomain": "mine"}
    assert cloud.refusal("PUT", "workers/subdomain", json={"subdomain": "a.b"}) == (400, 10031)


def test_a_version_gets_traffic_only_when_it_is_deployed(cloud: Cloud) -> None:
    first = cloud.upload("w1", {"annotations": {"workers/tag": "one"}}, "one")
    body = form({"annotations": {"workers/tag": "two"}}, "two")
    version = cloud.result("POST", f"{SCRIPTS}/w1/versions", files=body)
    assert (version["number"], version["annotations"]) == (2, {"workers/tag": "two"})
    assert cloud.result("GET", SCRIPTS)[0]["etag"] == first["etag"]
    share = {"version_id": version["id"], "percentage": 100}
    split = {"strategy": "percentage", "versions": [share], "annotations": {"workers/message": "go"}}
    deployment = cloud.result("POST", f"{SCRIPTS}/w1/deployments", json=split)
    assert cloud.result("GET", SCRIPTS)[0]["etag"] == version["resources"]["script"]["etag"]
    newest, oldest = cloud.result("GET", f"{SCRIPTS}/w1/deployments")["deployments"]
    assert (newest, oldest["id"]) == (deployment, first["deployment_id"])
    items = cloud.result("GET", f"{SCRIPTS}/w1/versions?deployable=true")["items"]
    assert [item["number"] for item in items] == [2, 1]
    assert cloud.result("GET", f"{SCRIPTS}/w1/versions/{version['id']}")["resources"] == version["resources"]
    assert cloud.result("GET", f"{SCRIPTS}/w1/deployments/{deployment['id']}") == deployment
    assert cloud.refusal("DELETE", f"{SCRIPTS}/w1/deployments/{deployment['id']}") == (400, 10336)
    assert cloud.send("DELETE", f"{SCRIPTS}/w1/deployments/{oldest['id']}").status_code == 200
    assert cloud.refusal("GET", f"{SCRIPTS}/w1/deployments/{oldest['id']}") == (404, 10336)


DEPLOYMENTS = [
    ("no strategy", {"versions": []}, (400, 10021)),
    ("no versions", {"strategy": "percentage", "versions": []}, (400, 10021)),
    ("half", {"strategy": "percentage", "versions": [{"version_id": "ours", "percentage": 50}]}, (400, 10021)),
    (
        "unknown",
        {"strategy": "percentage", "versions": [{"version_id": "none", "percentage": 100}]},
        (404, 100146),
    ),
]


@pytest.mark.parametrize(("body", "refusal"), [case[1:] for case in DEPLOYMENTS], ids=[case[0] for case in DEPLOYMENTS])
def test_a_deployment_that_cannot_be_is_refused(cloud: Cloud, body: dict[str, Any], refusal: tuple[int, int]) -> None:
    cloud.upload("w1", {})
    ours = cloud.result("GET", f"{SCRIPTS}/w1/versions")["items"][0]["id"]
    sent = json.loads(json.dumps(body).replace('"ours"', json.dumps(ours)))
    assert cloud.refusal("POST", f"{SCRIPTS}/w1/deployments", json=sent) == refusal


def test_migrations_compare_and_set_their_tag(cloud: Cloud) -> None:
    steps = {"new_tag": "v1", "steps": [{"new_sqlite_classes": ["C"]}]}
    bindings = [{"type": "durable_object_namespace", "name": "C", "class_name": "C"}]
    assert cloud.upload("w1", {"migrations": steps, "bindings": bindings})["migration_tag"] == "v1"
    assert cloud.refusal("PUT", f"{SCRIPTS}/w1", files=form({"migrations": steps})) == (400, 10079)
    assert cloud.upload("w1", {"migrations": {"old_tag": "v1", "new_tag": "v2", "steps": []}})["migration_tag"] == "v2"


def test_a_worker_that_others_call_is_deleted_only_by_force(cloud: Cloud) -> None:
    cloud.upload("callee", {})
    cloud.upload("caller", {"bindings": [{"type": "service", "name": "X", "service": "callee"}]})
    assert cloud.refusal("DELETE", f"{SCRIPTS}/callee") == (400, 10064)
    assert cloud.result("DELETE", "workers/services/callee?force=true") is None


def test_only_the_newest_hundred_versions_are_kept(cloud: Cloud) -> None:
    for number in range(103):
        cloud.upload("w1", {}, f"code {number}")
    pages = [cloud.result("GET", f"{SCRIPTS}/w1/versions?per_page=100&page={page}")["items"] for page in (1, 2)]
    assert [item["number"] for page in pages for item in page] == list(range(103, 3, -1))
