"""The program whose power is cut in `test_power_cuts.py`: runs on one journal without end, each promise told at once.

A line `k` on standard output says that commit `k` was promised to be durable; `model(k)` is the rows it stands for.
Arguments: the state directory, and the first k.
"""

from __future__ import annotations

import sys
from pathlib import Path

from alchemy.model.canonical import digest
from alchemy.model.fold import Fold
from alchemy.model.records import Drop, Op, Put
from alchemy.store.backups import write_backup
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from tests.crash.test_power_cut import PATH, Writer, row
from tests.torture.honest import Honest

RUN = 9  # commits of a run
ROWS = 40


def ops(k: int) -> list[Op]:
    """Of commit `k`: a row changes, another goes, so many that snapshots are due."""
    changed: list[Op] = [Put(row(f"r{(k * 7 + n) % ROWS:02d}", outputs={"k": k})) for n in range(1 + 6 * (k % 5))]
    return [*changed, Drop(f"{PATH}/r{(k * 3) % ROWS:02d}", kind="t:T"), Put(row("count", outputs={"k": k}))]


def rows(fold: Fold) -> dict[str, object]:
    """What `model` says, as stored."""
    return {each.id: each.outputs["k"] for each in fold.resources.values()}


def model(last: int) -> dict[str, object]:
    """After commits 1 to `last`."""
    found: dict[str, object] = {}
    for k in range(1, last + 1):
        for op in ops(k):
            if isinstance(op, Put):
                found[op.row.address.rpartition("/")[2]] = k  # type: ignore[union-attr]
            elif isinstance(op, Drop):
                found.pop(op.address.rpartition("/")[2], None)
    return found


def main(root: Path, k: int) -> None:
    files = Honest()
    while True:
        writer = Writer(files, root, digest([k])[:32])
        write_backup(LocalStore(Layout(root), files=files), writer.journal.fold, f"before {k}")
        for _ in range(RUN):
            writer.commit(*ops(k))
            sys.stdout.write(f"{k}\n")
            sys.stdout.flush()
            k += 1
        writer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
