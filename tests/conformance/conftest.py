"""Our store against servers that others wrote. Only where `make conformance` has installed them, and said where."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.objects.contract")

INSTALLED = os.environ.get("CONFORMANCE_MODULES", "")
collect_ignore_glob = [] if INSTALLED else ["test_*.py"]


@pytest.fixture(scope="session")
def r2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of miniflare's R2."""
    place = tmp_path_factory.mktemp("r2")
    shutil.copy(Path(__file__).with_name("gateway.mjs"), place)  # node looks for modules beside the program
    (place / "node_modules").symlink_to(Path(INSTALLED) / "node_modules")
    gateway = subprocess.Popen(
        ["node", "gateway.mjs"], cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert gateway.stdout is not None
    announced = gateway.stdout.readline()
    assert announced, "the gateway did not start; see above"
    yield json.loads(announced)["endpoint"]
    gateway.communicate(timeout=30)
