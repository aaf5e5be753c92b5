"""What has a good checksum and was not written by us is told from what was, and what passes never fails later."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from alchemy.model.events import Event, Noted, RunEnded
from alchemy.model.fold import Fold, Stamp
from alchemy.model.records import BadLine, Drop, Emit, Newer, Put, Record, Unreadable, decode, encode, entries
from alchemy.model.runview import RunView
from alchemy.model.schema import check_fold, check_record, check_resource, check_scope
from alchemy.model.values import Holder, ScopeKind, Target
from alchemy.store.viewfile import render
from tests.model.rows import AT, row, scope

PATH = "my-app/prod"
HOLDER = Holder(
    path=PATH, epoch=1, session="5e55", pid=42, process_start="9", boot_id="b", host="h", user="u", command="c",
    since=AT, purpose="deploy",
)  # fmt: skip


def records() -> list[dict[str, Any]]:
    """One of each kind and operation, as they are written."""
    stage = {**scope(PATH, ScopeKind.STAGE).to_json(), "target": Target(account="a", name="local cloud").to_json()}
    full = row(
        f"{PATH}/db/größe", f"{PATH}/other", props={"a": [1, {"b": None}]}, pending={"a": 1}, error="no", former=True,
        generation=2, seq=3, kept=True, timeout=2.5,
    )  # fmt: skip
    ops = [
        {"op": "put", "row": stage},
        Put(full, "intent", "create", "new", 0.5).to_json(),
        Put(row(f"{PATH}/a"), "result", "create").to_json(),
        Drop(f"{PATH}/a", generation=3).to_json(),
        Drop(scope=f"{PATH}/db").to_json(),
        Emit(Noted(PATH, "text")).to_json(),
        Emit(RunEnded(PATH, "done", {"create": 1}, [["a", "b"]])).to_json(),
    ]
    begins = {"seq": 0, "serial": 0, "next_seq": 1}
    opener: dict[str, Any] = {"holder": HOLDER.to_json(), "seals": {"1": 5}, "lineage": "f", "begins": begins}
    release: dict[str, Any] = {"scope": PATH, "outcome": "done", "counts": {"create": 1}, "failures": [["a", "b"]]}
    release |= {"took": 1.5, "declared": {"complete": True, "orphans": [f"{PATH}/a"]}, "total": 2, "hints": ["do it"]}
    bodies = {"open": opener, "commit": {}, "release": release}
    made = [Record(1, 1, "s", "w", kind, AT, "", 1, tuple(ops), body) for kind, body in bodies.items()]
    return [decode_raw(encode(record)[0]) for record in made]


def decode_raw(line: bytes) -> dict[str, Any]:
    import orjson

    data: dict[str, Any] = orjson.loads(line)["r"]
    return data


def line_of(data: dict[str, Any]) -> bytes:
    """With a good checksum, as whoever can compute one would write it."""
    import hashlib

    import orjson

    raw = orjson.dumps(data)
    return b'{"r":' + raw + b',"c":"' + hashlib.sha256(raw).hexdigest()[:16].encode() + b'"}\n'


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in it."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from places(tree[key])


WRONG: list[Any] = [
    None,
    True,
    7,
    -1,
    1 << 60,
    1.5,
    "",
    "x",
    "a/b",
    "../../etc/passwd",
    "\x1b[31m",
    [],
    ["x"],
    [[]],
    [None],
    {},
]
WRONG += [{"a": 1}, {"x": None}, "x" * 300, f"{PATH}/../dev/a", "deleting", "stage", {"op": "put"}]


def use(data: dict[str, Any]) -> None:
    """Everything that readers do with a record."""
    record, check = decode(line_of(data))
    fold = Fold(PATH)
    fold.apply(record, check)
    view = RunView(PATH)
    for entry in entries(record):
        view.apply(entry)
        Event.from_json(entry.event.to_json())
    for each in fold.resources.values():
        render(each, Stamp(1, 1, 1))
        assert isinstance(each.id + each.scope + each.key, str)
    for path in fold.scopes:
        render(fold.scopes[path], Stamp(1, 1, 1))
    copied = fold.to_snapshot()
    assert Fold.from_snapshot(copied).to_snapshot() == copied
    fold.orphaned(f"{PATH}/a")


def test_what_we_write_passes() -> None:
    for data in records():
        check_record(data)
        use(data)


def test_every_wrong_value_in_every_place_is_refused_or_harmless() -> None:
    """18,000 records with right checksums."""
    refused = harmless = 0
    for data in records():
        for container, key in places(data):
            if container is data and key == "v":
                continue
            kept = container[key]
            for wrong in WRONG:
                container[key] = wrong
                try:
                    use(data)
                    harmless += 1
                except Unreadable:
                    refused += 1
            container[key] = kept
    assert refused > harmless > 0


def test_every_missing_field_is_refused_or_harmless() -> None:
    for data in records():
        for container, key in list(places(data)):
            if isinstance(container, dict):
                kept = container.pop(key)
                try:
                    use(data)
                except Unreadable:
                    assert key not in ("took", "reason", "generation", "pending", "error")
                container[key] = kept


def test_mixed_damage_is_refused_or_harmless() -> None:
    dice = random.Random(20240115)
    for _ in range(1500):
        data = copy.deepcopy(dice.choice(records()))
        for _ in range(dice.randint(2, 4)):
            container, key = dice.choice(list(places(data)))
            container[key] = dice.choice([*WRONG, copy.deepcopy(dice.choice(list(places(data)))[0])])
        try:
            use(data)
        except BadLine:
            continue


def test_an_unknown_operation_kind_or_status_is_named_not_passed_over() -> None:
    (_, data, _) = records()
    for name, wrong, said in [("kind", "merge", "kind 'merge'"), ("ops", [{"op": "link"}], "operation 'link'")]:
        with pytest.raises(Unreadable, match=f"{said} is unknown to this version"):
            decode(line_of({**data, name: wrong}))
    data["ops"][1]["row"]["status"] = "frozen"
    with pytest.raises(Unreadable, match="status 'frozen' is unknown to this version"):
        decode(line_of(data))
    with pytest.raises(Newer, match="format 2 is newer than this version reads"):
        decode(line_of({**data, "v": 2}))


def test_what_leads_out_of_its_place_is_refused() -> None:
    for address in ("../x/a", "my-app//a", "a", "/a", f"{PATH}/", f"{PATH}/a\nb", f"{PATH}/u\u0308", "locks/x/a"):
        with pytest.raises(ValueError, match=r"scope path|id|resource"):
            check_resource(row(address).to_json())
    for path in ("", "..", "a/../b", "test", "x" * 64, "a/" * 20 + "b"):
        with pytest.raises(ValueError, match=r"scope path|application"):
            check_scope(scope(path).to_json())


def test_a_copy_of_another_scope_is_misplaced() -> None:
    fold = Fold(PATH)
    fold.apply(Record(1, 1, "s", "w", "commit", AT, "", 1, (Put(row(f"{PATH}/a")).to_json(),)), "c")
    copied = fold.to_snapshot()
    check_fold(copied, PATH)
    with pytest.raises(ValueError, match="misplaced: it is of 'my-app/prod'"):
        check_fold(copied, "my-app/dev")
    copied["scope"] = "my-app/dev"
    with pytest.raises(ValueError, match="misplaced: 'my-app/prod/a' does not belong to my-app/dev"):
        check_fold(copied, "my-app/dev")


def test_every_wrong_value_in_a_copy_is_refused_or_harmless() -> None:
    fold = Fold(PATH)
    record, check = decode(line_of(records()[2]))
    fold.apply(record, check)
    copied = fold.to_snapshot()
    check_fold(copied, PATH)
    for container, key in list(places(copied)):
        kept = container[key]
        for wrong in WRONG:
            container[key] = wrong
            try:
                check_fold(copied, PATH)
            except ValueError:
                continue
            made = Fold.from_snapshot(copied)
            for each in made.resources.values():
                render(each, made.stamps[each.key])
            made.orphaned(f"{PATH}/a")
        container[key] = kept


def test_what_is_nested_deeper_than_anything_we_write_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"a": [deep]}
    with pytest.raises(ValueError, match="its field props is nested too deep"):
        check_resource(row(f"{PATH}/a", props=deep).to_json())


def test_fields_of_a_newer_version_survive_a_save() -> None:
    """Of rows, of scopes, and of the copy as a whole."""
    later = {**row(f"{PATH}/a").to_json(), "colour": {"deep": [1]}}
    stage = {**scope(PATH, ScopeKind.STAGE).to_json(), "owner": "ana"}
    ops = ({"op": "put", "row": later}, {"op": "put", "row": stage})
    line, check = encode(Record(1, 1, "s", "w", "commit", AT, "", 1, ops, {"weather": "fine"}))
    fold = Fold(PATH)
    record, _ = decode(line)
    fold.apply(record, check)
    copied = {**fold.to_snapshot(), "season": "winter"}
    check_fold(copied, PATH)
    again = Fold.from_snapshot(copied)
    assert again.to_snapshot() == copied
    assert again.resources[f"{PATH}/a"].to_json()["colour"] == {"deep": [1]}
    assert again.scopes[PATH].to_json()["owner"] == "ana"
    assert b'"colour"' in render(again.resources[f"{PATH}/a"], Stamp(1, 1, 1))
    assert b'"owner"' in render(again.scopes[PATH], Stamp(1, 1, 1))
