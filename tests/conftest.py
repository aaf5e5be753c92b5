"""What every test starts from: no setting from outside, and generated cases that CI can repeat."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# No deadline: two cores are shared with other workers, so the time of one case says nothing about it.
settings.register_profile("local", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

OURS = ("ALCHEMY_", "CLOUDFLARE_", "R2_")
TERMINAL = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES", "PYTHONPATH")


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own account, state directory or terminal never decides what a test sees."""
    for name in list(os.environ):
        if name.startswith(OURS) or name in TERMINAL:
            monkeypatch.delenv(name)
