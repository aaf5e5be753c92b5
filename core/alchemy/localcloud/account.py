"""The account id of one local cloud: random, made once, the same for every process that uses the directory.

Neighbours: `files` makes it appear whole; `app` compares it with the id in each request's path.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from alchemy.errors import StorageFailed
from alchemy.localcloud.files import complete_or_absent, damaged, make_directory

ACCOUNT_FILE = "account-id"
_WAY_OUT = "make the directory writable, or choose another with ALCHEMY_STATE_DIR"
_ACCOUNT_ID = re.compile(r"[0-9a-f]{32}")


def account_id(directory: Path, *, create: bool = True) -> str | None:
    """32 lower-case hex digits; None when absent and `create` is false.

    Raises StateInvalid when the file holds something else: another id would be another target, so it is never replaced.
    Raises StorageFailed when it cannot be read or written.
    """
    path = directory / ACCOUNT_FILE
    try:
        found = _read(path)
        if found is not None or not create:
            return found
        make_directory(directory)
        with complete_or_absent(path) as temporary:
            temporary.write_text(secrets.token_hex(16) + "\n", encoding="ascii")
        return _read(path)
    except OSError as error:
        raise StorageFailed(f"the local cloud under {directory} is out of reach: {error}", hint=_WAY_OUT) from error


def _read(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    if not _ACCOUNT_ID.fullmatch(text):
        raise damaged(path, "does not hold an account id (32 hex digits)")
    return text
