"""`alchemy scope rebuild`, `reset` and `validate --accept-edit`, as typed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.driver import Call, Done, forked, lamps, terminal

PROD = "house/prod"


@pytest.fixture
def house(tmp_path: Path) -> Path:
    lamps(tmp_path, 'Lamp("hall")\nLamp("attic")')
    (done,) = forked([Call(("deploy",))], tmp_path)
    assert done.code == 0, done.err
    return tmp_path


def typed(house: Path, *lines: str) -> list[Done]:
    return forked([Call(tuple(line.split())) for line in lines], house)


def journal(house: Path) -> Path:
    return house / ".alchemy" / "house" / "prod" / "journal"


def damage(house: Path) -> None:
    (file,) = journal(house).iterdir()
    file.write_bytes(b"#\n" + file.read_bytes())


def test_damaged_state_is_refused_rebuilt_and_goes_on(house: Path) -> None:
    damage(house)
    lamps_before = sorted(path.name for path in (house / "hall").iterdir())
    refused, shown, asked, done, planned, deployed, again = typed(
        house,
        "deploy",
        f"scope rebuild {PROD} --dry-run",
        f"scope rebuild {PROD}",
        f"scope rebuild {PROD} --yes --json",
        "plan --detailed-exitcode",
        "deploy",
        "plan --detailed-exitcode",
    )
    assert refused.code == 4
    assert "alchemy scope rebuild" in refused.err
    assert (shown.code, shown.out) == (0, "")
    assert "from the backup state-" in shown.err
    assert asked.code == 2
    assert "to rebuild house/prod has to be confirmed" in asked.err
    document = json.loads(done.out)
    assert done.code == 0, done.err
    assert document["written"]
    assert document["aside"] == "journal.damaged-1"
    assert document["damage"]
    assert (journal(house).parent / "journal.damaged-1").is_dir()
    assert planned.code == 2, "the deploy has something to look at"
    assert "to be verified: may be created again" in planned.out
    assert "2 to verify" in planned.out
    assert deployed.code == 0, deployed.err
    assert again.code == 0, again.out
    assert sorted(path.name for path in (house / "hall").iterdir()) == lamps_before


def test_a_program_finds_what_nobody_knows_any_more(house: Path) -> None:
    (file,) = journal(house).iterdir()
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(b"#" + line if b"prod/attic" in line else line for line in lines))
    shutil.rmtree(journal(house).parent / "backups")
    shutil.rmtree(journal(house).parent / "resources" / "attic")
    without, found = typed(
        house, f"scope rebuild {PROD} --dry-run --json", f"scope rebuild {PROD} alchemy_run.py --yes"
    )
    assert [row["address"] for row in json.loads(without.out)["resources"]] == [f"{PROD}/hall"]
    assert found.code == 0, found.err
    assert re.search(r"house/prod/attic  Lamp  creating  from the cloud: house-prod-attic-[0-9a-f]{6}", found.err)
    deployed, listed = typed(house, "deploy", "scope list --json")
    assert deployed.code == 0, deployed.err
    assert len(list((house / "hall").iterdir())) == 2
    assert {row["status"] for row in json.loads(listed.out)["resources"]} == {"ready"}


def test_sound_state_is_rebuilt_by_force_only(house: Path) -> None:
    shown, refused, enough, done = typed(
        house,
        f"scope rebuild {PROD} --dry-run",
        f"scope rebuild {PROD} --yes",
        f"scope rebuild {PROD} --force",
        f"scope validate {PROD}",
    )
    assert (shown.code, refused.code) == (5, 5)
    assert "rebuild    house/prod/hall" in shown.err
    assert "is sound" in refused.err
    assert enough.code == 0, enough.err
    assert done.code == 0


def test_reset_lists_what_it_leaves_behind_and_a_restore_undoes_it(house: Path) -> None:
    asked, not_enough, done, listed, again = typed(
        house,
        f"scope reset {PROD}",
        f"scope reset {PROD} --yes",
        f"scope reset {PROD} --force",
        "scope list --json",
        f"scope reset {PROD} --force",
    )
    assert (asked.code, not_enough.code) == (2, 2)
    assert "--yes is not enough" in not_enough.err
    assert "add --force" in asked.err
    assert done.code == 0, done.err
    assert re.search(r"house/prod/attic  Lamp  house-prod-attic-[0-9a-f]{6}", done.err)
    assert "2 resources in the cloud will be left behind, tracked by nobody" in done.err
    assert json.loads(listed.out)["resources"] == []
    assert len(list((house / "hall").iterdir())) == 2
    assert again.code == 2
    undo = re.search(r"`alchemy (scope restore \S+ --backup \S+)` undoes it", done.err)
    assert undo is not None
    restored, deployed = typed(house, undo[1] + " --yes", "deploy")
    assert restored.code == 0, restored.err
    assert deployed.code == 0, deployed.err
    assert len(list((house / "hall").iterdir())) == 2


def test_a_hand_edit_is_shown_and_taken_over(house: Path) -> None:
    view = journal(house).parent / "resources" / "hall" / "state.json"
    view.write_text(json.dumps({**json.loads(view.read_bytes()), "retain": True}))
    invalid, asked, wrong, done, valid = typed(
        house,
        "scope validate",
        f"scope validate {PROD} --accept-edit",
        "scope validate --accept-edit",
        f"scope validate {PROD} --accept-edit --yes",
        "scope validate",
    )
    assert invalid.code == 4
    assert asked.code == 2
    assert "retain  stored not there" in asked.out
    assert "edited true" in asked.out
    assert wrong.code == 2
    assert done.code == 0, done.err
    assert "1 edit accepted in house/prod" in done.err
    assert valid.code == 0, valid.out
    view.write_text(json.dumps({**json.loads(view.read_bytes()), "kind": "test:Other"}))
    (impossible,) = typed(house, f"scope validate {PROD} --accept-edit --yes")
    assert impossible.code == 4
    assert "kind cannot be changed by hand" in impossible.err


def test_hostile_text_in_an_edit_is_shown_harmlessly(house: Path) -> None:
    view = journal(house).parent / "resources" / "hall" / "state.json"
    body = json.loads(view.read_bytes())
    view.write_text(json.dumps({**body, "note": "\x1b[31m\u202e[bold]x", "error": "\x9b2J"}))
    shown, refused = typed(
        house,
        f"scope validate {PROD} --accept-edit --yes",
        f"scope validate {PROD} --accept-edit --yes --only \x1b[31m",
    )
    assert shown.code == 0, shown.err
    for done in (shown, refused):
        assert not {char for char in done.out + done.err if (ord(char) < 32 and char != "\n") or char in "\u202e\x9b"}


SHOP = """
import asyncio
from alchemy import D1Database, KVNamespace, Queue, R2Bucket, Worker, alchemy

async def main():
    async with alchemy("shop", stage="prod"):
        db = D1Database("main-db")
        KVNamespace("cache")
        Queue("jobs")
        R2Bucket("files")
        Worker("api", entrypoint="server.js", bindings={"DB": db})
"""


def test_with_every_file_of_the_stage_gone_the_account_is_searched_by_name(tmp_path: Path) -> None:
    (tmp_path / "alchemy_run.py").write_text(SHOP)
    (tmp_path / "server.js").write_text("export default { fetch() { return new Response('hi') } }")
    (deployed,) = typed(tmp_path, "deploy")
    assert deployed.code == 0, deployed.err
    before = json.loads(typed(tmp_path, "scope state shop/prod --json")[0].out)["resources"]
    shutil.rmtree(tmp_path / ".alchemy" / "shop")
    done, again, state, planned = typed(
        tmp_path,
        "scope rebuild shop/prod alchemy_run.py --yes",
        "deploy",
        "scope state shop/prod --json",
        "plan --detailed-exitcode",
    )
    assert done.code == 0, done.err
    assert done.err.count("destroying will forget it") == 5
    assert again.code == 0, again.err
    after = json.loads(state.out)["resources"]
    stable = ("database_id", "namespace_id", "queue_id", "bucket_name", "script_name")
    for rows in (before, after):
        rows.sort(key=lambda row: row["address"])
    assert [row["physical_name"] for row in after] == [row["physical_name"] for row in before]
    for was, now in zip(before, after, strict=True):
        assert {k: v for k, v in now["outputs"].items() if k in stable} == {
            k: v for k, v in was["outputs"].items() if k in stable
        }
    assert {row["status"] for row in after} == {"ready"}
    assert planned.code == 0, planned.out


@pytest.mark.slow
def test_on_a_terminal_the_whole_path_is_typed(house: Path) -> None:
    with terminal("scope", "reset", PROD, cwd=house) as shown:
        shown.wait_for("Type house/prod to forget everything in house/prod: ")
        shown.type("prod\n")
        assert shown.end() == 2
    with terminal("scope", "reset", PROD, cwd=house) as shown:
        shown.wait_for("Type house/prod to forget everything in house/prod: ")
        shown.type("house/prod\n")
        assert shown.end() == 0
    (listed,) = typed(house, "scope list --json")
    assert json.loads(listed.out)["resources"] == []


def test_where_there_is_no_state_nothing_is_called_sound(tmp_path: Path) -> None:
    (done,) = typed(tmp_path, "scope validate")
    assert done.code == 0
    assert "there is no state in" in done.err
    assert "sound" not in done.err


def test_an_application_that_was_destroyed_and_has_stages_again_is_sound(house: Path) -> None:
    gone, made, checked = typed(house, "destroy house --yes", "deploy", "scope validate")
    assert (gone.code, made.code) == (0, 0), gone.err + made.err
    assert "is sound" in checked.err, checked
