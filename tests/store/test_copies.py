from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from alchemy.model.canonical import digest
from alchemy.model.fold import Fold
from alchemy.store import identity
from alchemy.store.backups import BACKUP, TOOL, backup_name, read_backup, write_backup
from alchemy.store.copies import newest_snapshot, write_snapshot
from alchemy.store.local import LocalStore
from alchemy.testing import ManualClock
from tests.store.stage import Stage

AT = "2024-01-15T10:30:00.000Z"
NAME = "state-2024-01-15T10-30-00-000Z.json"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    stage = Stage(tmp_path)
    stage.run("a", "b")
    return stage


def backup(stage: Stage, at: str = AT) -> Path:
    store = LocalStore(stage.layout, files=stage.files, clock=ManualClock(datetime.fromisoformat(at).timestamp()))
    name = write_backup(store, stage.load().fold, "before R-2")
    return stage.layout.backups(stage.path) / name


def test_a_backup_is_named_by_its_time(stage: Stage) -> None:
    assert backup(stage).name == NAME == backup_name(AT)
    assert BACKUP.fullmatch(NAME)


def test_a_backup_says_what_it_holds_before_it_holds_it(stage: Stage) -> None:
    path = backup(stage)
    fold = stage.load().fold
    body = json.loads(path.read_bytes())
    state = body.pop("state")
    assert body == {
        "format": 1,
        "type": "backup",
        "scope": "my-app/prod",
        "taken": AT,
        "reason": "before R-2",
        "by": f"{identity.user()}@{identity.host()}",
        "lineage": fold.lineage,
        "seq": fold.seq,
        "epoch": 1,
        "serial": fold.serial,
        "tool": TOOL,
        "counts": {"resources": 2, "scopes": 1},
        "sha256": digest(state),
    }
    assert path.read_bytes().index(b'"state"') < 1000, "a header can be read without the rest"


def test_a_backup_brings_everything_back(stage: Stage) -> None:
    body = read_backup(backup(stage).read_bytes())
    fold = stage.load().fold
    back = Fold.from_snapshot(body["state"])
    assert (back.resources, back.scopes, back.lineage) == (fold.resources, fold.scopes, fold.lineage)


def test_two_backups_of_one_moment_are_two_files(stage: Stage) -> None:
    names = [backup(stage).name for _ in range(3)]
    assert names == [NAME, NAME.replace("000Z", "001Z"), NAME.replace("000Z", "002Z")]


def test_backups_stay_in_the_order_they_were_made_when_the_clock_goes_back(stage: Stage) -> None:
    first = backup(stage).name
    second = backup(stage, "2019-12-31T23:59:59.999Z").name
    third = backup(stage, "2024-01-15T10:30:00.001Z").name
    assert [first, second, third] == sorted([first, second, third])
    assert json.loads((stage.layout.backups(stage.path) / second).read_bytes())["taken"].startswith("2019")


def test_a_millisecond_may_turn_the_year(stage: Stage) -> None:
    backup(stage, "2023-12-31T23:59:59.999Z")
    assert backup(stage, "2023-12-31T23:59:59.999Z").name == "state-2024-01-01T00-00-00-000Z.json"


def test_files_of_other_names_are_no_backups(stage: Stage) -> None:
    directory = stage.layout.backups(stage.path)
    directory.mkdir()
    (directory / "state-my-own-copy.json").write_bytes(b"{}")
    (directory / "zzz").write_bytes(b"")
    assert backup(stage).name == NAME


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda data: data[: len(data) // 2], "not whole JSON"),
        (lambda data: b"", "not whole JSON"),
        (lambda data: b"[]", "not a backup"),
        (lambda data: b'{"type": "backup"}', "not a backup"),
        (lambda data: data.replace(b'"ready"', b'"deleting"', 1), "checksum does not match"),
    ],
)
def test_a_backup_that_was_damaged_says_how(stage: Stage, change: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_backup(change(backup(stage).read_bytes()))


def test_formatting_a_backup_differently_is_no_damage(stage: Stage) -> None:
    body = orjson.loads(backup(stage).read_bytes())
    assert read_backup(json.dumps(body, sort_keys=True).encode())["state"] == body["state"]


def test_a_snapshot_comes_back_and_the_newest_wins(stage: Stage) -> None:
    fold = stage.load().fold
    write_snapshot(stage.files, stage.layout, fold)
    stage.run("c")
    newer = stage.load().fold
    write_snapshot(stage.files, stage.layout, newer)
    found, notes = newest_snapshot(stage.files, stage.layout, stage.path)
    assert found is not None
    assert notes == []
    assert found.to_snapshot() == newer.to_snapshot()


def test_no_single_byte_of_a_snapshot_can_change_unseen(stage: Stage) -> None:
    fold = stage.load().fold
    write_snapshot(stage.files, stage.layout, fold)
    path = stage.layout.snapshots(stage.path) / f"{fold.seq:010d}.json"
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        found, notes = newest_snapshot(stage.files, stage.layout, stage.path)
        assert found is None
        assert len(notes) == 1
