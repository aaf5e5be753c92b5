"""What the store alone costs, beside what was promised for this kind of machine: two cores, a disk of its own.

Times depend on the machine and on who else works on it, so they are shown and nothing fails; `counts` has what holds
anywhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import quiet

HERE = Path(__file__).parent
RUNS = 3
MANY = 10_000


def report() -> None:
    """The best of some runs each."""
    sys.stdout.write(f"\n{'the store alone':64} {'seconds':>8}   promised\n")
    for mode in ("ten", "parallel"):
        runs = [_deploy(mode) for _ in range(RUNS)]
        best = min(runs, key=lambda each: each["journal"])
        _line(f"1000 resources, {mode} at a time: records durable", best["journal"], 0.6)
        _line(f"1000 resources, {mode} at a time: views, nobody waits", best["views"])
    found = _timed(["open", str(MANY)], {})
    _line(f"a stage with {MANY} resources: opened for a run", found["run"], 0.5)
    _line(f"a stage with {MANY} resources: read", found["look"], 0.5)


def _line(what: str, seconds: float, most: float = 0.0) -> None:
    said = f"{what:64} {seconds:8.3f}"
    if most:
        said += f"   at most {most:g}{'' if seconds <= most else '   NOT HERE'}"
    sys.stdout.write(said + "\n")
    sys.stdout.flush()


def _deploy(mode: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        given = {"BENCH_N": "1000", "BENCH_MODE": mode, "ALCHEMY_STATE_DIR": f"{place}/.alchemy"}
        return _timed(["deploy"], given)


def _timed(arguments: list[str], given: dict[str, str]) -> dict[str, float]:
    path = f"{HERE.parent / 'core'}{os.pathsep}{HERE.parent}"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.timed", *arguments],
        env=quiet({**given, "PYTHONPATH": path}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found
