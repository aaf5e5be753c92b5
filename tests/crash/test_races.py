"""Thirty-two processes on overlapping scopes of one store, killed at random, with locks and without.

With locks no two related scopes are ever held together. With and without: every journal is a whole chain, and nothing
that was acknowledged is gone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from alchemy.model.paths import ScopePath
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.opening import epoch_numbers, read_fold
from tests.crash.racing import KILLS, SCOPES
from tests.crash.runs import CORE, chance

PROCESSES = 32
ACKS = 60


class Log:
    """What the processes said, in the order in which they said it."""

    def __init__(self, path: Path) -> None:
        self.overlaps: list[str] = []
        self.failed: list[str] = []
        self.acked: dict[tuple[str, int], int] = {}  # (scope, process) -> the last number
        self.counts: Counter[str] = Counter()
        self.side_by_side = 0
        holding: dict[int, ScopePath] = {}
        dying: set[int] = set()
        for line in path.read_text().splitlines():
            what, _, rest = line.partition(" ")
            self.counts[what] += 1
            if what in ("failed", "over"):
                self.failed += [line] if what == "failed" else []
                continue
            words = rest.split(" ")
            number = int(words[0])
            if what == "dying" or what == "end":
                holding.pop(number, None)
                dying |= {number} if what == "dying" else set()
            elif what == "ack":
                self.acked[words[1], number] = int(words[2])
            elif number not in dying:
                mine = ScopePath.parse(words[1])
                related = [other for other in holding.values() if mine.holds(other) or other.holds(mine)]
                self.overlaps += [f"{line} with {other}" for other in related]
                holding[number] = mine
                self.side_by_side = max(self.side_by_side, len(holding))


def race(root: Path, log: Path, locks: str) -> Log:
    root.mkdir(mode=0o700)
    seed = str(chance(0).randrange(1_000_000))
    environment = {**os.environ, "PYTHONPATH": f"{CORE}{os.pathsep}{CORE.parent}", "TMPDIR": str(log.parent)}
    command = [sys.executable, "-m", "tests.crash.racing", str(root), str(log)]
    command += [str(ACKS), str(PROCESSES), locks, seed]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return Log(log)


def verify(log: Log, root: Path) -> None:
    """Whole chains with everything that was acknowledged."""
    assert log.failed == []
    print(dict(log.counts), "side by side:", log.side_by_side)
    files, layout = Files(root), Layout(root)
    for owner in {owner for owner, _, _ in SCOPES}:
        fold = read_fold(files, layout, owner)  # raises when the chain is not whole
        assert epoch_numbers(files, layout, owner) == list(range(1, len(epoch_numbers(files, layout, owner)) + 1))
        for (scope, number), count in log.acked.items():
            if scope == owner:
                stored = fold.resources.get(f"{owner}/r{number}")
                assert stored is not None, f"{owner}: nothing of process {number}, which had {count} acknowledged"
                assert stored.outputs["count"] >= count


@pytest.mark.slow
def test_related_scopes_are_never_held_together_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    log = race(tmp_path / ".alchemy", tmp_path / "log", "locks")
    assert log.overlaps == []
    assert log.side_by_side > 1, "unrelated scopes were never held side by side"
    assert log.counts["ack"] >= ACKS
    assert log.counts["dying"] >= KILLS
    verify(log, tmp_path / ".alchemy")


@pytest.mark.slow
def test_without_locks_the_journal_alone_loses_nothing_acknowledged(tmp_path: Path) -> None:
    log = race(tmp_path / ".alchemy", tmp_path / "log", "no-locks")
    assert log.counts["ack"] >= ACKS
    verify(log, tmp_path / ".alchemy")
