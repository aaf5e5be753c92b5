from __future__ import annotations

import os
import subprocess
import sys

import pytest

from alchemy.store.objects.port import Objects
from alchemy.testing.objects import MemoryObjects
from alchemy.testing.s3 import Server
from tests.objects.buckets import bucket_at
from tests.objects.contract import KeepsTheContract

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def test_several_are_read_also_while_the_interpreter_ends() -> None:
    """There are no more threads then, and a run that was never finalized ends there."""
    script = """
import atexit
from alchemy.store.objects.requests import abreast

abreast(str.upper, ["a", "b"])
atexit.register(lambda: print(abreast(str.upper, ["c", "d"])))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert (done.stdout, done.stderr, done.returncode) == ("['C', 'D']\n", "", 0)


class TestInMemory(KeepsTheContract):
    @pytest.fixture
    def objects(self) -> Objects:
        return MemoryObjects()


class TestInABucket(KeepsTheContract):
    @pytest.fixture
    def objects(self, server: Server) -> Objects:
        return bucket_at(server.endpoint)


class TestInABucketThatAnswersPageByPage(KeepsTheContract):
    @pytest.fixture
    def objects(self, server: Server) -> Objects:
        server.page = 2
        return bucket_at(server.endpoint)


class TestInABucketWithBareEtags(KeepsTheContract):
    @pytest.fixture
    def objects(self, server: Server) -> Objects:
        server.fault("refuse-quoted")
        return bucket_at(server.endpoint, quoted_etags=False)


def test_memory_counts_its_requests_and_takes_no_bodies_by_reference() -> None:
    objects = MemoryObjects()
    body = bytearray(b"body")
    objects.create("key", bytes(body))
    body[0] = 0
    objects.get("key")
    objects.get("none")
    objects.list("")
    assert objects.bodies() == {"key": b"body"}
    assert objects.requests == {"create": 1, "get": 2, "list": 1}
