"""What a journal in the place of another begins with, and what was salvaged for it: values, no files.

Neighbours: `salvage` makes them, every store begins with them, `opening` reads them back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Op

BEGINS = "begins"  # in the opener of a journal that took the place of another: the numbers it goes on from


def begun(path: ScopePath | str, numbers: dict[str, int]) -> Fold:
    """Of a journal that begins in the place of another. All that it begins with counts as declared by a deploy."""
    declared = {"complete": True, "orphans": [], "seq": numbers["seq"], "next_seq": numbers["next_seq"]}
    fold = Fold(str(path), seq=numbers["seq"], serial=numbers["serial"], next_seq=numbers["next_seq"])
    fold.declared = declared
    return fold


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a new journal starts with: `ops` in its opener, all or nothing, numbered behind all that was ever used."""

    epoch: int
    seq: int
    serial: int
    next_seq: int
    lineage: str  # "" makes a new one
    ops: tuple[Op, ...] = ()

    @property
    def body(self) -> dict[str, Any]:
        """For the opener: whoever reads it starts from these numbers, with nothing."""
        return {BEGINS: {"seq": self.seq, "serial": self.serial, "next_seq": self.next_seq}}

    def fold(self, path: ScopePath | str) -> Fold:
        fold = begun(path, self.body[BEGINS])
        fold.lineage = self.lineage
        return fold


@dataclass(slots=True)
class Salvaged:
    """`fold`: the best that is known. `sources` says of each row's key where it was found."""

    fold: Fold
    sources: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    missing: int = 0  # records of which nothing is left
    epoch: int = 0  # the highest numbers that were ever used
    seq: int = 0
    serial: int = 0

    def beginning(self, ops: Sequence[Op]) -> Beginning:
        return Beginning(self.epoch, self.seq, self.serial, self.fold.next_seq, self.fold.lineage, tuple(ops))
