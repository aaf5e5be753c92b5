"""Objects of an R2 bucket: list, read, write, delete.

Neighbours: `r2` finds the bucket, `blobs` keeps the bytes. A key may hold any text, literal slashes too; it only ever
reaches a row, never a file name.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import orjson

from alchemy.localcloud.blobs import read_blob, remove_blob, write_blob
from alchemy.localcloud.call import Call, Route, Transaction
from alchemy.localcloud.clock import hex_id, timestamp
from alchemy.localcloud.envelope import Refusal, Reply, success
from alchemy.localcloud.fields import cursor_after, prefix_end
from alchemy.localcloud.r2 import INVALID, find_bucket, storage_class

NO_OBJECT = 10007
LONGEST_KEY = 1024  # bytes
LARGEST_OBJECT = 300 * 1024 * 1024  # bytes; Cloudflare's limit for this API, the S3 one takes more
_HTTP_METADATA = {
    "content-type": "contentType",
    "content-disposition": "contentDisposition",
    "content-encoding": "contentEncoding",
    "content-language": "contentLanguage",
    "cache-control": "cacheControl",
    "expires": "cacheExpiry",
}
_COLUMNS = "key, blob, size, etag, uploaded, storage_class, http_metadata"


def put_object(call: Call) -> Reply:
    key = _key(call)
    with call.store.transaction(write=False) as db:
        find_bucket(call, db)  # before the bytes are written, to spare the disk
    etag = hashlib.md5(call.body, usedforsecurity=False).hexdigest()
    metadata = {name: call.headers[header] for header, name in _HTTP_METADATA.items() if call.headers.get(header)}
    uploaded, blob = timestamp(), write_blob(call.store.blobs, call.body)
    replaced: list[tuple[str]] = []
    try:
        with call.store.transaction(write=True) as db:
            row = find_bucket(call, db)
            kind = storage_class(call, row[5])
            replaced = db.execute("SELECT blob FROM r2_objects WHERE bucket = ? AND key = ?", (row[0], key)).fetchall()
            db.execute(
                f"INSERT OR REPLACE INTO r2_objects (bucket, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (row[0], key, blob, len(call.body), etag, uploaded, kind, orjson.dumps(metadata).decode()),
            )
    except Refusal:
        remove_blob(call.store.blobs, blob)
        raise
    for (old,) in replaced:
        remove_blob(call.store.blobs, old)
    return success(
        {
            "key": key.decode(),
            "etag": etag,
            "size": str(len(call.body)),  # a string in Cloudflare's schema
            "storage_class": kind,
            "uploaded": uploaded,
            "version": hex_id(),
        }
    )


def get_object(call: Call) -> Reply:
    key = _key(call)
    with call.store.transaction(write=False) as db:
        row = _find(call, db, key)
    if _unchanged(call, row[3]):
        return Reply(304, b"", _headers(row))
    try:
        return Reply(200, read_blob(call.store.blobs, row[1]), _headers(row))
    except FileNotFoundError:
        with call.store.transaction(write=False) as db:
            if _find(call, db, key)[1] == row[1]:
                raise
        return get_object(call)  # replaced by another process between its row and its bytes


def delete_object(call: Call) -> Reply:
    key = _key(call)
    with call.store.transaction(write=True) as db:
        bucket = find_bucket(call, db)[0]
        rows = db.execute("SELECT blob FROM r2_objects WHERE bucket = ? AND key = ?", (bucket, key)).fetchall()
        db.execute("DELETE FROM r2_objects WHERE bucket = ? AND key = ?", (bucket, key))
    for (blob,) in rows:
        remove_blob(call.store.blobs, blob)
    return success({"key": key.decode()})


def list_objects(call: Call) -> Reply:
    bucket = find_bucket(call, call.db)[0]
    query = call.query(INVALID)
    per_page = query.whole("per_page", 20, 1, 1000)
    prefix, delimiter = (call.arguments.get(name, "").encode() for name in ("prefix", "delimiter"))
    after = query.cursor() or call.arguments.get("start_after", "").encode()
    objects: list[dict[str, Any]] = []
    groups: list[str] = []
    last = after
    while len(objects) + len(groups) <= per_page:
        rows = call.db.execute(
            f"SELECT {_COLUMNS} FROM r2_objects WHERE bucket = ? AND key >= ? AND key < ? AND key > ?"
            " ORDER BY key LIMIT ?",
            (bucket, prefix, prefix_end(prefix), last, 1 if delimiter else per_page + 1),
        ).fetchall()
        for row in rows:
            if len(objects) + len(groups) == per_page:
                info = {"per_page": per_page, "is_truncated": True, "cursor": cursor_after(last), "delimited": groups}
                return success(objects, info=info)
            cut = row[0].find(delimiter, len(prefix)) if delimiter else -1
            if cut < 0:
                objects.append(_shape(row))
                last = row[0]
            else:
                group = row[0][: cut + len(delimiter)]
                groups.append(group.decode("utf-8", "replace"))
                last = group + b"\xff"  # past every key of the group
        if not rows or not delimiter:
            break
    return success(objects, info={"per_page": per_page, "is_truncated": False, "delimited": groups})


def _find(call: Call, db: Any, key: bytes) -> tuple[Any, ...]:
    bucket = find_bucket(call, db)[0]
    query = f"SELECT {_COLUMNS} FROM r2_objects WHERE bucket = ? AND key = ?"
    row: tuple[Any, ...] | None = db.execute(query, (bucket, key)).fetchone()
    if row is None:
        raise Refusal(404, NO_OBJECT, "The specified key does not exist.")
    return row


def _key(call: Call) -> bytes:
    key = call.params["object"].encode()
    if not 1 <= len(key) <= LONGEST_KEY:
        raise Refusal(400, INVALID, f"The specified object name is not valid: 1 to {LONGEST_KEY} bytes of UTF-8")
    return key


def _unchanged(call: Call, etag: str) -> bool:
    asked = call.headers.get("if-none-match", "")
    return any(tag.strip().removeprefix("W/").strip('"') in (etag, "*") for tag in asked.split(",")) if asked else False


def _headers(row: tuple[Any, ...]) -> dict[str, str]:
    metadata = orjson.loads(row[6])
    headers = {header: metadata[name] for header, name in _HTTP_METADATA.items() if name in metadata}
    uploaded = datetime.strptime(row[4], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return {
        "content-type": "application/octet-stream",
        **headers,
        "etag": f'"{row[3]}"',
        "last-modified": format_datetime(uploaded, usegmt=True),
    }


def _shape(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "key": row[0].decode(),
        "size": row[2],
        "etag": row[3],
        "last_modified": row[4],
        "storage_class": row[5],
        "http_metadata": orjson.loads(row[6]),
        "custom_metadata": {},
        "ssec": False,
    }


_BASE = "/accounts/{account}/r2/buckets/{bucket}/objects"
ROUTES = (
    Route("GET", _BASE, list_objects),
    Route("GET", _BASE + "/{object*}", get_object, Transaction.OWN),
    Route("PUT", _BASE + "/{object*}", put_object, Transaction.OWN, LARGEST_OBJECT),
    Route("DELETE", _BASE + "/{object*}", delete_object, Transaction.OWN),
)
