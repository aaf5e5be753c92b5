"""The fold is changed by the journal's thread while the program reads it: no reader trips over a row that comes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from alchemy.model.fold import Fold, Stamp
from tests.crash.test_power_cut import PATH, row


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """They take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_rows_are_read_while_others_come_and_go() -> None:
    fold = Fold(str(PATH))
    stamp = Stamp(1, 1, 1)
    for number in range(200):
        fold.set_row(row(f"in/r{number:04d}"), stamp)
    done = threading.Event()

    def write() -> None:
        for turn in range(60):
            for number in range(200, 400):
                fold.set_row(row(f"in/r{number:04d}"), stamp)
            for number in range(200, 400):
                fold.resources.pop(f"{PATH}/in/r{number:04d}")
            if turn == 59:
                done.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while not done.is_set():
            assert len(fold.below(f"{PATH}/in")) >= 200
    finally:
        thread.join()
