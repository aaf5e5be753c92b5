from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from alchemy.testing.s3 import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server
from tests.cli.driver import Call, Done, forked

TOKEN = "0123456789-a-token-of-some-length"


def doctor(cwd: Path, *typed: str, **environment: str) -> tuple[int, dict[tuple[str, str], dict[str, Any]]]:
    """The exit code, and the lines by area and name."""
    (done,) = forked([Call(("doctor", "--json", *typed), tuple(environment.items()))], cwd)
    assert done.err == "", done
    document = json.loads(done.out)
    assert document["passed"] == (done.code == 0) == all(line["passed"] for line in document["checks"])
    assert all(bool(line["way_out"]) != line["passed"] for line in document["checks"])
    return done.code, {(line["area"], line["name"]): line for line in document["checks"]}


def told(cwd: Path, *typed: str, **environment: str) -> Done:
    (done,) = forked([Call(("doctor", *typed), tuple(environment.items()))], cwd)
    return done


def bucket_of(server: Server, **changed: str) -> dict[str, str]:
    return {
        "R2_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "R2_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "R2_BUCKET_NAME": "state",
        "R2_ENDPOINT": server.endpoint,
        **changed,
    }


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def test_with_nothing_set_up_everything_is_local_and_nothing_is_made(tmp_path: Path) -> None:
    code, lines = doctor(tmp_path)
    assert code == 0
    assert lines["object storage", "settings"]["detail"] == "not used: state is in local files"
    assert lines["cloud", "credentials"]["detail"] == "none: resources go to the local cloud"
    assert lines["state directory", "place"]["detail"] == f"{tmp_path / '.alchemy'}, made by the first run"
    assert list(tmp_path.iterdir()) == []


def test_for_people_it_is_a_line_a_check_and_a_sum(tmp_path: Path) -> None:
    done = told(tmp_path, R2_BUCKET_NAME="state")
    assert done.code == 1
    assert "✓ free space" in done.out
    assert "✗ settings" in done.out
    assert "needs R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY too (R2_BUCKET_NAME is set)" in done.out
    assert '→ set them, or say that local files are meant: state_store = "file"' in done.out
    assert done.err == "1 of 6 checks failed\n"


def test_a_state_directory_that_others_can_write_or_read_is_named(tmp_path: Path) -> None:
    root = tmp_path / ".alchemy"
    for mode, passed in ((0o700, True), (0o755, False), (0o777, False)):
        root.mkdir(exist_ok=True)
        root.chmod(mode)
        code, lines = doctor(tmp_path)
        line = lines["state directory", "owner and rights"]
        assert (line["passed"], code) == (passed, 0 if passed else 1)
        assert passed or "chmod 700" in line["way_out"]
    assert list(root.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_state_directory_of_somebody_else_is_named(tmp_path: Path) -> None:
    root = tmp_path / ".alchemy"
    root.mkdir(mode=0o700)
    os.chown(root, 1, 1)
    code, lines = doctor(tmp_path)
    assert code == 1
    assert "belongs to" in lines["state directory", "owner and rights"]["detail"]


def test_a_place_that_is_no_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("")
    code, lines = doctor(tmp_path, "--state-dir", "notes/state")
    assert code == 1
    assert lines["state directory", "place"]["detail"] == f"{tmp_path / 'notes'} is not a directory"
    assert "--state-dir" in lines["state directory", "place"]["way_out"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a file system without room that everybody has")
def test_a_place_without_room_or_rights_is_named(tmp_path: Path) -> None:
    code, lines = doctor(tmp_path, "--state-dir", "/proc/alchemy-state")
    assert code == 1
    assert not lines["state directory", "writing and locking"]["passed"]
    assert lines["state directory", "free space"]["detail"] == "0 MB"


def test_a_good_bucket_passes_line_by_line_and_keeps_what_was_found(tmp_path: Path, server: Server) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.alchemy]\nstate_prefix = "team"\n')
    code, lines = doctor(tmp_path, **bucket_of(server))
    assert code == 0
    names = [name for area, name in lines if area == "object storage"]
    assert names[:3] == ["settings", "create an object", "create it only once"]
    assert len(names) == 10
    assert lines["object storage", "settings"]["detail"].startswith("s3://127.0.0.1:")
    assert "to deploy CLOUDFLARE_API_TOKEN" in lines["cloud", "credentials"]["detail"]
    (key,) = server.bodies()
    assert key.startswith("team/.alchemy-probe/")
    doctor(tmp_path, **bucket_of(server))
    assert list(server.bodies()) == [key]


@pytest.mark.parametrize(
    ("kind", "line", "says"),
    [
        ("ignore-if-none-match", "create it only once", "it answered 200 to a write that must only create"),
        ("ignore-if-match", "refuse a wrong ETag", "it answered 200 to a write with a wrong ETag"),
        ("stale-list", "list it at once", "a listing does not show what was written before it"),
        ("403", "reach it", "127.0.0.1"),
    ],
)
def test_a_bucket_that_breaks_its_word_fails_on_that_line(
    tmp_path: Path, server: Server, kind: str, line: str, says: str
) -> None:
    server.fault(kind)
    code, lines = doctor(tmp_path, **bucket_of(server))
    assert code == 1
    assert says in lines["object storage", line]["detail"]
    assert server.bodies() == {}


def test_what_a_bucket_was_trusted_for_is_taken_back(tmp_path: Path, server: Server) -> None:
    assert doctor(tmp_path, **bucket_of(server))[0] == 0
    assert len(server.bodies()) == 1
    server.fault("ignore-if-none-match")
    assert doctor(tmp_path, **bucket_of(server))[0] == 1
    assert server.bodies() == {}


def test_wrong_keys_are_named_and_never_shown(tmp_path: Path, server: Server) -> None:
    for name in ("R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"):
        done = told(tmp_path, **bucket_of(server, **{name: "wrong-and-hidden"}))
        assert done.code == 1
        assert f"correct {name}" in done.out
        for hidden in ("wrong-and-hidden", ACCESS_KEY_ID, SECRET_ACCESS_KEY):
            assert hidden not in done.out + done.err


def test_a_directory_that_is_named_wins_over_the_bucket(tmp_path: Path) -> None:
    code, lines = doctor(tmp_path, "--state-dir", "here", R2_BUCKET_NAME="half")
    assert code == 0
    assert lines["object storage", "settings"]["detail"] == "not used: state is in local files"


@contextmanager
def api(answers: Mapping[str, tuple[int, dict[str, Any]]]) -> Iterator[str]:
    """An API that knows these paths, and denies everything else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            denied = 403, {"success": False, "errors": [{"code": 10000, "message": "Authentication error"}]}
            status, document = answers.get(self.path.partition("?")[0], denied)
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def yes(result: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"success": True, "errors": [], "result": result}


def account_at(base: str) -> dict[str, str]:
    return {"CLOUDFLARE_API_TOKEN": TOKEN, "CLOUDFLARE_ACCOUNT_ID": "acc", "CLOUDFLARE_API_BASE_URL": base}


def test_one_of_the_two_credentials_is_not_enough(tmp_path: Path) -> None:
    code, lines = doctor(tmp_path, CLOUDFLARE_API_TOKEN=TOKEN)
    assert code == 1
    assert lines["cloud", "credentials"]["detail"] == "CLOUDFLARE_API_TOKEN is set, CLOUDFLARE_ACCOUNT_ID is not"


def test_a_token_is_verified_and_what_it_may_read_is_said(tmp_path: Path) -> None:
    kv, d1 = "/accounts/acc/storage/kv/namespaces", "/accounts/acc/d1/database"
    with api({"/user/tokens/verify": yes({"status": "active"}), kv: yes([]), d1: yes([])}) as base:
        code, lines = doctor(tmp_path, **account_at(base))
    assert code == 0
    assert lines["cloud", "token"]["detail"] == "active"
    assert lines["cloud", "permissions"]["detail"] == "reads KV, D1; not Workers, R2, Queues"


def test_a_token_of_an_account_is_verified_there(tmp_path: Path) -> None:
    queues = "/accounts/acc/queues"
    with api({"/accounts/acc/tokens/verify": yes({"status": "active"}), queues: yes([])}) as base:
        code, lines = doctor(tmp_path, **account_at(base))
    assert code == 0
    assert lines["cloud", "permissions"]["detail"].startswith("reads Queues; not Workers")


def test_a_token_that_is_disabled_denied_or_good_for_nothing_fails(tmp_path: Path) -> None:
    with api({"/user/tokens/verify": yes({"status": "disabled"})}) as base:
        code, lines = doctor(tmp_path, **account_at(base))
    assert (code, lines["cloud", "token"]["detail"]) == (1, "the token is disabled")
    with api({}) as base:
        code, lines = doctor(tmp_path, **account_at(base))
        assert (code, "Authentication error" in lines["cloud", "token"]["detail"]) == (1, True)
        done = told(tmp_path, **account_at(base))
    assert TOKEN not in done.out + done.err
    with api({"/user/tokens/verify": yes({"status": "active"})}) as base:
        code, lines = doctor(tmp_path, **account_at(base))
    assert (code, lines["cloud", "token"]["passed"]) == (1, True)
    assert lines["cloud", "permissions"]["detail"] == "it may read nothing that programs make"
    code, lines = doctor(tmp_path, **account_at("http://127.0.0.1:1"))
    assert (code, "no answer" in lines["cloud", "token"]["detail"]) == (1, True)
