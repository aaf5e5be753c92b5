from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from alchemy.testing.s3 import Server
from tests.objects.buckets import bucket_at

REPOSITORY = Path(__file__).parents[2]
RACERS = 50
ROUNDS = 6


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


@pytest.fixture
def field(server: Server) -> Iterator[Field]:
    field = Field(server.endpoint)
    yield field
    field.close()


@pytest.mark.slow
def test_of_fifty_processes_exactly_one_creates_and_exactly_one_replaces(server: Server, field: Field) -> None:
    bucket = bucket_at(server.endpoint)
    for number in range(ROUNDS):
        key = f"race/{number}"
        met = field.race("create", key)
        assert Counter(met) == {"won": 1, "Taken": RACERS - 1}
        assert server.bodies()[key].decode() == str(met.index("won"))

        found = bucket.get(key)
        assert found is not None
        etag = bucket.replace(key, b"before", found.etag)  # else the winner may write what is there already
        met = field.race("replace", key, etag)
        assert Counter(met) == {"won": 1, "Changed": RACERS - 1}
        assert server.bodies()[key].decode() == str(met.index("won"))


@pytest.mark.slow
def test_a_store_that_ignores_conditions_has_many_winners(server: Server, field: Field) -> None:
    """That the race above can be lost."""
    server.fault("ignore-conditions")
    assert Counter(field.race("create", "key")) == {"won": RACERS}
