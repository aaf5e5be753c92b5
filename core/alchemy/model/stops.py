"""Asking a run to stop: what somebody without its lock leaves beside the lock, for the run itself to find.

Pure. It names one run, by its token: whoever comes after is not meant. Neighbours: `engine.asked` looks for it,
`operations.stopping` leaves it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields

from alchemy.model.paths import ScopePath
from alchemy.model.strict import NotStrict, parse
from alchemy.model.text import safe_text

FORMAT = 1
_LONGEST = 16_384  # bytes


@dataclass(frozen=True, slots=True)
class StopRequest:
    """Texts are safe to show."""

    path: str
    token: str  # of the run that is asked
    by: str
    at: str
    reason: str = ""

    @property
    def words(self) -> str:
        """`ana@laptop: the wrong stage`."""
        return f"{self.by}: {self.reason}" if self.reason else self.by

    def encode(self) -> bytes:
        data = {"format": FORMAT, **{each.name: getattr(self, each.name) for each in fields(self)}}
        return json.dumps(data, indent=2).encode() + b"\n"


def place_of(path: ScopePath | str) -> str:
    """Below the state directory, or the project's prefix in a bucket."""
    return f"locks/{path}.lock.stop"


def decode(data: bytes | None) -> StopRequest | None:
    """None for what asks nobody: nothing, or something else."""
    try:
        found = parse(data, _LONGEST) if data else None
    except NotStrict:
        return None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return None
    values = {each.name: found.get(each.name, "") for each in fields(StopRequest)}
    if not all(isinstance(value, str) for value in values.values()):
        return None
    return StopRequest(**{name: safe_text(value, 500) for name, value in values.items()})
