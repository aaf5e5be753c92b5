"""Queues and their consumers.

Neighbours: `queue_messages` sends and pulls; `worker_scripts` asks here which queues a Worker consumes.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import orjson

from alchemy.localcloud.call import Call, Route
from alchemy.localcloud.clock import hex_id, timestamp
from alchemy.localcloud.envelope import Refusal, Reply, page_info, shown, success
from alchemy.localcloud.fields import Fields

NOT_FOUND, NO_SCRIPT, BAD_NAME, CONSUMER_EXISTS, EXISTS, INVALID = 11000, 11001, 11003, 11004, 11009, 10026
_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
_COLUMNS = "id, name, created, modified, delivery_delay, delivery_paused, retention, jurisdiction"
_CONSUMER_COLUMNS = "id, queue, type, script, dead_letter, settings, created"
RETENTION = 345_600.0  # seconds; four days, Cloudflare's default
_LONGEST_DELAY = 43_200.0  # seconds
# Name of the setting: lowest, highest, default. Cloudflare's published limits of a consumer.
_SETTINGS: dict[str, dict[str, tuple[float, float, float | None]]] = {
    "worker": {
        "batch_size": (1, 100, 10), "max_concurrency": (1, 250, None), "max_retries": (0, 100, 3),
        "max_wait_time_ms": (0, 60_000, 5_000), "retry_delay": (0, _LONGEST_DELAY, 0),
    },
    "http_pull": {
        "batch_size": (1, 100, 10), "max_retries": (0, 100, 3), "retry_delay": (0, _LONGEST_DELAY, 0),
        "visibility_timeout_ms": (0, 43_200_000, 30_000),
    },
}  # fmt: skip


def create_queue(call: Call) -> Reply:
    fields = call.fields(INVALID)
    name = _queue_name(fields)
    delay, paused, retention = _queue_settings(fields, (0.0, False, RETENTION))
    jurisdiction = fields.choice("jurisdiction", ("eu", "fedramp", "us"))
    moment = timestamp()
    row = (hex_id(), name, moment, moment, delay, paused, retention, jurisdiction)
    try:
        call.db.execute(f"INSERT INTO queues ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    except sqlite3.IntegrityError:
        raise _taken(name) from None
    return success(_shape(call.db, row))


def list_queues(call: Call) -> Reply:
    query = call.query(INVALID)
    page, per_page = query.whole("page", 1, 1, 10**9), query.whole("per_page", 0, 1, 1000)
    name = call.arguments.get("name")
    rows = call.db.execute(
        f"SELECT {_COLUMNS} FROM queues WHERE ?1 IS NULL OR name = ?1 ORDER BY name", (name,)
    ).fetchall()
    size = per_page or max(len(rows), 1)  # without per_page the first page is the whole list
    shown_rows = rows[(page - 1) * size : page * size]
    info = page_info(count=len(shown_rows), page=page, per_page=size, total=len(rows))
    return success(_shapes(call.db, shown_rows), info=info)


def get_queue(call: Call) -> Reply:
    return success(_shape(call.db, find_queue(call)))


def update_queue(call: Call) -> Reply:
    row = find_queue(call)
    fields = call.fields(INVALID)
    name = _queue_name(fields) if fields.values.get("queue_name") is not None else row[1]
    delay, paused, retention = _queue_settings(fields, row[4:7])
    try:
        call.db.execute(
            "UPDATE queues SET name = ?, modified = ?, delivery_delay = ?, delivery_paused = ?, retention = ?"
            " WHERE id = ?",
            (name, timestamp(), delay, paused, retention, row[0]),
        )
    except sqlite3.IntegrityError:
        raise _taken(name) from None
    call.db.execute("UPDATE queue_consumers SET dead_letter = ? WHERE dead_letter = ?", (name, row[1]))
    return success(_shape(call.db, find_queue(call)))


def delete_queue(call: Call) -> Reply:
    queue, name = find_queue(call)[:2]
    user = call.db.execute(
        "SELECT q.name FROM queue_consumers c JOIN queues q ON q.id = c.queue WHERE c.dead_letter = ? AND c.queue != ?",
        (name, queue),
    ).fetchone()
    if user is not None:
        raise Refusal(
            400, INVALID, f"Queue '{name}' is the dead letter queue of '{user[0]}': change that consumer first"
        )
    call.db.execute("DELETE FROM queues WHERE id = ?", (queue,))
    return success()


def list_consumers(call: Call) -> Reply:
    return success(call.whole(_consumers(call.db, *find_queue(call)[:2])))


def create_consumer(call: Call) -> Reply:
    queue, name = find_queue(call)[:2]
    fields = call.fields(INVALID)
    kind, script, dead_letter, settings = _consumer(call, fields)
    row = (hex_id(), queue, kind, script, dead_letter, settings, timestamp())
    try:
        call.db.execute(f"INSERT INTO queue_consumers ({_CONSUMER_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    except sqlite3.IntegrityError:
        raise Refusal(400, CONSUMER_EXISTS, f"Queue '{name}' already has a consumer") from None
    return success(_consumer_shape(row, name))


def get_consumer(call: Call) -> Reply:
    return success(_consumer_shape(_find_consumer(call), find_queue(call)[1]))


def update_consumer(call: Call) -> Reply:
    row = _find_consumer(call)
    kind, script, dead_letter, settings = _consumer(call, call.fields(INVALID))
    call.db.execute(
        "UPDATE queue_consumers SET type = ?, script = ?, dead_letter = ?, settings = ? WHERE id = ?",
        (kind, script, dead_letter, settings, row[0]),
    )
    return get_consumer(call)


def delete_consumer(call: Call) -> Reply:
    call.db.execute("DELETE FROM queue_consumers WHERE id = ?", (_find_consumer(call)[0],))
    return success()


def find_queue(call: Call) -> tuple[Any, ...]:
    """The row of the queue in the path: id, name, created, modified, delay, paused, retention, jurisdiction."""
    asked = call.params["queue"]
    row: tuple[Any, ...] | None = call.db.execute(f"SELECT {_COLUMNS} FROM queues WHERE id = ?", (asked,)).fetchone()
    if row is None:
        raise Refusal(404, NOT_FOUND, f"Queue not found: {shown(asked)}")
    return row


def consumed_by(db: sqlite3.Connection, script: str) -> list[str]:
    """The names of the queues that this Worker consumes."""
    query = "SELECT q.name FROM queue_consumers c JOIN queues q ON q.id = c.queue WHERE c.script = ? ORDER BY q.name"
    return [name for (name,) in db.execute(query, (script,))]


def _queue_name(fields: Fields) -> str:
    name = fields.values.get("queue_name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Refusal(400, BAD_NAME, "Invalid queue name: 1 to 63 letters, digits and inner hyphens")
    return name


def _taken(name: str) -> Refusal:
    message = f"Queue name '{name}' is already taken. Please use a different name and try again."
    return Refusal(409, EXISTS, message)


def _queue_settings(fields: Fields, before: tuple[Any, ...]) -> tuple[Any, ...]:
    settings = fields.mapping("settings")
    delay = settings.number("delivery_delay", 0, _LONGEST_DELAY)
    paused = settings.flag("delivery_paused")
    retention = settings.number("message_retention_period", 60, 1_209_600)
    given = (delay, paused, retention)
    return tuple(old if new is None else new for old, new in zip(before, given, strict=True))


def _consumer(call: Call, fields: Fields) -> tuple[str, str | None, str | None, str]:
    """Type, script, dead letter queue and settings (JSON) of a consumer as sent."""
    kind = fields.choice("type", tuple(_SETTINGS))
    if kind is None:
        raise fields.refuse("type", "worker or http_pull")
    script = fields.text("script_name") if kind == "worker" else None
    if script and not call.db.execute("SELECT 1 FROM worker_scripts WHERE name = ?", (script,)).fetchone():
        raise Refusal(400, NO_SCRIPT, f"The consumer's script '{shown(script)}' does not exist: upload it first")
    dead_letter = fields.optional_text("dead_letter_queue")
    if dead_letter and not call.db.execute("SELECT 1 FROM queues WHERE name = ?", (dead_letter,)).fetchone():
        raise Refusal(400, NOT_FOUND, f"The dead letter queue '{shown(dead_letter)}' does not exist: create it first")
    sent = fields.mapping("settings")
    settings: dict[str, Any] = {}
    for name, (low, high, default) in _SETTINGS[kind].items():
        value = sent.number(name, low, high)
        if value is not None or default is not None:
            settings[name] = default if value is None else value
    return kind, script, dead_letter, orjson.dumps(settings).decode()


def _find_consumer(call: Call) -> tuple[Any, ...]:
    queue, asked = find_queue(call)[0], call.params["consumer"]
    query = f"SELECT {_CONSUMER_COLUMNS} FROM queue_consumers WHERE queue = ? AND id = ?"
    row: tuple[Any, ...] | None = call.db.execute(query, (queue, asked)).fetchone()
    if row is None:
        raise Refusal(404, NOT_FOUND, f"Consumer not found: {shown(asked)}")
    return row


def _consumers(db: sqlite3.Connection, queue: str, name: str) -> list[dict[str, Any]]:
    query = f"SELECT {_CONSUMER_COLUMNS} FROM queue_consumers WHERE queue = ?"
    return [_consumer_shape(row, name) for row in db.execute(query, (queue,))]


def _consumer_shape(row: tuple[Any, ...], queue_name: str) -> dict[str, Any]:
    shape = {"consumer_id": row[0], "type": row[2], "queue_name": queue_name, "created_on": row[6]}
    extra = {"script_name": row[3], "script": row[3], "dead_letter_queue": row[4], "settings": orjson.loads(row[5])}
    return {**shape, **{name: value for name, value in extra.items() if value is not None}}


def _producers(db: sqlite3.Connection) -> dict[str, list[dict[str, str]]]:
    """By queue name, the Workers whose active version has a binding to it."""
    query = (
        "SELECT DISTINCT json_extract(b.value, '$.queue_name'), s.name FROM worker_scripts s JOIN worker_versions v"
        " ON v.id = s.active, json_each(v.metadata, '$.bindings') b WHERE json_extract(b.value, '$.type') = 'queue'"
        " ORDER BY s.name"
    )
    found: dict[str, list[dict[str, str]]] = {}
    for name, script in db.execute(query):
        found.setdefault(name, []).append({"type": "worker", "script": script})
    return found


def _shape(db: sqlite3.Connection, row: tuple[Any, ...]) -> dict[str, Any]:
    return _shapes(db, [row])[0]


def _shapes(db: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    producers = _producers(db)
    return [_complete(row, _consumers(db, row[0], row[1]), producers.get(row[1], [])) for row in rows]


def _complete(row: tuple[Any, ...], consumers: list[dict[str, Any]], producers: list[dict[str, str]]) -> dict[str, Any]:
    shape = {
        "queue_id": row[0],
        "queue_name": row[1],
        "created_on": row[2],
        "modified_on": row[3],
        "producers": producers,
        "producers_total_count": len(producers),
        "consumers": consumers,
        "consumers_total_count": len(consumers),
        "settings": {
            "delivery_delay": row[4],
            "delivery_paused": bool(row[5]),
            "message_retention_period": row[6],
        },
    }
    return {**shape, "jurisdiction": row[7]} if row[7] else shape


_BASE = "/accounts/{account}/queues"
ROUTES = (
    Route("GET", _BASE, list_queues),
    Route("POST", _BASE, create_queue),
    Route("GET", _BASE + "/{queue}", get_queue),
    Route("PUT", _BASE + "/{queue}", update_queue),
    Route("PATCH", _BASE + "/{queue}", update_queue),
    Route("DELETE", _BASE + "/{queue}", delete_queue),
    Route("GET", _BASE + "/{queue}/consumers", list_consumers),
    Route("POST", _BASE + "/{queue}/consumers", create_consumer),
    Route("GET", _BASE + "/{queue}/consumers/{consumer}", get_consumer),
    Route("PUT", _BASE + "/{queue}/consumers/{consumer}", update_consumer),
    Route("DELETE", _BASE + "/{queue}/consumers/{consumer}", delete_consumer),
)
