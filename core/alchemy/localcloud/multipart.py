"""Reading multipart/form-data exactly: part names, filenames, content types and bytes as they were sent.

Neighbours: KV values and Worker uploads come this way. Our own reader, because a form parser decodes parts without a
filename as text and forgets their content type, and both carry meaning here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from alchemy.localcloud.envelope import Refusal

_MOST_PARTS = 1000
_PARAMETER = re.compile(r';\s*([\w*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))')


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
    boundary = _parameters(content_type).get("boundary", "")
    if not boundary:
        raise Refusal(400, code, "The multipart body cannot be read: its content type names no boundary")
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    sections = (b"\r\n" + body).split(delimiter)
    if len(sections) < 3 or not sections[-1].startswith(b"--"):
        raise Refusal(400, code, "The multipart body cannot be read: it does not end with its boundary")
    if len(sections) > _MOST_PARTS + 2:
        raise Refusal(400, code, f"The multipart body has more than {_MOST_PARTS} parts")
    return [_part(section, code) for section in sections[1:-1]]


def _part(section: bytes, code: int) -> Part:
    header_block, separator, body = section.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
    if not separator:
        raise Refusal(400, code, "The multipart body cannot be read: a part has no headers")
    headers: dict[str, str] = {}
    for line in header_block.split(b"\r\n"):
        name, _, value = line.decode("utf-8", "replace").partition(":")
        headers[name.strip().lower()] = value.strip()
    disposition = _parameters(headers.get("content-disposition", ""))
    if "name" not in disposition:
        raise Refusal(400, code, "The multipart body cannot be read: a part has no name")
    return Part(disposition["name"], disposition.get("filename"), headers.get("content-type", ""), body)


def _parameters(header: str) -> dict[str, str]:
    """The `; name=value` pairs of a header; browsers' %22 for a quote is undone, as the fetch standard writes it."""
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(header):
        quoted, plain = match.group(2), match.group(3)
        value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        found.setdefault(match.group(1).lower(), value.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n"))
    return found
