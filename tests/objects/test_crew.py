"""Thirty-two processes deploy to overlapping scopes of a bucket behind HTTP; some are killed, one sleeps and wakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from alchemy.model.paths import ScopePath
from alchemy.store.objects.store import ObjectStore
from tests.objects import crew
from tests.objects.buckets import bucket_at

PEOPLE = 32
SECONDS = float(os.environ.get("RACE_SECONDS", "10"))
ROOT = Path(__file__).parents[2]


@contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process and its children; all of them are gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'core'}:{ROOT}"},
        start_new_session=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        process.stdin.close()
        process.stdout.close()


def order(process: subprocess.Popen[str], *words: object) -> None:
    assert process.stdin
    process.stdin.write(" ".join(map(str, words)) + "\n")
    process.stdin.flush()


def notes(folder: Path) -> list[list[str]]:
    file = folder / "notes"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def inside(lines: list[list[str]], meet: list[str] | None = None) -> dict[str, ScopePath]:
    """Who holds what after these notes; `meet` gets pairs that conflict. The killed and the sleeping hold nothing."""
    holding: dict[str, ScopePath] = {}
    for who, what, *rest in lines:
        if what == "begin":
            path = ScopePath.parse(rest[0])
            for other, held in holding.items():
                if meet is not None and other != who and (held.holds(path) or path.holds(held)):
                    meet.append(f"{who} took {path} while {other} had {held}")
            holding[who] = path
        elif what in ("end", "kill", "stop"):
            holding.pop(who, None)
    return holding


@pytest.mark.slow
def test_thirty_two_processes_never_meet_and_lose_nothing(tmp_path: Path) -> None:
    with program("alchemy.testing.s3") as server:
        assert server.stdout
        endpoint = json.loads(server.stdout.readline())["endpoint"]
        race(endpoint, tmp_path)


def race(endpoint: str, folder: Path) -> None:
    with program("tests.objects.crew", endpoint, str(folder), str(PEOPLE)) as process:
        end = time.monotonic() + SECONDS
        gone: list[int] = []
        while time.monotonic() < end:
            time.sleep(0.5)
            lines = notes(folder)
            holding = inside(lines)
            recent = list(holding) or [who for who, *_ in lines[-20:] if gone]  # the first one holds something
            busy = [int(who) for who in recent if int(who) < PEOPLE and int(who) not in gone]
            if not busy:
                continue
            order(process, "kill" if gone else "stop", busy[-1])
            gone.append(busy[-1])
        order(process, "go", gone[0])
        time.sleep(0.5)
        order(process, "end")
        assert process.wait(60) == 0
        lines = notes(folder)
        counts = Counter(what for _, what, *_ in lines)
        meetings: list[str] = []
        inside(lines, meetings)
        assert not meetings
        assert not counts["failed"], [line for line in lines if line[1] == "failed"]
        assert counts["ack"] > 30, counts
        assert counts["kill"] >= 3, counts
        store = ObjectStore(bucket_at(endpoint), folder)
        folds = {str(stage): store.read_fold(stage) for stage in crew.STAGES}
        writers: dict[tuple[str, str], str] = {}
        latest: dict[str, int] = {}
        for who, what, *rest in lines:
            if what != "ack":
                continue
            stage, epoch, address = rest
            assert address in folds[stage].resources, "acknowledged, and not there"
            assert writers.setdefault((stage, epoch), who) == who, "two wrote in one epoch"
            if int(who) == gone[0]:
                continue  # it may have been put to sleep between the acknowledgement and its note
            assert int(epoch) >= latest.get(stage, 0), "an earlier run was acknowledged after a later one"
            latest[stage] = int(epoch)
