"""The pictures in the repository are what the dashboard draws today."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_pictures_are_what_the_dashboard_draws(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(Path(sys.executable).parent)}  # SVG only: converters differ
    script = [sys.executable, str(ROOT / "screenshots" / "make.py"), str(tmp_path)]
    subprocess.run(script, check=True, cwd=tmp_path, env=environment, timeout=300)
    drawn = {path.name: path.read_text() for path in tmp_path.glob("*.svg")}
    kept = {path.name: path.read_text() for path in (ROOT / "screenshots").glob("*.svg")}
    assert drawn.keys() == kept.keys()
    stale = [name for name in drawn if drawn[name] != kept[name]]
    assert not stale, "`make screenshots` draws them again"


def test_no_picture_loads_anything_from_elsewhere() -> None:
    for path in (ROOT / "screenshots").glob("*.svg"):
        assert "@font-face" not in path.read_text()
        assert "url(http" not in path.read_text()
