"""Deploys that die at every one of their file operations: before it, in the middle of a write, after it.

After each death the same program runs to its end, then everything is destroyed: nothing was made twice, nothing is
left. `make test` takes a sample of the places, ALCHEMY_EVERY=1 takes them all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.opening import load
from alchemy.store.viewfile import read_view
from alchemy.store.views import stray_views
from tests.crash.runs import PROD, chance
from tests.crash.server import Cloud
from tests.crash.stepping import DEAD, Stepper

EVERY = bool(os.environ.get("ALCHEMY_EVERY"))
SAMPLE = 10

DESTROY = {"phase": "destroy"}

# what is deployed before, what dies, and what is there after it has run again
SCENARIOS: dict[str, tuple[dict[str, str], dict[str, str], tuple[int, int, str]]] = {
    "create": ({}, {"n": "4"}, (4, 1, "eu")),
    "create one by one": ({}, {"n": "4", "mode": "sequential", "chain": "1"}, (4, 1, "eu")),
    "update and delete": ({"n": "4"}, {"n": "3", "size": "2"}, (3, 2, "eu")),
    "replace": ({"n": "3", "chain": "1"}, {"n": "3", "chain": "1", "region": "us"}, (3, 1, "us")),
    "destroy a tree": ({"tree": "1"}, {"tree": "1", "phase": "destroy"}, (0, 0, "")),
    "destroy": ({"n": "4", "chain": "1"}, {"n": "4", "chain": "1", "phase": "destroy"}, (0, 0, "")),
}


@pytest.fixture
def stepper(tmp_path: Path) -> Iterator[Stepper]:
    stepper = Stepper(tmp_path)
    yield stepper
    stepper.close()


def check_views(root: Path) -> None:
    """What people read is what the journal says, each file from the record that last wrote its row."""
    files, layout = Files(), Layout(root)
    fold = load(files, layout, PROD).fold
    for key, row in fold.resources.items():
        assert not row.former
        view = read_view(files, layout.resource_view(row.address))
        assert view is not None, row.address
        assert view.stamp == fold.stamps[key], row.address
    assert not stray_views(files, layout, fold)
    assert not list(layout.scope(PROD).rglob("*.tmp"))
    own = read_view(files, layout.scope_view(PROD))
    if fold.resources:
        assert own is not None
        assert own.stamp is not None
        assert own.stamp.seq >= fold.stamps["\x00" + str(PROD)].seq
    else:
        assert own is None


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.slow
def test_whatever_the_place_it_dies_at(scenario: str, stepper: Stepper, cloud: Cloud, tmp_path: Path) -> None:
    before, dying, wanted = SCENARIOS[scenario]
    dice = chance(0)

    def deploy(root: Path, settings: dict[str, str], die_at: int = -1) -> tuple[int, int]:
        ended = stepper.deploy(root, cloud.url, die_at=die_at, **settings)
        cloud.settle()
        return ended

    def prepared(name: str) -> Path:
        root = tmp_path / name / ".alchemy"
        if before:
            assert deploy(root, before)[0] == 0, stepper.errors.read_text()
        return root

    root = prepared("alive")
    code, places = deploy(root, dying)
    assert code == 0, stepper.errors.read_text()
    if wanted[0]:
        assert deploy(root, DESTROY)[0] == 0
    chosen = range(places) if EVERY else sorted(dice.sample(range(places), SAMPLE))
    print(f"{scenario}: {len(chosen)} of {places} places")
    died = 0
    for place in chosen:
        root = prepared(f"place-{place}")
        code, _ = deploy(root, dying, place)
        died += code == DEAD
        load(Files(), Layout(root), PROD)  # never raises
        code, _ = deploy(root, dying)
        assert code == 0, f"place {place}: {stepper.errors.read_text()}"
        check_views(root)
        found = [(item["size"], item["region"]) for item in cloud.items.values()]
        assert found == [wanted[1:]] * wanted[0], f"place {place}"
        if wanted[0]:
            code, _ = deploy(root, DESTROY)
            assert code == 0, f"place {place}: {stepper.errors.read_text()}"
        assert cloud.items == {}, f"place {place}"
        left = {path.name for path in (root / "crash" / "prod").iterdir()}
        assert left <= {"backups", "journal", "snapshots"}, f"place {place}"
    assert died >= len(chosen) * 0.8
    assert max(cloud.created.values()) == 1  # names hold the stage's random lineage: one for each state directory
