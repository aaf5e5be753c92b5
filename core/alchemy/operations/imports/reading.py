"""Which tool's state lies at a path, and reading it.

Neighbours: `flat` and `typescript` are the readers, `operations.migrating` asks.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from alchemy.errors import StorageFailed, UsageError
from alchemy.model import strict
from alchemy.model.text import safe_text
from alchemy.operations.imports.flat import read_flat
from alchemy.operations.imports.leftover import FLAT
from alchemy.operations.imports.source import Source
from alchemy.operations.imports.typescript import read_tree
from alchemy.store.descent import kind_of
from alchemy.store.files import Files


def read_source(path: Path) -> Source:
    """What lies at `path`: a flat file, a directory with one, or a tree. UsageError when it is none of them."""
    shown = safe_text(path)
    look_at(path)
    if path.is_file():
        return read_flat(Files().read(path), path)
    if _is_ours(path):
        raise UsageError(
            f"{shown} is state of this tool already",
            hint="`alchemy scope migrate --to r2` (or `--to file`) moves all of it to another store",
        )
    flat = path / FLAT
    if _is_flat(flat):
        return read_flat(Files().read(flat), flat)
    return read_tree(path)


def look_at(path: Path) -> None:
    """UsageError for what is neither a file nor a directory, StorageFailed for what cannot even be looked at."""
    shown, hint = safe_text(path), "name the file or directory to migrate from"
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise UsageError(f"there is nothing at {shown}", hint=hint) from error
    except OSError as error:
        raise StorageFailed(
            f"cannot look at {shown}: {error.strerror}", hint="see to its place and rights, then run the command again"
        ) from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UsageError(f"{shown} is {kind_of(mode)}, neither a file nor a directory", hint=hint)


def _is_flat(file: Path) -> bool:
    """A document with `resources`, whole or not: what cannot be read has to be told about."""
    if not file.is_file():
        return False
    data = Files().read(file)
    try:
        body = strict.parse(data)
    except strict.NotStrict:
        return b'"resources"' in data
    return isinstance(body, dict) and "resources" in body


def _is_ours(path: Path) -> bool:
    return any(next(path.glob(f"{above}journal/*.jsonl"), None) is not None for above in ("", "*/", "*/*/"))
