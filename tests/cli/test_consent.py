"""Who is asked, and where: at a keyboard `--force` still asks, also when its messages go through a pipe."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.driver import REPOSITORY, Call, forked, lamps


def test_somebody_at_a_keyboard_is_not_taken_for_a_script(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")')
    (done,) = forked([Call(("deploy",))], tmp_path)
    assert done.code == 0, done.err
    ours, theirs = pty.openpty()
    try:
        run = subprocess.run(
            [sys.executable, "-m", "alchemy.cli", "scope", "reset", "house/prod", "--force"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "core"), str(REPOSITORY)])},
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert run.returncode == 2, run.stderr
    assert "nobody would see the question: nothing was done" in run.stderr
    assert "add --yes" in run.stderr
    (left,) = forked([Call(("scope", "state", "house/prod", "--json"))], tmp_path)
    assert "house/prod/hall" in left.out


@pytest.mark.parametrize("command", ["deploy", "plan", "destroy"])
def test_an_empty_stage_is_a_mistake_and_not_the_application(command: str, tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")')
    (done,) = forked([Call((command, "--stage", ""))], tmp_path)
    assert done.code == 2
    assert "--stage is empty" in done.err
    assert not (tmp_path / ".alchemy").exists()
