"""A run is killed at some place, the state goes back to the backup before it, and the program of before runs again.

Whatever the killed run had announced and not seen the end of is neither leaked nor made twice. What it had finished,
and the backup does not know, stays in the cloud: exactly that was said before, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from alchemy.operations.backups import compare
from tests.crash.returning import go_back
from tests.crash.runs import PROD, chance
from tests.crash.server import Cloud
from tests.crash.stepping import Stepper
from tests.crash.test_restore_every_step import store_in

EVERY = bool(os.environ.get("ALCHEMY_EVERY"))
SAMPLE = 3

# what is deployed before and again afterwards, and what is killed in between
SCENARIOS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "create": ({"n": "2"}, {"n": "5"}),
    "update and delete": ({"n": "10"}, {"n": "10", "size": "2", "drop": "1"}),
    "replace": ({"n": "3", "chain": "1"}, {"n": "3", "chain": "1", "region": "us"}),
    "destroy": ({"n": "3", "chain": "1"}, {"n": "3", "chain": "1", "phase": "destroy"}),
}


@pytest.fixture
def stepper(tmp_path: Path) -> Iterator[Stepper]:
    stepper = Stepper(tmp_path)
    yield stepper
    stepper.close()


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.slow
def test_killed_anywhere_and_gone_back(scenario: str, stepper: Stepper, cloud: Cloud, tmp_path: Path) -> None:
    before, killed = SCENARIOS[scenario]
    dice = chance(0)

    def deploy(root: Path, settings: dict[str, str], die_at: int = -1) -> int:
        code, places = stepper.deploy(root, cloud.url, die_at=die_at, **settings)
        cloud.settle()
        if die_at < 0:
            assert code == 0, stepper.errors.read_text()
        return places

    root = tmp_path / "alive" / ".alchemy"
    deploy(root, before)
    places = deploy(root, killed)
    cloud.items.clear()
    chosen = range(places) if EVERY else sorted(dice.sample(range(places), SAMPLE))
    print(f"{scenario}: {len(chosen)} of {places} places")
    unfinished = 0
    for place in chosen:
        root = tmp_path / f"place-{place}" / ".alchemy"
        deploy(root, before)
        deploy(root, killed, place)
        found = compare(store_in(root), str(PROD))
        untracked = {row.name for row in found.vanish} | {row.name for row in found.change if row.remade}
        unfinished += len(found.unfinished)
        go_back(root, str(PROD), found.file)
        assert compare(store_in(root), str(PROD), found.file).same
        deploy(root, before)
        tracked = [name for name in cloud.names if name not in untracked]
        assert len(tracked) == len(set(tracked)) == int(before["n"]), f"place {place}: {cloud.names}"
        again = {item["size"] for item in cloud.items.values() if item["name"] in tracked}
        assert again == {1}, f"place {place}: the cloud is not what the program says"
        deploy(root, {**before, "phase": "destroy"})
        assert set(cloud.names) == untracked, f"place {place}: leaked"
        assert len(cloud.names) == len(untracked), f"place {place}: made twice"
        cloud.items.clear()
    print(f"{unfinished} calls without an end")
