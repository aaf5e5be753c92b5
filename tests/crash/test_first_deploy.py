"""Interrupting the very first deploy bricks nothing: whatever comes next works, from the first byte on.

Killed before each file operation, also before anything is on disk, and by Ctrl-C at several moments. `make test` takes
a sample of the places, ALCHEMY_EVERY=1 takes them all.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.driver import Call, Done, forked
from tests.crash.program import __file__ as PROGRAM
from tests.crash.runs import Bench, chance
from tests.crash.server import Cloud
from tests.crash.stepping import DEAD, Stepper

EVERY = bool(os.environ.get("ALCHEMY_EVERY"))
SAMPLE = 3


@pytest.fixture
def stepper(tmp_path: Path) -> Iterator[Stepper]:
    stepper = Stepper(tmp_path)
    yield stepper
    stepper.close()


def calls(*lines: str, root: Path, url: str) -> list[Call]:
    environment = {"ALCHEMY_STATE_DIR": str(root), "ITEMS_URL": url, "ITEMS_N": "3", "ITEMS_CHAIN": "1"}
    return [Call(tuple(line.split()), tuple(environment.items())) for line in lines]


def run(lines: tuple[str, ...], root: Path, cloud: Cloud, directory: Path) -> list[Done]:
    answers = forked(calls(*lines, root=root, url=cloud.url), directory)
    cloud.settle()
    for line, done in zip(lines, answers, strict=True):
        assert done.code == 0, (line, done)
        assert "Traceback" not in done.err
    return answers


def everything_works(root: Path, cloud: Cloud, directory: Path) -> None:
    """Each command that somebody may type next, on what an interrupted first deploy left."""
    directory.mkdir(exist_ok=True)
    (directory / "pyproject.toml").write_text(f'[tool.alchemy]\nprogram = "{PROGRAM}"\n')
    before = dict(cloud.items)
    first = ("plan", "scope list", "scope validate", "scope locks --json", "deploy")
    run(first, root, cloud, directory)
    assert len(cloud.items) == 3
    assert cloud.items.keys() >= before.keys(), "what was made is taken over"
    then = ("scope validate", "scope cleanup crash/prod --dry-run", "destroy --yes", "scope list", "scope validate")
    answers = run(then, root, cloud, directory)
    assert "nothing was left behind" in answers[1].err
    assert cloud.items == {}
    assert set(cloud.created.values()) <= {1}


@pytest.mark.slow
def test_killed_at_any_step(stepper: Stepper, cloud: Cloud, tmp_path: Path) -> None:
    _, places = stepper.deploy(tmp_path / "alive" / ".alchemy", cloud.url, n="3", chain="1")
    cloud.settle()
    cloud.items.clear()
    early = [0, 1]  # before the state directory, and just in it
    chosen = range(places) if EVERY else [*early, *sorted(chance(0).sample(range(2, places), SAMPLE))]
    print(f"{len(chosen)} of {places} places")
    for place in chosen:
        directory = tmp_path / f"place-{place}"
        code, _ = stepper.deploy(directory / ".alchemy", cloud.url, n="3", chain="1", die_at=place)
        cloud.settle()
        assert code in (DEAD, 0)
        everything_works(directory / ".alchemy", cloud, directory)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["at once", "opened", "in the first call"])
def test_ctrl_c(moment: str, bench: Bench, cloud: Cloud, tmp_path: Path) -> None:
    bench.n = 3
    if moment != "at once":
        cloud.fail("POST", "slow", times=3, seconds=0.3)
    running = bench.start(chain="1")
    if moment == "at once":
        time.sleep(0.15)  # somewhere in the imports or the opening
    elif moment == "opened":
        journal = bench.root / "crash" / "prod" / "journal" / "000001.jsonl"
        while running.alive and not (journal.exists() and journal.stat().st_size):
            time.sleep(0.002)
    else:
        cloud.wait_for(1, "POST", unless=lambda: not running.alive)
    running.send(signal.SIGINT)
    ended = running.wait()
    assert ended.code in (130, -signal.SIGINT, 0), ended.err
    cloud.faults.clear()
    cloud.settle()
    everything_works(bench.root, cloud, tmp_path)
