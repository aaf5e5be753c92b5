"""The bytes of R2 objects: one file each, named by a random id, on the disk before a row speaks of it.

Neighbours: `r2_objects` keeps the rows; `store` sweeps up what a crash left without one.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from alchemy.localcloud.clock import hex_id
from alchemy.localcloud.files import make_directory, write_synced


def write_blob(directory: Path, content: bytes) -> str:
    """Store `content` durably; the id it can be read by."""
    make_directory(directory)
    blob = hex_id()
    write_synced(directory / blob, content)
    return blob


def read_blob(directory: Path, blob: str) -> bytes:
    """Raises FileNotFoundError when the object was replaced or deleted meanwhile."""
    return (directory / blob).read_bytes()


def remove_blob(directory: Path, blob: str) -> None:
    """Remove the file after its row is gone; a crash before this leaves it for the sweep."""
    with contextlib.suppress(FileNotFoundError):
        (directory / blob).unlink()
