"""Counts instead of times, so that they hold on any machine: records, syncs, writes, requests and loaded modules.

`make test` runs this. Each line is a promise; one that does not hold ends the process with 1.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import quiet

HERE = Path(__file__).parent
N = 200
NEVER_IN_A_DEPLOY = ("pydantic", "pydantic_core", "httpx", "starlette", "uvicorn", "textual", "rich", "watchfiles")
NEVER_WHEN_NOTHING_CHANGED = (*NEVER_IN_A_DEPLOY, "click", "sqlite3", "tomllib")


class Promises:
    """Prints each, remembers whether all hold."""

    def __init__(self) -> None:
        self.broken = 0

    def __call__(self, what: str, value: float, most: float, least: float = 0) -> None:
        holds = least <= value <= most
        self.broken += not holds
        wanted = f"{least:g} to {most:g}" if least not in (0, most) else f"{most:g}" if least else f"at most {most:g}"
        sys.stdout.write(f"{'ok ' if holds else 'NO '} {what:64} {value:8g}   {wanted}\n")


def check() -> int:
    """The exit code."""
    promise = Promises()
    for mode in ("sequential", "parallel"):
        _check_writes(mode, promise)
        _check_requests(mode, promise)
    _check_nothing_written(promise)
    _check_modules(promise)
    if promise.broken:
        sys.stdout.write(f"{promise.broken} of the counts above are not as promised\n")
    return 1 if promise.broken else 0


def _check_writes(mode: str, promise: Promises) -> None:
    small, big = (list(_cycle(mode, n)) for n in (N // 4, N))
    first, again, less, gone = big
    most = 2 * N + 3 if mode == "sequential" else N // 4
    promise(f"{mode}: rows and drops in the journal a resource", round(first["ops"] / N, 2), 2.05)
    promise(f"{mode}: records to deploy {N}", first["records"], most)
    promise(f"{mode}: bytes of journal a resource", round(first["bytes"] / N), 2500)
    promise(f"{mode}: records to deploy {N} again", again["records"], 2, 2)
    promise(f"{mode}: journal writes to deploy {N} again", again["journal writes"], 2, 2)
    promise(f"{mode}: files replaced to deploy {N} again (the holder's)", again["replaces"], 1, 1)
    promise(f"{mode}: records to remove {N // 10} of {N}", less["records"], 2 * (N // 10) + 3)
    promise(f"{mode}: records to destroy {N - N // 10}", gone["records"], 2 * (N - N // 10) + 3)
    for step, little, much in zip(("deploy", "again", "remove", "destroy"), small, big, strict=True):
        promise(f"{mode}: {step}: journal syncs beyond one a record", much["journal syncs"] - much["records"], 2)
        grew = _own_syncs(much) - _own_syncs(little)
        promise(f"{mode}: {step}: other syncs that {N} need and {N // 4} do not", max(0, grew), 3)
    promise(f"{mode}: files replaced a resource when deployed (its view)", first["replaces"] / N, 2.1)


def _own_syncs(counts: dict[str, int]) -> int:
    """Apart from the journal's records: files, and directories that got a new name."""
    return counts.get("syncs", 0) + counts.get("directory syncs", 0)


def _cycle(mode: str, n: int) -> Iterator[dict[str, int]]:
    """What each of the four steps counted."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        root = Path(place) / ".alchemy"
        journal = root / "bench" / "bench" / "journal"
        steps: tuple[dict[str, str], ...] = (
            {},
            {},
            {"BENCH_DROP": "1"},
            {"BENCH_DROP": "1", "BENCH_PHASE": "destroy"},
        )
        for number, step in enumerate(steps, 1):
            given = {"BENCH_N": str(n), "BENCH_MODE": mode, "ALCHEMY_STATE_DIR": str(root), **step}
            counts: dict[str, int] = {"journal syncs": 0, "journal writes": 0, "replaces": 0}
            counts |= json.loads(_python(["-m", "benchmarks.counted"], given))
            data = (journal / f"{number:06d}.jsonl").read_bytes()
            ops = data.count(b'{"op":"put"') + data.count(b'{"op":"drop"')
            yield {**counts, "records": data.count(b"\n"), "bytes": len(data), "ops": ops}


def _check_requests(mode: str, promise: Promises) -> None:
    """Of a bucket: deletions are of records that a snapshot made superfluous, they cost nothing and nobody waits."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        given = {"BENCH_N": str(N), "BENCH_MODE": mode, "BENCH_STORE": "bucket", "ALCHEMY_STATE_DIR": place}
        steps: list[dict[str, int]] = json.loads(_python(["-m", "benchmarks.counted"], given))
    changed = N + N // 10 + (N - N // 10)
    asked = sum(sum(step.values()) - step.get("delete", 0) for step in steps)
    promise(f"{mode}: requests to a bucket a changed resource", round(asked / changed, 2), 2)
    promise(f"{mode}: with deletions", round(sum(sum(step.values()) for step in steps) / changed, 2), 2.6)
    promise(f"{mode}: requests to deploy {N} again", sum(steps[1].values()), 20)


def _check_nothing_written(promise: Promises) -> None:
    """Of a deploy that changes nothing: one new file, the run's own, and no other is touched."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        root = Path(place) / ".alchemy"
        given = {"BENCH_N": str(N), "ALCHEMY_STATE_DIR": str(root)}
        seen: list[dict[Path, tuple[int, int, int]]] = []
        for _ in range(2):
            _python([str(HERE / "program.py")], given, place)
            files = {path: path.stat() for path in root.rglob("*") if path.is_file()}
            seen.append({path: (found.st_ino, found.st_size, found.st_mtime_ns) for path, found in files.items()})
        before, after = seen
        promise("files that a deploy without changes makes", len(after.keys() - before.keys()), 1, 1)
        promise("files that it changes or removes", sum(after.get(path) != was for path, was in before.items()), 0)


def _check_modules(promise: Promises) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        listed = Path(place) / "modules"
        given = {"BENCH_N": "5", "ALCHEMY_STATE_DIR": f"{place}/.alchemy", "BENCH_MODULES": str(listed)}
        runs = {"a first deploy": NEVER_IN_A_DEPLOY, "a deploy that changes nothing": NEVER_WHEN_NOTHING_CHANGED}
        for what, never in runs.items():
            _python([str(HERE / "program.py")], given, place)
            loaded = listed.read_text().split()
            heavy = [name for name in never if name in loaded]
            promise(f"modules that {what} loads", len(loaded), 420)
            promise(f"heavy ones among them {', '.join(heavy) or '(none)'}", len(heavy), 0)


def _python(arguments: list[str], given: dict[str, str], directory: str | None = None) -> str:
    path = f"{HERE.parent / 'core'}:{HERE.parent}"
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env=quiet({**given, "PYTHONPATH": path}),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{arguments} failed with {done.returncode}:\n{done.stderr}")
    return done.stdout
