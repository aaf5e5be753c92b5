"""The starting line of a race between processes; what they do is in `racer`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
RACERS = 50


class Field:
    """Processes that are ready, and do what they are told at the same time."""

    def __init__(self, endpoint: str) -> None:
        path = os.pathsep.join([str(REPOSITORY / "core"), str(REPOSITORY)])
        self._host = subprocess.Popen(
            [sys.executable, "-m", "tests.objects.racer", endpoint, str(RACERS)],
            env={**os.environ, "PYTHONPATH": path},
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._hear() == ["ready"] * RACERS

    def race(self, verb: str, key: str, etag: str = "") -> list[str]:
        """What each of them met, in their order; each writes its own number."""
        assert self._host.stdin is not None
        self._host.stdin.write(json.dumps([verb, key, etag]) + "\n")
        return self._hear()

    def _hear(self) -> list[str]:
        assert self._host.stdout is not None
        met: list[str] = json.loads(self._host.stdout.readline())
        return met

    def close(self) -> None:
        self._host.communicate()
