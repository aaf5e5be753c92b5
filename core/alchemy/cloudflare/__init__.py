"""Kinds of resource on Cloudflare. Importing this package registers them.

Neighbours: `engine.resource` is the class they extend; `wiring` brings the client they talk through.
"""

from __future__ import annotations

from alchemy.cloudflare.d1 import D1Database
from alchemy.cloudflare.kv import KVNamespace
from alchemy.cloudflare.queue import Queue
from alchemy.cloudflare.r2 import R2Bucket
from alchemy.cloudflare.worker import Worker

__all__ = ["D1Database", "KVNamespace", "Queue", "R2Bucket", "Worker"]
