"""`alchemy scope mv`, `rm`, `export` and `import`, as typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.driver import Call, Done, forked, lamps, terminal

PROD = "house/prod"


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("deployed")
    lamps(directory, 'hall = Lamp("hall")\nLamp("attic", after=hall.place)')
    (done,) = forked([Call(("deploy",))], directory)
    assert done.code == 0, done.err
    (directory / "hall" / "old-lamp").write_text("warm")
    return directory


@pytest.fixture
def house(deployed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(deployed, tmp_path / "house", copy_function=shutil.copy2)


def typed(house: Path, *lines: str) -> list[Done]:
    return forked([Call(tuple(line.split())) for line in lines], house)


def tree(house: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (house / ".alchemy").rglob("*") if path.is_file()}


def test_shown_and_asked_before_anything_is_written(house: Path) -> None:
    lines = (
        f"scope mv {PROD}/hall {PROD}/lobby",
        f"scope rm {PROD}/hall",
        f"scope import {PROD}/old --kind test:Lamp --name old-lamp",
    )
    before = tree(house)
    answers = typed(house, *(f"{line}{more}" for line in lines for more in ("", " --dry-run", " --dry-run --json")))
    for asked, dry, quiet in zip(answers[::3], answers[1::3], answers[2::3], strict=True):
        assert asked.code == 2
        assert "has to be confirmed, and there is no terminal to ask on: nothing was done" in asked.err
        assert (dry.code, dry.out) == (0, "")
        assert dry.err in asked.err, "the same is shown"
        assert json.loads(quiet.out)["written"] is False
        assert quiet.err == ""
    assert tree(house) == before


def test_moved_forgotten_carried_and_taken_in(house: Path) -> None:
    lamps(house, 'hall = Lamp("lobby")\nLamp("attic", after=hall.place)')
    moved, planned, exported, again = typed(
        house,
        f"scope mv {PROD}/hall {PROD}/lobby --yes",
        "plan --detailed-exitcode",
        f"scope export {PROD}/lobby --out lobby.json",
        f"scope export {PROD}/lobby --out lobby.json",
    )
    assert moved.code == 0, moved.err
    assert "takes it back" in moved.err
    assert planned.code == 0, planned.out
    assert (exported.code, again.code) == (0, 2)
    forgot, broken, brought, taken, listed = typed(
        house,
        f"scope rm {PROD}/lobby --yes --json",
        "scope import alchemy_run.py --into house/next --yes",
        "scope import lobby.json --into house/next --yes --json",
        "scope import house/next/old --kind test:Lamp --name old-lamp --prop light=cold --yes",
        "scope list --json",
    )
    document = json.loads(forgot.out)
    assert document["written"]
    assert document["users"] == [f"{PROD}/attic"]
    assert broken.code == 4
    assert "alchemy_run.py" in broken.err
    assert [row["address"] for row in json.loads(brought.out)["imported"]] == ["house/next/lobby"]
    assert taken.code == 0, taken.err
    assert "house/next/old" in listed.out
    (back,) = typed(house, f"scope restore {PROD} --backup {document['backup']} --yes")
    assert back.code == 0, back.err


WRONG = {
    "scope import lobby.json": "either FILE and --into",
    "scope import lobby.json --into house/next --kind test:Lamp": "either FILE and --into",
    f"scope import {PROD}/x --kind test:Lamp": "give both",
    f"scope import {PROD}/x --kind test:Lamp --name n --prop size": "not of the form",
    "scope import nothing.json --into house/next": "there is no file",
    f"scope export {PROD} --out nowhere/x.json": "cannot be written",
    f"scope rm {PROD}": "is a scope",
    "scope rm": "missing argument",
}


def test_what_is_typed_wrong_is_told(house: Path) -> None:
    for line, done in zip(WRONG, typed(house, *WRONG), strict=True):
        assert done.code in (1, 2), line
        assert WRONG[line] in done.err
        assert "Traceback" not in done.err


@pytest.mark.slow
def test_on_a_terminal_the_address_is_typed(house: Path) -> None:
    with terminal("scope", "rm", f"{PROD}/hall", cwd=house) as shown:
        shown.wait_for("Type house/prod/hall to forget 1 resource of house/prod")
        shown.type("house/prod/attic\n")
        shown.wait_for("nothing was done")
    with terminal("scope", "mv", f"{PROD}/hall", f"{PROD}/lobby", cwd=house) as shown:
        shown.wait_for("Type y to move")
        shown.type("y\n")
        shown.wait_for("moved house/prod/hall to house/prod/lobby in R-2")
