from __future__ import annotations

from collections.abc import Iterator

import pytest

from alchemy.testing.s3 import Server

pytest.register_assert_rewrite("tests.objects.contract")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server
