"""State in files and state in a bucket: variables that are set or forgotten never make everything a second time."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from alchemy.testing.s3 import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server
from tests.cli.driver import COMMAND, Done, alchemy, environment, lamps

pytestmark = pytest.mark.slow  # each tries its bucket first


@pytest.fixture
def bucket() -> Iterator[dict[str, str]]:
    with Server() as server:
        yield {
            "R2_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "R2_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "R2_BUCKET_NAME": "state",
            "R2_ENDPOINT": server.endpoint,
        }


@pytest.fixture
def house(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    lamps(home, 'Lamp("one")')
    (home / "pyproject.toml").write_text('[tool.alchemy]\napp = "house"\n')
    return home


def made(house: Path) -> int:
    return len(list((house / "hall").iterdir()))


def refused(done: Done, *parts: str) -> None:
    assert done.code == 5, done
    for part in ("second time", *parts):
        assert part in done.err, done.err


def test_with_state_in_files_a_run_led_to_a_bucket_makes_nothing(house: Path, bucket: dict[str, str]) -> None:
    assert alchemy("deploy", cwd=house).code == 0
    done = alchemy("deploy", cwd=house, **bucket)
    refused(done, str(house / ".alchemy"), "migrate --to r2", "house/prod: 1 resource")
    refused(alchemy("plan", cwd=house, **bucket), "state_store")
    assert made(house) == 1
    listed = alchemy("scope", "list", cwd=house, **bucket)
    assert listed.code == 0
    assert f"note: house has state in the files of {house / '.alchemy'}" in listed.err
    assert "one place" in alchemy("doctor", cwd=house, **bucket).out
    # Destroyed, nothing of it is there a second time; and a directory that is named is meant.
    assert alchemy("destroy", "house/prod", "--yes", "--state-dir", ".alchemy", cwd=house, **bucket).code == 0
    assert alchemy("deploy", cwd=house, **bucket).code == 0
    assert made(house) == 1


def test_without_the_variables_of_its_bucket_a_project_makes_nothing(house: Path, bucket: dict[str, str]) -> None:
    assert alchemy("deploy", cwd=house, **bucket).code == 0
    mark = house / ".alchemy/house/bucket.json"
    assert mark.stat().st_mode & 0o777 == 0o600
    refused(alchemy("deploy", cwd=house), "R2_BUCKET_NAME", 'state_store = "file"', "--state-dir", str(mark))
    refused(alchemy("plan", cwd=house))
    assert made(house) == 1
    listed = alchemy("scope", "list", cwd=house)
    assert listed.code == 0
    assert "the state of house is in the bucket s3://" in listed.err
    assert alchemy("deploy", cwd=house, **bucket).code == 0
    assert alchemy("scope", "validate", cwd=house).err.count(mark.name) == 1  # the note alone
    assert alchemy("deploy", "--state-dir", ".alchemy", cwd=house).code == 0
    assert made(house) == 2


def test_after_a_move_either_way_the_new_place_takes_runs(house: Path, bucket: dict[str, str]) -> None:
    project = house / "pyproject.toml"
    project.write_text(f'{project.read_text()}kinds = ["lamp"]\n')
    program = house / "alchemy_run.py"
    program.write_text(program.read_text().replace('"house",', '"house", api_token="t", account_id="a",'))
    assert alchemy("deploy", cwd=house).code == 0
    assert alchemy("scope", "migrate", "--to", "r2", cwd=house, **bucket).code == 0
    assert alchemy("deploy", cwd=house, **bucket).code == 0
    gone = alchemy("deploy", cwd=house)
    assert gone.code == 5
    assert "was moved to" in gone.err
    back = alchemy("scope", "migrate", "--to", "file", cwd=house, **bucket)
    assert back.code == 0
    assert "what is there of house may be removed" in back.err
    assert alchemy("deploy", cwd=house).code == 0
    assert "note:" not in alchemy("scope", "list", cwd=house).err
    assert made(house) == 1


def test_whoever_looks_at_a_bucket_that_does_not_answer_is_told_while_waiting(house: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        extra = {
            "R2_ACCESS_KEY_ID": "k",
            "R2_SECRET_ACCESS_KEY": "s",
            "R2_BUCKET_NAME": "state",
            "R2_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
        }
        with subprocess.Popen(
            [*COMMAND, "scope", "list"], cwd=house, env=environment(extra), stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            said = process.stderr.readline()
            process.kill()
    assert "/state: it does not answer; trying until" in said
