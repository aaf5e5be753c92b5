"""Power cuts on a real journalled ext4, at random moments of real processes.

ALCHEMY_CUTS says how many of each kind; a failing one prints its seed, ALCHEMY_SEED repeats it.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from alchemy.model.values import Status
from alchemy.store.backups import BACKUP, read_backup
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.opening import load
from tests.crash.runs import CORE, Bench, Running, chance, eventually
from tests.crash.server import Cloud
from tests.crash.test_every_step import check_views
from tests.crash.test_kill import nothing_twice
from tests.crash.test_power_cut import PATH
from tests.torture import writing
from tests.torture.conftest import Tally
from tests.torture.disks import Ext4

CUTS = range(int(os.environ.get("ALCHEMY_CUTS", "24")))

# what was deployed before, what is cut, and what is there after it has run again
SCENARIOS: list[tuple[dict[str, str], dict[str, str], tuple[int, int, str]]] = [
    ({}, {}, (30, 1, "eu")),
    ({}, {"mode": "sequential"}, (30, 1, "eu")),
    ({}, {"tree": "3"}, (30, 1, "eu")),
    ({}, {"size": "2"}, (30, 2, "eu")),
    ({}, {"drop": "1", "mode": "sequential", "size": "2"}, (27, 2, "eu")),
    ({}, {"region": "us"}, (30, 1, "us")),
    ({}, {"phase": "destroy"}, (0, 0, "")),
    ({"tree": "3"}, {"tree": "3", "phase": "destroy"}, (0, 0, "")),
]
CREATING = 3  # of them start from nothing
HOW = ["the disk first", "the process first", "the disk only"]
HONEST = Path(__file__).parent / "honest.py"


@pytest.fixture
def bench(cloud: Cloud, ext4: Ext4, tmp_path: Path) -> Bench:
    home = ext4.place / "project"
    home.mkdir()
    ext4.sync()  # the project is older than any cut
    (tmp_path / "tmp").mkdir()
    return Bench(cloud, home / ".alchemy", n=30, common={"TMPDIR": str(tmp_path / "tmp")})


def cut(bench: Bench, ext4: Ext4, dice: random.Random, settings: dict[str, str]) -> None:
    """While `settings` run: at a request, or at any time of it; then the machine starts again."""
    how = dice.choice(HOW)
    number, wait = dice.randint(1, 30), dice.uniform(0.0, 0.04)
    at_request = dice.random() < 0.75
    if not at_request:
        wait = dice.uniform(0.2, 1.0)
    print(f"{settings}: {how}, {wait * 1000:.1f} ms after {f'request {number}' if at_request else 'the start'}")
    since = bench.cloud.count()
    program, environment = (
        (bench.program, {}) if how == HOW[1] else (HONEST, {"PYTHONPATH": f"{CORE}{os.pathsep}{CORE.parent}"})
    )
    running = replace(bench, program=program).start(**settings, **environment)
    if at_request:
        bench.cloud.wait_for(number, since=since, unless=lambda: not running.alive)
    time.sleep(wait)
    if how == "the process first":
        stop(running)
    ext4.cut()
    if how == "the disk only":  # as when somebody pulls it out: the program has to find out and to say so
        ended = running.wait()
        assert ended.code in (0, 1), f"exit {ended.code}\n{ended.err}"
        assert "Traceback" not in ended.err
    else:
        running.kill()
    bench.cloud.settle()
    ext4.boot()
    nothing_unannounced(bench, since)


def stop(running: Running) -> None:
    """None of its threads does anything any more, in the kernel neither."""
    running.send(signal.SIGSTOP)
    tasks = Path(f"/proc/{running.process.pid}/task")

    def state(task: Path) -> str:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]

    eventually(lambda: not running.alive or all(state(task) in "TtZX" for task in tasks.iterdir()), "it is stopped")


def nothing_unannounced(bench: Bench, since: int) -> None:
    """Whatever the cloud was asked for, the journal had promised to remember; and it does."""
    rows = list(bench.fold().resources.values()) if bench.root.is_dir() else []
    names = {row.physical_name for row in rows}
    ids = {row.outputs.get("item_id", ""): row for row in rows if row.outputs}
    for call in bench.cloud.calls[since:]:
        id = call.path.rpartition("/")[2]
        if call.method == "POST":
            assert call.body["name"] in names, f"{call.body['name']} was asked for and nobody remembers"
        elif call.method == "DELETE" and id in ids:
            assert ids[id].status is Status.DELETING or ids[id].former, f"{id}: {ids[id].status}"
        elif call.method == "PUT":
            known = ids[id]
            assert known.status is Status.UPDATING or known.props["size"] == call.body["size"], f"{id}: {known.status}"


@pytest.mark.parametrize("trial", CUTS)
def test_a_power_cut_leaks_nothing_doubles_nothing_and_forgets_nothing(
    bench: Bench, ext4: Ext4, tally: Tally, trial: int
) -> None:
    dice = chance(trial)
    number = trial % len(SCENARIOS)
    before, settings, (count, size, region) = SCENARIOS[number]
    if number >= CREATING:
        bench.deploy(**before)
        bench.cloud._made.clear()  # a replacement makes the same name again, and rightly so
    for _ in range(dice.choice([1, 1, 2])):
        cut(bench, ext4, dice, settings)
        tally("power cuts in deploys", 1)
    bench.deploy(**settings)
    nothing_twice(bench.cloud, count)
    assert {(item["size"], item["region"]) for item in bench.cloud.items.values()} <= {(size, region)}
    valid = bench.alchemy("scope", "validate")
    assert valid.code == 0, valid.out + valid.err
    check_views(bench.root)
    bench.destroy()
    valid = bench.alchemy("scope", "validate")
    assert valid.code == 0, valid.out + valid.err


@pytest.mark.parametrize("trial", CUTS)
def test_a_power_cut_takes_no_promised_record_with_it(ext4: Ext4, tally: Tally, trial: int) -> None:
    """Five cuts in a row on one journal: what is there is what some commit left, none before the promised."""
    dice = chance(trial)
    root = ext4.place / ".alchemy"
    k = 1
    for _ in range(5):
        promised, errors = write_until_cut(ext4, dice, root, k)
        fold = load(Files(), Layout(root), PATH).fold
        found = fold.resources[f"{PATH}/count"].outputs["k"] if fold.resources else 0
        tally("power cuts on a bare journal", 1)
        tally("promised commits", promised - k + 1 if promised else 0)
        assert found >= promised, f"commit {promised} was promised, {found} is there\n{errors}"
        assert writing.rows(fold) == writing.model(found)
        whole_backups(root, before=found)
        k = found + 1


def whole_backups(root: Path, before: int) -> None:
    """Those that were finished before the last commit are whole."""
    layout, files = Layout(root), Files()
    names = [name for name in files.names(layout.backups(PATH)) if BACKUP.fullmatch(name)]
    for name in names[:-1] if before else []:
        header = read_backup(files.read(layout.backups(PATH) / name))
        assert header["scope"] == str(PATH)


def write_until_cut(ext4: Ext4, dice: random.Random, root: Path, k: int) -> tuple[int, str]:
    """The last promised commit (0: none), and what the writer complained of."""
    environment = {**os.environ, "PYTHONPATH": f"{CORE}{os.pathsep}{CORE.parent}", "TMPDIR": str(root.parent.parent)}
    command = [sys.executable, "-m", "tests.torture.writing", str(root), str(k)]
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        writer = subprocess.Popen(command, env=environment, stdout=said, stderr=errors, cwd=CORE.parent)
        try:
            if dice.random() < 0.8:
                eventually(lambda: writer.poll() is not None or os.fstat(said.fileno()).st_size, "a first promise")
                time.sleep(dice.uniform(0, 0.3))
            else:
                time.sleep(dice.uniform(0.2, 0.5))
            if dice.random() < 0.5:
                writer.send_signal(signal.SIGSTOP)
            ext4.cut()
        finally:
            writer.kill()
            writer.wait()
        ext4.boot()
        lines = re.findall(rb"(\d+)\n", os.pread(said.fileno(), 1 << 20, 0))
        return int(lines[-1]) if lines else 0, os.pread(errors.fileno(), 1 << 20, 0).decode()
