from __future__ import annotations

from collections import Counter

import pytest

from alchemy.store.objects.bucket import Bucket
from alchemy.store.objects.port import Changed, Unknown
from alchemy.store.objects.probe import admit, examine, remembered_key
from tests.objects.buckets import bucket_at
from tests.objects.contract import KeepsTheContract, held
from tests.objects.racing import RACERS, Field

ROUNDS = 4


@pytest.fixture
def bucket(r2: str) -> Bucket:
    """Empty: it is one server for all tests."""
    bucket = bucket_at(r2, timeout=20.0)
    for item in bucket.list(""):
        bucket.delete(item.key)
    return bucket


class TestR2(KeepsTheContract):
    @pytest.fixture
    def objects(self, bucket: Bucket) -> Bucket:
        return bucket


def test_r2_passes_the_probe_with_quoted_etags(bucket: Bucket) -> None:
    trusted, checks = examine(bucket)
    assert [check for check in checks if not check.passed] == []
    assert trusted.settings.quoted_etags
    assert bucket.list("") == []
    assert admit(bucket).settings.quoted_etags
    assert [item.key for item in bucket.list("")] == [remembered_key(bucket)]


def test_r2_takes_no_bare_etags(bucket: Bucket) -> None:
    """Why quotes are tried first: without them it does not say no, it fails."""
    etag = bucket.create("key", b"first")
    with pytest.raises((Unknown, Changed)):
        bucket.spelling_etags(quoted=False).replace("key", b"second", etag)
    assert held(bucket, "key").body == b"first"


def test_of_fifty_processes_exactly_one_creates_and_exactly_one_replaces_on_r2(r2: str, bucket: Bucket) -> None:
    field = Field(r2)
    try:
        for number in range(ROUNDS):
            key = f"race/{number}"
            met = field.race("create", key)
            assert Counter(met) == {"won": 1, "Taken": RACERS - 1}
            assert held(bucket, key).body.decode() == str(met.index("won"))
            etag = bucket.replace(key, b"before", held(bucket, key).etag)
            met = field.race("replace", key, etag)
            assert Counter(met) == {"won": 1, "Changed": RACERS - 1}
            assert held(bucket, key).body.decode() == str(met.index("won"))
    finally:
        field.close()
