"""The strict server itself: what a test that relies on it relies on."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from alchemy.errors import StorageFailed
from alchemy.store.objects.port import Taken, Unknown
from alchemy.testing.s3 import KINDS, Remote, Server
from tests.objects.buckets import bucket_at

REPOSITORY = Path(__file__).parents[2]


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    running = subprocess.Popen(
        [sys.executable, "-m", "alchemy.testing.s3", *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "core")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    where = json.loads(running.stdout.readline())
    yield running, where["endpoint"]
    running.communicate(timeout=20)
    assert running.returncode == 0


def ask(endpoint: str, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=10)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def test_a_process_announces_itself_keeps_what_it_is_told_to_and_ends_with_its_input(tmp_path: Path) -> None:
    with process("--directory", str(tmp_path / "objects")) as (_, endpoint):
        bucket = bucket_at(endpoint)
        bucket.create("app/kept", b"body\nof two lines\0")
        etag = bucket.create("app/changed", b"old")
        bucket.replace("app/changed", b"new", etag)
        bucket.create("app/gone", b"")
        bucket.delete("app/gone")
    with process("--directory", str(tmp_path / "objects")) as (_, endpoint):
        bucket = bucket_at(endpoint)
        assert [item.key for item in bucket.list("app/")] == ["app/changed", "app/kept"]
        found = bucket.get("app/kept")
        assert found is not None
        assert found.body == b"body\nof two lines\0"
        with pytest.raises(Taken):
            bucket.create("app/changed", b"again")


def test_sigterm_ends_it_too() -> None:
    with process() as (running, endpoint):
        bucket_at(endpoint).create("key", b"")
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0


def test_another_process_sets_its_switches_and_reads_its_log() -> None:
    with process("--page", "1") as (_, endpoint):
        remote, bucket = Remote(endpoint), bucket_at(endpoint)
        bucket.create("a", b"")
        bucket.create("b", b"")
        assert len(bucket.list("")) == 2
        assert remote.counts() == {"PUT": 2, "LIST": 2}
        remote.forget()
        remote.set_page(1000)
        bucket.list("")
        assert remote.log() == [("LIST", "", 200)]
        remote.fault("409", times=1, key="c*")
        bucket.create("d", b"")
        with pytest.raises(Unknown):
            bucket.create("c", b"")
        bucket.create("c", b"")
        remote.fault("403")
        with pytest.raises(StorageFailed):
            bucket.get("a")
        remote.clear()
        bucket.get("a")
        with pytest.raises(ValueError, match="'tea' is none of 301"):
            remote.fault("tea")


def test_a_switch_is_for_some_keys_some_requests_and_some_verbs(server: Server) -> None:
    bucket = bucket_at(server.endpoint, retries=0)
    bucket.create("app/journal/1", b"")
    server.fault("500", key="app/journal/*", verb="GET", after=1, times=2)
    outcomes = []
    for key in ("app/locks", "app/journal/1", "app/journal/1", "app/journal/1", "app/journal/1"):
        try:
            bucket.get(key)
        except StorageFailed:
            outcomes.append("failed")
        else:
            outcomes.append("fine")
    assert outcomes == ["fine", "fine", "failed", "failed", "fine"]
    bucket.list("app/journal/")


def test_switches_work_together(server: Server) -> None:
    bucket = bucket_at(server.endpoint)
    bucket.create("key", b"first")
    server.fault("ignore-conditions")
    server.fault("commit-then-500", times=1)
    with pytest.raises(Unknown):
        bucket.create("key", b"second")
    assert server.bodies() == {"key": b"second"}


def test_every_switch_says_for_which_requests_it_is() -> None:
    assert all(set(verbs) <= {"PUT", "GET", "HEAD", "DELETE", "LIST"} and verbs for verbs in KINDS.values())


def test_who_does_not_sign_is_refused(server: Server) -> None:
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        status, content = ask(server.endpoint, method, "/state/key")
        assert (status, b"AccessDenied" in content or method == "HEAD") == (403, True)
    assert ask(server.endpoint, "GET", "/state?list-type=2")[0] == 403
    assert server.bodies() == {}


def test_a_signature_is_for_one_request_only(server: Server) -> None:
    """Recorded from the real client, then changed in one place at a time."""
    bucket_at(server.endpoint).create("key", b"body")
    request = server.last
    assert request is not None
    headers = {name: value for name, value in request.headers.items() if name != "content-length"}
    assert ask(server.endpoint, "PUT", "/state/key", b"body", **headers)[0] == 412
    for method, path, body, changed in [
        ("PUT", "/state/other", b"body", {}),
        ("DELETE", "/state/key", b"body", {}),
        ("PUT", "/state/key?x=1", b"body", {}),
        ("PUT", "/state/key", b"tampered", {}),
        ("PUT", "/state/key", b"body", {"x-amz-date": "20200101T000000Z"}),
        ("PUT", "/state/key", b"body", {"authorization": headers["authorization"][:-1] + "x"}),
        ("PUT", "/state/key", b"body", {"authorization": headers["authorization"].replace("/auto/", "/other/")}),
    ]:
        assert ask(server.endpoint, method, path, body, **{**headers, **changed})[0] == 403
    assert server.bodies() == {"key": b"body"}


def test_answers_are_those_of_s3(server: Server) -> None:
    bucket_at(server.endpoint).create("key", b"12345")
    bucket_at(server.endpoint).get("key")
    request = server.last
    assert request is not None
    connection = http.client.HTTPConnection(urlsplit(server.endpoint).netloc, timeout=10)
    connection.request("GET", "/state/key", headers=dict(request.headers))
    answer = connection.getresponse()
    assert answer.read() == b"12345"
    assert answer.headers["Content-Length"] == "5"
    assert answer.headers["ETag"] == '"827ccb0eea8a706c4c34a16891f84e7b"'  # MD5, in quotes
    modified = answer.headers["Last-Modified"]
    assert parsedate_to_datetime(modified).strftime("%a") == modified[:3]
    connection.close()


def test_what_is_not_http_ends_that_connection_only(server: Server) -> None:
    import socket

    for nonsense in (b"\r\n\r\n", b"HELO\r\n\r\n", b"PUT /x HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"x" * 70_000):
        with socket.create_connection(("127.0.0.1", urlsplit(server.endpoint).port or 0), timeout=10) as client:
            client.sendall(nonsense)
            client.shutdown(socket.SHUT_WR)
            try:
                assert client.recv(100) == b""
            except ConnectionResetError:
                continue
    assert bucket_at(server.endpoint).get("key") is None


def test_paging_through_folders_and_keys_shows_each_once(server: Server) -> None:
    bucket = bucket_at(server.endpoint)
    names = ["a", "a/1", "a/2", "a.b/1", "b/1", "b/2/3", "c"]
    for name in names:
        bucket.create(f"x/{name}", b"")
    for page in range(1, 9):
        server.page = page
        assert bucket.folders("x/") == ["a", "a.b", "b"]
        assert [item.key for item in bucket.list("x/")] == sorted(f"x/{name}" for name in names)
        assert [item.key for item in bucket.list("x/", after="x/a/1")] == ["x/a/2", "x/b/1", "x/b/2/3", "x/c"]
