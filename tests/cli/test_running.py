"""deploy, plan, destroy and the showing commands on a pipe: what goes to which stream, and what happens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.driver import COMMAND, alchemy, environment, execute, lamps

VERSION = "alchemy 0.1.0\n"


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def hall(directory: Path) -> list[str]:
    place = directory / "hall"
    return sorted(name.rpartition("-")[0] for name in os.listdir(place)) if place.exists() else []


def test_the_installed_command_and_both_modules_are_the_same(tmp_path: Path) -> None:
    installed = Path(sys.executable).with_name("alchemy")
    commands = [
        [str(installed)],
        COMMAND,
        [sys.executable, "-c", "import sys; from alchemy.cli import main; sys.exit(main())"],
    ]
    for command in commands:
        done = execute([*command, "--version"], tmp_path, {})
        assert (done.code, done.out, done.err) == (0, VERSION, "")
    helped = execute([str(installed), "--help"], tmp_path, {})
    assert helped.code == 0
    names = re.findall(r"^  (\w+)  +\S", helped.out, re.MULTILINE)
    assert names[:9] == ["init", "deploy", "plan", "destroy", "scope", "cloud", "doctor", "demo", "tui"]


def test_a_deploy_narrates_on_stderr_and_leaves_stdout_to_the_program(tmp_path: Path) -> None:
    lamps(tmp_path, 'hall = Lamp("hall")\nLamp("bed", after=hall.place)\nprint("from the program")')
    done = alchemy("deploy", cwd=tmp_path)
    assert (done.code, done.out) == (0, "from the program\n")
    lines = [re.sub(r"\d+\.\d+s", "_s", text) for text in done.err.splitlines()]
    assert lines == [
        "house/prod deploy, target: local cloud",
        "  + creating   house/prod/hall  Lamp",
        "  + created    house/prod/hall  Lamp  _s",
        "  + creating   house/prod/bed  Lamp",
        "  + created    house/prod/bed  Lamp  _s",
        "✓ house/prod deployed in _s: 2 created",
    ]
    assert hall(tmp_path) == ["house-prod-bed", "house-prod-hall"]
    again = alchemy("deploy", "--yes", "--plain", cwd=tmp_path)
    assert again.err.splitlines()[1:] == [again.err.splitlines()[-1]]
    assert "nothing changed, 2 resources" in again.err
    quiet = alchemy("deploy", "-q", cwd=tmp_path)
    assert quiet.err.splitlines() == [quiet.err.rstrip()]  # the result only
    told = alchemy("deploy", "-v", cwd=tmp_path)
    assert "unchanged  house/prod/hall" in told.err


def test_a_plan_shows_every_change_and_changes_nothing(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")\nLamp("attic")\nLamp("bed")\nLamp("same")')
    first = alchemy("plan", "--detailed-exitcode", cwd=tmp_path)
    assert first.code == 2
    assert not (tmp_path / ".alchemy").exists()
    assert alchemy("deploy", cwd=tmp_path).code == 0
    assert alchemy("plan", "--detailed-exitcode", cwd=tmp_path).code == 0
    lamps(
        tmp_path,
        'Lamp("hall", light="cold")\nLamp("bed", socket="E14")\nnew = Lamp("new")\n'
        'Lamp("last", after=new.place)\nLamp("same")',
    )
    before = contents(tmp_path)
    done = alchemy("plan", cwd=tmp_path)
    assert contents(tmp_path) == before
    assert (done.code, done.err) == (0, "")
    for line in [
        "  ~ update  house/prod/hall  Lamp  changed: light",
        '      ~ light: "warm" → "cold"',
        "  ± replace  house/prod/bed  Lamp  fixed prop changed: socket",
        "  + create  house/prod/new  Lamp  not in the state yet",
        "      + after: (known after deploy)",
        "  − delete  house/prod/attic  Lamp  not in the program",
        "  2 to create, 1 to update, 1 to replace, 1 to delete, 1 unchanged",
    ]:  # fmt: skip
        assert re.sub(" +", " ", line) in re.sub(" +", " ", done.out), done.out
    assert alchemy("plan", "--detailed-exitcode", cwd=tmp_path).code == 2
    assert "house/prod/same" not in done.out
    assert alchemy("deploy", cwd=tmp_path).code == 0
    assert alchemy("plan", "--detailed-exitcode", cwd=tmp_path).code == 0


def test_a_plan_that_fails_shows_what_it_has(tmp_path: Path) -> None:
    lamps(tmp_path, 'lamp = Lamp("hall")\nint(f"{(await lamp).place}")')
    done = alchemy("plan", "--json", cwd=tmp_path)
    assert done.code == 1
    assert [change["address"] for change in json.loads(done.out)["scopes"][0]["changes"]] == ["house/prod/hall"]
    assert "error: " in done.err


def test_the_program_may_print_while_a_plan_goes_out_as_json(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")\nprint("words on stdout")')
    done = alchemy("plan", "--json", cwd=tmp_path)
    assert json.loads(done.out)["changes"] is True
    assert "words on stdout" in done.err


def test_destroying_needs_consent_and_a_pipe_cannot_give_it(tmp_path: Path) -> None:
    lamps(tmp_path, 'hall = Lamp("hall")\nasync with alchemy.run("up"):\n    Lamp("bed", after=hall.place)')
    assert alchemy("deploy", cwd=tmp_path).code == 0
    before = contents(tmp_path)
    for arguments in (["destroy", "house/prod"], ["destroy"]):
        refused = alchemy(*arguments, cwd=tmp_path)
        assert refused.code == 2
        assert "house/prod/up/bed" in refused.err
        assert "there is no terminal to ask on: nothing was done\n  next: add --yes" in refused.err
        assert contents(tmp_path) == before
    done = alchemy("destroy", "house/prod", "--yes", cwd=tmp_path)
    assert (done.code, done.out) == (0, "")
    deleted = [text.split()[2] for text in done.err.splitlines() if " deleted " in text]
    assert deleted[:2] == ["house/prod/up/bed", "house/prod/hall"]
    assert hall(tmp_path) == []
    assert alchemy("scope", "list", cwd=tmp_path).out.split()[:2] == ["house", "application"]


def test_a_program_destroys_every_stage_that_it_opens(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")')
    text = (tmp_path / "alchemy_run.py").read_text()
    body = text[text.index("    async with") : text.index("\n\nif __name__")]
    (tmp_path / "alchemy_run.py").write_text(text.replace(body, body + body.replace('"prod"', '"dev"')))
    assert alchemy("deploy", cwd=tmp_path).code == 0
    assert hall(tmp_path) == ["house-dev-hall", "house-prod-hall"]
    done = alchemy("destroy", "--yes", "--strategy", "parallel", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "− delete     house/prod/hall" in done.err
    assert hall(tmp_path) == []


def test_orphans_of_a_kind_of_ones_own_go_with_their_scope(tmp_path: Path) -> None:
    """The class is found through the project's program, which is imported and not run."""
    lamps(tmp_path, 'Lamp("hall")')
    assert alchemy("deploy", cwd=tmp_path).code == 0
    lamps(tmp_path, 'print("the program ran")')
    done = alchemy("destroy", "house", "--yes", cwd=tmp_path)
    assert (done.code, done.out) == (0, ""), done.err
    assert hall(tmp_path) == []


def test_the_folder_of_another_program_does_not_stand_for_a_scope(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")')
    lamps(tmp_path / "house", 'Lamp("hall")', app="other")
    assert alchemy("deploy", cwd=tmp_path).code == 0
    done = alchemy("destroy", "house", "--yes", cwd=tmp_path)
    assert done.code == 2
    assert "a scope in the state and a folder with a program" in done.err
    assert hall(tmp_path) == ["house-prod-hall"]


def test_state_dir_is_taken_from_where_it_is_typed_and_from_the_environment(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")')
    below = tmp_path / "below"
    below.mkdir()
    (tmp_path / "pyproject.toml").write_text("[tool.alchemy]\n")
    assert alchemy("deploy", "--state-dir", "typed", cwd=below).code == 0
    assert (below / "typed/house/prod").is_dir()
    assert alchemy("deploy", cwd=below, ALCHEMY_STATE_DIR="given").code == 0
    assert (tmp_path / "given/house/prod").is_dir()  # of the project
    assert json.loads(alchemy("scope", "list", "--json", cwd=tmp_path).out)["scopes"] == []
    listed = alchemy("scope", "list", "--json", "--state-dir", "below/typed", cwd=tmp_path)
    assert len(json.loads(listed.out)["scopes"]) == 2


def test_a_lock_that_is_held_ends_with_3_and_names_its_holder(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("slow", wait=20.0)')
    holder = subprocess.Popen(
        [*COMMAND, "deploy"], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        assert holder.stderr is not None
        while b"creating" not in holder.stderr.readline():
            assert holder.poll() is None
        done = alchemy("deploy", "--lock-timeout", "100", cwd=tmp_path)
        assert done.code == 3
        assert f"pid {holder.pid}" in done.err
        assert "Failed to acquire lock house/prod:" in done.err
        assert "Traceback" not in done.err
        locks = alchemy("scope", "list-locks", cwd=tmp_path)
        assert locks.code == 0
        assert "house/prod  live" in locks.out
        assert f"pid {holder.pid}" in locks.out
        shown = alchemy("scope", "inspect", "house/prod", cwd=tmp_path)
        assert "lock        live" in shown.out
        assert "creating" in alchemy("scope", "list", cwd=tmp_path).out
    finally:
        holder.kill()
        holder.communicate()
    stale = json.loads(alchemy("scope", "locks", "--json", cwd=tmp_path).out)["locks"]
    assert [(lock["path"], lock["verdict"]) for lock in stale] == [("house/prod", "stale")]


@pytest.mark.parametrize(
    "command",
    [["destroy", "house/prod"], ["destroy"], ["scope", "cleanup", "house/prod", "--all"]],
)
def test_quiet_and_asked_nothing_a_destruction_tells_its_result_alone(command: list[str], tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")\nLamp("bed")')
    assert alchemy("deploy", "-q", cwd=tmp_path).code == 0
    done = alchemy(*command, "--yes", "-q", cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.out == ""
    assert len(done.err.splitlines()) == 1, done.err
    assert "house/prod" in done.err
    assert "to destroy" not in done.err


@pytest.mark.parametrize("text", ["scope list", "scope inspect house/prod", "scope logs house/prod"])
def test_what_is_shown_on_a_pipe_is_plain_and_is_all_on_stdout(text: str, house: Path) -> None:
    done = alchemy(*text.split(), cwd=house)
    assert (done.code, done.err) == (0, "")
    assert not set(done.out) & set("\x1b─│├└┌")
    assert "house" in done.out


def test_inspect_answers_what_health_lock_resources_runs_backups(house: Path) -> None:
    shown = alchemy("scope", "inspect", "house/prod", cwd=house).out
    assert re.findall(r"^(\S.*?)(?:  .*)?$", shown, re.MULTILINE)[:4] == ["house/prod", "state", "lock", "holds"]
    assert [text for text in shown.splitlines() if text in ("Resources", "Runs", "Backups")] == [
        "Resources",
        "Runs",
        "Backups",
    ]
    assert "1 updated, 1 deleted, 1 unchanged" in shown
    resource = alchemy("scope", "inspect", "house/prod/up/bed", cwd=house).out
    assert re.search(r"^needs +house/prod/hall$", resource, re.MULTILINE)
    assert re.search(r'^  light +"cold"$', resource, re.MULTILINE)


def test_state_prints_the_document_of_a_resource_found_by_its_id(house: Path) -> None:
    done = alchemy("scope", "state", "house/prod", "bed", cwd=house)
    assert json.loads(done.out)["address"] == "house/prod/up/bed"


def test_logs_of_an_earlier_run_and_following_one_that_has_ended(house: Path) -> None:
    first = alchemy("scope", "logs", "house/prod", "--run", "R-1", cwd=house)
    assert "created    house/prod/attic" in first.out
    followed = alchemy("scope", "logs", "house/prod", "--follow", "--json", cwd=house)
    events = [json.loads(line) for line in followed.out.splitlines()]
    assert (events[0]["type"], events[-1]["type"]) == ("RunStarted", "RunEnded")
    assert {event["run"] for event in events} == {"R-2"}


def test_nothing_stored_is_said_on_stderr_and_is_no_error(tmp_path: Path) -> None:
    done = alchemy("scope", "list", cwd=tmp_path)
    assert (done.code, done.out) == (0, "")
    assert "no scopes" in done.err
    assert list(tmp_path.iterdir()) == []
