"""A strict S3 server on a loopback port, for tests: atomic, signed requests only, faults on demand.

`with Server() as server:` in a thread, or
`python -m alchemy.testing.s3` as a process of its own, `Remote` to talk to that.
"""

from __future__ import annotations

from alchemy.testing.s3.control import Remote
from alchemy.testing.s3.faults import KINDS, Fault
from alchemy.testing.s3.server import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Logged, Server

__all__ = ["ACCESS_KEY_ID", "KINDS", "SECRET_ACCESS_KEY", "Fault", "Logged", "Remote", "Server"]
