"""`python -m benchmarks`: the table, and what the store alone costs; with --counts the promises `make test` checks."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.counts import check
from benchmarks.cycles import Cycle, npm, ours, rows, terraform
from benchmarks.measure import HEAD
from benchmarks.store import report

SMALL = 100  # peers are measured up to here without being asked: Terraform takes minutes for a thousand


def peers() -> Iterator[tuple[str, Cycle]]:
    """Those that are installed here."""
    program = shutil.which("terraform")
    if program:
        yield "terraform", terraform(program)
    modules = Path(os.environ.get("BENCH_NODE_MODULES", "node_modules")).absolute()
    if not (modules / "alchemy").is_dir():
        return
    bun = shutil.which("bun") or modules / ".bin" / "bun"
    for name, runtime in (("node", shutil.which("node")), ("bun", str(bun) if Path(bun).exists() else None)):
        for mode in ("sequential", "parallel"):
            if runtime:
                yield f"alchemy npm {name} {mode[:3]}", npm(runtime, modules, mode)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--n", default="100,1000", help="how many resources, several with commas (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="runs of which the median is shown (%(default)s)")
    parser.add_argument("--counts", action="store_true", help="check records, syncs, writes and modules; no times")
    parser.add_argument(
        "--peers",
        action="store_true",
        help=f"Terraform and npm alchemy for every N, not only up to {SMALL}; "
        "BENCH_NODE_MODULES names the node_modules that holds alchemy (and bun)",
    )
    given = parser.parse_args()
    if given.counts:
        return check()
    sys.stdout.write(f"{HEAD}\n")
    failed = False
    for n in map(int, given.n.split(",")):
        mine = [(f"alchemy {mode}", ours(mode)) for mode in ("sequential", "parallel")]
        others = list(peers()) if given.peers or n <= SMALL else []
        for who, cycle in mine + others:
            for row in rows(who, cycle, n, given.runs if n <= SMALL or (who, cycle) in mine else 1):
                failed = failed or row.failed
                sys.stdout.write(f"{row}\n")
                sys.stdout.flush()
    report()
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
