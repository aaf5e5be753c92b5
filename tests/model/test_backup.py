"""A backup is read as if a stranger had written it: every damage is named, none is believed, none is a traceback."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alchemy.model.backup import BadBackup, Header, newest_first, read_head, read_whole
from alchemy.model.canonical import digest
from alchemy.model.fold import Fold
from alchemy.model.records import Put
from alchemy.model.values import ScopeKind
from alchemy.store.backups import HEAD, encode_backup
from tests.model.rows import row, scope
from tests.model.test_comparison import apply

PROD = "my-app/prod"
FILE = "state-2024-01-15T10-30-00-000Z.json"
AT = "2024-01-15T10:30:00.000Z"


def made() -> Fold:
    fold = Fold(PROD, lineage="l" * 32)
    apply(fold, [Put(scope(PROD, ScopeKind.STAGE)), Put(scope(f"{PROD}/db"))])
    apply(fold, [Put(row(f"{PROD}/a", props={"size": 1})), Put(row(f"{PROD}/db/x", f"{PROD}/a"))])
    apply(fold, [Put(row(f"{PROD}/a", former=True, generation=3))])
    return fold


DATA = encode_backup(made(), AT, "before R-2", note='a "note": {')
BODY: dict[str, Any] = json.loads(DATA)


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """By somebody who knows how checksums are made."""
    body = copy.deepcopy(BODY)
    change(body)
    if isinstance(body.get("state"), dict):
        body["sha256"] = digest(body["state"])
    return orjson.dumps(body)


def test_it_comes_back_as_it_was_written() -> None:
    backup = read_whole(FILE, DATA, PROD)
    assert backup.fold.to_snapshot() == made().to_snapshot()
    assert backup.header == read_head(FILE, DATA[:HEAD], len(DATA))
    assert (backup.header.note, backup.header.reason) == ('a "note": {', "before R-2")
    assert (backup.header.resources, backup.header.lineage, backup.header.taken) == (3, "l" * 32, AT)


def test_laid_out_otherwise_it_is_the_same() -> None:
    compact = json.dumps(BODY, sort_keys=True).encode()
    assert read_head(FILE, compact[:HEAD], len(compact)) is None, "then the whole of it has to be read"
    assert read_whole(FILE, compact, PROD).header == replace(read_whole(FILE, DATA, PROD).header, size=len(compact))


RESOURCE = 0  # the first one: a


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda b: b.update(type="spill"), "not a backup"),
        (lambda b: b.update(format=2), "newer than this version reads"),
        (lambda b: b.update(format=True), "format is no number"),
        (lambda b: b.update(scope=5), "scope is no text"),
        (lambda b: b.update(scope="my-app/dev"), "it is of my-app/dev"),
        (lambda b: b["state"].update(scope="my-app/dev"), "misplaced"),
        (lambda b: b.update(serial=99), "another serial than its state"),
        (lambda b: b.update(lineage="m" * 32), "lineage"),
        (lambda b: b["state"].update(lineage=""), "lineage"),
        (lambda b: b.update(counts={"resources": 2, "scopes": 2}), "another number of rows"),
        (lambda b: b.pop("counts"), "counts is no JSON object"),
        (lambda b: b.pop("state"), "its state is no JSON object"),
        (lambda b: b.update(state=[]), "its state is no JSON object"),
        (lambda b: b["state"]["scopes"].append(b["state"]["scopes"][0]), "is in it twice"),
        (lambda b: b["state"]["resources"].append(b["state"]["resources"][0]), "another number of rows"),
        (lambda b: b["state"]["resources"].__setitem__(1, b["state"]["resources"][0]), "is in it twice"),
        (lambda b: b["state"]["resources"][RESOURCE].update(address="my-app/dev/a"), "misplaced|is not in"),
        (lambda b: b["state"]["resources"][RESOURCE].update(address="my-app/production/a"), "misplaced|is not in"),
        (lambda b: b["state"]["resources"][RESOURCE].update(address=f"{PROD}/../x"), "not allowed|misplaced"),
        (lambda b: b["state"]["resources"][RESOURCE].update(status="asleep"), "asleep"),
        (lambda b: b["state"]["resources"][RESOURCE].update(token=1), "token"),
        (lambda b: b["state"]["resources"][RESOURCE].update(depends_on="a"), "depends_on"),
        (lambda b: b["state"]["resources"][RESOURCE].update(seq=-1), "seq"),
        (lambda b: b["state"]["resources"][RESOURCE].update(at=[1, 2]), "where it was written"),
        (lambda b: b["state"]["resources"][RESOURCE].pop("kind"), "kind is missing"),
        (lambda b: b["state"]["scopes"][1].update(kind="stage"), "cannot be a stage scope"),
        (lambda b: b["state"]["scopes"][0].update(kind="nested"), "cannot be a nested scope"),
        (lambda b: b["state"].update(declared={"complete": True, "orphans": []}), "names no record"),
    ],
)
def test_what_does_not_fit_is_named(change: Callable[[dict[str, Any]], object], problem: str) -> None:
    with pytest.raises(BadBackup, match=problem):
        read_whole(FILE, changed(change), PROD)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not whole JSON"),
        (b"[]", "no JSON object"),
        (DATA[:-30], "not whole JSON"),
        (DATA.replace(b'"size": 1', b'"size": 2', 1), "checksum does not match"),
        (DATA.replace(b'"size": 1', b'"size": NaN', 1), "NaN is no JSON"),
        (DATA.replace(b'"size": 1', b'"size": 1, "size": 1', 1), "stands twice"),
        (DATA.replace(b'"size": 1', b'"size": ' + b"9" * 39, 1), "not as this tool writes it"),
        (DATA.replace(b'"size": 1', b'"size": ' + b"[" * 400 + b"]" * 400, 1), "nested deeper"),
        (b"\xef\xbb\xbf" + DATA, "byte order mark"),
        (DATA.replace(b"before", b"\xff\xfe", 1), "not UTF-8"),
    ],
)
def test_bytes_that_nobody_should_believe(data: bytes, problem: str) -> None:
    with pytest.raises(BadBackup, match=problem):
        read_whole(FILE, data, PROD)


@settings(max_examples=200)
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255), st.booleans())
def test_no_byte_can_change_unseen_where_it_matters(place: int, by: int, cut: bool) -> None:
    damaged = DATA[:place] if cut else DATA[:place] + bytes([DATA[place] ^ by]) + DATA[place + 1 :]
    head = read_head(FILE, damaged[:HEAD], len(damaged))
    assert head is None or isinstance(head, Header)
    try:
        backup = read_whole(FILE, damaged, PROD)
    except BadBackup:
        assert damaged != DATA
    else:
        assert backup.fold.to_snapshot() == made().to_snapshot(), "only the words around the state may differ"


SWAPS: list[Any] = [None, True, -1, 1 << 60, "", "x" * 300, "\x1b[31m", [], {}, [[]], {"$secret": 1}, 1.5]


def test_no_value_in_the_place_of_another_is_a_traceback() -> None:
    """Every leaf and branch, replaced by whatever fits least, with a checksum that is right."""
    dice = random.Random(1)

    def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [path, *(found for key, item in inside for found in places(item, (*path, key)))]

    for path in places(BODY)[1:]:
        for swap in dice.sample(SWAPS, 4):
            body = copy.deepcopy(BODY)
            at: Any = body
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = swap
            if isinstance(body["state"], dict) and path != ("sha256",):
                body["sha256"] = digest(body["state"])
            data = orjson.dumps(body, option=orjson.OPT_INDENT_2)
            read_head(FILE, data[:HEAD], len(data))
            try:
                backup = read_whole(FILE, data, PROD)
            except BadBackup:
                continue
            again = encode_backup(backup.fold, AT, "again")
            assert read_whole(FILE, again, PROD).fold.to_snapshot() == backup.fold.to_snapshot(), (path, swap)


def test_the_newest_is_the_one_with_the_highest_number_and_damaged_ones_stand_by_their_name() -> None:
    found = [
        Header("state-3", seq=10),
        Header("state-1", seq=30),
        Header("state-2", seq=20),
        Header("state-25", problem="torn"),
        Header("state-0", problem="torn"),
    ]
    dice = random.Random(7)
    for _ in range(5):
        dice.shuffle(found)
        assert [header.file for header in newest_first(found)] == [
            "state-25",
            "state-1",
            "state-2",
            "state-3",
            "state-0",
        ]
