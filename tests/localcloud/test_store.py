from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alchemy.errors import StateInvalid, StorageFailed
from alchemy.localcloud import account_id
from alchemy.localcloud.files import ABANDONED
from tests.localcloud.driver import Cloud

# A process of its own that creates `count` of each, by name, and reports what happened to every one.
RACER = """
import json, sys
from pathlib import Path
from tests.localcloud.driver import Cloud
directory, prefix, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
cloud = Cloud(directory)
print(json.dumps({"account": cloud.account}), flush=True)
sys.stdin.readline()
for number in range(count):
    name = f"{prefix}-{number}"
    for path, body in (
        ("d1/database", {"name": name}), ("storage/kv/namespaces", {"title": name}),
        ("r2/buckets", {"name": name}), ("queues", {"queue_name": name}),
    ):
        print(json.dumps([path, name, cloud.send("POST", path, json=body).status_code]), flush=True)
    cloud.send("PUT", f"r2/buckets/{name}/objects/k", content=b"v" * 5000)
    cloud.upload("shared", {})  # reads what is there before it writes
"""


def start(directory: Path, prefix: str, count: int) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "core"), str(root)])}
    command = [sys.executable, "-c", RACER, str(directory), prefix, str(count)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_two_processes_creating_the_same_names_agree_on_one_winner_each(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "local-cloud"
    racers = [start(directory, "same", 15) for _ in range(2)]
    accounts = {json.loads(line(racer))["account"] for racer in racers}
    assert len(accounts) == 1
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    outcomes: dict[tuple[str, str], list[int]] = {}
    for racer in racers:
        output, _ = racer.communicate(timeout=60)
        assert racer.returncode == 0
        for path, name, status in map(json.loads, output.splitlines()):
            outcomes.setdefault((path, name), []).append(status)
    assert len(outcomes) == 4 * 15
    assert {tuple(sorted(statuses)) for statuses in outcomes.values()} == {(200, 400), (200, 409)}
    cloud = Cloud(directory)
    assert cloud.account in accounts
    assert len(cloud.result("GET", "d1/database")) == 15
    versions = cloud.result("GET", "workers/scripts/shared/versions?per_page=100")["items"]
    assert [version["number"] for version in versions] == list(range(2 * 15, 0, -1))


def test_a_kill_at_any_moment_leaves_what_was_answered_and_nothing_torn(tmp_path: Path) -> None:
    directory = tmp_path / "local-cloud"
    for attempt in range(3):
        racer = start(directory, f"run{attempt}", 100_000)
        assert line(racer)
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
        answered = [json.loads(line(racer)) for _ in range(10 + 7 * attempt)]
        racer.send_signal(signal.SIGKILL)
        racer.communicate(timeout=10)
        cloud = Cloud(directory)
        with sqlite3.connect(directory / "account.sqlite") as other:
            assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        other.close()
        for path, name, status in answered:
            assert status == 200
            listed = json.dumps(cloud.result("GET", f"{path}?per_page=1000"))
            assert f'"{name}"' in listed
        for bucket in cloud.result("GET", "r2/buckets?per_page=1000")["buckets"]:
            for item in cloud.result("GET", f"r2/buckets/{bucket['name']}/objects"):
                found = cloud.send("GET", f"r2/buckets/{bucket['name']}/objects/{item['key']}")
                assert found.content == b"v" * 5000


def test_everything_is_private_and_survives_a_new_application(cloud: Cloud) -> None:
    cloud.result("POST", "r2/buckets", json={"name": "assets"})
    cloud.result("PUT", "r2/buckets/assets/objects/k", content=b"v")
    uuid = cloud.result("POST", "d1/database", json={"name": "main"})["uuid"]
    cloud.result("POST", f"d1/database/{uuid}/query", json={"sql": "CREATE TABLE t (a)"})
    for path in cloud.directory.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    again = Cloud(cloud.directory)
    assert again.account == cloud.account
    assert again.result("GET", f"d1/database/{uuid}")["num_tables"] == 1
    assert again.send("GET", "r2/buckets/assets/objects/k").content == b"v"


def test_a_directory_removed_while_it_is_served_becomes_a_new_empty_cloud(cloud: Cloud) -> None:
    cloud.result("POST", "d1/database", json={"name": "main"})
    shutil.rmtree(cloud.directory)
    account = cloud.result("GET", "/user")["id"]
    assert account != cloud.account
    assert account == account_id(cloud.directory, create=False)
    assert cloud.result("GET", f"/accounts/{account}/d1/database") == []
    assert cloud.refusal("GET", "d1/database") == (403, 9109)


def test_a_directory_replaced_by_another_process_is_seen_at_once(cloud: Cloud) -> None:
    cloud.result("POST", "d1/database", json={"name": "old"})
    shutil.rmtree(cloud.directory)
    other = Cloud(cloud.directory)
    other.result("POST", "d1/database", json={"name": "new"})
    listed = cloud.result("GET", f"/accounts/{other.account}/d1/database")
    assert [one["name"] for one in listed] == ["new"]


def test_everybody_who_asks_first_gets_the_same_account_id(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as crowd:
        for number in range(25):
            start = threading.Barrier(8)

            def ask(directory: Path, start: threading.Barrier) -> str | None:
                start.wait()
                return account_id(directory)

            asked = [crowd.submit(ask, tmp_path / str(number), start) for _ in range(8)]
            assert len({future.result() for future in asked}) == 1


def test_a_writer_elsewhere_makes_the_cloud_answer_busy_not_wrong(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alchemy.localcloud.store.BUSY_TIMEOUT", 0.05)
    cloud.result("GET", "/user")
    other = sqlite3.connect(cloud.directory / "account.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    response = cloud.send("POST", "d1/database", json={"name": "main"})
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    assert response.json()["errors"][0]["code"] == 971
    assert cloud.result("GET", "d1/database") == []  # readers never wait
    other.execute("ROLLBACK")
    other.close()
    assert cloud.result("POST", "d1/database", json={"name": "main"})


DAMAGES = [
    ("a database of another format", "account.sqlite", b"", "PRAGMA user_version = 99"),
    ("a file that is no database", "account.sqlite", b"not a database, but long enough to be looked at" * 50, None),
    ("an account id that is none", "account-id", b"mine", None),
]


@pytest.mark.parametrize(("name", "content", "sql"), [case[1:] for case in DAMAGES], ids=[case[0] for case in DAMAGES])
def test_a_damaged_store_is_named_with_the_way_out(tmp_path: Path, name: str, content: bytes, sql: str | None) -> None:
    cloud = Cloud(tmp_path)
    path = tmp_path / name
    path.write_bytes(content)
    if sql is not None:
        other = sqlite3.connect(path)
        other.execute(sql)
        other.close()
    response = cloud.send("GET", "d1/database")
    [error] = response.json()["errors"]
    assert response.status_code == 500
    assert str(tmp_path) in error["message"]
    assert "alchemy cloud reset" in error["message"]


def test_a_damaged_account_id_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "account-id").write_text("mine")
    with pytest.raises(StateInvalid, match="account-id does not hold an account id"):
        account_id(tmp_path)
    assert (tmp_path / "account-id").read_text() == "mine"


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFailed, match="file/local-cloud is out of reach") as caught:
        account_id(tmp_path / "file" / "local-cloud")
    assert "ALCHEMY_STATE_DIR" in caught.value.hint


def test_what_a_crash_left_without_a_row_is_swept_after_an_hour(cloud: Cloud) -> None:
    cloud.result("POST", "r2/buckets", json={"name": "assets"})
    cloud.result("PUT", "r2/buckets/assets/objects/k", content=b"v")
    [kept] = (cloud.directory / "r2").iterdir()
    old, young = (cloud.directory / "r2" / name for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"")
    long_ago = time.time() - ABANDONED - 1
    os.utime(old, (long_ago, long_ago))
    os.utime(kept, (long_ago, long_ago))
    Cloud(cloud.directory).result("GET", "/user")
    assert {path.name for path in (cloud.directory / "r2").iterdir()} == {kept.name, "young"}
