"""`alchemy plan --out FILE` and `alchemy deploy --plan FILE`: exactly that, or exit 5 with what moved."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.cli.driver import COMMAND, LIMIT, Call, Done, alchemy, environment, forked, lamps

ELSEWHERE = {"CLOUDFLARE_API_TOKEN": "token-of-another", "CLOUDFLARE_ACCOUNT_ID": "b" * 32}


def typed(directory: Path, *commands: str, **extra: str) -> list[Done]:
    """One after the other."""
    return forked([Call(tuple(command.split()), tuple(extra.items())) for command in commands], directory)


def hall(directory: Path) -> list[str]:
    place = directory / "hall"
    return sorted(name.rpartition("-")[0] for name in os.listdir(place)) if place.exists() else []


def test_what_was_planned_is_deployed_once(tmp_path: Path) -> None:
    lamps(tmp_path, 'hall = Lamp("hall")\nLamp("bed", after=hall.place)')
    planned, deployed, again = typed(
        tmp_path, "plan --out prod.plan --detailed-exitcode", "deploy --plan prod.plan", "deploy --plan prod.plan"
    )
    assert planned.code == 2
    assert "saved: `alchemy deploy --plan prod.plan` does exactly this, or refuses" in planned.err
    assert stat.S_IMODE((tmp_path / "prod.plan").stat().st_mode) == 0o600
    assert deployed.code == 0, deployed.err
    assert hall(tmp_path) == ["house-prod-bed", "house-prod-hall"]
    assert again.code == 5
    assert "house/prod: its state was at serial 0 when planned, now it is at" in again.err
    assert "house/prod/bed is new" in again.err
    assert "next: look at a new plan: alchemy plan --out prod.plan" in again.err


def test_another_version_of_the_program_is_refused_by_name_and_does_nothing(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")\nLamp("attic")')
    typed(tmp_path, "deploy")
    lamps(tmp_path, 'Lamp("hall", light="cold")\nLamp("attic")')
    typed(tmp_path, "plan --out p")
    lamps(tmp_path, 'Lamp("hall", socket="E14")\nLamp("new")')
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != "__pycache__"}
    (refused,) = typed(tmp_path, "deploy --plan p")
    assert refused.code == 5
    for said in (
        "house/prod/hall: planned update (changed: light), now replace (fixed prop changed: socket)",
        "house/prod/attic: planned keep (nothing changed), now the program does not declare it",
        "house/prod/new: not in the plan, now create (not in the state yet)",
        "house/prod/attic: not in the plan, now delete (not in the program)",
    ):
        assert said in refused.err, refused.err
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != "__pycache__"}
    assert {path for path in after if after[path] != before.get(path)} <= {tmp_path / "__pycache__"}


def test_another_account_is_refused(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")')
    typed(tmp_path, "plan --out p")
    (refused,) = typed(tmp_path, "deploy --plan p", **ELSEWHERE)
    assert refused.code == 5
    assert "house/prod: planned for local cloud, now it would go to Cloudflare (account bbbbbbbb…)" in refused.err
    assert hall(tmp_path) == []


def test_a_program_that_does_something_else_than_it_planned_is_stopped(tmp_path: Path) -> None:
    body = 'Lamp("hall")\nif scope.phase == "up":\n    Lamp("smuggled")'
    lamps(tmp_path, body)
    _, refused = typed(tmp_path, "plan --out p", "deploy --plan p")
    assert refused.code == 5
    assert "the run left its plan and stopped: house/prod/smuggled is not in the plan: create" in refused.err
    assert hall(tmp_path) == ["house-prod-hall"]


def test_a_deploy_that_comes_between_the_comparison_and_the_lock_is_noticed(tmp_path: Path) -> None:
    """The first holds the lock while the second compares and then waits for it."""
    lamps(tmp_path, 'Lamp("hall", until="go")', name="first.py")
    program = lamps(tmp_path, 'Lamp("bed")')
    assert alchemy("plan", "--out", "p", cwd=tmp_path).code == 0
    given = {"cwd": tmp_path, "env": environment(), "stdin": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([*COMMAND, "deploy", "first.py"], stderr=subprocess.PIPE, **given) as first:  # type: ignore[call-overload]
        assert first.stderr is not None
        while "creating" not in first.stderr.readline():
            assert first.poll() is None
        # What the waiting one planned on: the state as the intent of the first left it.
        assert alchemy("plan", "--out", "p", cwd=tmp_path).code == 0
        with subprocess.Popen(
            [*COMMAND, "deploy", program.name, "--plan", "p"], stderr=subprocess.PIPE, **given
        ) as second:  # type: ignore[call-overload]
            assert second.stderr is not None
            said = second.stderr.readline()
            assert "waiting for the lock of house/prod" in said, said
            (tmp_path / "go").touch()
            said += second.stderr.read()
            assert second.wait(LIMIT) == 5, said
        first.stderr.read()
        assert first.wait(LIMIT) == 0
    assert "this is not what was planned: house/prod: its state was at serial" in said
    assert "house/prod/hall changed" in said
    assert hall(tmp_path) == ["house-prod-hall"]


WRONG = {
    "torn": (b'{"type": "alchemy plan", "for', 4, "Invalid JSON in p:1"),
    "another": (b'{"format": 1}', 4, "p is not a plan"),
    "newer": (b'{"type": "alchemy plan", "format": 9}', 4, "reads format 1"),
    "empty": (b"", 4, "p is not a plan"),
    "a program": (b"import asyncio\n", 4, "p is not a plan"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_plan_is_not_deployed(tmp_path: Path, name: str) -> None:
    data, code, said = WRONG[name]
    lamps(tmp_path, 'Lamp("hall")')
    (tmp_path / "p").write_bytes(data)
    (refused,) = typed(tmp_path, "deploy --plan p")
    assert (refused.code, said in refused.err) == (code, True), refused.err
    assert not (tmp_path / ".alchemy").exists()


def test_options_that_the_plan_was_not_made_with_are_wrong(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")', stage="")
    done = typed(
        tmp_path,
        "plan --stage dev --out p",
        "deploy --plan p --stage prod",
        "deploy --plan p --adopt",
        "deploy --plan nowhere",
        "deploy --plan p --stage dev",
    )
    assert [each.code for each in done] == [0, 2, 2, 2, 0]
    assert "the plan was made with --stage dev, not with 'prod'" in done[1].err
    assert "the plan was made without --adopt" in done[2].err
    assert "there is no plan nowhere" in done[3].err
    assert hall(tmp_path) == ["house-dev-hall"], "the stage of the plan"


def test_a_file_that_is_no_plan_is_not_overwritten_and_one_that_is_one_is(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")')
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "fresh").touch()
    done = typed(
        tmp_path,
        "plan --out notes",
        "plan --out folder",
        "plan --out fresh",
        "plan --out fresh",
        "plan --out nowhere/p",
        "plan --out=",
    )
    assert [each.code for each in done] == [2, 2, 0, 0, 1, 2]
    assert "notes is not overwritten: it is no plan" in done[0].err
    assert done[0].out == "", "it is said before the program runs"
    assert "folder is not overwritten: it is no ordinary file" in done[1].err
    assert (tmp_path / "notes").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_plan_that_failed_is_not_saved(tmp_path: Path) -> None:
    lamps(tmp_path, 'lamp = Lamp("hall")\nint(f"{(await lamp).place}")')
    (failed,) = typed(tmp_path, "plan --out p")
    assert failed.code == 1
    assert not (tmp_path / "p").exists()


def test_what_a_deploy_left_half_created_is_said_to_be_looked_up_first(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall", broken=True)')
    typed(tmp_path, "deploy")
    lamps(tmp_path, 'Lamp("hall")')
    planned, saved, deployed = typed(tmp_path, "plan", "plan --out p", "deploy --plan p")
    said = " ".join(planned.out.split())
    assert "last create did not finish; looked up first: created, or updated if it is there" in said
    assert "does exactly this, or refuses; what did not finish is looked up first\n" in saved.err
    assert deployed.code == 0, deployed.err
    assert hall(tmp_path) == ["house-prod-hall"]


def test_a_program_that_raises_has_no_summary_and_its_error_in_the_document(tmp_path: Path) -> None:
    lamps(tmp_path, 'raise ValueError("no such lamp")')
    shown, document = typed(tmp_path, "plan", "plan --json")
    assert (shown.code, document.code) == (1, 1)
    assert "no changes" not in shown.out
    assert "unchanged" not in shown.out
    found = json.loads(document.out)
    assert found["changes"] is False
    assert found["failed"] == {"message": "the program raised ValueError: no such lamp", "hint": ""}
    lamps(tmp_path, 'Lamp("hall")')
    (well,) = typed(tmp_path, "plan --json")
    assert json.loads(well.out)["failed"] is None


def test_a_plan_says_that_names_are_not_looked_up_only_where_they_are_not(tmp_path: Path) -> None:
    said = "names are not looked up; `plan --adopt` does"
    program = "from alchemy import Queue, alchemy\n\n\nasync def main() -> None:\n"
    program += '    async with alchemy("shop", stage="prod"):\n        Queue("jobs"NAME)\n'
    (tmp_path / "alchemy_run.py").write_text(program.replace("NAME", ', name="jobs"'))
    named, adopting = typed(tmp_path, "plan", "plan --adopt")
    assert said in named.out
    assert said not in adopting.out
    (tmp_path / "alchemy_run.py").write_text(program.replace("NAME", ""))
    (unnamed,) = typed(tmp_path, "plan")
    assert said not in unnamed.out
