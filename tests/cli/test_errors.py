"""What goes wrong reads as an error, its cause and the next step, with its exit code, and never as a traceback."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cli.driver import Call, Done, alchemy, execute, forked, lamps, python

BAD_PATHS = [
    "a[b]",
    "../x",
    "x/../y",
    "a\x1b[31mb",
    "a\x9bb",
    "",
    "/",
    "house/",
    "house//prod",
    "locks",
    "hou\u202ese",
    "-",
    "a" * 70,
    "\udcff\udcfe",  # bytes that are no UTF-8
]
BAD_COMMANDS = [("scope", "inspect"), ("scope", "logs"), ("destroy", "--yes")]


def quiet_about_itself(done: Done) -> None:
    """No traceback, and nothing that a terminal would act on."""
    assert "Traceback" not in done.err
    assert not {char for char in done.err + done.out if ord(char) < 32 and char != "\n"}
    assert not {char for char in done.err + done.out if 0x7F <= ord(char) < 0xA0 or char == "\u202e"}


def test_a_path_outside_the_grammar_is_a_usage_error(house: Path) -> None:
    calls = [Call((*command, "--", path)) for path in BAD_PATHS for command in BAD_COMMANDS]
    for call, done in zip(calls, forked(calls, house), strict=True):
        assert (done.code, done.out) == (2, ""), (call, done)
        assert done.err.startswith("error: "), (call, done)
        assert "  next: " in done.err, (call, done)
        quiet_about_itself(done)
    assert alchemy("scope", "inspect", "house/prod", cwd=house).code == 0  # and destroyed nothing


@dataclass(frozen=True)
class Case:
    typed: str
    says: list[str]
    code: int = 2
    environment: dict[str, str] = field(default_factory=dict)


CASES = [
    Case("deplyo", ["error: there is no command 'deplyo'", "did you mean `alchemy deploy`?"]),
    Case("list", ["no command 'list'", "did you mean `alchemy scope list`?"]),
    Case("scope lst", ["no command 'lst'", "did you mean `alchemy scope list`?"]),
    Case("xyzzy", ["no command 'xyzzy'", "`alchemy --help` lists the commands"]),
    Case("--frobnicate", ["no such option"]),
    Case("deploy --frobnicate", ["no such option", "`alchemy deploy --help`"]),
    Case("deploy one.py two.py", ["unexpected extra argument"]),
    Case("deploy nowhere.py", ["there is no program nowhere.py", "alchemy init"]),
    Case("plan nowhere.py", ["there is no program nowhere.py"]),
    Case("plan nowhere.py --detailed-exitcode", ["there is no program nowhere.py"], code=1),
    Case("destroy nowhere.py", ["there is no program nowhere.py"]),
    Case("destroy nobody/prod", ["nobody/prod is not in the state", "alchemy scope list"]),
    Case("destroy house/prod --stage dev --yes", ["contradict each other"]),
    Case("destroy --strategy quick", ["'quick' is not one of"]),
    Case("deploy -v -q", ["-v and -q contradict each other"]),
    Case("scope list -q --verbose", ["-v and -q contradict each other"]),
    Case("scope list --state-dir=", ["--state-dir is empty"]),
    Case("scope list --lock-timeout soon", ["'soon' is not a valid whole number"]),
    Case("scope list --lock-timeout 3600001", ["--lock-timeout"]),
    Case("scope list --max-retries=-1", ["--max-retries"]),
    Case("scope inspect", ["missing argument 'SCOPE'"]),
    Case("scope inspect house/prd", ["house/prd is not in the state", "did you mean house/prod?"]),
    Case("scope inspect house/prod/up/cellar", ["house/prod/up/cellar is not in the state"]),
    Case("scope state house/prod cellar", ["house/prod/cellar is not in the state"]),
    Case("scope state house/prod/up/bed bed", ["is a resource itself"]),
    Case("scope logs house/prod --run R-99", ["house/prod has no run 'R-99'", "R-2"]),
    Case("scope logs house/prod --run nine", ["has no run 'nine'"]),
    Case("scope logs house/prod --run R-1 --follow", ["R-1 has ended"]),
    Case("deploy --stage dev", ["opens stage 'prod', the command line says 'dev'"]),
    Case("deploy --stage a/b", ["stage 'a/b' is not allowed"]),
    Case("cloud serve --port 70000", ["--port"]),
    Case("deploy", ["ALCHEMY_MAX_RETRIES='many'"], environment={"ALCHEMY_MAX_RETRIES": "many"}),
    Case("deploy", ["ALCHEMY_LOCK_TIMEOUT='-1'", "_TIMEOUT=30000"], environment={"ALCHEMY_LOCK_TIMEOUT": "-1"}),
    Case("deploy", ["ALCHEMY_RETRY_DELAY='1s'"], environment={"ALCHEMY_RETRY_DELAY": "1s"}),
    Case("deploy", ["sequential, parallel, batched"], environment={"ALCHEMY_DESTROY_STRATEGY": "fast"}),
    Case("deploy", ["CLOUDFLARE_ACCOUNT_ID is not"], environment={"CLOUDFLARE_API_TOKEN": "t"}),
]  # fmt: skip


def test_a_mistake_names_itself_and_the_way_out(house: Path) -> None:
    calls = [Call(tuple(case.typed.split()), tuple(case.environment.items())) for case in CASES]
    for case, done in zip(CASES, forked(calls, house), strict=True):
        assert done.code == case.code, (case, done)
        for words in case.says:
            assert words in done.err, (case, done)
        assert done.err.startswith("error: "), (case, done)
        quiet_about_itself(done)


PROGRAMS = {
    "with a syntax error": ("async def main(:\n    pass\n", "program.py:1: invalid syntax"),
    "without main": ("x = 1\n", "has no `async def main()`"),
    "with a main that is not async": ("def main() -> None:\n    pass\n", "has no `async def main()`"),
    "that fails while it is read": ("import nothing_of_that_name\n", "ModuleNotFoundError"),
    "that is no text": ("\udcff\udcfe\x00", "program.py"),
}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_program_that_cannot_be_run_is_named(kind: str, tmp_path: Path) -> None:
    text, says = PROGRAMS[kind]
    (tmp_path / "program.py").write_bytes(text.encode("utf-8", "surrogateescape"))
    done = alchemy("deploy", "program.py", cwd=tmp_path)
    assert done.code == 1, done
    assert says in done.err
    quiet_about_itself(done)


def test_an_exception_of_the_program_shows_the_programs_frames_only(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")\nbelow()')
    with open(tmp_path / "alchemy_run.py", "a") as file:
        file.write('\n\ndef below() -> None:\n    raise KeyError("lost\\x1b[2J")\n')
    done = alchemy("deploy", cwd=tmp_path)
    assert done.code == 1
    assert "error: the program raised KeyError: " in done.err
    frames = [text for text in done.err.splitlines() if text.startswith("  File")]
    assert [text.rpartition(" in ")[2] for text in frames] == ["main", "below"]
    assert all(text.startswith('  File "alchemy_run.py", line ') for text in frames)
    quiet_about_itself(done)
    logs = alchemy("scope", "logs", "house/prod", cwd=tmp_path).out
    (logged,) = [text for text in logs.splitlines() if "KeyError" in text]
    assert re.fullmatch(r"  [0-9:]{8}  \S error +house/prod  KeyError: 'lost.*'", logged), logged
    assert "\x1b" not in logged
    told = alchemy("deploy", "-v", cwd=tmp_path)
    assert told.code == 1
    assert "Traceback (most recent call last)" in told.err  # the whole of it, for whoever asks


def test_each_failure_is_listed_once_and_the_exit_code_is_1(tmp_path: Path) -> None:
    lamps(
        tmp_path,
        'dark = Lamp("dark", broken=True)\nLamp("darker", broken=True)\nLamp("bed", after=dark.place)\nLamp("fine")',
    )
    for flags in ([], ["-q"]):
        done = alchemy("deploy", "--max-retries", "0", *flags, cwd=tmp_path)
        assert done.code == 1
        for name in ("dark", "darker"):
            assert done.err.count(f"house/prod/{name}: RuntimeError: no bulb\u241b[31m left") == 1
        assert done.err.count("no bulb") == 2
        assert "error: deploy of house/prod failed: 2 resources; nothing was collected" in done.err
        quiet_about_itself(done)
    assert "1 skipped" in done.err  # type: ignore[possibly-undefined]


@pytest.mark.parametrize(
    "command", ["destroy house/prod --yes", "destroy --yes", "scope cleanup house/prod --all --yes"]
)
def test_what_many_failures_say_to_do_next_is_said_once_and_kept(tmp_path: Path, command: str) -> None:
    """Nothing can be backed up, so nothing goes: one cause for all of them."""
    lamps(tmp_path, 'Lamp("hall")\nLamp("bed")\nLamp("attic")')
    backups = tmp_path / ".alchemy" / "house" / "prod" / "backups"
    (deployed,) = forked([Call(("deploy",))], tmp_path)
    assert deployed.code == 0, deployed.err
    shutil.rmtree(backups)
    backups.symlink_to(tmp_path)
    broken, shown, listed = forked(
        [
            Call((*command.split(), "--force")),
            Call(("scope", "logs", "house/prod")),
            Call(("scope", "logs", "house/prod", "--json")),
        ],
        tmp_path,
    )
    assert broken.code == 1
    assert len(list((tmp_path / "hall").iterdir())) == 3
    hint = f"see who put it there, then remove it (`rm {backups}`) and run `alchemy scope validate`"
    assert re.findall("next: (.*)", broken.err)[0] == hint
    assert broken.err.count("next: ") == 2, "that, and how the run goes on"
    assert f"            next: {hint}\n" in shown.out
    for name in ("hall", "bed", "attic"):
        for said in (broken.err, shown.out):
            assert said.count(f"✗ house/prod/{name}: {backups} is a symbolic link, where a directory is due") == 1
    (destroy, _), events = (json.loads(listed.out)[key] for key in ("runs", "events"))
    assert destroy["hints"] == events[-1]["hints"] == [hint]


def test_a_plan_says_what_the_causes_say_to_do_next(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")\nLamp("bed", after=lambda: 1)\nLamp("attic", after=lambda: 1)')
    shown, listed = forked([Call(("plan",)), Call(("plan", "--json"))], tmp_path)
    hint = "props take strings, numbers, booleans, None, lists, dicts, resources and their outputs"
    assert shown.code == listed.code == 1
    assert re.findall("next: (.*)", shown.err) == [hint, "mend the cause and run the same command again"]
    (scope,) = json.loads(listed.out)["scopes"]
    assert [address for address, _ in scope["failures"]] == ["house/prod/bed", "house/prod/attic"]
    assert scope["hints"] == [hint]


def test_a_resource_that_was_awaited_and_failed_is_told_once_too(tmp_path: Path) -> None:
    lamps(tmp_path, 'await Lamp("dark", broken=True)')
    done = alchemy("deploy", cwd=tmp_path)
    assert done.code == 1
    assert done.err.count("no bulb") == 1
    assert "error: the program stopped at house/prod/dark, which failed" in done.err


def test_a_stage_of_another_account_is_refused_with_5(tmp_path: Path) -> None:
    (tmp_path / "alchemy_run.py").write_text(
        "from alchemy import KVNamespace, alchemy\n\n\nasync def main() -> None:\n"
        '    async with alchemy("shop", stage="prod"):\n        KVNamespace("cache")\n'
    )
    assert alchemy("deploy", cwd=tmp_path).code == 0
    done = alchemy("deploy", cwd=tmp_path, CLOUDFLARE_API_TOKEN="t", CLOUDFLARE_ACCOUNT_ID="0" * 32)
    assert done.code == 5
    assert "was deployed to local cloud" in done.err
    quiet_about_itself(done)


def test_damaged_state_is_4_where_it_is_shown_and_stops_no_deploy(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")')
    assert alchemy("deploy", cwd=tmp_path).code == 0
    view = tmp_path / ".alchemy/house/prod/resources/hall/state.json"
    whole = view.read_bytes()
    view.write_bytes(whole[: len(whole) // 2])
    for command in (["inspect", "house/prod"], ["inspect", "house/prod/hall"], ["state", "house/prod"], ["validate"]):
        done = alchemy("scope", *command, cwd=tmp_path)
        assert done.code == 4, (command, done)
        assert "state.json" in done.out + done.err
        quiet_about_itself(done)
    listed = alchemy("scope", "list", cwd=tmp_path)
    assert (listed.code, "corrupt" in listed.out) == (0, True)
    assert alchemy("deploy", cwd=tmp_path).code == 0


def test_validate_can_write_a_damaged_view_again(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")')
    assert alchemy("deploy", cwd=tmp_path).code == 0
    view = tmp_path / ".alchemy/house/prod/resources/hall/state.json"
    whole = json.loads(view.read_bytes())
    view.write_text("{")
    broken = alchemy("scope", "validate", "house/prod", cwd=tmp_path)
    assert broken.code == 4
    assert "--fix" in broken.out
    fixed = alchemy("scope", "validate", "house/prod", "--fix", cwd=tmp_path)
    assert fixed.code == 0, fixed
    assert "1 view written again" in fixed.err
    assert json.loads(view.read_bytes())["outputs"] == whole["outputs"]
    assert alchemy("scope", "validate", cwd=tmp_path).code == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_output_that_cannot_be_written_is_an_error_and_a_reader_who_leaves_is_none(house: Path) -> None:
    command = '"$0" -m alchemy.cli scope list'
    full = python_in_shell(f"{command} > /dev/full", house)
    assert full.code == 1
    assert full.err == "error: the output cannot be written: No space left on device\n"
    left = python_in_shell(f"{command} | true", house)
    assert (left.code, left.err) == (0, "")
    assert python_in_shell(f"{command} >&-", house).err == ""


def python_in_shell(script: str, directory: Path) -> Done:
    import sys

    return execute(["sh", "-c", script, sys.executable], directory, {})


def test_a_state_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")')
    (tmp_path / "taken").write_text("")
    for command in (["deploy"], ["scope", "list"]):
        done = alchemy(*command, "--state-dir", "taken", cwd=tmp_path)
        assert done.code == 1
        assert "taken" in done.err
        quiet_about_itself(done)


# -- programs run with python


def test_run_with_python_an_error_of_ours_has_no_traceback_and_its_exit_code(tmp_path: Path) -> None:
    program = lamps(tmp_path, 'Lamp("dark", broken=True)')
    failed = python(program.name, cwd=tmp_path)
    assert failed.code == 1
    assert "error: deploy of house/prod failed: 1 resource" in failed.err
    assert failed.err.count("no bulb") == 1
    lamps(tmp_path, 'Lamp("hall")\nLamp("hall")')
    twice = python(program.name, cwd=tmp_path)
    assert twice.code == 2
    assert "error: house/prod/hall is declared twice\n  next: " in twice.err
    for done in (failed, twice):
        quiet_about_itself(done)


def test_run_with_python_an_exception_of_the_program_keeps_its_traceback(tmp_path: Path) -> None:
    program = lamps(tmp_path, 'Lamp("hall")\nraise KeyError("mine")')
    done = python(program.name, cwd=tmp_path)
    assert done.code == 1
    assert "Traceback (most recent call last)" in done.err
    assert done.err.rstrip().endswith("KeyError: 'mine'")


def test_run_with_python_it_narrates_unless_it_is_quiet(tmp_path: Path) -> None:
    program = lamps(tmp_path, 'Lamp("hall")\nprint("mine")')
    done = python(program.name, cwd=tmp_path)
    assert (done.code, done.out) == (0, "mine\n")
    assert "house/prod deployed in" in done.err
    text = program.read_text().replace('stage="prod"', 'stage="prod", quiet=True')
    program.write_text(text)
    assert python(program.name, cwd=tmp_path).err == ""


@pytest.mark.parametrize("harm", ["gone", "emptied", "cut"])
def test_a_journal_that_cannot_be_read_never_shows_as_an_empty_scope(tmp_path: Path, harm: str) -> None:
    lamps(tmp_path, 'Lamp("hall")')
    assert alchemy("deploy", cwd=tmp_path).code == 0
    journal = tmp_path / ".alchemy/house/prod/journal"
    epoch = journal / "000001.jsonl"
    if harm == "gone":
        shutil.rmtree(journal)
    else:
        epoch.write_bytes(epoch.read_bytes()[: 0 if harm == "emptied" else -300])
    commands = [["list"], ["list", "house"], ["list", "house/prod"], ["inspect", "house/prod"], ["state", "house/prod"]]
    for command in [*commands, ["logs", "house/prod"], ["logs", "house/prod", "--json"], ["validate"]]:
        done = alchemy("scope", *command, cwd=tmp_path)
        assert done.code == 4, (command, done)
        assert "house/prod" in done.err + done.out
        assert "journal" in done.err + done.out
        assert "0 resources" not in done.out
        quiet_about_itself(done)
    listed = alchemy("scope", "list", cwd=tmp_path)
    assert "corrupt" in listed.out
    assert "next: " in listed.err
    shown = json.loads(alchemy("scope", "list", "--json", cwd=tmp_path).out)
    assert {scope["path"]: scope["resources"] for scope in shown["scopes"]} == {"house": None, "house/prod": None}
