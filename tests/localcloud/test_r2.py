from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote

import pytest

from tests.localcloud.driver import Cloud

BUCKETS = "r2/buckets"


@pytest.fixture
def bucket(cloud: Cloud) -> str:
    cloud.result("POST", BUCKETS, json={"name": "assets"})
    return f"{BUCKETS}/assets"


def test_a_bucket_lives_from_create_to_delete(cloud: Cloud) -> None:
    made = cloud.result("POST", BUCKETS, json={"name": "assets", "locationHint": "WEUR", "storageClass": "Standard"})
    assert (made["location"], made["jurisdiction"], made["storage_class"]) == ("weur", "default", "Standard")
    assert cloud.result("GET", f"{BUCKETS}/assets") == made
    headers = {"cf-r2-storage-class": "InfrequentAccess"}
    assert cloud.result("PATCH", f"{BUCKETS}/assets", headers=headers)["storage_class"] == "InfrequentAccess"
    assert cloud.result("DELETE", f"{BUCKETS}/assets") == {}
    assert cloud.refusal("GET", f"{BUCKETS}/assets") == (404, 10006)
    assert cloud.refusal("DELETE", f"{BUCKETS}/assets") == (404, 10006)


def test_a_bucket_name_is_taken_once_in_a_jurisdiction(cloud: Cloud, bucket: str) -> None:
    assert cloud.refusal("POST", BUCKETS, json={"name": "assets"}) == (409, 10004)
    european = {"cf-r2-jurisdiction": "eu"}
    assert cloud.result("POST", BUCKETS, json={"name": "assets"}, headers=european)["jurisdiction"] == "eu"
    cloud.result("DELETE", bucket)
    assert cloud.refusal("GET", bucket) == (404, 10006)
    assert cloud.result("GET", bucket, headers=european)["name"] == "assets"
    assert cloud.refusal("GET", bucket, headers={"cf-r2-jurisdiction": "mars"}) == (400, 10005)


@pytest.mark.parametrize("name", ["ab", "A-bucket", "-abc", "abc-", "a_b", "x" * 64, "a.b", "", None, 7])
def test_a_bad_bucket_name_is_refused(cloud: Cloud, name: Any) -> None:
    assert cloud.refusal("POST", BUCKETS, json={"name": name}) == (400, 10005)


def test_buckets_are_listed_with_a_cursor(cloud: Cloud) -> None:
    names = [f"app-{number:02}" for number in range(5)] + ["other"]
    for name in names:
        cloud.result("POST", BUCKETS, json={"name": name})
    found: list[str] = []
    cursor = ""
    for _ in range(3):
        page = cloud.send("GET", f"{BUCKETS}?per_page=2&name_contains=app&cursor={cursor}").json()
        found += [one["name"] for one in page["result"]["buckets"]]
        cursor = page["result_info"].get("cursor", "")
    assert (found, cursor) == (names[:5], "")
    for query, expected in (("start_after=app-03", ["app-04", "other"]), ("direction=desc&per_page=1", ["other"])):
        assert [one["name"] for one in cloud.result("GET", f"{BUCKETS}?{query}")["buckets"]] == expected


KEYS = ["a", "a/b.txt", "a%2Fb.txt", "%2e%2e%2f%2e%2e%2fpasswd", "%00", "x" * 1024]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:20])
def test_an_object_comes_back_under_any_key(cloud: Cloud, bucket: str, key: str) -> None:
    content = bytes(range(256)) * 10
    where = f"{bucket}/objects/{key}"
    stored = cloud.result("PUT", where, content=content, headers={"content-type": "image/png"})
    etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert (stored["etag"], stored["size"]) == (etag, "2560")
    response = cloud.send("GET", where)
    assert response.content == content
    assert (response.headers["etag"], response.headers["content-type"]) == (f'"{etag}"', "image/png")
    assert cloud.send("GET", where, headers={"if-none-match": f'"{etag}"'}).status_code == 304
    assert cloud.result("DELETE", where)["key"] == stored["key"]
    assert cloud.refusal("GET", where) == (404, 10007)


def test_a_blob_is_named_by_us_and_goes_with_its_object(cloud: Cloud, bucket: str) -> None:
    for content in (b"one", b"two"):
        cloud.result("PUT", f"{bucket}/objects/%2e%2e%2f..%2Fk", content=content)
    [blob] = (cloud.directory / "r2").iterdir()
    assert (blob.read_bytes(), len(blob.name), blob.stat().st_mode & 0o777) == (b"two", 32, 0o600)
    [listed] = cloud.result("GET", f"{bucket}/objects")
    cloud.result("DELETE", f"{bucket}/objects/{quote(listed['key'], safe='')}")
    assert list((cloud.directory / "r2").iterdir()) == []


def test_a_bucket_with_objects_is_not_deleted(cloud: Cloud, bucket: str) -> None:
    cloud.result("PUT", f"{bucket}/objects/k", content=b"v")
    assert cloud.refusal("DELETE", bucket) == (409, 10008)
    cloud.result("DELETE", f"{bucket}/objects/k")
    assert cloud.result("DELETE", bucket) == {}


def test_an_object_without_a_bucket_leaves_no_blob(cloud: Cloud) -> None:
    assert cloud.refusal("PUT", f"{BUCKETS}/nowhere/objects/k", content=b"v") == (404, 10006)
    assert not (cloud.directory / "r2").exists()


def test_objects_are_listed_by_prefix_and_page(cloud: Cloud, bucket: str) -> None:
    for key in ("a/1", "a/2", "a/b/3", "c", "d/e/4", "d/f"):
        cloud.result("PUT", f"{bucket}/objects/{key}", content=b"v")
    found: list[str] = []
    cursor = ""
    for _ in range(3):
        page = cloud.send("GET", f"{bucket}/objects?per_page=2&cursor={cursor}").json()
        found += [one["key"] for one in page["result"]]
        cursor = page["result_info"].get("cursor", "")
    assert (found, cursor) == (["a/1", "a/2", "a/b/3", "c", "d/e/4", "d/f"], "")
    assert [one["key"] for one in cloud.result("GET", f"{bucket}/objects?prefix=a/b")] == ["a/b/3"]
    assert [one["key"] for one in cloud.result("GET", f"{bucket}/objects?start_after=c")] == ["d/e/4", "d/f"]


GROUPED = [("", ["c"], ["a/", "d/"]), ("a/", ["a/1", "a/2"], ["a/b/"]), ("d/e/", ["d/e/4"], []), ("x", [], [])]


@pytest.mark.parametrize(("prefix", "keys", "groups"), GROUPED)
@pytest.mark.parametrize("per_page", [1, 2, 100])
def test_a_delimiter_groups_keys(
    cloud: Cloud, bucket: str, prefix: str, keys: list[str], groups: list[str], per_page: int
) -> None:
    for key in ("a/1", "a/2", "a/b/3", "c", "d/e/4", "d/e/5/6", "d/f")[: 7 if prefix != "d/e/" else 5]:
        cloud.result("PUT", f"{bucket}/objects/{key}", content=b"v")
    found: tuple[list[str], list[str]] = ([], [])
    cursor = ""
    while True:
        path = f"{bucket}/objects?delimiter=/&prefix={prefix}&per_page={per_page}&cursor={cursor}"
        page = cloud.send("GET", path).json()
        found[0].extend(one["key"] for one in page["result"])
        found[1].extend(page["result_info"]["delimited"])
        cursor = page["result_info"].get("cursor", "")
        if not cursor:
            break
    assert found == (keys, groups)


def test_cors_is_absent_until_it_is_put(cloud: Cloud, bucket: str) -> None:
    assert cloud.refusal("GET", f"{bucket}/cors") == (404, 10059)
    rules = [{"allowed": {"methods": ["GET"], "origins": ["*"]}}]
    cloud.result("PUT", f"{bucket}/cors", json={"rules": rules})
    assert cloud.result("GET", f"{bucket}/cors") == {"rules": rules}
    cloud.result("DELETE", f"{bucket}/cors")
    assert cloud.refusal("GET", f"{bucket}/cors") == (404, 10059)
    assert cloud.result("GET", f"{bucket}/lifecycle") == {"rules": []}
    assert cloud.refusal("GET", f"{bucket}/teleport") == (404, 7003)
