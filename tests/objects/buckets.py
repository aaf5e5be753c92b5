from __future__ import annotations

from typing import Any

from alchemy.store.objects.bucket import Bucket
from alchemy.store.objects.settings import BucketSettings
from alchemy.testing.s3 import ACCESS_KEY_ID, SECRET_ACCESS_KEY


def bucket_at(endpoint: str, **given: Any) -> Bucket:
    """A bucket of our own server; impatient, since what is lost on a loopback is lost at once."""
    asked: dict[str, Any] = {
        "endpoint": endpoint,
        "bucket": "state",
        "access_key_id": ACCESS_KEY_ID,
        "secret_access_key": SECRET_ACCESS_KEY,
        "timeout": 5.0,
        "connect_timeout": 2.0,
        "retries": 1,
    }
    return Bucket(BucketSettings(**{**asked, **given}))
