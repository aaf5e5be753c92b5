"""Every stored file, damaged in every way: each command tells the right state, or names the file and the way out.

Never a traceback, never an empty state with exit code 0, never a process that waits for ever.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.cli.driver import alchemy
from tests.scenarios.world import World
from tests.store.fuzzing import (
    BLIND,
    COMMANDS,
    FORGERS,
    KINDS,
    OF_DIRECTORIES,
    PROD,
    SAYS_NOTHING,
    Bench,
    Harm,
    build,
    dice_for,
    empty,
    files_of,
    remove,
    rename,
    to_directory,
    to_link,
    to_pipe,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture
def bench(made: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    return Bench(made, tmp_path)


def damage(bench: Bench, dice: random.Random, kind: str, harm: Harm, *, forged: bool = False) -> None:
    """Without snapshots half of the time, when the journal alone holds the state."""
    root = bench.copy(snapshots=kind == "snapshot" or dice.random() < 0.5)
    file = dice.choice(files_of(root, kind))
    print(f"{bench.number}: {harm.__name__} {file.relative_to(root)}")
    harm(dice, file)
    bench.check(root, kind, forged=forged)


def test_the_undamaged_world_is_told_as_it_is(bench: Bench) -> None:
    for snapshots in (True, False):
        bench.check(bench.copy(snapshots=snapshots), "nothing", forged=False)
    assert set(bench.seen) == {*(f"{command[1]} 0" for command in COMMANDS), "plan done", "up done"}


@pytest.mark.parametrize("kind", KINDS)
def test_one_blind_damage(bench: Bench, kind: str) -> None:
    dice = dice_for(f"one {kind}")
    damage(bench, dice, kind, dice.choice(BLIND))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_blind_damage(bench: Bench, kind: str) -> None:
    dice = dice_for(f"blind {kind}")
    for harm in dice.sample(BLIND, 12 if kind in ("journal", "view") else 4):
        damage(bench, dice, kind, harm)


@pytest.mark.slow
def test_directories_that_are_something_else(bench: Bench) -> None:
    """A stage's whole directory that is gone is gone: nothing is left that could tell."""
    dice = dice_for("directories")
    for _ in range(2):
        for harm in OF_DIRECTORIES:
            root = bench.copy()
            found = [
                file for file in files_of(root, "directory") if file.name != "prod" or harm not in (remove, rename)
            ]
            file = dice.choice(found)
            print(f"{bench.number}: {harm.__name__} {file.relative_to(root)}")
            harm(dice, file)
            bench.check(root, "directory", forged=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORGERS)
def test_damage_with_every_checksum_computed_again(bench: Bench, kind: str) -> None:
    dice = dice_for(f"forged {kind}")
    for _ in range({"journal": 25, "view": 10, "snapshot": 10}.get(kind, 3)):
        damage(bench, dice, kind, FORGERS[kind], forged=True)


@pytest.mark.slow
@pytest.mark.parametrize("harm", [empty, to_link, to_pipe, to_directory])
def test_the_same_in_processes_of_their_own(bench: Bench, harm: Harm) -> None:
    """Also that none of them waits for a pipe when nobody can interrupt it."""
    dice = dice_for(f"process {harm.__name__}")
    for kind in ("journal", "view"):
        root = bench.copy(snapshots=False)
        harm(dice, dice.choice(files_of(root, kind)))
        for arguments in (["list"], ["inspect", PROD], ["validate"]):
            done = alchemy("scope", *arguments, "--state-dir", str(root / ".alchemy"), cwd=root)
            assert done.code in (0, 4), (kind, arguments, done)
            assert not any(word in done.err for word in SAYS_NOTHING), done
            if done.code == 0:
                assert arguments == ["list"], done
                assert "3 resources" in done.out, done


def test_a_harm_that_nobody_notices_is_noticed_here(bench: Bench) -> None:
    """The check itself: an empty state that looks whole."""
    root = bench.copy(snapshots=False)
    for directory in ("journal", "backups", "resources", "database"):
        remove(dice_for("nothing"), root / ".alchemy" / PROD / directory)
    remove(dice_for("nothing"), root / ".alchemy" / PROD / "state.json")
    with pytest.raises(AssertionError):
        bench.check(root, "journal", forged=False)
