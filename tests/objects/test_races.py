from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from alchemy.testing.s3 import Server
from tests.objects.buckets import bucket_at
from tests.objects.racing import RACERS, Field

ROUNDS = 6


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
