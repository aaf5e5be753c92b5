from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alchemy.localcloud import account_id
from tests.localcloud.driver import Cloud

STRANGER = "0" * 32
DATABASES = "d1/database"

UNAUTHORIZED = [
    ("no header", {"authorization": ""}, (400, 9106)),
    ("another scheme", {"authorization": "Basic abc"}, (400, 6003)),
    ("no token", {"authorization": "Bearer  "}, (400, 6003)),
]


@pytest.mark.parametrize(("headers", "refusal"), [case[1:] for case in UNAUTHORIZED], ids=[c[0] for c in UNAUTHORIZED])
def test_a_call_without_a_bearer_token_is_refused(
    cloud: Cloud, headers: dict[str, str], refusal: tuple[int, int]
) -> None:
    assert cloud.refusal("GET", "/user", headers=headers) == refusal


def test_any_token_is_accepted(cloud: Cloud) -> None:
    assert cloud.result("GET", "/user/tokens/verify", headers={"authorization": "bearer x"})["status"] == "active"


def test_who_am_i_is_answered(cloud: Cloud) -> None:
    assert cloud.result("GET", "/user")["email"]
    assert [one["id"] for one in cloud.result("GET", "/accounts?page=1")] == [cloud.account]
    assert cloud.result("GET", "/accounts?page=2") == []
    assert [one["account"]["id"] for one in cloud.result("GET", "/memberships?page=1")] == [cloud.account]
    assert cloud.result("GET", f"/accounts/{cloud.account}")["id"] == cloud.account


REFUSED = [
    ("another account", "GET", f"/accounts/{STRANGER}/d1/database", (403, 9109)),
    ("a malformed account", "GET", "/accounts/nobody/d1/database", (404, 7003)),
    ("an unknown product", "GET", "teleport", (404, 7003)),
    ("an unknown path", "GET", "/graphql", (404, 7000)),
    ("a wrong method", "DELETE", DATABASES, (405, 10405)),
    ("a trailing slash", "GET", DATABASES + "/", (404, 7003)),
    ("bytes that are no text", "GET", DATABASES + "/%ff%fe", (400, 7003)),
    ("a page that is no number", "GET", DATABASES + "?page=x", (400, 7400)),
    ("page zero", "GET", DATABASES + "?page=0", (400, 7400)),
    ("a cursor of somebody else", "GET", "r2/buckets?cursor=%00", (400, 10005)),
]


@pytest.mark.parametrize(("method", "path", "refusal"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED])
def test_a_path_that_leads_nowhere_is_refused(cloud: Cloud, method: str, path: str, refusal: tuple[int, int]) -> None:
    assert cloud.refusal(method, path) == refusal


def test_a_wrong_method_names_the_right_ones(cloud: Cloud) -> None:
    assert cloud.send("DELETE", DATABASES).headers["allow"] == "GET, POST"


CREATES = [
    ("d1", DATABASES, {"name": "one"}, 7400),
    ("kv", "storage/kv/namespaces", {"title": "one"}, 10012),
    ("r2", "r2/buckets", {"name": "one-bucket"}, 10005),
    ("queues", "queues", {"queue_name": "one"}, 10026),
]
BODIES = [b"", b"{", b"\xff", b"[]", b"null", b'"name"', b"{} {}", b"[" * 2000 + b"]" * 2000]


@pytest.mark.parametrize(("path", "good", "code"), [case[1:] for case in CREATES], ids=[c[0] for c in CREATES])
@pytest.mark.parametrize("body", BODIES, ids=repr)
def test_a_malformed_body_is_refused_and_creates_nothing(
    cloud: Cloud, path: str, good: dict[str, str], code: int, body: bytes
) -> None:
    assert cloud.refusal("POST", path, content=body) == (400, code)
    assert cloud.result("GET", path) in ([], {"buckets": []})


@pytest.mark.parametrize("kind", ["application/json", "text/plain;charset=UTF-8", "application/json;", ""])
@pytest.mark.parametrize(("path", "good", "code"), [case[1:] for case in CREATES], ids=[c[0] for c in CREATES])
def test_a_body_is_json_whatever_its_type_says(
    cloud: Cloud, path: str, good: dict[str, str], code: int, kind: str
) -> None:
    import json

    headers = {"content-type": kind} if kind else {}
    assert cloud.result("POST", path, content=json.dumps(good), headers=headers)


def test_json_too_deep_to_be_answered_again_is_refused(cloud: Cloud) -> None:
    namespace = cloud.result("POST", "storage/kv/namespaces", json={"title": "cache"})["id"]
    queue = cloud.result("POST", "queues", json={"queue_name": "jobs"})["queue_id"]
    for depth, status in ((90, 200), (300, 400)):
        deep = "[" * depth + "]" * depth
        bulk = f'[{{"key": "k", "value": "v", "metadata": {deep}}}]'
        answers = [
            cloud.send("PUT", f"storage/kv/namespaces/{namespace}/bulk", content=bulk),
            cloud.send("POST", f"queues/{queue}/messages", content=f'{{"body": {deep}}}'),
        ]
        assert [answer.status_code for answer in answers] == [status, status]
    assert cloud.result("GET", f"storage/kv/namespaces/{namespace}/keys")[0]["metadata"]


def test_a_body_above_the_limit_is_refused_before_it_is_read(cloud: Cloud) -> None:
    headers = {"content-length": str(200 * 1024 * 1024)}
    assert cloud.refusal("POST", DATABASES, content=b"x", headers=headers) == (413, 10027)


def test_head_is_get_without_the_body(cloud: Cloud) -> None:
    cloud.result("POST", "r2/buckets", json={"name": "bucket-1"})
    cloud.result("PUT", "r2/buckets/bucket-1/objects/a", content=b"four")
    response = cloud.send("HEAD", "r2/buckets/bucket-1/objects/a")
    assert (response.status_code, response.content, response.headers["content-length"]) == (200, b"", "4")


@pytest.mark.parametrize(("path", "key"), [(DATABASES, "name"), ("storage/kv/namespaces", "title")])
def test_a_page_past_the_end_is_empty(cloud: Cloud, path: str, key: str) -> None:
    for number in range(3):
        cloud.result("POST", path, json={key: f"item-{number}"})
    pages = [cloud.send("GET", f"{path}?page={page}&per_page=2").json() for page in (1, 2, 3)]
    assert [len(page["result"]) for page in pages] == [2, 1, 0]
    assert [page["result_info"]["total_count"] for page in pages] == [3, 3, 3]
    assert len({item[key] for page in pages for item in page["result"]}) == 3


def test_a_whole_list_has_one_page(cloud: Cloud) -> None:
    cloud.upload("w1", {"bindings": [{"type": "secret_text", "name": "S", "text": "x"}]})
    queue = cloud.result("POST", "queues", json={"queue_name": "jobs"})["queue_id"]
    cloud.result("POST", f"queues/{queue}/consumers", json={"type": "http_pull"})
    for path in ("workers/scripts", "workers/scripts/w1/secrets", "queues", f"queues/{queue}/consumers"):
        assert [len(cloud.result("GET", f"{path}?page={page}")) for page in (1, 2)] == [1, 0]
    for path, member in (("versions", "items"), ("deployments", "deployments")):
        pages = [cloud.result("GET", f"workers/scripts/w1/{path}?page={page}") for page in (1, 2)]
        assert [len(page[member]) for page in pages] == [1, 0]


HOSTILE = ["\x1b[31mred", "../../etc/passwd", "a\0b", "x" * 5000, "..", "a/b", "'; DROP TABLE d1_databases; --", "🜁"]
PLACES = [
    ("POST", DATABASES, "name"),
    ("POST", "r2/buckets", "name"),
    ("POST", "queues", "queue_name"),
    ("POST", "storage/kv/namespaces", "title"),
]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
@pytest.mark.parametrize(("method", "path", "member"), PLACES)
def test_a_hostile_name_never_reaches_a_file_name(cloud: Cloud, method: str, path: str, member: str, name: str) -> None:
    response = cloud.send(method, path, json={member: name})
    assert response.status_code in (200, 400)
    assert response.json()["success"] is (response.status_code == 200)
    names = {entry.name for entry in cloud.directory.parent.rglob("*")}
    assert names <= {"local-cloud", "account-id", "account.sqlite", "account.sqlite-wal", "account.sqlite-shm"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    [
        "name", "title", "queue_name", "settings", "sql", "params", "batch", "keys", "type", "messages", "acks",
        "versions", "strategy", "metadata", "tags", "bindings", "read_replication", "rules", "secrets", "text",
        "cron", "enabled", "batch_size", "body", "content_type", "delay_seconds", "lease_id", "refs",
    ]
)  # fmt: skip
OPERATIONS = [
    ("POST", DATABASES), ("GET", "d1/database/{}"), ("PATCH", "d1/database/{}"), ("POST", "d1/database/{}/query"),
    ("POST", "storage/kv/namespaces"), ("PUT", "storage/kv/namespaces/{}/bulk"),
    ("GET", "storage/kv/namespaces/{}/keys"),
    ("POST", "storage/kv/namespaces/{}/bulk/get"), ("PUT", "storage/kv/namespaces/{}/values/k"),
    ("POST", "r2/buckets"), ("GET", "r2/buckets/{}"), ("PUT", "r2/buckets/{}/cors"), ("PUT", "r2/buckets/{}/objects/k"),
    ("POST", "queues"), ("PATCH", "queues/{}"), ("POST", "queues/{}/consumers"), ("POST", "queues/{}/messages"),
    ("POST", "queues/{}/messages/batch"), ("POST", "queues/{}/messages/pull"), ("POST", "queues/{}/messages/ack"),
    ("PUT", "workers/scripts/{}"), ("PUT", "workers/scripts/{}/secrets"), ("PUT", "workers/scripts/{}/schedules"),
    ("POST", "workers/scripts/{}/deployments"), ("PATCH", "workers/scripts/{}/script-settings"),
    ("PATCH", "workers/scripts/{}/secrets-bulk"), ("POST", "workers/scripts/{}/subdomain"),
    ("PUT", "workers/subdomain"),
]  # fmt: skip


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cloud, dict[str, str]]:
    """A cloud with one of each, and the name by which a path of each product reaches it."""
    cloud = Cloud(tmp_path_factory.mktemp("stocked"))
    names = {
        "d1": cloud.result("POST", DATABASES, json={"name": "one"})["uuid"],
        "storage": cloud.result("POST", "storage/kv/namespaces", json={"title": "one"})["id"],
        "r2": cloud.result("POST", "r2/buckets", json={"name": "one-bucket"})["name"],
        "queues": cloud.result("POST", "queues", json={"queue_name": "one"})["queue_id"],
        "workers": cloud.upload("one", {})["id"],
    }
    cloud.result("POST", f"queues/{names['queues']}/consumers", json={"type": "http_pull"})
    return cloud, names


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operation=st.sampled_from(OPERATIONS), body=JSON | st.dictionaries(MEMBERS, JSON, max_size=4))
def test_no_json_body_is_answered_with_a_server_error(
    stocked: tuple[Cloud, dict[str, str]], operation: tuple[str, str], body: Any
) -> None:
    cloud, names = stocked
    method, path = operation
    response = cloud.send(method, path.format(names[path.partition("/")[0]]), json=body)
    assert response.status_code < 500, response.text
    assert response.json()["success"] in (True, False)


def test_the_account_id_is_made_once(cloud: Cloud) -> None:
    assert account_id(cloud.directory, create=False) == cloud.account
    assert account_id(cloud.directory) == cloud.account
    assert len(cloud.account) == 32
    assert set(cloud.account) <= set("0123456789abcdef")


def test_reading_an_account_id_creates_nothing(cloud: Cloud) -> None:
    elsewhere = cloud.directory.parent / "elsewhere"
    assert account_id(elsewhere, create=False) is None
    assert not elsewhere.exists()
