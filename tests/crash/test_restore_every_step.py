"""Restores that die at every one of their file operations: afterwards the state is the old one or the new one, whole.

The same command then finishes it, what undoes it is whole, and nothing of a damaged journal is lost. `make test` takes
a sample of the places, ALCHEMY_EVERY=1 takes them all.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from alchemy.errors import StateInvalid
from alchemy.model.backup import BEFORE_RESTORE
from alchemy.model.fold import Fold
from alchemy.model.records import Drop, Put
from alchemy.model.values import ResourceState, Status
from alchemy.operations.restoring import undo
from alchemy.operations.validate import validate
from alchemy.store.backups import headers, problem_of, read_valid, write_backup
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from tests.crash.returning import Returner, go_back
from tests.crash.runs import chance
from tests.model import rows
from tests.store.stage import PATH, Stage

EVERY = bool(os.environ.get("ALCHEMY_EVERY"))
SAMPLE = 10
DB = f"{PATH}/db"
DEAD = -9


def store_in(root: Path) -> LocalStore:
    return LocalStore(Layout(root), os.urandom(16).hex())


def told(fold: Fold) -> dict[str, ResourceState]:
    """The rows, but for who wrote them last and whether somebody has to look."""
    return {key: replace(row, verify=False, run="", updated_at="") for key, row in fold.resources.items()}


def prepare(root: Path) -> str:
    """Two runs with a backup between them; the second one died while it made `c`."""
    stage = Stage(root)
    journal = stage.open()
    stage.write(journal, *(Put(rows.scope(path)) for path in (DB, f"{PATH}/old")))
    for id in ("a", "db/x", "db/y", "old/z"):
        stage.write(journal, Put(stage.row(id, token=id, props={"size": 1})))
    stage.end(journal)
    file = write_backup(store_in(root), journal.fold, "before R-2")
    journal = stage.open()
    stage.write(
        journal, Put(stage.row("a", token="a", props={"size": 2})), Drop(stage.address("db/y"), kind="acme:Topic")
    )
    stage.write(journal, Put(stage.row("db/x", token="again")), Put(stage.row("b", token="b")))
    stage.write(journal, Drop(stage.address("old/z"), kind="acme:Topic"), Drop(scope=f"{PATH}/old"))
    stage.write(journal, Put(stage.row("c", token="c", status=Status.CREATING), "intent", "create"))
    stage.die(journal)
    return file


def damage(root: Path) -> None:
    """A bad line before good ones."""
    epoch = Layout(root).epoch(PATH, 1)
    epoch.write_bytes(epoch.read_bytes().replace(b'"ready"', b'"reedy"', 1))


def remove(root: Path) -> None:
    shutil.rmtree(Layout(root).journal(PATH))


def nothing(root: Path) -> None:
    return


SCENARIOS = {
    "a stage": (PATH, nothing),
    "a nested scope": (DB, nothing),
    "over a damaged journal": (PATH, damage),
    "over a journal that is gone": (PATH, remove),
}


@pytest.fixture
def returner(tmp_path: Path) -> Iterator[Returner]:
    returner = Returner(tmp_path)
    yield returner
    returner.close()


def known(store: LocalStore) -> Fold:
    """As stored; the best that is known where the journal cannot be read."""
    try:
        return store.read_fold(PATH)
    except StateInvalid:
        return store.salvage(PATH).fold


def evidence(root: Path) -> set[bytes]:
    """Every line of every journal of the stage, at hand or set aside."""
    places = Layout(root).scope(PATH).glob("journal*/*.jsonl")
    return {line for place in places for line in place.read_bytes().splitlines()}


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.slow
def test_whatever_the_place_it_dies_at(scenario: str, returner: Returner, tmp_path: Path) -> None:
    scope, break_it = SCENARIOS[scenario]
    template = tmp_path / "template" / ".alchemy"
    file = prepare(template)
    break_it(template)

    def prepared(name: str) -> Path:
        return shutil.copytree(template, tmp_path / name / ".alchemy")

    alive = prepared("alive")
    old = told(known(store_in(alive)))
    code, places = returner.restore(alive, scope, file)
    assert code == 0, returner.errors.read_text()
    new = told(store_in(alive).read_fold(PATH))
    assert set(new) != set(old)
    assert (f"{PATH}/c" in new) == (f"{PATH}/c" in old), "its creation has no known end"
    dice = chance(0)
    chosen = range(places) if EVERY else sorted(dice.sample(range(places), SAMPLE))
    print(f"{scenario}: {len(chosen)} of {places} places")
    died = 0
    for place in chosen:
        root = prepared(f"place-{place}")
        store, before = store_in(root), evidence(root)
        code, _ = returner.restore(root, scope, file, place)
        died += code == DEAD
        found = told(known(store))
        assert found in (old, new), f"place {place}: half restored"
        assert before <= evidence(root), f"place {place}: a record is gone"
        saved = [h.file for h in headers(store, PATH) if h.reason.startswith(BEFORE_RESTORE)]
        if found == new:
            assert told(read_valid(store, PATH, saved[0]).fold) == old, f"place {place}: what undoes it is not whole"
        assert problem_of(store, PATH, file) == ""
        go_back(root, scope, file)
        assert told(store.read_fold(PATH)) == new, f"place {place}"
        assert before <= evidence(root), f"place {place}: a record is gone"
        errors = [one for one in validate(root) if one.severity == "error"]
        assert errors == [], f"place {place}"
        asyncio.run(undo(store, PATH))
        assert {k: (row.token, row.props) for k, row in told(store.read_fold(PATH)).items()} == {
            k: (row.token, row.props) for k, row in old.items()
        }, f"place {place}: undone it is not as it was"
    assert died >= len(chosen) * 0.8
