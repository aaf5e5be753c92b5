from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from alchemy.errors import StorageFailed
from alchemy.store.objects.port import Taken, Unknown
from alchemy.testing.s3 import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server
from tests.objects.buckets import bucket_at

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("given", "cause", "way_out"),
    [
        ({"access_key_id": "somebody"}, "does not know the access key", "R2_ACCESS_KEY_ID"),
        ({"secret_access_key": "guessed"}, "does not accept the signature", "R2_SECRET_ACCESS_KEY"),
        ({"bucket": "elsewhere"}, "there is no bucket 'elsewhere'", "R2_BUCKET_NAME"),
    ],
)
@pytest.mark.parametrize("verb", ["create", "replace", "get", "list", "folders", "delete"])
def test_what_is_configured_wrongly_is_named(
    server: Server, given: dict[str, str], cause: str, way_out: str, verb: str
) -> None:
    bucket = bucket_at(server.endpoint, **given)
    calls: dict[str, Callable[[], object]] = {
        "create": lambda: bucket.create("key", b""),
        "replace": lambda: bucket.replace("key", b"", '"etag"'),
        "get": lambda: bucket.get("key"),
        "list": lambda: bucket.list("key/"),
        "folders": lambda: bucket.folders("key/"),
        "delete": lambda: bucket.delete("key"),
    }
    with pytest.raises(StorageFailed) as caught:
        calls[verb]()
    assert cause in caught.value.message
    assert way_out in caught.value.hint
    for secret in (ACCESS_KEY_ID, SECRET_ACCESS_KEY, "guessed", "somebody"):
        assert secret not in caught.value.message + caught.value.hint
    assert server.bodies() == {}


def test_a_token_without_the_right_to_write_is_told_so(server: Server) -> None:
    bucket = bucket_at(server.endpoint)
    server.fault("403", verb="PUT")
    with pytest.raises(StorageFailed, match="denies it") as caught:
        bucket.create("key", b"")
    assert "right to read and write objects of bucket 'state'" in caught.value.hint


@pytest.mark.parametrize("endpoint", ["http://no-such-host.invalid", "http://127.0.0.1:1"])
def test_a_store_that_cannot_be_reached_fails_readings_and_leaves_writes_open(endpoint: str) -> None:
    bucket = bucket_at(endpoint, retries=1)
    with pytest.raises(StorageFailed, match="cannot be reached") as caught:
        bucket.get("key")
    assert "R2_ENDPOINT or R2_ACCOUNT_ID" in caught.value.hint
    with pytest.raises(Unknown, match="no connection"):
        bucket.create("key", b"")


def test_something_else_than_an_s3_service_is_not_an_empty_store(server: Server) -> None:
    """A web server that answers 404 to everything must not look like a bucket without state."""
    bucket = bucket_at(server.endpoint)
    server.fault("404")
    with pytest.raises(StorageFailed, match="does not answer as S3 does"):
        bucket.get("key")
    with pytest.raises(StorageFailed, match="does not answer as S3 does"):
        bucket.list("key/")


@pytest.mark.parametrize(
    "key",
    ["../x", "a/../b", "./a", "/lead", "trail/", "a//b", "a\nb", "a\0b", "\u202eb", "\ud800", "ä" * 513, "x" * 1025],
)
def test_a_key_that_is_none_is_refused_before_anything_is_sent(server: Server, key: str) -> None:
    bucket = bucket_at(server.endpoint)
    for call in (
        lambda: bucket.create(key, b""),
        lambda: bucket.replace(key, b"", "etag"),
        lambda: bucket.get(key),
        lambda: bucket.delete(key),
        lambda: bucket.list("ok/", after=key),
    ):
        with pytest.raises(StorageFailed, match="cannot be the key of an object"):
            call()
    assert server.log == []


def test_a_foreign_object_with_an_unreadable_name_is_named(server: Server) -> None:
    bucket = bucket_at(server.endpoint)
    bucket.create("app/fine", b"")
    server.put("app/../x", b"not ours")
    with pytest.raises(StorageFailed, match=r"one that is not ours .*app/\.\./x") as caught:
        bucket.list("app/")
    assert "state_prefix" in caught.value.hint


def test_what_another_account_left_in_the_environment_is_not_used(server: Server, tmp_path: Path) -> None:
    """The library reads AWS_* variables for everything it is not told."""
    foreign = {
        "AWS_ACCESS_KEY_ID": "theirs",
        "AWS_SECRET_ACCESS_KEY": "theirs",
        "AWS_SESSION_TOKEN": "theirs",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_REGION": "theirs",
        "AWS_DEFAULT_REGION": "theirs",
        "AWS_BUCKET": "theirs",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_S3_EXPRESS": "true",
        "AWS_CONDITIONAL_PUT": "disabled",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
        "AWS_REQUEST_PAYER": "true",
    }
    source = f"""
from tests.objects.buckets import bucket_at
bucket = bucket_at({server.endpoint!r})
print(bucket.replace("key", b"b", bucket.create("key", b"a")) == bucket.get("key").etag)
"""
    assert python(source, foreign) == "True\n"
    assert server.bodies() == {"key": b"b"}


def test_after_a_fork_the_child_is_refused_and_the_parent_goes_on(server: Server) -> None:
    """Without that the child hangs: the library's threads stay behind in the parent."""
    source = f"""
import os, sys
from alchemy.errors import StorageFailed
from tests.objects.buckets import bucket_at
bucket = bucket_at({server.endpoint!r})
bucket.create("parent", b"1")
if (child := os.fork()) == 0:
    for attempt in (bucket, bucket_at({server.endpoint!r})):
        try:
            attempt.get("parent")
        except StorageFailed as error:
            print("refused:", "spawn" in error.hint, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(bucket.get("parent").body)
"""
    assert python(source) == "refused: True\nrefused: True\nb'1'\n"


def test_a_fork_before_anything_was_asked_is_no_matter(server: Server) -> None:
    source = f"""
import os, sys
from tests.objects.buckets import bucket_at
bucket = bucket_at({server.endpoint!r})
if (child := os.fork()) == 0:
    bucket.create("child", b"")
    os._exit(0)
os.waitpid(child, 0)
bucket.create("parent", b"")
print([item.key for item in bucket.list("")])
"""
    assert python(source) == "['child', 'parent']\n"


def test_the_library_is_loaded_when_it_is_used() -> None:
    source = """
import sys
from tests.objects.buckets import bucket_at
bucket_at("https://account.r2.cloudflarestorage.com")
print("obstore" in sys.modules)
"""
    assert python(source) == "False\n"


def test_many_threads_share_one_bucket(server: Server) -> None:
    bucket = bucket_at(server.endpoint)
    won: list[int] = []

    def write(number: int) -> None:
        for turn in range(10):
            try:
                bucket.create(f"turn/{turn}", b"%d" % number)
            except Taken:
                continue
            won.append(turn)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(10))


def test_neither_settings_nor_bucket_show_a_secret(server: Server) -> None:
    bucket = bucket_at(server.endpoint, prefix="team/")
    shown = f"{bucket!r} {bucket.settings!r} {bucket.place}"
    assert ACCESS_KEY_ID not in shown
    assert SECRET_ACCESS_KEY not in shown
    assert bucket.place == f"s3://{server.endpoint.removeprefix('http://')}/state/team"


def python(source: str, environment: dict[str, str] | None = None) -> str:
    path = os.pathsep.join([str(REPOSITORY / "core"), str(REPOSITORY)])
    run = subprocess.run(
        [sys.executable, "-c", source],
        env={**os.environ, **(environment or {}), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout
