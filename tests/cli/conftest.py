"""One house for the tests that only look: a stage with lamps, deployed twice, so that there are runs and backups."""

from __future__ import annotations

from pathlib import Path

import pytest

from alchemy.store.keyfiles import open_or_create_ring
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from tests.cli.driver import alchemy, lamps

FIRST = """
hall = Lamp("hall")
Lamp("attic")
async with alchemy.run("up"):
    Lamp("bed", after=hall.place)
print("all lamps are on")
"""
SECOND = """
hall = Lamp("hall")
async with alchemy.run("up"):
    Lamp("bed", after=hall.place, light="cold")
"""


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("house")
    lamps(directory, FIRST)
    first = alchemy("deploy", cwd=directory)
    assert first.code == 0, first.err
    lamps(directory, SECOND)
    second = alchemy("deploy", cwd=directory)
    assert second.code == 0, second.err
    open_or_create_ring(LocalStore(Layout(directory / ".alchemy"), "a" * 32), "house", "under the mat")
    (directory / "old.json").write_text('{"resources": {"topic": {"kind": "acme:Topic", "name": "topic-of-old"}}}')
    (directory / "hall" / "old-lamp").write_text("warm")  # which nobody declares
    return directory
