"""Files handed to a person (a plan, a draft, an export): whole or not at all, readable by their owner alone.

Neighbours: `planning`, `drafting` and `surgery.exporting` say what is in them, and what may be written over.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from alchemy.errors import StorageFailed, UsageError
from alchemy.model.text import safe_text


def write_out(file: Path, data: bytes, what: str, *, over: bool) -> None:
    """`over`: in place of what is there, which stays until the new one is whole; else UsageError when there is one.

    StorageFailed when the disk refuses. `what` it is, for people: "the plan".
    """
    try:
        descriptor, made = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # with 0600
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            if over:
                os.replace(made, file)
            else:
                os.link(made, file)
        finally:
            with suppress(OSError):
                os.unlink(made)
    except FileExistsError:
        raise UsageError(f"{safe_text(file)} exists already", hint="name another file, or remove it") from None
    except OSError as error:
        raise StorageFailed(
            f"{what} cannot be written to {safe_text(file)}: {error.strerror}", hint="name a file that can be written"
        ) from error
