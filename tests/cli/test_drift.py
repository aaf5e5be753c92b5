"""`alchemy scope drift`, `plan --refresh` and `deploy --refresh`, typed; lamps are changed and taken away by hand."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.driver import COMMAND, LIMIT, Call, Done, environment, forked, lamps, terminal

THREE = """
Lamp("hall")
Lamp("attic")
async with alchemy.run("up"):
    Lamp("bed")
"""


def typed(directory: Path, *commands: str, **extra: str) -> list[Done]:
    """One after the other."""
    return forked([Call(tuple(command.split()), tuple(extra.items())) for command in commands], directory)


def lamp(directory: Path, id: str) -> Path:
    [found] = (path for path in (directory / "hall").iterdir() if path.name.rpartition("-")[0].endswith(f"-{id}"))
    return found


def tree(directory: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in directory.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """The light in the attic is another one, and the bed has none."""
    lamps(tmp_path, THREE)
    [deployed] = typed(tmp_path, "deploy")
    assert deployed.code == 0, deployed.err
    lamp(tmp_path, "attic").write_text("cold")
    lamp(tmp_path, "bed").unlink()
    return tmp_path


def test_what_changed_and_what_is_gone_is_shown_and_nothing_is_touched(house: Path) -> None:
    before = tree(house)
    shown, detailed, document, hushed = typed(
        house,
        "scope drift house/prod",
        "scope drift house/prod --detailed-exitcode",
        "scope drift house/prod --json",
        "scope drift house/prod -q",
    )
    assert tree(house) == before
    assert shown.out.splitlines() == [
        "house/prod",
        "  target: local cloud",
        "  ~ changed  house/prod/attic  Lamp  deploy --refresh updates it back",
        '      ~ light: "warm" → "cold"',
        "  − missing  house/prod/up/bed  Lamp  deploy --refresh creates it again",
        "  1 missing, 1 changed, 1 as stored",
    ]
    assert "next: `alchemy plan --refresh` shows what would heal it, `alchemy deploy --refresh` does it" in shown.err
    assert (shown.code, detailed.code, detailed.out) == (0, 2, shown.out)
    rows = {row["address"]: row for row in json.loads(document.out)["resources"]}
    assert {address: (row["outcome"], row["heals"]) for address, row in rows.items()} == {
        "house/prod/attic": ("changed", "update"),
        "house/prod/hall": ("same", ""),
        "house/prod/up/bed": ("missing", "create"),
    }
    assert rows["house/prod/attic"]["differences"] == [
        {"path": "light", "stored": "warm", "cloud": "cold", "in_state": True, "in_cloud": True}
    ]
    assert (hushed.err, hushed.out) == ("", shown.out)
    locked, beside = typed(house, "scope lock house/prod --reason moving", "scope drift house/prod")
    assert (locked.code, beside.out) == (0, shown.out), "no lock is in its way"


def test_it_takes_a_scope_a_nested_one_or_one_resource(house: Path) -> None:
    before = tree(house)
    whole, nested, one, nothing = typed(
        house, "scope drift house", "scope drift house/prod/up", "scope drift house/prod/hall", "scope drift house/dev"
    )
    assert "1 missing, 1 changed, 1 as stored" in whole.out
    assert "  1 missing\n" in nested.out
    assert "no drift, 1 as stored" in one.out
    assert (nothing.code, "house/dev is not in the state" in nothing.err) == (2, True)
    assert tree(house) == before


@pytest.mark.slow
def test_one_that_cannot_be_asked_about_hides_no_other(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")\nKV("cache")\nLamp("attic")')
    program = tmp_path / "alchemy_run.py"
    program.write_text(program.read_text().replace("import alchemy\n", "import KVNamespace as KV, alchemy\n", 1))
    typed(tmp_path, "deploy")
    lamp(tmp_path, "attic").unlink()
    kinds = tmp_path / "lamp.py"
    kinds.write_text(kinds.read_text().replace("if self.broken:", 'if self.id == "hall":'))
    broken, watched = typed(tmp_path, "scope drift house/prod", "scope drift house/prod --detailed-exitcode")
    assert (broken.code, watched.code) == (1, 1)
    assert "  ▲ unknown  house/prod/hall  Lamp\n      RuntimeError: no ladder" in broken.out
    assert "\x1b" not in broken.out
    assert "missing  house/prod/attic" in broken.out
    assert "1 missing, 1 not known, 1 as stored" in broken.out
    program.unlink()
    unloaded, elsewhere = (
        typed(tmp_path, "scope drift house/prod")[0],
        typed(
            tmp_path, "scope drift house/prod", CLOUDFLARE_API_TOKEN="token-of-another", CLOUDFLARE_ACCOUNT_ID="b" * 32
        )[0],
    )
    assert unloaded.code == 1
    assert "no loaded class for the kind test:Lamp (defined in lamp)" in unloaded.out
    assert "2 not known, 1 as stored" in unloaded.out
    assert "house/prod was deployed to local cloud" in elsewhere.out
    assert "3 not known" in elsewhere.out


@pytest.mark.slow
def test_plan_and_deploy_heal_when_they_are_told_to(house: Path) -> None:
    unasked, planned, deployed, again, drift = typed(
        house, "plan", "plan --refresh", "deploy --refresh", "deploy --refresh", "scope drift house/prod"
    )
    assert "no changes, 3 unchanged" in unasked.out
    assert '~ update   house/prod/attic  Lamp  drifted: light "cold" → "warm"' in planned.out
    assert "+ create   house/prod/up/bed  Lamp  not found in the cloud" in planned.out
    assert "1 created, 1 updated, 1 unchanged" in deployed.err, deployed.err
    assert "nothing changed" in again.err
    assert "no drift, 3 as stored" in drift.out
    assert {lamp(house, id).read_text() for id in ("hall", "attic", "bed")} == {"warm"}


@pytest.mark.slow
def test_a_plan_made_with_refresh_is_carried_out_so_or_refused(house: Path) -> None:
    planned, without = typed(house, "plan --refresh --out healing.plan", "plan --out plain.plan")
    assert (planned.code, without.code) == (0, 0)
    [other] = typed(house, "deploy --plan plain.plan --refresh")
    assert (other.code, "the plan was made without --refresh" in other.err) == (2, True)
    lamp(house, "hall").unlink()
    [moved] = typed(house, "deploy --plan healing.plan")
    assert moved.code == 5
    assert "house/prod/hall: planned keep (nothing changed), now create (not found in the cloud)" in moved.err
    assert lamp(house, "attic").read_text() == "cold"
    typed(house, "plan --refresh --out healing.plan")
    [done] = typed(house, "deploy --plan healing.plan")
    assert done.code == 0, done.err
    assert [lamp(house, id).read_text() for id in ("hall", "attic", "bed")] == ["warm", "warm", "warm"]


@pytest.mark.slow
def test_two_that_heal_at_once_heal_once(house: Path) -> None:
    command = [*COMMAND, "deploy", "--refresh", "--plain"]
    running = [
        subprocess.Popen(command, cwd=house, env=environment(), stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [each.communicate(timeout=LIMIT)[1] for each in running]
    assert [each.returncode for each in running] == [0, 0], said
    assert sum("1 created, 1 updated, 1 unchanged" in text for text in said) == 1, said
    assert sum("nothing changed" in text for text in said) == 1, said
    assert len(list((house / "hall").iterdir())) == 3


@pytest.mark.slow
def test_a_terminal_counts_and_colours(house: Path) -> None:
    with terminal("scope", "drift", "house/prod", cwd=house) as shown:
        assert shown.end() == 0
    assert "asking the cloud: 3 of 3" in shown.text
    assert "\x1b[33m~ changed" in shown.raw
    with terminal("scope", "drift", "house/prod", "--plain", cwd=house) as plain:
        assert plain.end() == 0
    assert "\x1b" not in plain.raw


def test_a_cloud_that_does_not_answer_is_said_once_with_its_retries(tmp_path: Path) -> None:
    lamps(tmp_path, 'KV("one")\nKV("two")')
    program = tmp_path / "alchemy_run.py"
    program.write_text(program.read_text().replace("import alchemy\n", "import KVNamespace as KV, alchemy\n", 1))
    [deployed] = typed(tmp_path, "deploy")
    assert deployed.code == 0, deployed.err
    account = (tmp_path / ".alchemy" / "local-cloud" / "account-id").read_text()
    nowhere = {"CLOUDFLARE_ACCOUNT_ID": account.strip(), "CLOUDFLARE_API_TOKEN": "token-of-nobody"}
    [silent] = typed(
        tmp_path,
        "scope drift house/prod -v --max-retries 1 --retry-delay 1",
        CLOUDFLARE_API_BASE_URL="http://127.0.0.1:1",
        **nowhere,
    )
    assert silent.code == 1
    assert silent.out.count("no answer from 127.0.0.1") == 1
    assert "2 not known" in silent.out
    assert "retrying   house/prod/one  try 1 of 1" in silent.err
    assert "token-of-nobody" not in silent.out + silent.err
