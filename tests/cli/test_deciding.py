"""`scope cleanup` with decisions, `scope keep`, `scope resume`, as typed: what is shown, asked, done; exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.driver import Call, Done, alchemy, forked, lamps, terminal

PROD = "house/prod"
BODY = """
hall = Lamp("hall")
stairs = Lamp("stairs", after=hall.place)
Lamp("attic", after=stairs.place)
Lamp("shed")
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The attic uses the stairs, they use the hall; the shed stands alone."""
    directory = tmp_path_factory.mktemp("built")
    lamps(directory, BODY)
    (done,) = forked([Call(("deploy",))], directory)
    assert done.code == 0, done.err
    return directory


@pytest.fixture
def house(built: Path, tmp_path: Path) -> Path:
    return shutil.copytree(built, tmp_path / "house")


def scope(house: Path, *lines: str) -> list[Done]:
    return forked([Call(("scope", *line.split())) for line in lines], house)


def lit(house: Path) -> list[str]:
    """Which lamps there are."""
    return sorted(path.name.split("-")[2] for path in (house / "hall").iterdir())


def test_some_go_some_are_kept_and_what_they_use_is_held_back(house: Path) -> None:
    all_ = f"cleanup {PROD} --all"
    shown, done, again, undone, rest = scope(
        house,
        f"{all_} --dry-run --keep stairs",
        f"{all_} --keep stairs --yes",
        f"{all_} --dry-run",
        f"keep {PROD}/stairs --undo",
        f"{all_} --yes",
    )
    assert f"· keep       {PROD}/stairs  Lamp" in shown.err
    assert f"· held back  {PROD}/hall  Lamp  still used by {PROD}/stairs" in shown.err
    assert "2 to delete, 1 to keep, 1 held back" in shown.err
    assert done.code == 0, done.err
    assert "kept" in done.err
    assert f"· keep       {PROD}/stairs  kept by an operator" in again.err
    assert undone.out == f"✓ {PROD}/stairs is no longer kept\n"
    assert rest.code == 0, rest.err
    assert lit(house) == []


def test_a_draft_is_saved_and_carried_out_and_a_stop_goes_on_with_it(house: Path) -> None:
    saved, refused, stopped, rest, over = scope(
        house,
        f"cleanup {PROD} --all --dry-run --stop-before hall --out draft.json",
        f"cleanup {PROD} --plan draft.json",
        f"cleanup {PROD} --plan draft.json --yes --json",
        f"cleanup {PROD} --plan draft.json --yes",
        f"cleanup {PROD} --plan draft.json --yes",
    )
    assert saved.code == 0, saved.err
    assert f"· later      {PROD}/hall" in saved.err
    assert "decisions saved: `alchemy scope cleanup house/prod --plan draft.json` carries them out" in saved.err
    assert refused.code == 2
    assert "has to be confirmed" in refused.err
    document = json.loads(stopped.out)
    assert document["stopped_before"] == f"{PROD}/hall"
    assert sorted(document["deleted"]) == [f"{PROD}/attic", f"{PROD}/shed", f"{PROD}/stairs"]
    assert f"stopped before {PROD}/hall; run again to go on" in stopped.err
    assert (rest.code, over.code) == (0, 0), rest.err
    assert lit(house) == ["hall"], "the draft still says to stop there"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--only nothing", "no step of the plan is about nothing"),
        ("--only hall --keep hall", "is to go and to be kept"),
        ("--step --only hall", "--step asks, and --only decides"),
        ("--step --yes", "--step asks, and --yes cannot answer"),
        ("--step", "there is no terminal to ask on"),
        ("--plan gone.json", "there is no gone.json"),
        ("--plan lamp.py", "lamp.py is not a draft of decisions"),
        ("--out draft.json", "--out saves decisions that are not carried out now"),
        ("--dry-run --out lamp.py", "lamp.py is not overwritten: it is no draft"),
        ("--only hall --json", "--json without --dry-run answers no question"),
        ("--plan x.json --keep hall", "--plan says it all, and --keep says otherwise"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_done(built: Path, line: str, said: str) -> None:
    before = lit(built)
    (done,) = scope(built, f"cleanup {PROD} --all {line}" if "--plan" not in line else f"cleanup {PROD} {line}")
    assert done.code in (2, 4), done
    assert said in done.err
    assert lit(built) == before
    assert "Lamp" in (built / "lamp.py").read_text()


def test_keeping_is_seen_in_the_list_in_inspect_and_in_plans(house: Path) -> None:
    kept, listed, looked, planned, twice, unknown = forked(
        [
            Call(("scope", "keep", f"{PROD}/hall")),
            Call(("scope", "list")),
            Call(("scope", "inspect", f"{PROD}/hall")),
            Call(("scope", "cleanup", PROD, "--all", "--dry-run", "--json")),
            Call(("scope", "keep", f"{PROD}/hall", "--json")),
            Call(("scope", "keep", f"{PROD}/cellar")),
        ],
        house,
    )
    assert kept.out == f"✓ {PROD}/hall is kept\n"
    assert f"next: `alchemy scope keep {PROD}/hall --undo` undoes it" in kept.err
    assert "kept" in listed.out
    assert "flags" in looked.out
    assert "kept" in looked.out
    assert json.loads(planned.out)["kept"] == [f"{PROD}/hall"]
    assert json.loads(twice.out)["changed"] is False
    assert unknown.code == 2
    assert "is no resource in the state" in unknown.err


def test_a_plan_shows_what_is_kept_though_nobody_declares_it(house: Path) -> None:
    lamps(house, 'Lamp("shed")')
    calls = [("scope", "keep", f"{PROD}/attic"), ("plan",), ("plan", "--json")]
    _, planned, document = forked([Call(call) for call in calls], house)
    assert f"· keep     {PROD}/attic  kept by an operator" in planned.out
    (found,) = json.loads(document.out)["scopes"]
    assert found["kept"] == [f"{PROD}/attic"]
    blocked = {step["address"]: step["blocked"] for step in found["deletions"]}
    assert blocked == {f"{PROD}/stairs": f"still used by {PROD}/attic", f"{PROD}/hall": f"still used by {PROD}/stairs"}


GHOST = "no loaded class for the kind test:Lamp (defined in lamp): "
UNBLOCK = "name its module in [tool.alchemy] kinds, or run the program's own destroy"


@pytest.fixture
def haunted(house: Path) -> Path:
    """Nobody knows lamps any more: the program declares nothing, and its module is gone."""
    (house / "alchemy_run.py").write_text(
        "from alchemy import alchemy\n\n\nasync def main() -> None:\n"
        '    async with alchemy("house", stage="prod"):\n        pass\n'
    )
    (house / "lamp.py").rename(house / "lamps.txt")
    return house


def test_every_command_says_of_a_kind_that_is_not_loaded_the_same_and_how_to_unblock_it(haunted: Path) -> None:
    sentence = GHOST + UNBLOCK
    calls = ["plan", "deploy", f"destroy {PROD} --yes", f"scope cleanup {PROD} --all --dry-run"]
    calls += [f"scope cleanup {PROD} --all --dry-run --json", f"scope cleanup {PROD} --all --yes"]
    calls += [f"scope cleanup {PROD} --all --only shed --dry-run", f"scope cleanup {PROD} --all --only shed --yes"]
    for call, done in zip(calls, forked([Call(tuple(call.split())) for call in calls], haunted), strict=True):
        assert sentence in " ".join((done.out + done.err).split()), (call, done)
        acts = "dry-run" not in call and call != "plan"
        assert done.code == (1 if acts else 0), (call, done)
    assert len(lit(haunted)) == 4, "every row and every object is where it was"
    (listed,) = scope(haunted, "list --json")
    assert len(json.loads(listed.out)["resources"]) == 4


@pytest.mark.slow
def test_a_step_through_says_it_too_and_the_module_named_in_the_project_unblocks_it(haunted: Path) -> None:
    with terminal("scope", "cleanup", PROD, "--all", "--step", cwd=haunted) as shown:
        shown.wait_for("BLOCKED")
        shown.wait_for("help: ")
        shown.type("d\n")
        shown.wait_for("it cannot be destroyed now: no loaded class for the kind test:Lamp")
        shown.type("q\n")
        assert shown.end() == 0
    assert (haunted / "cleanup-house-prod.json").exists()
    (haunted / "lamps.txt").rename(haunted / "lamp.py")
    (haunted / "pyproject.toml").write_text('[tool.alchemy]\nkinds = ["lamp"]\n')
    (haunted / "cleanup-house-prod.json").unlink()
    done = alchemy("scope", "cleanup", PROD, "--all", "--yes", cwd=haunted)
    assert done.code == 0, done.err
    assert lit(haunted) == []


@pytest.mark.slow
def test_one_step_after_the_other_on_a_terminal(house: Path) -> None:
    with terminal("scope", "cleanup", PROD, "--all", "--step", cwd=house) as shown:
        shown.wait_for(r"step 1 of 4  delete  house/prod/attic  Lamp")
        shown.wait_for(r"call +delete test:Lamp house-prod-attic-")
        shown.wait_for(r"used by +nothing in this plan")
        shown.wait_for(r"uses +house/prod/stairs \(not decided\)")
        shown.wait_for(r"lost +the object and all that is in it")
        shown.wait_for(r"after +the row of house/prod/attic is gone")
        shown.wait_for("help: ")
        shown.type("\n")
        shown.wait_for("nothing was decided")
        shown.type("x\n")
        shown.type("?\n")
        shown.wait_for("q  quit: what is decided is saved as a draft")
        shown.type("k\n")
        shown.wait_for("step 2 of 4")
        shown.type("u\n")
        shown.type("d\n")
        shown.wait_for(r"(?s)step 1 of 4.*step 2 of 4.*step 1 of 4.*step 2 of 4  delete  house/prod/shed")
        shown.type("f\n")
        shown.wait_for(r"step 3 of 4  delete  house/prod/stairs")
        shown.wait_for(r"used by +house/prod/attic \(goes\)")
        shown.type("q\n")
        shown.wait_for("nothing was done; decisions saved")
        assert shown.end() == 0
    assert len(lit(house)) == 4
    with terminal("scope", "cleanup", PROD, "--plan", "cleanup-house-prod.json", "--step", cwd=house) as shown:
        shown.wait_for(r"step 3 of 4  delete  house/prod/stairs")
        shown.type("s\n")
        shown.wait_for(r"held +still used by house/prod/stairs: destroy that too, or this stays")
        shown.type("d\n")
        shown.wait_for("1 to delete, 1 to forget, 1 skip")
        shown.wait_for("Type prod to destroy house/prod as decided: ")
        shown.type("prod\n")
        assert shown.end() == 0, shown.text
    assert lit(house) == ["hall", "shed", "stairs"]
    assert not (house / "cleanup-house-prod.json").exists(), "nothing is left of it to go on with"
    (listed,) = scope(house, "list --json")
    addresses = sorted(found["address"] for found in json.loads(listed.out)["resources"])
    assert addresses == [f"{PROD}/hall", f"{PROD}/stairs"]


def test_resume_has_nothing_to_do_where_nothing_was_left(built: Path) -> None:
    (done,) = scope(built, f"resume {PROD}")
    assert (done.code, done.out) == (0, "")
    assert "no run left anything unfinished" in done.err


def test_resume_says_what_only_the_program_can_finish(house: Path) -> None:
    lamps(house, BODY + 'Lamp("dark", broken=True)')
    failed, shown = forked([Call(("deploy",)), Call(("scope", "resume", PROD))], house)
    assert failed.code == 1
    assert shown.code == 0
    assert f"creating   {PROD}/dark  Lamp" in shown.err
    assert "next: only the program can finish these: `alchemy deploy --stage prod`" in shown.err
