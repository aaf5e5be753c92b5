"""Unlocking, reserving and recovering that die at every one of their file operations, or in the middle of a write.

Afterwards the journal is whole, the same command run again finishes what it began, the holder that was broken cannot
write, and a newcomer can. `make test` takes a sample of the places, ALCHEMY_EVERY=1 takes them all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alchemy.model.locks import Verdict
from alchemy.model.values import Status
from alchemy.operations.spills import spills
from alchemy.operations.verdicts import explain
from alchemy.store.local import LocalStore
from tests.crash.runs import chance
from tests.crash.stepping import DEAD
from tests.operations.actor import store_in
from tests.operations.dying_locks import PROD, Theatre

EVERY = bool(os.environ.get("ALCHEMY_EVERY"))  # read before settings are kept out
SAMPLE = 4
DB = f"{PROD}/db"
pytestmark = pytest.mark.slow


@pytest.fixture
def theatre(tmp_path: Path) -> Iterator[Theatre]:
    theatre = Theatre(tmp_path)
    yield theatre
    theatre.close()


def at_every_place(theatre: Theatre, tmp_path: Path, scene: Callable[[Path, int], tuple[int, int]]) -> None:
    """`scene(root, die_at)` plays the whole of it in a directory of its own."""
    code, places = scene(tmp_path / "alive" / ".alchemy", -1)
    assert code == 0, theatre.errors.read_text()
    assert places > 10
    chosen = range(places) if EVERY else sorted(chance(0).sample(range(places), SAMPLE))
    died = [scene(tmp_path / f"place-{place}" / ".alchemy", place)[0] == DEAD for place in chosen]
    assert any(died), "how many places there are differs by the views that are due, but not that much"


def whole(root: Path) -> LocalStore:
    """The store, after everything in it was read."""
    store = store_in(root)
    fold = store.read_fold(PROD)
    assert store.lost_records(fold, thorough=True) is None
    explain(store, PROD)
    return store


def test_unlocking_by_force(theatre: Theatre, tmp_path: Path) -> None:
    def scene(root: Path, die_at: int) -> tuple[int, int]:
        token = theatre.hold_open(root)
        code, places = theatre.run(root, "unlock", die_at=die_at, token=token, force=True, reason="it hangs")
        whole(root)
        theatre.do(root, "unlock", token=token, force=True, reason="it hangs")
        store = whole(root)
        assert explain(store, PROD).verdict is Verdict.FREE, die_at
        assert theatre.write(root) == "Fenced", die_at
        theatre.do(root, "newcomer")
        fold = whole(root).read_fold(PROD)
        assert (fold.resources[DB].status, fold.released) == (Status.CREATING, True), die_at
        assert f"{PROD}/newcomer" in fold.resources
        theatre.kill(root)
        return code, places

    at_every_place(theatre, tmp_path, scene)


def test_tidying_what_a_dead_run_left(theatre: Theatre, tmp_path: Path) -> None:
    def scene(root: Path, die_at: int) -> tuple[int, int]:
        token = theatre.hold_open(root)
        theatre.kill(root)
        code, places = theatre.run(root, "unlock", die_at=die_at, token=token)
        whole(root)
        theatre.do(root, "unlock", token=token)
        store = whole(root)
        assert explain(store, PROD).verdict is Verdict.FREE, die_at
        theatre.do(root, "newcomer")
        assert store.read_fold(PROD).released
        return code, places

    at_every_place(theatre, tmp_path, scene)


def test_reserving_and_giving_free(theatre: Theatre, tmp_path: Path) -> None:
    def reserving(root: Path, die_at: int) -> tuple[int, int]:
        theatre.do(root, "db")
        code, places = theatre.run(root, "hold", die_at=die_at, reason="migration")
        whole(root)
        theatre.do(root, "hold", reason="migration")
        assert explain(whole(root), PROD).verdict is Verdict.HELD, die_at
        assert theatre.run(root, "newcomer")[0] == 3, die_at
        return code, places

    def giving_free(root: Path, die_at: int) -> tuple[int, int]:
        theatre.do(root, "db")
        theatre.do(root, "hold", reason="migration")
        code, places = theatre.run(root, "unlock", die_at=die_at, token=explain(whole(root), PROD).token)
        left = explain(whole(root), PROD)
        if left.verdict is not Verdict.FREE:
            assert left.verdict is Verdict.HELD or code == DEAD
            theatre.do(root, "unlock", token=left.token)
        if (left := explain(whole(root), PROD)).verdict is Verdict.HELD:  # its own leftover was in the way
            theatre.do(root, "unlock", token=left.token)
        assert explain(whole(root), PROD).verdict is Verdict.FREE, die_at
        theatre.do(root, "newcomer")
        return code, places

    at_every_place(theatre, tmp_path / "reserving", reserving)
    at_every_place(theatre, tmp_path / "giving free", giving_free)


def test_recovering(theatre: Theatre, tmp_path: Path) -> None:
    def scene(root: Path, die_at: int) -> tuple[int, int]:
        token = theatre.hold_open(root)
        theatre.do(root, "unlock", token=token, force=True)
        assert theatre.write(root) == "Fenced"
        theatre.kill(root)
        (info,) = spills(store_in(root))
        code, places = theatre.run(root, "recover", die_at=die_at, file=info.file)
        store = whole(root)
        if spills(store):
            theatre.do(root, "recover", file=info.file)
        row = whole(root).read_fold(PROD).resources[DB]
        assert (row.status, row.outputs, row.verify) == (Status.READY, {"id": f"id of {DB}"}, True), die_at
        assert spills(store) == ()
        assert (root / "spill" / "done" / Path(info.file).name).exists()
        theatre.do(root, "newcomer")
        return code, places

    at_every_place(theatre, tmp_path, scene)
