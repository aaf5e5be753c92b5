"""What a run knew and could not commit any more, in a file of its own, so that an id the cloud gave is not lost.

Neighbours: the journal's writer fills it, `operations.recovering` pushes it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from alchemy.errors import AlchemyError
from alchemy.model.fold import Fold
from alchemy.model.records import Drop, Op, Put
from alchemy.model.text import safe_text
from alchemy.model.values import FORMAT
from alchemy.store.clock import Clock
from alchemy.store.files import Files

ELSEWHERE = "alchemy-spill-"  # how names begin in the system's temporary directory
_LONGEST = 150  # characters of a name that come from the scope: a path may have 512, a file name 255


def spill_name(scope: str, epoch: int, session: str) -> str:
    """`~` stands in no scope's name: no two runs have one file."""
    stem = scope.replace("/", "~")
    if len(stem) > _LONGEST:
        stem = f"{stem[: _LONGEST - 20]}~~{hashlib.sha256(stem.encode()).hexdigest()[:16]}"
    return f"{stem}-{epoch}-{session[:8]}.json"


def spill_digest(body: dict[str, Any]) -> str:
    """Over all but `sha256`; also of values that `canonical` refuses, since a spill keeps what nothing else does."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


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
        body |= {"at": Clock().now(), "epoch": self._epoch, "session": self._session, "lineage": fold.lineage}
        body |= {"seq": fold.seq, "serial": fold.serial, "why": error.message}
        body["ops"] = [self._told(op) for op in ops]
        name = spill_name(fold.path, self._epoch, self._session)
        body = json.loads(json.dumps(body, default=str))  # also what orjson refuses, and the journal with it
        data = json.dumps({**body, "sha256": spill_digest(body)}, indent=2).encode()
        elsewhere = Path(tempfile.gettempdir()) / f"{ELSEWHERE}{name}"
        for file, files in ((self._directory / name, self._files), (elsewhere, Files())):
            with suppress(AlchemyError, OSError):
                files.make_directory(file.parent, durable=False)
                files.replace(file, data, durable=True)
                if not self._count:
                    where = safe_text(file)
                    error.hint = f"{error.hint}; what this run knew and could not write is in {where}: "
                    error.hint += f"`alchemy scope recover {where}` writes it"
                self._count = len(ops)
                return

    def _told(self, op: Op) -> dict[str, Any]:
        """A drop with the token of what it dropped, so that it is not taken for what was made in its place."""
        out = op.to_json()
        if isinstance(op, Drop) and op.address:
            key = op.address if op.generation is None else f"{op.address}\x00{op.generation}"
            row = self._fold.resources.get(key)
            if row is not None:
                out["token"] = row.token
        return out
