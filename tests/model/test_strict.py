from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemy.errors import StateInvalid
from alchemy.model.strict import MAX_DEPTH, MAX_DIGITS, NotStrict, parse, read

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_json_can_carry_is_read_as_it_is(value: object) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, indent=2, ensure_ascii=False).encode()) == value


def nested(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"[]" + b"}" * (depth - 1)


@pytest.mark.parametrize(
    ("data", "why", "line", "pointer"),
    [
        (b'{"a": 1,\n "b": {"c": 1,\n "c": 2}}', "this key stands twice in one object", 3, "/b/c"),
        (b'{"a": 1, "\\u0061": 2}', "this key stands twice in one object", 1, "/a"),
        (b'{"a": [1,\n2,\nNaN]}', "NaN is no JSON", 3, "/a/2"),
        (b'{"a": -Infinity}', "-Infinity is no JSON", 1, "/a"),
        (b'{"a": 1e999}', "a number is too large", 1, "/a"),
        (b'{"a": -1e999}', "a number is too large", 1, "/a"),
        (b'{"a/b": {"~": ' + b"1" * (MAX_DIGITS + 1) + b"}}", "an integer has more than 40 digits", 1, "/a~1b/~0"),
        (b'{"x": 0,\n"a": "\\ud800"}', "a text holds half a character", 2, "/a"),
        (b'{"x": 0,\n"\\udc00": 1}', "a text holds half a character", 2, "/\udc00"),
        (b'{"a":\n[1, 2,, 3]}', "Expecting value", 2, "/a/2"),
        (b'{"a": {"b": 1}\n"c"}', "Expecting ',' delimiter", 2, "/a"),
        (b'{"a": "b\nc"}', "Invalid control character at", 1, "/a"),
        (b"", "Expecting value", 1, ""),
        (b"{}\n{}", "Extra data", 2, ""),
        (b'\xef\xbb\xbf{"a": 1}', "it begins with a byte order mark", 1, ""),
        (b'{"a":\n"\xff"}', "byte 7 is not UTF-8", 2, ""),
        (b'{"a":\n"\xed\xa0\x80"}', "byte 7 is not UTF-8", 2, ""),
        ('{"a": 1}'.encode("utf-16"), "byte 0 is not UTF-8", 1, ""),
        (nested(MAX_DEPTH + 1), "it is nested deeper than 80 levels", 0, ""),
        (b"[" * 100_000, "it is nested deeper than 80 levels", 0, ""),
    ],
)  # fmt: skip
def test_what_parsers_disagree_about_is_refused_with_its_place(data: bytes, why: str, line: int, pointer: str) -> None:
    with pytest.raises(NotStrict) as refused:
        parse(data)
    assert (refused.value.why, refused.value.line, refused.value.pointer) == (why, line, pointer)


def test_what_is_just_inside_the_limits_is_read() -> None:
    assert parse(b'{"n": ' + b"9" * MAX_DIGITS + b"}") == {"n": int("9" * MAX_DIGITS)}
    assert parse(nested(MAX_DEPTH)) is not None
    assert parse(b'{"a": "' + b"[" * 1000 + b'\\"' + b"{" * 1000 + b'"}')
    assert parse(b'"\\ud83d\\ude00"') == "😀"
    assert parse(b"[1]", limit=3) == [1]
    with pytest.raises(NotStrict, match="it has 4 bytes, more than the 3"):
        parse(b"[1] ", limit=3)


def test_the_error_names_file_line_and_place_and_the_way_out() -> None:
    with pytest.raises(StateInvalid) as refused:
        read(b'{\n"a": 1,\n"a": 2}', "x/sta\x1bte.json", hint="restore it")
    assert refused.value.message == "Invalid JSON in x/sta␛te.json:3: this key stands twice in one object, at /a"
    assert refused.value.hint == "restore it"


@pytest.mark.parametrize(
    "data",
    [b'{"a": "' + b'\\"' * 500_000, b'"' * 1_000_000, b'{"a":' * 200_000, b"[" + b'"\\u' * 300_000, b"9" * 1_000_000]
    + [b'{"a": [' + b"1," * 100_000 + b"NaN]}"],
)  # fmt: skip
def test_hostile_text_costs_time_in_proportion_to_its_length(data: bytes) -> None:
    started = time.process_time()
    with pytest.raises(NotStrict):
        parse(data)
    assert time.process_time() - started < 10, "a quadratic search would take hours"


@given(st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
def test_what_is_accepted_means_the_same_to_every_parser(data: bytes) -> None:
    try:
        value = parse(data)
    except NotStrict:
        return
    if all(-(1 << 63) <= number < 1 << 63 for number in integers(value)):
        assert orjson.loads(data) == value


def integers(value: Any) -> Iterator[int]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from integers(item)
    elif isinstance(value, int):
        yield value
