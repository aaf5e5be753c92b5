"""Reading JSON that we did not write, or whose checksum does not hold: one meaning, or an error with its place.

Parsers disagree about duplicate keys, NaN, long integers, depth, surrogates and byte order marks, so all of those are
refused here. Neighbours: `canonical` refuses the same before writing; bytes with our own good checksum go to orjson.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from alchemy.errors import StateInvalid
from alchemy.model.canonical import MAX_JSON_DEPTH, Json
from alchemy.model.text import safe_text

MAX_FILE = 16 << 20  # bytes of a view, a record, an imported file
MAX_COPY = 256 << 20  # bytes of a snapshot or a backup: a whole stage
MAX_DIGITS = 40
MAX_DEPTH = MAX_JSON_DEPTH + 16  # what a value may have, and the frames that backups and records put around it

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?'  # an open end matches too: else each quote would search to the end again
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STRINGS = re.compile(_STRING, re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_TOKEN = re.compile(
    r'[ \t\r\n]*+(?:(?P<text>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+")|(?P<sign>[{}\[\],:])'
    r"|(?P<number>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?)|(?P<word>true|false|null|-?Infinity|NaN))"
)


class NotStrict(ValueError):
    """Why the bytes are no JSON of ours. `line` and `pointer` (RFC 6901) as far as they are known: else 0 and ""."""

    def __init__(self, why: str, line: int = 0, pointer: str = "") -> None:
        super().__init__(f"{why}, at {pointer}" if pointer else why)
        self.why = why
        self.line = line
        self.pointer = pointer


def parse(data: bytes, limit: int = MAX_FILE) -> Json:
    """The one value in `data`; NotStrict otherwise, RecursionError and MemoryError never."""
    if len(data) > limit:
        raise NotStrict(f"it has {len(data)} bytes, more than the {limit} that are read")
    if data.startswith(b"\xef\xbb\xbf"):
        raise NotStrict("it begins with a byte order mark", 1)
    _refuse_depth(data)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NotStrict(f"byte {error.start} is not UTF-8", line) from None
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
        )
        if _SURROGATE.search(data):
            _refuse_halves(value)
    except json.JSONDecodeError as error:
        raise _located(text, error.msg, error.pos) from None
    except NotStrict as error:
        raise _located(text, error.why, -1) from None
    return value


def read(data: bytes, file: object, hint: str, limit: int = MAX_FILE) -> Json:
    """`parse`; StateInvalid names the file, the line and the place. `hint` is the way out."""
    try:
        return parse(data, limit)
    except NotStrict as error:
        raise StateInvalid(invalid(file, error), hint=hint) from error


def invalid(file: object, error: NotStrict) -> str:
    """`Invalid JSON in <file>:<line>: why, at /pointer`."""
    where = f"{safe_text(file)}:{error.line}" if error.line else safe_text(file)
    return f"Invalid JSON in {where}: {safe_text(error, 300)}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrict("a key stands twice in one object")
    return found


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise NotStrict(f"an integer has more than {MAX_DIGITS} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise NotStrict("a number is too large")
    return value


def _constant(word: str) -> NoReturn:
    raise NotStrict(f"{word} is no JSON")


def _refuse_depth(data: bytes) -> None:
    depth = 0
    for bracket in _STRINGS.sub(b"", data).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise NotStrict(f"it is nested deeper than {MAX_DEPTH} levels")


def _refuse_halves(value: Json) -> None:
    """Escapes like \\ud800 alone are half a character: no UTF-8 carries them."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo += item
            todo += item.values()
        elif isinstance(item, list):
            todo += item
        elif isinstance(item, str) and not _is_whole(item):
            raise NotStrict("a text holds half a character")


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- where it is: only when something was found, and slowly


def _located(text: str, why: str, position: int) -> NotStrict:
    """The first offence with its line and pointer. `position` < 0: the parser did not say."""
    pointer = ""
    if len(text) <= MAX_FILE:
        start, found, pointer = _first_offence(text, position if position >= 0 else len(text))
        if found or position < 0:
            why, position = found or why, start
    return NotStrict(why, text.count("\n", 0, position) + 1 if position >= 0 else 0, pointer)


def _first_offence(text: str, end: int) -> tuple[int, str, str]:
    """(position, what is wrong or "", pointer) of the first token before `end` that is JSON, and not for us."""
    path: list[str | int] = []  # the key or index that is being read in each open container
    keys: list[set[str]] = []  # what stood in each open object
    naming = False  # the next text is a key
    start, position, wrong = -1, 0, ""
    while not wrong and (match := _TOKEN.match(text, position)):
        kind = match.lastgroup or ""
        if match.start(kind) >= end:
            break
        start, position, token = match.start(kind), match.end(), match[kind]
        if token in "{[":
            path.append("" if token == "{" else 0)
            keys.append(set())
            naming = token == "{"
        elif token in "}]":
            path.pop()
            keys.pop()
        elif token == ",":
            if isinstance(path[-1], int):
                path[-1] += 1
            naming = isinstance(path[-1], str)
        elif kind == "text":
            value = json.loads(token)
            if naming:
                wrong = "this key stands twice in one object" if value in keys[-1] else ""
                path[-1], naming = value, False
                keys[-1].add(value)
            if not _is_whole(value):
                wrong = "a text holds half a character"
        else:
            wrong = _wrong_number(token)
    return start, wrong, "".join(f"/{_escaped(part)}" for part in path)


def _wrong_number(token: str) -> str:
    if token in ("NaN", "Infinity", "-Infinity"):
        return f"{token} is no JSON"
    if token[-1].isdigit():
        try:
            _integer(token) if token.lstrip("-").isdigit() else _float(token)
        except NotStrict as error:
            return error.why
    return ""


def _escaped(part: str | int) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")
