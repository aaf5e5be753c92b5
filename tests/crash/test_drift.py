"""A deploy that heals drift, killed at every moment: the same command again ends it, and nothing is made twice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.opening import load
from tests.crash.cuts import Step
from tests.crash.moments import DESTROY, Memory, Recording, Wish, restore, run
from tests.crash.runs import PROD

HEALING = Wish(n=4, refresh=True)
AGREED = {(1, "eu")}


def tamper(cloud: Memory) -> str:
    """One is gone, one has another size, one another region that cannot be changed back; the name of the first."""
    gone, larger, moved, _ = sorted(cloud.items)
    name = cloud.items[gone].name
    cloud.do(Step("api", Path(gone)))
    for id, change in ((larger, {"size": 7}), (moved, {"region": "us"})):
        item = replace(cloud.items[id], **change)
        cloud.do(Step("api", Path(id), f"{item.name} {item.size} {item.region}".encode()))
    return name


@pytest.mark.parametrize("plain", [False, True], ids=["the same again", "a plain deploy first"])
@pytest.mark.slow
def test_killed_while_it_heals(plain: bool, tmp_path: Path) -> None:
    recording = Recording(tmp_path / ".alchemy")
    recording.run(Wish(n=4))
    gone = tamper(recording.cloud)
    recording.begin()
    recording.run(HEALING)
    assert {(item.size, item.region) for item in recording.cloud.items.values()} == AGREED
    seen: set[int] = set()
    for moment in recording.moments():
        files, cloud = moment.disk.killed(), moment.cloud.copied()
        key = hash((tuple(sorted(files.items())), tuple(sorted(cloud.items.items()))))
        if key in seen or (plain and len(seen) % 3):
            seen.add(key)
            continue
        seen.add(key)
        root = tmp_path / f"{len(seen)}"
        restore(files, recording.root, root)
        for wish in [Wish(n=4), HEALING] if plain else [HEALING]:
            run(root, cloud, wish)
        said = f"after step {moment.number} ({moment.said})"
        assert sorted((i.size, i.region) for i in cloud.items.values()) == [(1, "eu")] * 4, said
        rows = load(Files(root), Layout(root), PROD).fold.resources.values()
        assert {row.outputs["item_id"] for row in rows} == cloud.items.keys(), said
        twice = {name: times for name, times in cloud.created.items() if times > 1 + (name == gone)}
        assert not twice, f"{said}: made twice: {twice}"
        run(root, cloud, DESTROY)
        assert cloud.items == {}, said
        shutil.rmtree(root)
    assert len(seen) > 20
