"""Disks of every small size, and disks that fill up under a stage that is there: deploy, update, destroy, restore.

Whatever the size: either it goes well, or the error says what could not be written and what to do, nothing that the
cloud gave is lost, and with space the same command goes on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.runs import Bench, Ended
from tests.crash.server import Cloud
from tests.crash.test_kill import nothing_twice
from tests.torture.conftest import Tally
from tests.torture.disks import Tmpfs

SIZES = [64, 80, 96, 112, 128, 160, 192, 256, 320, 384, 512, 640, 768, 1024]  # kilobytes
LEFT = [0, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192]
PLENTY = 16 * 1024


@pytest.fixture
def bench(cloud: Cloud, tmpfs: Tmpfs, tmp_path: Path) -> Bench:
    (tmp_path / "tmp").mkdir()
    return Bench(cloud, tmpfs.place, n=40, common={"TMPDIR": str(tmp_path / "tmp")})


def well_said(ended: Ended) -> None:
    """Subject, cause, next step."""
    assert ended.code == 1, f"exit {ended.code}\n{ended.err}{ended.out}"
    said = ended.err + ended.out
    assert "Traceback" not in said
    assert re.search(r"cannot (write|sync|create)", said), said
    assert "No space left on device" in said
    assert "free space" in said


def nothing_forgotten(bench: Bench, said: str) -> None:
    """Every item in the cloud is known by its id, in the state or in the spills that the messages named."""
    ids = {str(row.outputs["item_id"]) for row in bench.fold().resources.values() if row.outputs}
    for named in re.findall(r"alchemy scope recover (\S+?)`", said):
        ops = json.loads(Path(named).read_text())["ops"]
        ids |= {op["row"]["outputs"]["item_id"] for op in ops if op.get("row", {}).get("type") == "resource"}
    assert set(bench.cloud.items) <= ids


def until_it_fits(bench: Bench, tmpfs: Tmpfs, step: Callable[[], Ended], tally: Tally, what: str) -> None:
    """Once or twice without enough space, then with plenty."""
    said = ""
    for _ in range(2):
        ended = step()
        bench.cloud.settle()
        if ended.code == 0:
            tally(f"{what}: fitted", 1)
            tmpfs.resize(PLENTY)
            return
        well_said(ended)
        said += ended.err
        nothing_forgotten(bench, said)
        tally(f"{what}: refused", 1)
    tmpfs.resize(PLENTY)
    ended = step()
    assert ended.code == 0, ended.err + ended.out


@pytest.mark.parametrize("mode", ["sequential", "parallel"])
@pytest.mark.parametrize("size", SIZES)
def test_a_first_deploy_on_a_disk_of_any_size(bench: Bench, tmpfs: Tmpfs, tally: Tally, size: int, mode: str) -> None:
    tmpfs.resize(size)
    until_it_fits(bench, tmpfs, lambda: bench.run(mode=mode), tally, "first deploys")
    nothing_twice(bench.cloud, bench.n)
    bench.destroy()


@pytest.mark.parametrize("left", LEFT)
def test_a_stage_whose_disk_fills_up(bench: Bench, tmpfs: Tmpfs, tally: Tally, left: int) -> None:
    bench.deploy()

    def fill() -> None:
        tmpfs.resize(tmpfs.used + left)

    fill()
    until_it_fits(bench, tmpfs, lambda: bench.run(size="2"), tally, "updates")
    nothing_twice(bench.cloud, bench.n)
    assert {item["size"] for item in bench.cloud.items.values()} == {2}
    fill()
    restore = ["scope", "restore", "crash/prod", "--backup", "latest", "--yes"]
    until_it_fits(bench, tmpfs, lambda: bench.alchemy(*restore), tally, "restores")
    bench.deploy(size="2")
    nothing_twice(bench.cloud, bench.n)
    fill()
    until_it_fits(bench, tmpfs, lambda: bench.run(phase="destroy"), tally, "destroys")
    assert bench.cloud.items == {}
    valid = bench.alchemy("scope", "validate")
    assert valid.code == 0, valid.out + valid.err
