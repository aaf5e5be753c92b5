from __future__ import annotations

from dataclasses import fields
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemy.model.events import ChangeEnded, ChangeRetried, ChangeStarted, Event, Noted, RunEnded, RunStarted
from alchemy.model.records import BadLine, Drop, Emit, Put, Record, decode, encode, entries, is_commit_before
from alchemy.model.values import Holder, ScopeKind, Status
from tests.model.rows import AT, row, scope

DB = "my-app/prod/database/db"
HOLDER = Holder(
    path="my-app/prod",
    epoch=7,
    session="5e55" * 8,
    pid=42,
    process_start="99",
    boot_id="b",
    host="laptop",
    user="ana",
    command="alchemy deploy",
    since=AT,
    purpose="deploy",
)


def record(kind: str = "commit", *ops: Put | Drop | Emit, **body: Any) -> Record:
    plain = tuple(op.to_json() for op in ops)
    return Record(3, 7, "5e55", "w1", kind, AT, "0" * 64, 2, plain, body)


plain_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda t: st.lists(t, max_size=3) | st.dictionaries(st.text("abc"), t, max_size=3),
    max_leaves=6,
)


@given(
    st.integers(1, 10**9),
    st.sampled_from(["commit", "release", "restore", "checkpoint"]),
    st.dictionaries(st.sampled_from(["from", "later", "more", "$x"]), plain_json, max_size=3),
    st.lists(st.fixed_dictionaries({"op": st.just("event"), "event": st.dictionaries(st.text("ab"), plain_json)})),
)
def test_a_record_comes_back_from_its_line(seq: int, kind: str, body: dict[str, Any], ops: list[Any]) -> None:
    wrote = Record(seq, 7, "s", "w", kind, AT, "p", 1, tuple(ops), body)
    line, check = encode(wrote)
    assert decode(line) == (wrote, check)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert orjson.loads(line)["r"]["seq"] == seq, "a line is JSON for anybody"


def test_no_single_byte_can_change_unseen() -> None:
    line, _ = encode(record("commit", Put(row(DB, outputs={"id": "größe\n"}), "result", "create", took=1.5)))
    for place in range(len(line)):
        for flip in (1, 0x20, 0x80):
            with pytest.raises(BadLine):
                decode(line[:place] + bytes([line[place] ^ flip]) + line[place + 1 :])


def test_no_cut_is_taken_for_a_line() -> None:
    line, _ = encode(record("commit", Put(row(DB))))
    for length in range(len(line)):
        with pytest.raises(BadLine):
            decode(line[:length])
        with pytest.raises(BadLine):
            decode(line[-length:] if length else b"")


@pytest.mark.parametrize("line", [b"", b"\n", b"{}\n", b'{"r":{},"c":""}\n', b"\x00" * 200, b'{"r":' * 40])
def test_what_is_no_record_is_said_to_be_none(line: bytes) -> None:
    with pytest.raises(BadLine):
        decode(line)


@pytest.mark.parametrize("raw", [b"[]", b"7", b"null", b"{}", b'{"v":"x"}', b'{"v":1}', b"{", b"\xff"])
def test_a_good_checksum_over_nonsense_is_still_no_record(raw: bytes) -> None:
    import hashlib

    line = b'{"r":' + raw + b',"c":"' + hashlib.sha256(raw).hexdigest()[:16].encode() + b'"}\n'
    with pytest.raises(BadLine):
        decode(line)


def test_a_newer_format_is_named() -> None:
    line, _ = encode(Record(1, 1, "s", "w", "open", AT, "", 1, v=2))
    with pytest.raises(BadLine, match="format 2 is newer"):
        decode(line)


def told(made: Record) -> list[Event]:
    assert all((entry.run, entry.seq, entry.at) == ("R-7", 3, AT) for entry in entries(made))
    return [entry.event for entry in entries(made)]


def test_an_intent_is_the_start_of_a_change_and_its_result_the_end() -> None:
    topic = row(DB, status=Status.CREATING)
    failed = row(DB, status=Status.CREATING, error="no room")
    assert told(record("commit", Put(topic, "intent", "create", "not in the state yet"))) == [
        ChangeStarted(DB, "acme:Topic", "create", "not in the state yet")
    ]
    assert told(record("commit", Put(row(DB), "result", "create", took=0.5))) == [
        ChangeEnded(DB, "acme:Topic", "create", "done", 0.5)
    ]
    assert told(record("commit", Put(failed, "failed", "create"))) == [
        ChangeEnded(DB, "acme:Topic", "create", "failed", 0.0, "no room")
    ]
    assert told(record("commit", Drop(DB, kind="acme:Topic", took=2.0))) == [
        ChangeEnded(DB, "acme:Topic", "delete", "done", 2.0)
    ]


def test_rows_that_are_only_set_and_scopes_that_come_and_go_are_no_events() -> None:
    ops = (Put(row(DB)), Put(scope("my-app/prod/a")), Drop(scope="my-app/prod/a"))
    assert told(record("commit", *ops)) == []


def test_opener_and_release_are_the_run() -> None:
    assert told(record("open", holder=HOLDER.to_json(), target="local cloud")) == [
        RunStarted("my-app/prod", "deploy", "local cloud", "ana@laptop", 42, "alchemy deploy")
    ]
    body = {"scope": "my-app/prod", "outcome": "failed", "counts": {"create": 2}, "took": 1.5, "total": 9}
    assert told(record("release", **body, failures=[["a", "b"]])) == [
        RunEnded("my-app/prod", "failed", {"create": 2}, [["a", "b"]], 1.5, 9)
    ]
    assert told(record("release", **body, failures=[["a", "b"]], hints=["do c"])) == [
        RunEnded("my-app/prod", "failed", {"create": 2}, [["a", "b"]], 1.5, 9, ["do c"])
    ]


def example_of(cls: type[Event]) -> Event:
    given: dict[str, Any] = {"str": "x", "int": 3, "float": 1.5, "dict[str, int]": {"a": 1}, "list[str]": ["do"]}
    given["list[list[str]]"] = [["a", "b"]]
    return cls(**{f.name: given[str(f.type)] for f in fields(cls)})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(Event.names))
def test_every_event_rides_along_and_comes_back(name: str) -> None:
    event = example_of(Event.names[name])
    line, _ = encode(record("commit", Emit(event)))
    assert told(decode(line)[0]) == [event]


def test_an_event_of_a_newer_version_is_shown_as_a_note() -> None:
    assert Event.from_json({"type": "Teleported", "subject": DB, "to": "mars"}) == Noted(DB, "(Teleported)")
    more = {**ChangeRetried(DB, 1, 3, 0.5, "busy").to_json(), "colour": "red"}
    assert Event.from_json(more) == Noted(DB, "(ChangeRetried)")


@given(st.sampled_from(list(Status)), st.booleans(), plain_json, st.dictionaries(st.text("abc"), plain_json))
def test_a_row_comes_back_from_its_stored_form(status: Status, flag: bool, value: Any, props: Any) -> None:
    from alchemy.model.values import ResourceState

    made = row(DB, "my-app/prod/x", status=status, props=props, outputs={"o": value}, protect=flag, former=flag)
    made = ResourceState.from_json({**made.to_json(), "from_the_future": value})
    assert made.extra == {"from_the_future": value}
    assert ResourceState.from_json(orjson.loads(orjson.dumps(made.to_json()))) == made


@pytest.mark.parametrize("kind", list(ScopeKind))
def test_a_scope_comes_back_from_its_stored_form(kind: ScopeKind) -> None:
    from alchemy.model.values import ScopeState, Target

    made = scope("my-app/prod", kind)
    data = {**made.to_json(), "target": Target(account="a" * 32, name="local cloud").to_json(), "later": [1]}
    back = ScopeState.from_json(data)
    assert back.target == Target(account="a" * 32, name="local cloud")
    assert back.to_json() == data


def test_a_holder_comes_back_and_has_a_token_for_people() -> None:
    assert Holder.from_json(HOLDER.to_json()) == HOLDER
    assert HOLDER.token == "7-5e55"


def test_a_commit_that_a_copy_holds_already_is_told_without_reading_it() -> None:
    line, _ = encode(record("commit", Put(row(DB)), Emit(Noted(DB, "x"))))
    assert is_commit_before(line, 4)
    assert not is_commit_before(line, 3), "the last one is needed: its checksum is what the next one follows"
    for kind, body in (("open", {"holder": HOLDER.to_json()}), ("release", {})):
        assert not is_commit_before(encode(record(kind, **body))[0], 9), "of runs the copy says nothing"
    with pytest.raises(BadLine):
        is_commit_before(line.replace(b'"x"', b'"y"'), 4)
    with pytest.raises(BadLine):
        is_commit_before(line[:-9], 4)
