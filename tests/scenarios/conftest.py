from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.world import CLOUD, Cloud, World


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    cloud = Cloud()
    token = CLOUD.set(cloud)
    yield cloud
    CLOUD.reset(token)


@pytest.fixture
def world(tmp_path: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.chdir(tmp_path)
    return World(tmp_path, cloud)
