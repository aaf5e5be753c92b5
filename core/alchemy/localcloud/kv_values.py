"""Keys of a KV namespace: values, metadata, expiry, listing, bulk.

Neighbours: `kv` finds the namespace. A key is UTF-8 bytes; an expired one is absent, and is removed by the next write.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Any

import orjson

from alchemy.localcloud import multipart
from alchemy.localcloud.call import Call, Route
from alchemy.localcloud.clock import now
from alchemy.localcloud.envelope import Refusal, Reply, success
from alchemy.localcloud.fields import Fields, cursor_after, parse_json, prefix_end
from alchemy.localcloud.kv import INVALID, find_namespace

KEY_NOT_FOUND, NO_KEYS, BAD_EXPIRATION = 10009, 10029, 10034
LONGEST_KEY, LONGEST_METADATA, LARGEST_VALUE = 512, 1024, 25 * 1024 * 1024  # bytes
SHORTEST_TTL = 60.0  # seconds
MOST_KEYS = 10_000  # in one bulk write or delete
MOST_READ = 100  # in one bulk read
_LIVE = "namespace = ? AND (expiration IS NULL OR expiration > ?)"


def put_value(call: Call) -> Reply:
    namespace = find_namespace(call)[0]
    key = _key(call.params["key"])
    value, metadata = call.body, None
    content_type = call.headers.get("content-type", "")
    if multipart.is_multipart(content_type):
        parts = {part.name: part.body for part in multipart.parse(content_type, call.body, INVALID)}
        if "value" not in parts:
            raise Refusal(400, INVALID, "The multipart body has no part named value")
        value = parts["value"]
        metadata = _metadata(parse_json(parts["metadata"], INVALID)) if parts.get("metadata") else None
    _write(call, namespace, key, value, metadata, _expiration(call.arguments))
    return success(None)


def get_value(call: Call) -> Reply:
    value, _, expiration = _read(call, find_namespace(call)[0], _key(call.params["key"]))
    headers = {"content-type": "application/octet-stream"}
    return Reply(200, value, headers if expiration is None else {**headers, "expiration": str(int(expiration))})


def get_metadata(call: Call) -> Reply:
    _, metadata, _ = _read(call, find_namespace(call)[0], _key(call.params["key"]))
    return success(None if metadata is None else orjson.loads(metadata))


def delete_value(call: Call) -> Reply:
    _delete(call, find_namespace(call)[0], _key(call.params["key"]))
    return success(None)


def list_keys(call: Call) -> Reply:
    namespace = find_namespace(call)[0]
    query = call.query(INVALID)
    limit, after = query.whole("limit", 1000, 1, 1000), query.cursor()
    prefix = call.arguments.get("prefix", "").encode()
    rows = call.db.execute(
        f"SELECT key, metadata, expiration FROM kv_values WHERE {_LIVE} AND key >= ? AND key < ? AND key > ?"
        " ORDER BY key LIMIT ?",
        (namespace, now(), prefix, prefix_end(prefix), after or b"", limit + 1),
    ).fetchall()
    page = rows[:limit]
    cursor = cursor_after(page[-1][0]) if len(rows) > limit else ""
    return success([_listed(*row) for row in page], info={"count": len(page), "cursor": cursor})


def put_many(call: Call) -> Reply:
    namespace = find_namespace(call)[0]
    entries = _list(call, MOST_KEYS)
    for entry in entries:
        fields = Fields(entry, INVALID, "entry")
        value = fields.values.get("value")
        if not isinstance(value, str):
            raise fields.refuse("value", "a string")
        content = _decoded(fields, value) if fields.flag("base64") else value.encode()
        times = {name: str(fields.values[name]) for name in ("expiration", "expiration_ttl") if fields.values.get(name)}
        metadata = _metadata(fields.values.get("metadata"))
        _write(call, namespace, _key(fields.text("key")), content, metadata, _expiration(times))
    return success({"successful_key_count": len(entries), "unsuccessful_keys": []})


def delete_many(call: Call) -> Reply:
    namespace = find_namespace(call)[0]
    keys = _keys(_list(call, MOST_KEYS))
    for key in keys:
        _delete(call, namespace, key)
    return success({"successful_key_count": len(keys), "unsuccessful_keys": []})


def get_many(call: Call) -> Reply:
    namespace = find_namespace(call)[0]
    fields = call.fields(INVALID)
    as_json = fields.choice("type", ("text", "json")) == "json"
    with_metadata = fields.flag("withMetadata")
    keys = fields.items("keys")
    if not 1 <= len(keys) <= MOST_READ:
        raise Refusal(400, NO_KEYS, f"A bulk read takes 1 to {MOST_READ} keys")
    values: dict[str, Any] = {}
    for key in _keys(keys):
        try:
            content, metadata, _ = _read(call, namespace, key)
        except Refusal:
            values[key.decode()] = None
            continue
        value = parse_json(content, INVALID) if as_json else content.decode("utf-8", "replace")
        shaped = {"value": value, "metadata": None if metadata is None else orjson.loads(metadata)}
        values[key.decode()] = shaped if with_metadata else value
    return success({"values": values})


def _write(
    call: Call, namespace: str, key: bytes, value: bytes, metadata: str | None, expiration: float | None
) -> None:
    if len(value) > LARGEST_VALUE:
        raise Refusal(413, INVALID, f"put: 'value length exceeds the limit of {LARGEST_VALUE} bytes'")
    call.db.execute("DELETE FROM kv_values WHERE namespace = ? AND expiration <= ?", (namespace, now()))
    call.db.execute(
        "INSERT OR REPLACE INTO kv_values (namespace, key, value, metadata, expiration) VALUES (?, ?, ?, ?, ?)",
        (namespace, key, value, metadata, expiration),
    )


def _read(call: Call, namespace: str, key: bytes) -> tuple[bytes, str | None, float | None]:
    query = f"SELECT value, metadata, expiration FROM kv_values WHERE {_LIVE} AND key = ?"
    row: tuple[bytes, str | None, float | None] | None = call.db.execute(query, (namespace, now(), key)).fetchone()
    if row is None:
        raise Refusal(404, KEY_NOT_FOUND, "get: 'key not found'")
    return row


def _delete(call: Call, namespace: str, key: bytes) -> None:
    call.db.execute("DELETE FROM kv_values WHERE namespace = ? AND key = ?", (namespace, key))


def _key(name: str) -> bytes:
    try:
        key = name.encode()
    except UnicodeEncodeError:
        raise Refusal(400, INVALID, "A key must be valid Unicode") from None
    if name in ("", ".", ".."):
        raise Refusal(400, INVALID, 'A key must not be empty, "." or ".."')
    if len(key) > LONGEST_KEY:
        raise Refusal(414, INVALID, f"UTF-8 encoded length of {len(key)} exceeds key length limit of {LONGEST_KEY}.")
    return key


def _keys(names: list[Any]) -> list[bytes]:
    if not all(isinstance(name, str) for name in names):
        raise Refusal(400, INVALID, "Every key must be a string")
    return [_key(name) for name in names]


def _list(call: Call, most: int) -> list[Any]:
    entries = call.json(INVALID)
    if not isinstance(entries, list):
        raise Refusal(400, INVALID, "The body must be a JSON list")
    if not 1 <= len(entries) <= most:
        raise Refusal(400, NO_KEYS, f"A bulk operation takes 1 to {most} keys")
    return entries


def _decoded(fields: Fields, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise fields.refuse("value", "base64") from None


def _metadata(value: Any) -> str | None:
    if value is None:
        return None
    text = orjson.dumps(value)
    if len(text) > LONGEST_METADATA:
        raise Refusal(413, INVALID, f"Metadata length of {len(text)} exceeds limit of {LONGEST_METADATA}.")
    return text.decode()


def _expiration(values: Mapping[str, str]) -> float | None:
    """The moment of expiry in seconds since the epoch; `expiration_ttl` wins over `expiration`."""
    present = now()
    for name, origin in (("expiration_ttl", present), ("expiration", 0.0)):
        text = values.get(name)
        if not text:
            continue
        try:
            moment = origin + float(text)
        except ValueError:
            moment = math.nan
        if not present + SHORTEST_TTL - 1 <= moment < 1e12:  # one second for the way here; also refuses NaN
            raise Refusal(400, BAD_EXPIRATION, f"Invalid {name} of {text[:40]}. Expiration must be 60 s ahead or more.")
        return moment
    return None


def _listed(key: bytes, metadata: str | None, expiration: float | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": key.decode()}
    if expiration is not None:
        entry["expiration"] = int(expiration)
    if metadata is not None:
        entry["metadata"] = orjson.loads(metadata)
    return entry


_BASE = "/accounts/{account}/storage/kv/namespaces/{namespace}"
ROUTES = (
    Route("GET", _BASE + "/keys", list_keys),
    Route("GET", _BASE + "/values/{key*}", get_value),
    Route("PUT", _BASE + "/values/{key*}", put_value),
    Route("DELETE", _BASE + "/values/{key*}", delete_value),
    Route("GET", _BASE + "/metadata/{key*}", get_metadata),
    Route("PUT", _BASE + "/bulk", put_many),
    Route("DELETE", _BASE + "/bulk", delete_many),
    Route("POST", _BASE + "/bulk/delete", delete_many),
    Route("POST", _BASE + "/bulk/get", get_many),
)
