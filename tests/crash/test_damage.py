"""A journal that was cut, emptied, edited or taken away never reads as an empty scope; a torn view stops nobody."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from alchemy.errors import StateInvalid
from alchemy.model.canonical import digest
from alchemy.model.values import ScopeKind
from alchemy.store.backups import read_backup
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from alchemy.store.opening import load
from tests.crash.runs import PROD, Bench, chance
from tests.crash.test_power_cut import PATH, Writer, first, second, third


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Two runs, both released."""
    root = tmp_path / "made"
    first(Files(), root)
    first(Files(), root)
    return root


def rows(root: Path) -> str:
    return digest(load(Files(), Layout(root), PATH).fold.to_snapshot()["resources"])


def opens_with(root: Path) -> str:
    """What a deploy would find: the digest of the rows, or that it refuses."""
    try:
        writer = Writer(Files(), root, "d" * 32)
    except StateInvalid as error:
        return "refused" if "journal" in error.message and error.hint else str(error)
    found = digest(writer.journal.fold.to_snapshot()["resources"])
    writer.close()
    return found


def damaged(made: Path, place: Path, number: int, change: Callable[[Path], None]) -> Path:
    root = place / f"damaged-{number}"
    shutil.copytree(made, root)
    change(root)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_journal_cut_anywhere_is_refused(made: Path, tmp_path: Path, epoch: int) -> None:
    file = Layout(made).epoch(PATH, epoch)
    data = file.read_bytes()
    ends = [n for n in range(len(data)) if data[n - 1 : n] == b"\n"]
    for length in {0, 1, *ends, *(n - 1 for n in ends), *chance(epoch).sample(range(len(data)), 25)}:

        def cut(root: Path, length: int = length) -> None:
            Layout(root).epoch(PATH, epoch).write_bytes(data[:length])

        root = damaged(made, tmp_path, length, cut)
        assert opens_with(root) == "refused", f"cut at {length} of {len(data)}"


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_journal_with_one_changed_byte_is_refused(made: Path, tmp_path: Path, epoch: int) -> None:
    data = Layout(made).epoch(PATH, epoch).read_bytes()
    for place in chance(epoch).sample(range(len(data)), 40):
        changed = bytearray(data)
        changed[place] ^= 0x04

        def edit(root: Path, changed: bytes = bytes(changed)) -> None:
            Layout(root).epoch(PATH, epoch).write_bytes(changed)

        root = damaged(made, tmp_path, place, edit)
        assert opens_with(root) == "refused", f"byte {place}: {data[place : place + 1]!r}"


def views(root: Path) -> list[Path]:
    return sorted(Layout(root).scope(PATH).rglob("state.json"))


@pytest.mark.parametrize("what", ["both epochs", "the first", "the second", "the directory", "emptied"])
@pytest.mark.parametrize("owner", ["whole", "torn", "gone"])
def test_a_journal_that_is_taken_away_is_refused(made: Path, what: str, owner: str) -> None:
    """Also when the scope's own view was lost with it: those of its resources still tell."""
    layout = Layout(made)
    view = layout.scope_view(PATH)
    if owner == "torn":
        view.write_bytes(view.read_bytes()[:40])
    elif owner == "gone":
        view.unlink()
    if what == "the directory":
        shutil.rmtree(layout.journal(PATH))
    for epoch in (1, 2):
        if what == "emptied":
            layout.epoch(PATH, epoch).write_bytes(b"")
        elif what == "both epochs" or what == ("the first", "the second")[epoch - 1]:
            layout.epoch(PATH, epoch).unlink()
    assert opens_with(made) == "refused"


def test_torn_views_stop_nobody(made: Path) -> None:
    expected = rows(made)
    for number, view in enumerate(views(made)):
        data = view.read_bytes()
        view.write_bytes([data[: len(data) // 2], b"", bytes(len(data))][number % 3])
    assert opens_with(made) == expected


def test_a_torn_snapshot_is_passed_over(tmp_path: Path) -> None:
    for run in (first, second, third):
        run(Files(), tmp_path)
    expected = rows(tmp_path)
    (snapshot,) = Layout(tmp_path).snapshots(PATH).iterdir()
    snapshot.write_bytes(snapshot.read_bytes()[:-100])
    assert rows(tmp_path) == expected
    assert opens_with(tmp_path) == expected


def empty(file: Path) -> None:
    file.write_bytes(b"")


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def take_away(file: Path) -> None:
    file.unlink()


def take_directory_away(file: Path) -> None:
    shutil.rmtree(file.parent)


@pytest.mark.parametrize("harm", [empty, halve, take_away, take_directory_away])
@pytest.mark.slow
def test_a_deploy_on_a_damaged_journal_exits_with_4_and_touches_nothing(
    bench: Bench, harm: Callable[[Path], None]
) -> None:
    bench.n = 5
    bench.deploy()
    asked = bench.cloud.count()
    kept = shutil.copytree(bench.root, bench.root.parent / "kept")
    file = Layout(bench.root).epoch(PROD, 1)
    harm(file)
    commands = [("deploy",), ("destroy", "crash/prod", "--yes"), ("plan",), ("scope", "inspect", "crash/prod")]
    runs = [bench.run(), bench.run(phase="destroy"), *(bench.alchemy(*command) for command in commands)]
    for ended in runs:
        assert ended.code == 4, ended.err
        assert "journal" in ended.out + ended.err
        assert "Traceback" not in ended.err
    assert bench.cloud.count() == asked
    shutil.rmtree(bench.root)
    kept.rename(bench.root)  # the way out that the message names: one's own copy
    bench.destroy()


def test_a_backup_cut_off_by_a_kill_does_not_stand_in_for_a_whole_one(tmp_path: Path) -> None:
    """The run that was killed while it wrote it is followed by one that makes another."""
    first(Files(), tmp_path)

    async def run() -> str:
        store = LocalStore(Layout(tmp_path), "a" * 32)
        ledger = await Ledger.open(store, PATH, ScopeKind.STAGE, purpose="deploy", timeout=0)
        name = ledger.backup("before the change")
        ledger.close(outcome="done", counts={}, failures=[])
        return name

    made = Layout(tmp_path).backups(PATH) / asyncio.run(run())
    assert asyncio.run(run()) == "", "nothing changed since the last one"
    made.write_bytes(made.read_bytes()[:-1])
    again = asyncio.run(run())
    assert again
    assert read_backup((Layout(tmp_path).backups(PATH) / again).read_bytes())["scope"] == str(PATH)
