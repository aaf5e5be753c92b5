from __future__ import annotations

import json
import sqlite3
import time
from typing import Any

import pytest

from tests.localcloud.driver import Cloud

NAMESPACES = "storage/kv/namespaces"


@pytest.fixture
def namespace(cloud: Cloud) -> str:
    identifier: str = cloud.result("POST", NAMESPACES, json={"title": "cache"})["id"]
    return f"{NAMESPACES}/{identifier}"


def test_a_namespace_lives_from_create_to_delete(cloud: Cloud) -> None:
    made = cloud.result("POST", NAMESPACES, json={"title": "cache"})
    where = f"{NAMESPACES}/{made['id']}"
    assert cloud.result("GET", where) == made
    assert cloud.result("PUT", where, json={"title": "renamed"})["title"] == "renamed"
    cloud.result("PUT", f"{where}/values/k", content=b"v")
    assert cloud.result("DELETE", where) is None
    for method, path in (("GET", where), ("DELETE", where), ("GET", f"{where}/values/k"), ("GET", f"{where}/keys")):
        assert cloud.refusal(method, path) == (404, 10013)


def test_a_title_is_taken_once(cloud: Cloud, namespace: str) -> None:
    assert cloud.refusal("POST", NAMESPACES, json={"title": "cache"}) == (400, 10014)
    other = cloud.result("POST", NAMESPACES, json={"title": "other"})["id"]
    assert cloud.refusal("PUT", f"{NAMESPACES}/{other}", json={"title": "cache"}) == (400, 10014)
    assert cloud.result("PUT", namespace, json={"title": "cache"})["title"] == "cache"


@pytest.mark.parametrize(("body", "code"), [({}, 10019), ({"title": ""}, 10019), ({"title": 1}, 10012)])
def test_a_title_is_required(cloud: Cloud, body: dict[str, Any], code: int) -> None:
    assert cloud.refusal("POST", NAMESPACES, json=body) == (400, code)


def test_the_list_can_be_ordered_by_title(cloud: Cloud) -> None:
    for title in ("b", "a", "c"):
        cloud.result("POST", NAMESPACES, json={"title": title})
    for direction, expected in (("asc", ["a", "b", "c"]), ("desc", ["c", "b", "a"])):
        query = f"{NAMESPACES}?per_page=1000&order=title&direction={direction}&page=1"
        assert [one["title"] for one in cloud.result("GET", query)] == expected


KEYS = ["k", "a/b", "a%2Fb", "%2e%2e%2Fetc", "%00", "%1b%5B31m", "%F0%9F%9C%81", "a%20b+c", "x" * 512]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:20])
def test_a_value_comes_back_byte_for_byte_under_any_key(cloud: Cloud, namespace: str, key: str) -> None:
    value = bytes(range(256))
    where = f"{namespace}/values/{key}"
    headers = {"content-type": "text/plain;charset=UTF-8"}
    assert cloud.result("PUT", where, content=value, headers=headers) is None
    response = cloud.send("GET", where)
    assert (response.content, response.headers["content-type"]) == (value, "application/octet-stream")
    assert len(cloud.result("GET", f"{namespace}/keys")) == 1
    assert cloud.result("DELETE", where) is None
    assert cloud.refusal("GET", where) == (404, 10009)


def test_an_encoded_slash_and_a_literal_one_are_the_same_key(cloud: Cloud, namespace: str) -> None:
    cloud.result("PUT", f"{namespace}/values/a%2Fb", content=b"v")
    assert cloud.send("GET", f"{namespace}/values/a/b").content == b"v"


@pytest.mark.parametrize(("key", "refusal"), [("", (400, 10012)), ("x" * 513, (414, 10012))], ids=["empty", "long"])
def test_a_key_that_cannot_be_is_refused(cloud: Cloud, namespace: str, key: str, refusal: tuple[int, int]) -> None:
    assert cloud.refusal("PUT", f"{namespace}/values/{key}", content=b"v") == refusal


def test_a_json_value_is_a_value_not_an_envelope(cloud: Cloud, namespace: str) -> None:
    cloud.result("PUT", f"{namespace}/values/k", json={"success": False})
    assert json.loads(cloud.send("GET", f"{namespace}/values/k").content) == {"success": False}


def test_a_multipart_value_carries_metadata(cloud: Cloud, namespace: str) -> None:
    parts = {"value": (None, b"\x00\r\n--x\xff"), "metadata": (None, '{"colour": "red"}')}
    cloud.result("PUT", f"{namespace}/values/k", files=parts)
    assert cloud.send("GET", f"{namespace}/values/k").content == b"\x00\r\n--x\xff"
    assert cloud.result("GET", f"{namespace}/metadata/k") == {"colour": "red"}
    assert cloud.result("GET", f"{namespace}/keys") == [{"name": "k", "metadata": {"colour": "red"}}]
    assert cloud.refusal("PUT", f"{namespace}/values/k", files={"other": (None, b"v")}) == (400, 10012)
    bad = {"value": (None, b"v"), "metadata": (None, "{")}
    assert cloud.refusal("PUT", f"{namespace}/values/k", files=bad) == (400, 10012)


BROKEN_FORMS = [
    ("no boundary", "multipart/form-data", b"--x\r\n\r\n--x--"),
    ("never ends", "multipart/form-data; boundary=x", b'--x\r\ncontent-disposition: form-data; name="value"\r\n\r\nv'),
    ("no headers", "multipart/form-data; boundary=x", b"--x\r\nvalue\r\n--x--"),
    ("no name", "multipart/form-data; boundary=x", b"--x\r\ncontent-type: text/plain\r\n\r\nv\r\n--x--"),
    ("nothing", "multipart/form-data; boundary=x", b""),
]


@pytest.mark.parametrize(("kind", "body"), [case[1:] for case in BROKEN_FORMS], ids=[case[0] for case in BROKEN_FORMS])
def test_a_broken_form_is_refused(cloud: Cloud, namespace: str, kind: str, body: bytes) -> None:
    headers = {"content-type": kind}
    assert cloud.refusal("PUT", f"{namespace}/values/k", content=body, headers=headers) == (400, 10012)


@pytest.mark.parametrize("query", ["expiration_ttl=59", "expiration_ttl=x", "expiration_ttl=nan", "expiration=1000"])
def test_an_expiry_too_near_is_refused(cloud: Cloud, namespace: str, query: str) -> None:
    if query == "expiration_ttl=59":
        query = "expiration_ttl=58"  # one second of grace for the way to the server
    assert cloud.refusal("PUT", f"{namespace}/values/k?{query}", content=b"v") == (400, 10034)


def test_an_expired_key_is_absent(cloud: Cloud, namespace: str) -> None:
    cloud.result("PUT", f"{namespace}/values/old?expiration_ttl=60", content=b"v")
    cloud.result("PUT", f"{namespace}/values/new?expiration={int(time.time()) + 3600}", content=b"v")
    assert cloud.send("GET", f"{namespace}/values/new").headers["expiration"]
    assert [one["name"] for one in cloud.result("GET", f"{namespace}/keys")] == ["new", "old"]
    with sqlite3.connect(cloud.directory / "account.sqlite") as other:  # time passes
        other.execute("UPDATE kv_values SET expiration = expiration - 61 WHERE key = CAST('old' AS BLOB)")
    other.close()
    assert cloud.refusal("GET", f"{namespace}/values/old") == (404, 10009)
    assert [one["name"] for one in cloud.result("GET", f"{namespace}/keys")] == ["new"]


def test_keys_are_listed_page_by_page_within_a_prefix(cloud: Cloud, namespace: str) -> None:
    names = [f"a/{number:02}" for number in range(12)] + ["a", "b", "a0", "ä"]
    cloud.result("PUT", f"{namespace}/bulk", json=[{"key": name, "value": "v"} for name in names])
    found: list[str] = []
    cursor = ""
    while True:
        page = cloud.send("GET", f"{namespace}/keys?prefix=a/&limit=10&cursor={cursor}").json()
        found += [one["name"] for one in page["result"]]
        assert page["result_info"]["count"] == len(page["result"])
        cursor = page["result_info"]["cursor"]
        if not cursor:
            break
    assert found == sorted(name for name in names if name.startswith("a/"))
    assert len(cloud.result("GET", f"{namespace}/keys?prefix=")) == len(names)
    assert [one["name"] for one in cloud.result("GET", f"{namespace}/keys?prefix=%C3%A4")] == ["ä"]


def test_many_keys_are_written_read_and_deleted_at_once(cloud: Cloud, namespace: str) -> None:
    entries = [
        {"key": "text", "value": "t"},
        {"key": "bytes", "value": "AP8=", "base64": True},
        {"key": "described", "value": '{"a": 1}', "metadata": {"m": 1}, "expiration_ttl": 60},
    ]
    written = cloud.result("PUT", f"{namespace}/bulk", json=entries)
    assert written == {"successful_key_count": 3, "unsuccessful_keys": []}
    assert cloud.send("GET", f"{namespace}/values/bytes").content == b"\x00\xff"
    asked = {"keys": ["described", "absent"], "type": "json", "withMetadata": True}
    values = cloud.result("POST", f"{namespace}/bulk/get", json=asked)["values"]
    assert values == {"described": {"value": {"a": 1}, "metadata": {"m": 1}}, "absent": None}
    assert cloud.result("POST", f"{namespace}/bulk/delete", json=["text", "bytes"])["successful_key_count"] == 2
    cloud.result("DELETE", f"{namespace}/bulk", json=["described"])
    assert cloud.result("GET", f"{namespace}/keys") == []


@pytest.mark.parametrize(
    "entries", [[{"key": "a", "value": "v"}, {"key": "b"}], [{"key": "a", "value": "!", "base64": True}], ["a"]]
)
def test_a_bad_entry_refuses_the_whole_bulk(cloud: Cloud, namespace: str, entries: list[Any]) -> None:
    assert cloud.refusal("PUT", f"{namespace}/bulk", json=entries) == (400, 10012)
    assert cloud.result("GET", f"{namespace}/keys") == []
    assert cloud.refusal("PUT", f"{namespace}/bulk", json=[]) == (400, 10029)
