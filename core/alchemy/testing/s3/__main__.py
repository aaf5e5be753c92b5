"""The server as a process: says where it is in one line of JSON, ends when its input does or at SIGTERM."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from alchemy.testing.s3.server import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m alchemy.testing.s3", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--directory", type=Path, help="keep the objects here; in memory otherwise")
    parser.add_argument("--bucket", action="append", help="may be given more than once (default: state)")
    parser.add_argument("--page", type=int, default=1000, help="the most objects in one answer to a listing")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    buckets = tuple(asked.bucket or ["state"])
    with Server(port=asked.port, buckets=buckets, directory=asked.directory, page=asked.page) as server:
        where = {
            "endpoint": server.endpoint,
            "buckets": buckets,
            "access_key_id": ACCESS_KEY_ID,
            "secret_access_key": SECRET_ACCESS_KEY,
        }
        os.write(1, json.dumps(where).encode() + b"\n")
        while os.read(0, 4096):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
