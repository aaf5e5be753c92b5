"""Tests for `make torture` only: minutes of accidents, on file systems that are made for them.

Each worker has mounts that only it sees, so that nothing stays mounted whatever happens to it. What a test counts with
`tally` is summed up at the end.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.runs import Bench
from tests.crash.server import Cloud, running_cloud
from tests.torture.disks import Ext4, NotHere, Tmpfs, own_mounts

# Whoever runs all of pytest did not ask for this: it is not even collected.
collect_ignore_glob = [] if os.environ.get("ALCHEMY_TORTURE") else ["test_*.py"]

Tally = Callable[[str, int], None]


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with running_cloud() as cloud:
        yield cloud


@pytest.fixture
def bench(cloud: Cloud, tmp_path: Path) -> Bench:
    return Bench(cloud, tmp_path / ".alchemy")


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Tally:
    """`tally("cuts", 1)`"""
    return record_property


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    totals: Counter[str] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for what, number in report.user_properties:
                totals[what] += number
    for what, number in totals.items():
        terminalreporter.write_line(f"torture: {number} {what}")


@pytest.fixture(scope="session")
def mounts() -> None:
    try:
        own_mounts()
    except NotHere as reason:
        pytest.skip(str(reason))


@pytest.fixture
def ext4(mounts: None, tmp_path: Path) -> Iterator[Ext4]:
    """A journalled ext4 of its own with default options."""
    try:
        disk = Ext4(tmp_path)
    except NotHere as reason:
        pytest.skip(str(reason))
    yield disk
    disk.close()


@pytest.fixture
def tmpfs(mounts: None, tmp_path: Path) -> Iterator[Tmpfs]:
    """A file system in memory whose size the test chooses."""
    try:
        disk = Tmpfs(tmp_path / "small")
    except NotHere as reason:
        pytest.skip(str(reason))
    yield disk
    disk.close()
