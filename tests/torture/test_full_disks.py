"""Disks of every small size, disks that fill up under a stage, and those that are full when a command begins.

Whatever the size: either it goes well, or the error says what could not be written and what to do, nothing that the
cloud gave is lost, and with space the same command goes on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
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
    assert re.search(r"cannot (write|write to|sync|create) /\S+: No space left on device", said), said
    assert re.search(r"next: .*free space on the disk of", said), said


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


OLD = {"resources": {"table": {"kind": "crash:Item", "name": "table", "outputs": {"item_id": "item-0"}}}}
SCOPE = "crash/prod"


@dataclass(frozen=True)
class Deed:
    """A command on a stage that is there, or on what `before` makes of it; both get the bench."""

    run: Callable[[Bench], Ended]
    before: Callable[[Bench], object] = lambda bench: None


def typed(*words: str) -> Callable[[Bench], Ended]:
    return lambda bench: bench.alchemy(*words)


def killed(bench: Bench) -> None:
    """In the middle of an update."""
    since = bench.cloud.count()
    running = bench.start(size="3", mode="sequential")
    bench.cloud.wait_for(5, "PUT", since=since)
    running.kill()
    bench.cloud.settle()


def unlock(bench: Bench) -> Ended:
    seen = json.loads(bench.alchemy("scope", "locks", "--json").out)
    tokens = [each["token"] for each in seen["locks"] if each["path"] == SCOPE]
    return bench.alchemy("scope", "unlock", SCOPE, "--token", *tokens)


def migrate(bench: Bench) -> Ended:
    file = bench.root.parent / "old.json"
    file.write_text(json.dumps(OLD))
    return bench.alchemy("scope", "migrate", str(file), "--into", "crash/old")


DEEDS = {
    "nothing to do": Deed(lambda bench: bench.run()),
    "update": Deed(lambda bench: bench.run(size="2")),
    "replace": Deed(lambda bench: bench.run(region="us")),
    "collect": Deed(lambda bench: bench.run(drop="1")),
    "resume": Deed(lambda bench: bench.run(size="3"), killed),
    "another stage": Deed(lambda bench: bench.run(stage="dev")),
    "destroy by program": Deed(lambda bench: bench.run(phase="destroy")),
    "destroy": Deed(typed("destroy", SCOPE, "--yes")),
    "cleanup": Deed(typed("scope", "cleanup", SCOPE, "--all", "--yes"), killed),
    "backup": Deed(typed("scope", "backup", SCOPE, "--pin")),
    "restore": Deed(typed("scope", "restore", SCOPE, "--backup", "latest", "--yes"), lambda b: b.deploy(size="2")),
    "rebuild": Deed(typed("scope", "rebuild", SCOPE, "--yes", "--force")),
    "reset": Deed(typed("scope", "reset", SCOPE, "--yes", "--force")),
    "migrate": Deed(migrate),
    "lock": Deed(typed("scope", "lock", SCOPE, "--reason", "inventory")),
    "unlock the reserved": Deed(unlock, typed("scope", "lock", SCOPE, "--reason", "inventory")),
    "unlock the dead": Deed(unlock, killed),
}


@pytest.mark.parametrize("name", DEEDS)
def test_a_disk_that_is_full_when_a_command_begins(bench: Bench, tmpfs: Tmpfs, tally: Tally, name: str) -> None:
    """Whatever cannot be announced is not done; what is there can be looked at all the same."""
    deed, bench.n = DEEDS[name], 10
    bench.deploy()
    deed.before(bench)
    rows, items = bench.fold().resources, dict(bench.cloud.items)
    tmpfs.resize(tmpfs.used)
    refused = 0
    for _ in range(2):
        ended = deed.run(bench)
        bench.cloud.settle()
        if ended.code == 0:
            break
        well_said(ended)
        refused += 1
        assert str(tmpfs.place) in ended.err
        assert bench.cloud.items == items, "something was done that nobody could have remembered"
        assert bench.fold().resources == rows
    listed = bench.alchemy("scope", "list", "--json")
    assert listed.code == 0, listed.err
    assert len(json.loads(listed.out)["resources"]) == len(rows) or not refused
    tally(f"on a full disk from the start: {'refused' if refused else 'fitted'}", 1)
    tmpfs.resize(PLENTY)
    if refused:
        ended = deed.run(bench)
        assert ended.code == 0, ended.err + ended.out
    valid = bench.alchemy("scope", "validate")
    assert valid.code == 0, valid.out + valid.err


def test_a_first_deploy_on_a_full_disk(bench: Bench, tmpfs: Tmpfs, tally: Tally) -> None:
    (tmpfs.place / "of somebody else").write_bytes(b"." * 4096)
    tmpfs.resize(tmpfs.used)
    well_said(bench.run())
    assert bench.cloud.count() == 0
    tmpfs.resize(PLENTY)
    bench.deploy()
    nothing_twice(bench.cloud, bench.n)
    tally("on a full disk from the start: refused", 1)
