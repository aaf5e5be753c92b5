"""Death and power cuts at every moment of whole runs: between any two operations on files and effects in the cloud.

A run is recorded once. Then, for each moment of it, the disk and the cloud are put back as they were, the same program
runs again, and everything is destroyed: nothing was made twice, nothing is left. After a kill everything that was
written is there; a power cut takes of what was not synced any part, here a sample of all the ways there are.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from alchemy.operations.validate import validate
from alchemy.store.copies import SNAPSHOT_AFTER
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.opening import load
from tests.crash.moments import DESTROY, Memory, Moment, Recording, Wish, restore, run
from tests.crash.runs import PROD, chance
from tests.crash.test_every_step import check_views

CUTS = 30  # power cuts of each scenario, of thousands there are

SNAPSHOT = "write a snapshot"

SCENARIOS: dict[str, tuple[list[Wish], Wish]] = {
    "create": ([], Wish()),
    "create one by one": ([], Wish(one_by_one=True)),
    "create a tree": ([], Wish(n=1, blocks=1)),
    "update and delete": ([Wish(n=4)], Wish(n=2, size=2)),
    "replace": ([Wish(one_by_one=True)], Wish(region="us", one_by_one=True)),
    "nothing changes": ([Wish()], Wish()),
    "forget blocks": ([Wish(n=1, blocks=2)], Wish(n=1)),
    "destroy": ([Wish(n=1, blocks=1)], Wish(n=1, blocks=1, phase="destroy")),
    SNAPSHOT: ([], Wish(n=4, size=99)),
}


class Trial:
    """What goes on after one accident."""

    def __init__(self, place: Path, old: Path, wish: Wish) -> None:
        self._place = place
        self._old = old
        self._wish = wish
        self._seen: set[int] = set()
        self.count = 0

    def go_on(self, files: dict[Path, bytes], cloud: Memory, *, views: bool) -> None:
        """Unless the very same was there before."""
        key = hash((tuple(sorted(files.items())), tuple(sorted(cloud.items.items()))))
        if key in self._seen:
            return
        self._seen.add(key)
        self.count += 1
        root = self._place / f"{self.count}"
        restore(files, self._old, root)
        load(Files(root), Layout(root), PROD)  # never raises
        again, wish = cloud.copied(), self._wish
        run(root, again, wish)
        if views:
            check_views(root)
            assert [found for found in validate(root) if found.severity == "error"] == []
        assert len(again.items) == wish.count
        assert {(item.size, item.region) for item in again.items.values()} <= {(wish.size, wish.region)}
        run(root, again, DESTROY)
        assert again.items == {}
        twice = {name: times for name, times in again.created.items() if times > 1}
        assert not twice, f"made twice: {twice}"
        shutil.rmtree(root)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path / ".alchemy")


def recorded(recording: Recording, scenario: str) -> Wish:
    before, wish = SCENARIOS[scenario]
    for each in before:
        recording.run(each)
    size = 0
    while scenario == SNAPSHOT and not nearly_due(recording.root):
        size += 1
        recording.run(Wish(n=4, size=size))
    recording.cloud.created.clear()
    recording.begin()
    recording.run(wish)
    assert len(recording.cloud.items) == wish.count
    assert any("snapshots" in step.path.parts for step in recording.steps) is (scenario == SNAPSHOT)
    return wish


def nearly_due(root: Path) -> bool:
    """The next run that changes four things writes a snapshot."""
    return load(Files(root), Layout(root), PROD).fold.ops_since_snapshot > SNAPSHOT_AFTER - 9


def told(moment: Moment, error: BaseException) -> AssertionError:
    return AssertionError(f"after step {moment.number} ({moment.said}): {type(error).__name__}: {error}")


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.slow
def test_killed_at_any_moment(scenario: str, recording: Recording, tmp_path: Path) -> None:
    wish = recorded(recording, scenario)
    trial = Trial(tmp_path, recording.root, wish)
    for moment in recording.moments():
        try:
            trial.go_on(moment.disk.killed(), moment.cloud, views=True)
        except Exception as error:
            raise told(moment, error) from error
    print(f"{len(recording.steps)} steps, {trial.count} different states")
    assert trial.count > 5


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.slow
def test_the_power_is_cut_at_any_moment(scenario: str, recording: Recording, tmp_path: Path) -> None:
    wish = recorded(recording, scenario)
    trial = Trial(tmp_path, recording.root, wish)
    dice = chance(0)
    wanted = sorted(dice.sample(range(len(recording.steps)), min(CUTS, len(recording.steps))))
    first = len(recording.recorder.steps) - len(recording.steps)
    for moment in recording.moments():
        if moment.number - first not in wanted or moment.said.startswith("half"):
            continue
        try:
            trial.go_on(moment.disk.any_cut(dice), moment.cloud, views=False)
        except Exception as error:
            raise told(moment, error) from error
    assert trial.count > 5
