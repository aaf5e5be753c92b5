"""Reading multipart/form-data exactly: part names, filenames, content types and bytes as they were sent.

Neighbours: KV values and Worker uploads come this way. The parser is python-multipart's, one level below its forms:
those decode parts without a filename as text and forget their content type, and both carry meaning here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from alchemy.localcloud.envelope import Refusal

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MOST_PARTS = 1000


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    filename: str | None
    type: str
    body: bytes


def is_multipart(content_type: str) -> bool:
    return content_type.lower().lstrip().startswith("multipart/")


def parse(content_type: str, body: bytes, code: int) -> list[Part]:
    """The parts in order; `code` is the product's number for a bad body."""
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise Refusal(400, code, "The multipart body cannot be read: its content type names no boundary")
    collected = _Collector(code)
    try:
        parser = MultipartParser(boundary, collected.callbacks())
        parser.write(body)
        parser.finalize()
    except MultipartParseError as error:
        raise Refusal(400, code, f"The multipart body cannot be read: {error}") from error
    if not collected.ended:
        raise Refusal(400, code, "The multipart body cannot be read: it does not end with its boundary")
    return collected.parts


@dataclass(slots=True)
class _Collector:
    """What the parser calls back, put together into parts."""

    code: int
    parts: list[Part] = field(default_factory=list)
    ended: bool = False
    _headers: dict[str, str] = field(default_factory=dict)
    _name: bytes = b""
    _value: bytes = b""
    _body: bytearray = field(default_factory=bytearray)

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        if len(self.parts) >= _MOST_PARTS:
            raise Refusal(400, self.code, f"The multipart body has more than {_MOST_PARTS} parts")
        self._headers, self._name, self._value, self._body = {}, b"", b"", bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("utf-8", "replace")
        self._name = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._body += data[start:end]

    def _end(self) -> None:
        options = parse_options_header(self._headers.get("content-disposition", "").encode())[1]
        if b"name" not in options:
            raise Refusal(400, self.code, "The multipart body cannot be read: a part has no name")
        filename = _written(options[b"filename"]) if b"filename" in options else None
        kind = self._headers.get("content-type", "")
        self.parts.append(Part(_written(options[b"name"]), filename, kind, bytes(self._body)))

    def _finish(self) -> None:
        self.ended = True


def _written(value: bytes) -> str:
    """Browsers' %22 for a quote is undone, as the fetch standard writes it."""
    text = value.decode("utf-8", "replace")
    return text.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
