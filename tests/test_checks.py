"""docs/checks.md names tests that exist, one for each behaviour."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAD = "| no | what is done | what must come out | proof, below `tests/` |"
LEAST = 70


def rows() -> list[list[str]]:
    lines = (ROOT / "docs" / "checks.md").read_text().splitlines()
    tables = [line for line in lines if line.startswith("|") and line != HEAD and not line.startswith("| --- ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in tables]


@cache
def names_in(path: str) -> frozenset[str]:
    """The names that pytest collects from a file: functions at its top."""
    file = ROOT / "tests" / path
    if not file.is_file():
        return frozenset()
    tree = ast.parse(file.read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_every_row_says_what_is_done_what_comes_out_and_who_proves_it() -> None:
    for row in rows():
        assert len(row) == 4, row
        assert all(row), row
        assert re.fullmatch(r"`[\w/]+/test_\w+\.py::test_\w+`", row[3]), row


def test_every_proof_is_a_test_that_exists() -> None:
    missing = []
    for number, _, _, proof in rows():
        path, _, name = proof.strip("`").partition("::")
        if name not in names_in(path):
            missing.append(f"{number}: {proof}")
    assert missing == []


def test_the_rows_are_numbered_and_no_behaviour_is_told_twice() -> None:
    listed = rows()
    assert [int(number) for number, *_ in listed] == list(range(1, len(listed) + 1))
    assert len(listed) >= LEAST
    assert len({proof for *_, proof in listed}) == len(listed)
