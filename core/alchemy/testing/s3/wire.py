"""HTTP/1.1 and the XML of S3, as much as the strict server needs: a request read, an answer spelled.

Neighbour: `server` decides what is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import unquote
from xml.sax.saxutils import escape

MOST = 64 * 1024 * 1024  # bytes of a body


class Malformed(Exception):
    """Not HTTP as we speak it; the connection is closed."""


@dataclass(frozen=True, slots=True)
class Request:
    """`path` and `query` as they came; header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def parameters(self) -> dict[str, str]:
        pairs = (pair.partition("=") for pair in self.query.replace("+", " ").split("&") if pair)
        return {unquote(name): unquote(value) for name, _, value in pairs}


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` of an answer to HEAD counts, but is not sent."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def spell(self, *, head: bool) -> bytes:
        headers = {"Date": formatdate(usegmt=True), "Content-Length": str(len(self.body)), **self.headers}
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if head else self.body)


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """None when the client closed the connection between two requests."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise Malformed("half a head") from error
        return None
    except asyncio.LimitOverrunError as error:
        raise Malformed("a head without end") from error
    first, *rest = head.rstrip("\r\n").split("\r\n")
    try:
        method, target, version = first.split(" ")
        headers = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in rest)}
        length = int(headers.get("content-length", "0"))
    except ValueError as error:
        raise Malformed(first) from error
    if version != "HTTP/1.1" or not target.startswith("/") or not 0 <= length <= MOST or "transfer-encoding" in headers:
        raise Malformed(first)
    if headers.get("expect"):
        raise Malformed("Expect")
    try:
        body = await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise Malformed("half a body") from error
    path, _, query = target.partition("?")
    return Request(method, path, query, headers, body)


def refusal(status: int, code: str, message: str) -> Answer:
    """As S3 says no."""
    text = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return _xml(status, text)


def listing(
    bucket: str,
    asked: Mapping[str, str],
    objects: Sequence[tuple[str, str, int, str]],
    folders: Sequence[str],
    token: str,
) -> Answer:
    """ListBucketResult: objects are (key, ETag, size, time in ISO-8601); `token` leads to the next page, if any."""
    parts = [
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',
        f"<Name>{escape(bucket)}</Name><Prefix>{escape(asked.get('prefix', ''))}</Prefix>",
        f"<KeyCount>{len(objects) + len(folders)}</KeyCount><IsTruncated>{'true' if token else 'false'}</IsTruncated>",
    ]
    parts += [f"<NextContinuationToken>{escape(token)}</NextContinuationToken>"] * bool(token)
    for key, etag, size, when in objects:
        parts.append(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{when}</LastModified><ETag>{escape(etag)}</ETag>"
            f"<Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )
    parts += [f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in folders]
    return _xml(200, "".join([*parts, "</ListBucketResult>"]))


def _xml(status: int, text: str) -> Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
    return Answer(status, body, {"Content-Type": "application/xml"})
