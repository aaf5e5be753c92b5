"""What cannot be read, or is closed to us, is told of by its name and hides nothing else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.cli.driver import COMMAND, Call, Done, alchemy, execute, forked, lamps

# As root every file is open, unless that is given up.
DROPPED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
IS_ROOT = os.geteuid() == 0
needs_rights = pytest.mark.skipif(IS_ROOT and not shutil.which("setpriv"), reason="root may read everything")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    lamps(home, 'Lamp("one")', stage="dev")
    assert alchemy("deploy", cwd=home).code == 0
    lamps(home, 'Lamp("one")\nLamp("two")')
    assert alchemy("deploy", cwd=home).code == 0
    for light in ("cold", "blue"):
        lamps(home, f'Lamp("one", light="{light}")')
        assert alchemy("deploy", cwd=home).code == 0
    return home


def closed(house: Path, *typed: str) -> Done:
    return execute([*(DROPPED if IS_ROOT else []), *COMMAND, *typed], house, {})


def said(house: Path, *typed: str) -> list[Done]:
    return forked([Call(("scope", *each.split())) for each in typed], house)


def test_a_journal_that_leads_elsewhere_hides_no_other_scope(house: Path, tmp_path: Path) -> None:
    journal = house / ".alchemy/house/dev/journal"
    journal.rename(tmp_path / "elsewhere")
    journal.symlink_to(tmp_path / "elsewhere")
    listed, prod, locks, inside, valid, bad, document = said(
        house,
        "list",
        "list house/prod",
        "locks house/prod",
        "inspect house/prod",
        "validate house/prod",
        "validate",
        "list --json",
    )
    assert listed.code == 4
    assert "resources unknown corrupt" in " ".join(listed.out.split())
    assert "house/dev/journal is a symbolic link" in listed.err
    assert [done.code for done in (prod, locks, inside, valid)] == [0, 0, 0, 0], (prod, locks, inside, valid)
    assert bad.code == 4
    assert bad.out.count("house/dev/journal") >= 1
    states = {each["path"]: each["state"] for each in json.loads(document.out)["scopes"]}
    assert (states["house/dev"], states["house/prod"]) == ("corrupt", "ok")


@needs_rights
@pytest.mark.parametrize("what", ["house/dev/journal", "house/dev/journal/000001.jsonl", "house/dev"])
def test_a_scope_that_is_closed_to_us_is_a_row_with_the_way_out(house: Path, what: str) -> None:
    place = house / ".alchemy" / what
    place.chmod(0)
    listed, prod = closed(house, "scope", "list"), closed(house, "scope", "validate", "house/prod")
    place.chmod(0o700)
    assert listed.code == 4
    assert f"chmod u+rwX {place}" in listed.err
    assert "prod" in listed.out
    assert prod.code == 0, prod.err


@needs_rights
def test_a_state_directory_that_is_closed_is_no_defect_of_ours(house: Path) -> None:
    place = house / ".alchemy"
    for part in (place, place / "house"):
        part.chmod(0)
        done = [closed(house, "scope", "list"), closed(house, "scope", "inspect", "house/prod")]
        part.chmod(0o700)
        for each in done:
            assert each.code in (1, 4)
            assert f"chmod u+rwX {part}" in each.err
            assert "defect" not in each.err


def test_latest_passes_a_damaged_backup_over_aloud(house: Path) -> None:
    names = sorted(path.name for path in (house / ".alchemy/house/prod/backups").glob("state-*.json"))
    damaged = house / ".alchemy/house/prod/backups" / names[-1]
    damaged.write_text("")
    listed, checked, diff, named, restore = said(
        house,
        "backups house/prod",
        "backups house/prod --verify",
        "diff house/prod",
        f"diff house/prod --backup {names[-1]}",
        "restore house/prod --backup latest --dry-run",
    )
    assert (listed.code, checked.code) == (0, 4)
    row = next(line for line in listed.out.splitlines() if names[-1] in line)
    assert "damaged: it is not whole JSON" in row
    assert "serial" not in row
    for each in (diff, restore):
        assert each.code == 0
        assert names[-2] in each.out
        assert f"{names[-1]}, which is newer, is damaged" in each.err
    assert named.code == 4
    assert f"{names[-1]} is damaged: it is not whole JSON" in named.err
    (house / ".alchemy/house/prod/backups" / names[-2]).write_text("{")
    nothing = said(house, "restore house/prod --backup latest")[0]
    assert nothing.code == 2
    assert "and 2 damaged" in nothing.err
