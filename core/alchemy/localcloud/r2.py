"""R2 buckets and the settings documents that hang on them (CORS, lifecycle, lock).

Neighbours: `r2_objects` holds what is in a bucket. A bucket is known by jurisdiction and name, as in Cloudflare's API.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import orjson

from alchemy.localcloud.call import Call, Route
from alchemy.localcloud.clock import timestamp
from alchemy.localcloud.envelope import Refusal, Reply, shown, success
from alchemy.localcloud.fields import Fields, cursor_after

INVALID, NOT_FOUND, EXISTS, NOT_EMPTY, NO_SETTING = 10005, 10006, 10004, 10008, 10059
STORAGE_CLASSES = ("Standard", "InfrequentAccess")
_JURISDICTIONS = ("default", "eu", "us", "fedramp", "fedramp-high")
_LOCATIONS = ("apac", "eeur", "enam", "weur", "wnam", "oc")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_COLUMNS = "id, jurisdiction, name, created, location, storage_class"
_SETTINGS = ("cors", "lifecycle", "lock")


def create_bucket(call: Call) -> Reply:
    fields = call.fields(INVALID)
    name = fields.values.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Refusal(400, INVALID, "The specified bucket name is not valid: 3 to 63 of a-z, 0-9 and inner hyphens")
    # The live API answers locations in upper case and accepts either; the schema is lower case.
    if isinstance(hint := fields.values.get("locationHint"), str):
        fields.values["locationHint"] = hint.lower()
    location = fields.choice("locationHint", _LOCATIONS) or "wnam"
    storage_class = fields.choice("storageClass", STORAGE_CLASSES) or STORAGE_CLASSES[0]
    row = (jurisdiction(call), name, timestamp(), location, storage_class)
    try:
        call.db.execute(
            "INSERT INTO r2_buckets (jurisdiction, name, created, location, storage_class) VALUES (?, ?, ?, ?, ?)", row
        )
    except sqlite3.IntegrityError:
        message = "The bucket you tried to create already exists, and you own it."
        raise Refusal(409, EXISTS, message) from None
    return success(_shape((0, *row)))


def list_buckets(call: Call) -> Reply:
    query = call.query(INVALID)
    per_page = query.whole("per_page", 20, 1, 1000)
    query.choice("order", "name", ("name",))
    descending = query.choice("direction", "asc", ("asc", "desc")) == "desc"
    position = query.cursor()
    after = call.arguments.get("start_after", "") if position is None else position.decode("utf-8", "replace")
    clause, order = ("name < ?", "DESC") if descending and after else ("name > ?", "DESC" if descending else "ASC")
    rows = call.db.execute(
        f"SELECT {_COLUMNS} FROM r2_buckets WHERE jurisdiction = ? AND instr(name, ?) > 0 AND {clause}"
        f" ORDER BY name {order} LIMIT ?",
        (jurisdiction(call), call.arguments.get("name_contains", ""), after, per_page + 1),
    ).fetchall()
    page = rows[:per_page]
    info: dict[str, Any] = {"per_page": per_page}
    if len(rows) > per_page:
        info["cursor"] = cursor_after(page[-1][2].encode())
    return success({"buckets": [_shape(row) for row in page]}, info=info)


def get_bucket(call: Call) -> Reply:
    return success(_shape(find_bucket(call, call.db)))


def update_bucket(call: Call) -> Reply:
    row = find_bucket(call, call.db)
    call.db.execute("UPDATE r2_buckets SET storage_class = ? WHERE id = ?", (storage_class(call, row[5]), row[0]))
    return success(_shape(find_bucket(call, call.db)))


def delete_bucket(call: Call) -> Reply:
    bucket = find_bucket(call, call.db)[0]
    if call.db.execute("SELECT 1 FROM r2_objects WHERE bucket = ? LIMIT 1", (bucket,)).fetchone():
        raise Refusal(409, NOT_EMPTY, "The bucket you tried to delete is not empty.")
    call.db.execute("DELETE FROM r2_buckets WHERE id = ?", (bucket,))
    return success({})


def get_setting(call: Call) -> Reply:
    bucket, name = find_bucket(call, call.db)[0], _setting(call)
    query = "SELECT value FROM r2_settings WHERE bucket = ? AND name = ?"
    row = call.db.execute(query, (bucket, name)).fetchone()
    if row is None and name == "cors":
        raise Refusal(404, NO_SETTING, "The CORS configuration does not exist.")
    return success({"rules": []} if row is None else orjson.loads(row[0]))


def put_setting(call: Call) -> Reply:
    bucket, name = find_bucket(call, call.db)[0], _setting(call)
    fields: Fields = call.fields(INVALID)
    value = orjson.dumps({"rules": fields.items("rules")}).decode()
    call.db.execute("INSERT OR REPLACE INTO r2_settings (bucket, name, value) VALUES (?, ?, ?)", (bucket, name, value))
    return success({})


def delete_setting(call: Call) -> Reply:
    bucket, name = find_bucket(call, call.db)[0], _setting(call)
    call.db.execute("DELETE FROM r2_settings WHERE bucket = ? AND name = ?", (bucket, name))
    return success({})


def find_bucket(call: Call, db: sqlite3.Connection) -> tuple[Any, ...]:
    """The row of the bucket in the path: id, jurisdiction, name, created, location, storage class."""
    name = call.params["bucket"]
    row = bucket_row(db, jurisdiction(call), name)
    if row is None:
        raise Refusal(404, NOT_FOUND, f"The specified bucket does not exist: {shown(name)}")
    return row


def bucket_row(db: sqlite3.Connection, where: str, name: str) -> tuple[Any, ...] | None:
    query = f"SELECT {_COLUMNS} FROM r2_buckets WHERE jurisdiction = ? AND name = ?"
    row: tuple[Any, ...] | None = db.execute(query, (where, name)).fetchone()
    return row


def jurisdiction(call: Call) -> str:
    where = call.headers.get("cf-r2-jurisdiction") or _JURISDICTIONS[0]
    if where not in _JURISDICTIONS:
        raise Refusal(400, INVALID, f"Invalid header: cf-r2-jurisdiction must be one of {', '.join(_JURISDICTIONS)}")
    return where


def storage_class(call: Call, default: str) -> str:
    wanted = call.headers.get("cf-r2-storage-class") or default
    if wanted not in STORAGE_CLASSES:
        raise Refusal(400, INVALID, f"Invalid header: cf-r2-storage-class must be one of {', '.join(STORAGE_CLASSES)}")
    return wanted


def _setting(call: Call) -> str:
    name = call.params["setting"]
    if name not in _SETTINGS:
        raise Refusal(404, 7003, "Could not route: the local cloud keeps cors, lifecycle and lock of a bucket")
    return name


def _shape(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "name": row[2],
        "creation_date": row[3],
        "location": row[4],
        "jurisdiction": row[1],
        "storage_class": row[5],
    }


_BASE = "/accounts/{account}/r2/buckets"
ROUTES = (
    Route("GET", _BASE, list_buckets),
    Route("POST", _BASE, create_bucket),
    Route("GET", _BASE + "/{bucket}", get_bucket),
    Route("PATCH", _BASE + "/{bucket}", update_bucket),
    Route("DELETE", _BASE + "/{bucket}", delete_bucket),
    Route("GET", _BASE + "/{bucket}/{setting}", get_setting),
    Route("PUT", _BASE + "/{bucket}/{setting}", put_setting),
    Route("DELETE", _BASE + "/{bucket}/{setting}", delete_setting),
)
