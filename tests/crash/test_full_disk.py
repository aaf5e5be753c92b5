"""Disks that are full, read-only or too small: the run stops, says so with a next step, and loses nothing it knew.

On a small tmpfs of its own where the system lets us mount one, and everywhere by a limit on the size of files.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alchemy.errors import StorageFailed
from alchemy.model.records import Put
from alchemy.model.values import Status
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.opening import load
from tests.crash.runs import Bench, Ended, chance
from tests.crash.test_kill import MODES, nothing_twice
from tests.crash.test_power_cut import PATH, Writer, first, row


def limited(bytes_: int) -> Callable[[], None]:
    """For a child: no file grows beyond this."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))


def check_storage_failed(ended: Ended) -> None:
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err
    assert "cannot write" in ended.err
    assert "journal" in ended.err
    assert "free space" in ended.err


def known(bench: Bench, ended: Ended) -> set[str]:
    """Ids of the server that the state holds or the spill file, which the message names."""
    ids = {row.outputs["item_id"] for row in bench.fold().resources.values() if row.outputs}
    named = re.search(r"could not write is in (\S+): `alchemy scope recover \1`", ended.err)
    if named:
        ops = json.loads(Path(named[1]).read_text())["ops"]
        ids |= {op["row"]["outputs"]["item_id"] for op in ops if op["row"]["type"] == "resource"}
    return ids


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [9_000, 30_000])
@pytest.mark.slow
def test_a_journal_that_cannot_grow_stops_the_deploy_and_the_next_one_goes_on(
    bench: Bench, tmp_path: Path, mode: str, size: int
) -> None:
    ended = bench.run_with(limited(size), mode=mode, TMPDIR=str(tmp_path))
    bench.cloud.settle()
    check_storage_failed(ended)
    assert bench.cloud.count("POST") < bench.n
    assert known(bench, ended) == set(bench.cloud.items), "an id that the cloud gave was lost"
    announced = {each.physical_name for each in bench.fold().resources.values()}
    assert set(bench.cloud.names) <= announced, "an item that no intent announced"
    bench.deploy(mode=mode)
    nothing_twice(bench.cloud, bench.n)
    bench.destroy()


class Namespace:
    """A shell that may mount what only it sees."""

    def __init__(self) -> None:
        self._shell = subprocess.Popen(
            ["unshare", "-Urm", "sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def do(self, command: str) -> int:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{command}\necho ended $?\n")
        self._shell.stdin.flush()
        while line := self._shell.stdout.readline():
            if line.startswith("ended "):
                return int(line.split()[1])
        return -1

    def close(self) -> None:
        for pipe in (self._shell.stdin, self._shell.stdout):
            assert pipe is not None
            pipe.close()
        self._shell.wait(10)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    try:
        inside = Namespace()
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if inside.do("mount -t tmpfs -o mode=700 tmpfs /mnt 2>/dev/null") != 0:
        inside.close()
        pytest.skip("this system lets nobody mount a file system of their own")
    yield inside
    inside.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.slow
def test_a_full_disk_stops_the_deploy_and_with_space_it_goes_on(
    bench: Bench, tmp_path: Path, namespace: Namespace, mode: str
) -> None:
    bench.root.mkdir()
    size = chance(0).choice([60, 100, 140])
    assert namespace.do(f"mount -t tmpfs -o mode=700,size={size}k tmpfs {bench.root}") == 0

    def run(**settings: str) -> Ended:
        command = bench.command(tmp_path / "out", tmp_path / "err", TMPDIR=str(tmp_path), **settings)
        code = namespace.do(command)
        bench.cloud.settle()
        return Ended(code, (tmp_path / "out").read_text(), (tmp_path / "err").read_text(), 0.0)

    ended = run(mode=mode)
    check_storage_failed(ended)
    assert bench.cloud.count("POST") < bench.n
    again = run(mode=mode)
    assert again.code == 1, again.err
    assert "Traceback" not in again.err
    assert namespace.do(f"mount -o remount,size=16m {bench.root}") == 0
    assert run(mode=mode).code == 0
    nothing_twice(bench.cloud, bench.n)
    assert run(phase="destroy").code == 0
    assert bench.cloud.items == {}


@pytest.mark.slow
def test_a_read_only_state_directory_is_said_before_anything_is_called(
    bench: Bench, tmp_path: Path, namespace: Namespace
) -> None:
    bench.n = 3
    bench.root.mkdir()
    assert namespace.do(f"mount -t tmpfs -o ro,mode=700 tmpfs {bench.root}") == 0
    code = namespace.do(bench.command(tmp_path / "out", tmp_path / "err"))
    said = (tmp_path / "err").read_text()
    assert code == 1, said
    assert "Traceback" not in said
    assert "Read-only file system" in said
    assert "permissions of the state directory" in said or "check owner and permissions" in said
    assert bench.cloud.count() == 0


class Failing(Files):
    """The disk says no to syncing, from some moment on."""

    broken = False

    def sync(self, descriptor: int, path: Path) -> None:
        if self.broken and path.suffix == ".jsonl":
            raise StorageFailed(f"cannot sync {path}: Input/output error", hint="check the disk")
        super().sync(descriptor, path)


def test_a_failed_sync_is_final_and_what_it_carried_is_spilled(tmp_path: Path) -> None:
    """The disk may have dropped the pages and call the next sync a success: nothing after it is ever promised."""
    files = Failing()
    writer = Writer(files, tmp_path, "a" * 32)
    writer.commit(Put(row("one")))
    files.broken = True
    with pytest.raises(StorageFailed) as caught:
        writer.commit(
            Put(row("two"), "result", "create"), Put(row("three", status=Status.CREATING), "intent", "create")
        )
    assert "spill" in caught.value.hint
    writer.journal.append([Put(row("four"), "result", "create")], wait=False)  # its call was in flight meanwhile
    files.broken = False
    with pytest.raises(StorageFailed):
        writer.commit(Put(row("five")))
    with pytest.raises(StorageFailed):
        writer.close()
    (spill,) = Layout(tmp_path).spill.iterdir()
    assert [op["row"]["address"] for op in json.loads(spill.read_text())["ops"]] == [
        f"{PATH}/{id}" for id in ("two", "four", "five")
    ]
    first(Files(), tmp_path)
    fold = load(Files(), Layout(tmp_path), PATH).fold
    assert fold.released
    assert not {f"{PATH}/four", f"{PATH}/five"} & set(fold.resources)
