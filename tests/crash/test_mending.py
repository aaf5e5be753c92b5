"""Rebuild, reset, cleanup and the taking over of an edit, dying at every one of their file operations.

After each death the state is what it was, what it is to be, or refused by every reader; the same command run again
finishes, and the deploy after it makes nothing twice. `make test` takes a sample, ALCHEMY_EVERY=1 takes all places.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alchemy.errors import StateInvalid
from alchemy.model.fold import Fold
from alchemy.model.records import Put
from alchemy.model.values import ScopeKind
from alchemy.operations.restoring import restore
from alchemy.operations.validate import validate
from alchemy.store.layout import Layout
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from tests.crash.runs import PROD, chance
from tests.crash.server import Cloud
from tests.crash.stepping import DEAD, Stepper
from tests.model import rows
from tests.store.lock_peer import CORE

EVERY = bool(os.environ.get("ALCHEMY_EVERY"))
SAMPLE = 6


@pytest.fixture
def stepper(tmp_path: Path) -> Iterator[Stepper]:
    stepper = Stepper(tmp_path)
    yield stepper
    stepper.close()


class Scene:
    """A deployed stage of four items, prepared by the test, and copies of it that die."""

    def __init__(self, stepper: Stepper, cloud: Cloud, directory: Path) -> None:
        self.stepper = stepper
        self.cloud = cloud
        self.directory = directory
        self.origin = directory / "origin" / ".alchemy"
        assert self.deploy(self.origin) == 0, stepper.errors.read_text()
        self.items = dict(cloud.items)

    def deploy(self, root: Path, phase: str = "up", n: str = "4") -> int:
        code, _ = self.stepper.deploy(root, self.cloud.url, n=n, phase=phase)
        self.cloud.settle()
        return code

    def store(self, root: Path) -> LocalStore:
        return LocalStore(Layout(root), "ab" * 16)

    def deaths(self, act: str) -> Iterator[Path]:
        """A copy for each place, after the death there; the cloud is as it was before."""
        root = self.copy("alive")
        code, places = self.stepper.deploy(root, self.cloud.url, act=act, n="4")
        assert code == 0, self.stepper.errors.read_text()
        assert places > 12
        chosen = range(places) if EVERY else sorted(chance(0).sample(range(places), SAMPLE))
        print(f"{act}: {len(chosen)} of {places} places")
        died = 0
        for place in chosen:
            root = self.copy(f"place-{place}")
            code, _ = self.stepper.deploy(root, self.cloud.url, act=act, n="4", die_at=place)
            self.cloud.settle()
            died += code == DEAD
            yield root
        assert died >= len(chosen) * 0.8

    def copy(self, name: str) -> Path:
        self.cloud.items.clear()
        self.cloud.items.update({id: dict(item) for id, item in self.items.items()})
        root = self.directory / name / ".alchemy"
        shutil.copytree(self.origin, root)
        return root

    def fold(self, root: Path) -> Fold | None:
        """None when every reader refuses it."""
        try:
            return self.store(root).read_fold(PROD)
        except StateInvalid:
            return None

    def again(self, root: Path, act: str) -> None:
        code, _ = self.stepper.deploy(root, self.cloud.url, act=act, n="4")
        self.cloud.settle()
        assert code == 0, self.stepper.errors.read_text()

    def nothing_new(self, root: Path) -> None:
        assert self.deploy(root) == 0, self.stepper.errors.read_text()
        assert self.cloud.items == self.items


@pytest.fixture
def scene(stepper: Stepper, cloud: Cloud, tmp_path: Path) -> Scene:
    return Scene(stepper, cloud, tmp_path)


@pytest.mark.slow
def test_a_rebuild_that_dies_anywhere(scene: Scene) -> None:
    journal = Layout(scene.origin).journal(PROD)
    lines = (journal / "000001.jsonl").read_bytes().splitlines(keepends=True)
    (journal / "000001.jsonl").write_bytes(b"".join([lines[0], b"#" + lines[1], *lines[2:]]))
    bytes_then = (journal / "000001.jsonl").read_bytes()
    for root in scene.deaths("rebuild"):
        fold = scene.fold(root)
        if fold is None:
            assert scene.deploy(root) != 0, "nobody deploys over what cannot be read"
            assert scene.cloud.items == scene.items
            scene.again(root, "rebuild")
            fold = scene.fold(root)
        assert fold is not None
        assert len(fold.resources) == 4
        kept = [file.read_bytes() for file in root.rglob("*.jsonl")]
        assert bytes_then in kept, "the damaged journal is set aside, never deleted"
        scene.nothing_new(root)


@pytest.mark.slow
def test_a_reset_that_dies_anywhere(scene: Scene) -> None:
    for root in scene.deaths("reset"):
        fold = scene.fold(root)
        assert fold is not None
        assert len(fold.resources) in (0, 4), "all or nothing"
        if fold.resources:
            scene.again(root, "reset")
        store = scene.store(root)
        assert scene.fold(root) == store.read_fold(PROD)
        assert not store.read_fold(PROD).resources
        asyncio.run(restore(store, str(PROD), "latest"))
        scene.nothing_new(root)


@pytest.mark.slow
def test_the_reset_of_a_damaged_journal_that_dies_anywhere(scene: Scene) -> None:
    file = Layout(scene.origin).journal(PROD) / "000001.jsonl"
    file.write_bytes(b"#\n" + file.read_bytes())
    for root in scene.deaths("reset"):
        fold = scene.fold(root)
        if fold is None:
            scene.again(root, "reset")
            fold = scene.fold(root)
        assert fold is not None
        assert not fold.resources
        asyncio.run(restore(scene.store(root), str(PROD), "latest"))
        scene.nothing_new(root)


@pytest.mark.slow
def test_an_edit_whose_taking_over_dies_anywhere(scene: Scene) -> None:
    view = Layout(scene.origin).resource_view(f"{PROD}/i001")
    view.write_text(json.dumps({**json.loads(view.read_bytes()), "note": "by hand"}))
    for root in scene.deaths("accept"):
        fold = scene.fold(root)
        assert fold is not None
        if not fold.resources[f"{PROD}/i001"].extra:
            assert "by hand" in Layout(root).resource_view(f"{PROD}/i001").read_text(), "the edit is still there"
            scene.again(root, "accept")
        fold = scene.fold(root)
        assert fold is not None
        assert fold.resources[f"{PROD}/i001"].extra == {"note": "by hand"}
        scene.nothing_new(root)


@pytest.mark.slow
def test_a_cleanup_that_dies_anywhere(scene: Scene) -> None:
    async def release() -> None:
        ledger = await Ledger.open(scene.store(scene.origin), PROD, ScopeKind.STAGE, purpose="deploy", timeout=0)
        orphans = [f"{PROD}/i002", f"{PROD}/i003"]
        declared = {"complete": True, "orphans": orphans, "next_seq": ledger.fold.next_seq}
        ledger.close(outcome="done", counts={}, failures=[], declared=declared)

    asyncio.run(release())
    for root in scene.deaths("cleanup"):
        scene.again(root, "cleanup")
        fold = scene.fold(root)
        assert fold is not None
        assert sorted(row.id for row in fold.resources.values()) == ["i000", "i001"]
        assert len(scene.cloud.items) == 2
        assert scene.deploy(root, n="2") == 0
        assert len(scene.cloud.items) == 2


DIES = """
import asyncio, os, sys
from pathlib import Path
from alchemy.operations.rebuilding import plan_rebuild, rebuild
from alchemy.settings import Options, find_project
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from tests.crash.runs import PROD

class Dying(Files):
    def move(self, path, name):
        os._exit(9)

root = Path(sys.argv[1])
store = LocalStore(Layout(root), "d" * 32, Dying(root))

async def main():
    plan = await plan_rebuild(store, PROD, Options(), project=find_project(root.parent))
    await rebuild(store, plan, Options())

asyncio.run(main())
"""


def test_a_rebuild_that_dies_before_it_sets_the_journal_aside_makes_nobody_look_for_a_lost_one(tmp_path: Path) -> None:
    """What is shown beside the lock names no run that the journal does not have."""
    root = tmp_path / ".alchemy"
    store = LocalStore(Layout(root), "a" * 32)

    async def write() -> None:
        store.prepare()
        ledger = await Ledger.open(store, PROD, ScopeKind.STAGE, purpose="save", timeout=0.0)
        await ledger.intend([Put(rows.row(f"{PROD}/a"))])
        ledger.close(outcome="done", counts={}, failures=[])

    asyncio.run(write())
    environment = {**os.environ, "PYTHONPATH": f"{CORE}{os.pathsep}{CORE.parent}"}
    died = subprocess.run([sys.executable, "-c", DIES, str(root)], env=environment, check=False)
    assert died.returncode == 9
    assert [one.problem for one in validate(root)] == [
        "a run died with the lock: the system grants the lock: nobody holds it"
    ]
