"""`program.py` on a disk that is cut under the running process: a sync counts when the file can still be opened after.

Without that look one sync in some thousands is called a success by the kernel although the shutdown came in the middle
of it (a plain loop of write, fdatasync, print loses 1 line in 150 such cuts). A real power cut has nobody to tell.
"""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from pathlib import Path

from alchemy.errors import AlchemyError, StorageFailed
from alchemy.store.files import Files
from tests.crash import stepping


class Honest(Files):
    """Its syncs are true also while the file system is shut down."""

    def sync(self, descriptor: int, path: Path) -> None:
        super().sync(descriptor, path)
        try:
            os.close(os.open(path, os.O_RDONLY))
        except OSError as error:
            raise StorageFailed(f"cannot sync {path}: {error.strerror}", hint="the power is gone") from error


def main() -> int:
    try:
        asyncio.run(stepping.deploy(Honest()))
    except AlchemyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except BaseExceptionGroup:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
