"""One whole process as the system saw it: wall time, CPU time, peak memory. Output goes to a file, never to a pipe."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LIMIT = 900.0  # seconds; a peer that takes longer is stopped and says so
_OURS = ("ALCHEMY_", "CLOUDFLARE_", "BENCH_", "PYTHON")


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process with the children it waited for; `peak` is the largest single one, in MB."""

    wall: float
    cpu: float
    peak: float
    code: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: medians of some runs."""

    who: str
    n: int
    step: str
    usages: tuple[Usage, ...]

    def middle(self, what: str) -> float:
        middle: float = statistics.median(getattr(usage, what) for usage in self.usages)
        return middle

    @property
    def failed(self) -> bool:
        return any(usage.code for usage in self.usages)

    def __str__(self) -> str:
        walls = sorted(usage.wall for usage in self.usages)
        said = f"{self.who:22} {self.n:6} {self.step:12} {self.middle('wall'):8.2f} {self.middle('cpu'):8.2f}"
        said += f" {self.middle('peak'):7.0f}   {walls[0]:.2f}-{walls[-1]:.2f}"
        return said + ("   FAILED" if self.failed else "")


HEAD = f"{'':22} {'N':>6} {'step':12} {'wall s':>8} {'cpu s':>8} {'MB':>7}   wall min-max"


def quiet(given: Mapping[str, str]) -> dict[str, str]:
    """The environment without anybody's settings, without telemetry and update checks."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS) and name != "CI"}
    kept |= {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "NO_COLOR": "1"}
    kept |= {"DO_NOT_TRACK": "1", "ALCHEMY_TELEMETRY_DISABLED": "1"}
    return {**kept, **given}


def run(command: Sequence[str | Path], directory: Path, given: Mapping[str, str], log: Path) -> Usage:
    """Waits for the process; stops its whole group after LIMIT."""
    with open(log, "wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=directory,
            env=quiet(given),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

        def stop(*_: object) -> None:
            os.killpg(process.pid, signal.SIGKILL)

        before = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
        try:
            _, status, used = os.wait4(process.pid, 0)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    return Usage(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, process.returncode)
