"""What a run knew and could not commit any more, in a file of its own, so that an id the cloud gave is not lost.

Neighbours: the journal's writer fills it, `alchemy scope recover` pushes it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from alchemy.errors import AlchemyError, StorageFailed
from alchemy.model.fold import Fold
from alchemy.model.records import Drop, Op, Put
from alchemy.model.text import safe_text
from alchemy.model.values import FORMAT
from alchemy.store.files import Files


class Spill:
    """Of one epoch. `directory` first, the system's temporary directory when that cannot be written."""

    def __init__(self, files: Files, directory: Path, place: str, fold: Fold, epoch: int, session: str) -> None:
        self._files = files
        self._directory = directory
        self._place = place
        self._fold = fold
        self._epoch = epoch
        self._session = session
        self._count = 0

    def write(self, unwritten: Sequence[Op], error: AlchemyError) -> None:
        """All of `unwritten` that is worth keeping; `error` says where. The same again when nothing came to it.

        Intents are left out, their call was never made; so is what failed, the row's intent is durable.
        """
        ops = [
            op for op in unwritten if isinstance(op, Drop) or (isinstance(op, Put) and op.phase in ("result", "set"))
        ]
        if len(ops) == self._count:
            return
        fold = self._fold
        body: dict[str, Any] = {"format": FORMAT, "type": "spill", "scope": fold.path, "place": self._place}
        body |= {"epoch": self._epoch, "session": self._session, "lineage": fold.lineage}
        body |= {"seq": fold.seq, "serial": fold.serial, "why": error.message}
        body["ops"] = [op.to_json() for op in ops]
        name = f"{fold.path.replace('/', '-')}-{self._epoch}-{self._session[:8]}.json"
        data = json.dumps(body, indent=2, default=str).encode()  # also what orjson refuses, and the journal with it
        for directory in (self._directory, Path(tempfile.gettempdir())):
            with suppress(StorageFailed, OSError):
                self._files.make_directory(directory, durable=False)
                self._files.replace(directory / name, data, durable=True)
                if not self._count:
                    where = safe_text(directory / name)
                    error.hint = f"{error.hint}; what this run knew and could not write is in {where}: "
                    error.hint += f"`alchemy scope recover {where}` writes it"
                self._count = len(ops)
                return
