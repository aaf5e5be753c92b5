"""Every test here has a cloud and a state directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.runs import Bench
from tests.crash.server import Cloud, running_cloud


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with running_cloud() as cloud:
        yield cloud


@pytest.fixture
def bench(cloud: Cloud, tmp_path: Path) -> Bench:
    return Bench(cloud, tmp_path / ".alchemy")
