"""Backups, diffs and restores as typed: what is shown, what is asked, which exit code, the JSON of what was done."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import FIRST, SECOND
from tests.cli.driver import REPOSITORY, Call, Done, alchemy, forked, lamps, terminal
from tests.cli.test_json import differences

PAGE = (REPOSITORY / "docs" / "cli-json.md").read_text()
ACTS = re.findall(r"<!-- acts: alchemy (.+?) --json -->\n```json\n(.*?)```", PAGE, re.DOTALL)
PROD = "house/prod"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Deployed twice: the newest backup is of the first time, with an attic, and a warm light over the bed."""
    directory = tmp_path_factory.mktemp("built")
    for body in (FIRST, SECOND):
        lamps(directory, body)
        done = alchemy("deploy", cwd=directory)
        assert done.code == 0, done.err
    return directory


@pytest.fixture
def house(built: Path, tmp_path: Path) -> Path:
    """One of one's own."""
    return shutil.copytree(built, tmp_path / "house")


def scope(house: Path, *lines: str) -> list[Done]:
    """`alchemy scope …`, one after the other."""
    return forked([Call(("scope", *line.split())) for line in lines], house)


def states(house: Path) -> dict[str, str]:
    (listed,) = scope(house, "list --json")
    return {found["address"].removeprefix(f"{PROD}/"): found["state"] for found in json.loads(listed.out)["resources"]}


def files(house: Path) -> list[str]:
    return sorted(path.name for path in (house / ".alchemy" / PROD / "backups").glob("state-*.json"))


def test_there_and_back_again(house: Path) -> None:
    diff, restored, again, undone, twice = scope(
        house,
        f"diff {PROD}",
        f"restore {PROD} --backup latest --yes",
        f"restore {PROD} --backup {files(house)[0]} --yes",
        f"restore {PROD} --undo --yes",
        f"diff {PROD} --backup latest~1",
    )
    assert [done.code for done in (diff, restored, again, undone, twice)] == [0] * 5
    assert re.search(r"^\+ attic  Lamp  house-prod-attic", diff.out, re.MULTILINE)
    assert re.search(r'~ up/bed .*\n    props.light  now "cold"\n +then "warm"', diff.out)
    assert "▲ attic returns" in diff.out
    assert "2 set, 0 forgotten" in restored.err
    assert f"alchemy scope restore {PROD} --undo" in restored.err
    assert "there is nothing to restore" in again.err
    assert "1 set, 1 forgotten" in undone.err
    assert "nothing differs" in twice.out
    assert states(house) == {"hall": "ready", "up/bed": "ready"}


def test_the_deploy_after_it_brings_the_cloud_along(house: Path) -> None:
    lamp = next((house / "hall").glob("*bed*"))
    assert lamp.read_text() == "cold"
    (restored,) = scope(house, f"restore {PROD} --backup latest --yes")
    assert restored.code == 0, restored.err
    lamps(house, FIRST)
    done = alchemy("deploy", cwd=house)
    assert done.code == 0, done.err
    assert lamp.read_text() == "warm"
    assert len(list((house / "hall").iterdir())) == 3
    assert states(house) == {"hall": "ready", "up/bed": "ready", "attic": "ready"}


@pytest.mark.parametrize(("command", "promised"), ACTS, ids=[command.split(" --")[0] for command, _ in ACTS])
def test_what_was_done_has_the_shape_that_the_page_promises(house: Path, command: str, promised: str) -> None:
    assert scope(house, f"backup {PROD}")[0].code == 0
    (done,) = forked([Call((*command.split(), "--json"))], house)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["format"] == 1
    assert differences(json.loads(promised), document) == []


def test_a_dry_run_changes_nothing(house: Path) -> None:
    before = {path: path.read_bytes() for path in (house / ".alchemy" / PROD).rglob("*") if path.is_file()}
    dry, as_json, pruned = scope(
        house,
        f"restore {PROD} --backup latest --dry-run",
        f"restore {PROD} --backup latest --dry-run --json",
        f"backups {PROD} --prune --dry-run",
    )
    assert (dry.code, as_json.code, pruned.code) == (0, 0, 0)
    assert "+ attic" in dry.out
    assert [row["address"] for row in json.loads(as_json.out)["appear"]] == [f"{PROD}/attic"]
    assert {path: path.read_bytes() for path in (house / ".alchemy" / PROD).rglob("*") if path.is_file()} == before


def test_on_no_terminal_it_has_to_be_said(house: Path) -> None:
    (refused,) = scope(house, f"restore {PROD} --backup latest")
    assert refused.code == 2
    assert "add --yes" in refused.err
    assert states(house) == {"hall": "ready", "up/bed": "ready"}


@pytest.mark.parametrize(("protected", "word"), [("[]", "y"), ('["house"]', "prod")])
@pytest.mark.slow
def test_a_protected_stage_wants_its_name_typed(house: Path, protected: str, word: str) -> None:
    (house / "pyproject.toml").write_text(f"[tool.alchemy]\nprotected = {protected}\n")
    with terminal("scope", "restore", PROD, "--backup", "latest", cwd=house) as shown:
        shown.wait_for(rf"Type {word} to restore house/prod to state-\S+, serial \d+: ")
        assert "attic returns" in shown.text
        shown.type(f"{word}\r")
        assert shown.end() == 0, shown.text
    assert "attic" in states(house)
    with terminal("scope", "restore", PROD, "--undo", cwd=house) as shown:
        shown.wait_for("Type ")
        shown.type("n\r")
        assert shown.end() == 2
    assert "attic" in states(house)


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        (f"restore {PROD}", 2, "either --backup F or --undo"),
        (f"restore {PROD} --backup latest --undo", 2, "either --backup F or --undo"),
        (f"restore {PROD} --backup latest --expect-serial 3 --yes", 5, "is at serial .* by now, not at 3"),
        (f"restore {PROD} --backup latest~9 --yes", 2, "so there is no latest~9"),
        (f"restore {PROD} --backup 1999 --yes", 2, "has no backup '1999'"),
        (f"restore {PROD} --undo --yes", 5, "nothing was restored in house/prod"),
        ("restore house --backup latest --yes", 2, "its stages do"),
        ("restore house/dev --backup latest --yes", 2, "house/dev is not in the state"),
        (f"restore {PROD}/cellar --backup latest --yes", 2, "is neither in the state nor in"),
        (f"diff {PROD} --backup 2", 2, "begins 2 backups"),
        (f"backups {PROD} --prune --pin latest", 2, "are three things"),
        (f"backups {PROD} --dry-run", 2, "--dry-run belongs to --prune"),
        (f"backup {PROD} --note {'x' * 201}", 2, "at most 200 characters"),
    ],
)
def test_what_cannot_be_done_says_why(away: Path, line: str, code: int, says: str) -> None:
    (done,) = scope(away, line)
    assert done.code == code, done
    assert re.search(says, done.err), done.err
    assert "\n  next: " in done.err


@pytest.fixture(scope="module")
def away(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A house with two backups that nobody changes."""
    directory = shutil.copytree(built, tmp_path_factory.mktemp("away") / "house")
    assert scope(directory, f"backup {PROD}")[0].code == 0
    before = files(directory)
    yield directory
    assert files(directory) == before


def test_the_list_says_why_each_was_made_and_what_changed_before_it(house: Path) -> None:
    (house / "pyproject.toml").write_text(
        "[tool.alchemy]\nbackups = { last = 1, daily = 0, weekly = 0, monthly = 0 }\n"
    )
    taken = forked([Call(("scope", "backup", PROD, "--note", "before\x1b[31m the \u202emove", "--pin"))], house)[0]
    assert (taken.code, taken.out.strip()) == (0, files(house)[-1])
    listed, as_json = scope(house, f"backups {PROD}", f"backups {PROD} --json")
    newest, first = listed.out.splitlines()
    assert "on demand" in newest
    assert "pinned" in newest
    assert "+0 −1 ~1" in newest
    assert "after the first run" in first
    assert not {char for char in listed.out if ord(char) < 32 and char != "\n"}
    assert json.loads(as_json.out)["backups"][0]["note"] == "before\x1b[31m the \u202emove"
    unpinned, pruned = scope(house, f"backups {PROD} --unpin {files(house)[-1]}", f"backups {PROD} --prune --json")
    assert "pinned" not in unpinned.out
    assert json.loads(pruned.out)["removed"] == [first.split()[0]]
    assert files(house) == [newest.split()[0]]


def test_a_damaged_backup_is_found_and_another_one_proposed(house: Path) -> None:
    assert scope(house, f"backup {PROD}")[0].code == 0
    torn, whole = reversed(files(house))
    path = house / ".alchemy" / PROD / "backups" / torn
    path.write_bytes(path.read_bytes()[:-40])
    quick, verified, restored = scope(
        house, f"backups {PROD}", f"backups {PROD} --verify", f"restore {PROD} --backup {torn} --yes"
    )
    assert quick.code == 0
    assert verified.code == 4
    assert "1 of 2 backups" in verified.err
    assert restored.code == 4
    assert f"the newest one that is whole is {whole}" in restored.err


@pytest.mark.slow
def test_over_a_journal_that_cannot_be_read(house: Path) -> None:
    journal = house / ".alchemy" / PROD / "journal"
    epoch = journal / "000001.jsonl"
    damaged = epoch.read_bytes().replace(b'"ready"', b'"reedy"', 1)
    epoch.write_bytes(damaged)
    backup, plain, refused, forced = scope(
        house,
        f"backup {PROD}",
        f"restore {PROD} --backup latest",
        f"restore {PROD} --backup latest --yes",
        f"restore {PROD} --backup latest --force --json",
    )
    assert backup.code == 4
    assert f"alchemy scope restore {PROD} --backup latest" in backup.err
    assert (plain.code, refused.code) == (2, 2)
    assert "add --force" in refused.err
    assert forced.code == 0, forced.err
    report: dict[str, Any] = json.loads(forced.out)
    assert report["aside"] == "journal.damaged-1"
    assert (journal.with_name("journal.damaged-1") / epoch.name).read_bytes() == damaged
    assert states(house) == {"hall": "ready", "up/bed": "unfinished: updating", "attic": "ready"}
    lamps(house, FIRST)
    assert alchemy("deploy", cwd=house).code == 0
    assert states(house) == {"hall": "ready", "up/bed": "ready", "attic": "ready"}
    (valid,) = scope(house, "validate")
    assert valid.code == 0, valid.out
