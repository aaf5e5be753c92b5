"""Drafts of decisions as files: written whole or not at all, never over something else, read as what a stranger wrote.

Neighbours: `model.drafts` is what is in them, `deciding` takes them up.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from alchemy.errors import AlchemyError, StateInvalid, UsageError
from alchemy.model.drafts import Draft
from alchemy.model.paths import ScopePath
from alchemy.model.strict import MAX_FILE
from alchemy.model.text import safe_text
from alchemy.operations.outfiles import write_out


def usual_file(path: ScopePath) -> Path:
    """Where a draft goes that nobody named a file for: the working directory."""
    return Path(f"cleanup-{str(path).replace('/', '-')}.json")


def read_draft(file: Path) -> Draft:
    """UsageError when there is none, StateInvalid for what is no draft."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE + 1)
    except FileNotFoundError:
        raise UsageError(
            f"there is no {safe_text(file)}", hint="`alchemy scope cleanup SCOPE --dry-run --out FILE` writes one"
        ) from None
    except OSError as error:
        raise UsageError(f"{safe_text(file)} cannot be read: {error.strerror}", hint="name a draft") from error
    try:
        return Draft.parse(data)
    except StateInvalid as error:
        raise StateInvalid(f"{safe_text(file)} is {error.message}", hint=error.hint) from error


def refuse_overwriting(file: Path) -> None:
    """UsageError for what is there and is no draft: a typing error must not cost a file."""
    if not file.exists() and not file.is_symlink():
        return
    with suppress(AlchemyError):
        read_draft(file)
        return
    raise UsageError(f"{safe_text(file)} is not overwritten: it is no draft", hint="name another file, or remove it")


def write_draft(file: Path, draft: Draft) -> None:
    """In place of an earlier draft. StorageFailed when the disk refuses; then the earlier one is there."""
    refuse_overwriting(file)
    data = (json.dumps(draft.to_json(), indent=2, ensure_ascii=True) + "\n").encode()
    write_out(file, data, "the draft", over=True)
