"""Messages of a queue: send, pull under a lease, acknowledge, retry, purge.

Neighbours: `queues` finds the queue and its consumer. A pulled message is invisible until its lease ends; after
max_retries it moves to the dead letter queue, or is dropped when there is none.
"""

from __future__ import annotations

import base64
from typing import Any

import orjson

from alchemy.localcloud.call import Call, Route
from alchemy.localcloud.clock import hex_id, now, timestamp
from alchemy.localcloud.envelope import Refusal, Reply, success
from alchemy.localcloud.fields import Fields
from alchemy.localcloud.queues import INVALID, find_queue, get_queue

NOT_PULLABLE, PAUSED = 0, 11000  # the live API answers code 0 when http_pull is off
MOST_MESSAGES, LARGEST_MESSAGE, LARGEST_BATCH = 100, 128_000, 256_000  # bytes
_LONGEST_DELAY = 43_200  # seconds
_LONGEST_LEASE = 43_200_000  # milliseconds


def send_message(call: Call) -> Reply:
    return _send(call, [call.fields(INVALID)], None)


def send_batch(call: Call) -> Reply:
    fields = call.fields(INVALID)
    messages = [Fields(message, INVALID, "message") for message in fields.items("messages")]
    if not 1 <= len(messages) <= MOST_MESSAGES:
        raise fields.refuse("messages", f"a list of 1 to {MOST_MESSAGES} messages")
    return _send(call, messages, fields.number("delay_seconds", 0, _LONGEST_DELAY))


def _send(call: Call, messages: list[Fields], batch_delay: float | None) -> Reply:
    queue = find_queue(call)
    present, total = now(), 0
    for message in messages:
        kind = message.choice("content_type", ("text", "json", "bytes")) or "json"
        body = _body(message, kind)
        total += len(body)
        if len(body) > LARGEST_MESSAGE or total > LARGEST_BATCH:
            limits = f"{LARGEST_MESSAGE} bytes a message, {LARGEST_BATCH} bytes a batch"
            raise Refusal(413, INVALID, f"The message is too large: {limits}")
        delay = message.number("delay_seconds", 0, _LONGEST_DELAY)
        wait = next(value for value in (delay, batch_delay, queue[4]) if value is not None)
        call.db.execute(
            "INSERT INTO queue_messages (id, queue, body, content_type, sent, visible, attempts)"
            " VALUES (?, ?, ?, ?, ?, ?, 0)",
            (hex_id(), queue[0], body, kind, present, present + wait),
        )
    return success({"metadata": {"metrics": _metrics(call, queue)}})


def pull_messages(call: Call) -> Reply:
    queue = find_queue(call)
    consumer = call.db.execute(
        "SELECT settings, dead_letter FROM queue_consumers WHERE queue = ? AND type = 'http_pull'", (queue[0],)
    ).fetchone()
    if consumer is None:
        raise Refusal(400, NOT_PULLABLE, "messages cannot be pulled unless http_pull mode is enabled")
    if queue[5]:
        raise Refusal(409, PAUSED, "queue_delivery_paused")
    settings = orjson.loads(consumer[0])
    fields = Fields(call.json(INVALID) if call.body else {}, INVALID)
    size = fields.number("batch_size", 1, MOST_MESSAGES) or settings["batch_size"]
    lease_ms = fields.number("visibility_timeout_ms", 0, _LONGEST_LEASE)
    lease_ms = settings["visibility_timeout_ms"] if lease_ms is None else lease_ms
    present = now()
    _retire(call, queue, present, settings["max_retries"], consumer[1])
    rows = call.db.execute(
        "SELECT number, id, body, content_type, sent, attempts FROM queue_messages"
        " WHERE queue = ? AND visible <= ? ORDER BY number LIMIT ?",
        (queue[0], present, int(size)),
    ).fetchall()
    messages = []
    for number, identifier, body, kind, sent, attempts in rows:
        lease = hex_id()
        call.db.execute(
            "UPDATE queue_messages SET attempts = attempts + 1, lease = ?, visible = ? WHERE number = ?",
            (lease, present + lease_ms / 1000, number),
        )
        messages.append({**_shape(identifier, body, kind, sent, attempts + 1), "lease_id": lease})
    metrics = _metrics(call, queue)
    result = {"messages": messages, "message_backlog_count": metrics["backlog_count"], "metadata": {"metrics": metrics}}
    return success(result)


def acknowledge(call: Call) -> Reply:
    queue = find_queue(call)[0]
    fields = call.fields(INVALID)
    present, warnings = now(), {}
    acknowledged = retried = 0
    for entry in fields.items("acks"):
        lease = Fields(entry, INVALID, "ack").text("lease_id")
        gone = call.db.execute("DELETE FROM queue_messages WHERE queue = ? AND lease = ?", (queue, lease)).rowcount
        acknowledged += gone
        if not gone:
            warnings[lease] = "unknown or expired lease"
    for entry in fields.items("retries"):
        retry = Fields(entry, INVALID, "retry")
        lease, delay = retry.text("lease_id"), retry.number("delay_seconds", 0, _LONGEST_DELAY)
        found = call.db.execute(
            "UPDATE queue_messages SET lease = NULL, visible = ? WHERE queue = ? AND lease = ?",
            (present + (_retry_delay(call, queue) if delay is None else delay), queue, lease),
        ).rowcount
        retried += found
        if not found:
            warnings[lease] = "unknown or expired lease"
    return success({"ackCount": acknowledged, "retryCount": retried, "warnings": warnings})


def peek_messages(call: Call) -> Reply:
    queue = find_queue(call)
    fields = Fields(call.json(INVALID) if call.body else {}, INVALID)
    rows = call.db.execute(
        "SELECT id, body, content_type, sent, attempts FROM queue_messages WHERE queue = ? ORDER BY number LIMIT ?",
        (queue[0], int(fields.number("batch_size", 1, MOST_MESSAGES) or 10)),
    ).fetchall()
    return success({"messages": [{**_shape(*row), "ref": row[0]} for row in rows]})


def purge_messages(call: Call) -> Reply:
    """Remove the messages whose `ref` a peek gave."""
    queue = find_queue(call)[0]
    errors = []
    for entry in call.fields(INVALID).items("refs"):
        ref = Fields(entry, INVALID, "ref").text("ref")
        if not call.db.execute("DELETE FROM queue_messages WHERE queue = ? AND id = ?", (queue, ref)).rowcount:
            errors.append({"message": f"message {ref} not found"})
    return success({"errors": errors, "warnings": {}})


def get_metrics(call: Call) -> Reply:
    return success(_metrics(call, find_queue(call)))


def purge_queue(call: Call) -> Reply:
    fields = call.fields(INVALID)
    if fields.flag("delete_messages_permanently") is not True:
        raise fields.refuse("delete_messages_permanently", "true")
    call.db.execute("DELETE FROM queue_messages WHERE queue = ?", (find_queue(call)[0],))
    key = f"purged {find_queue(call)[0]}"
    call.db.execute("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", (key, timestamp()))
    return get_queue(call)


def get_purge(call: Call) -> Reply:
    row = call.db.execute("SELECT value FROM settings WHERE name = ?", (f"purged {find_queue(call)[0]}",)).fetchone()
    return success({"completed": "true", "started_at": row[0] if row else ""})


def _retire(call: Call, queue: tuple[Any, ...], present: float, max_retries: int, dead_letter: str | None) -> None:
    """Drop what is past its retention; move what was tried often enough to the dead letter queue, or drop it."""
    call.db.execute("DELETE FROM queue_messages WHERE queue = ? AND sent < ?", (queue[0], present - queue[6]))
    spent = (queue[0], present, max_retries)
    condition = "queue = ? AND visible <= ? AND attempts > ?"
    target = call.db.execute("SELECT id FROM queues WHERE name = ?", (dead_letter,)).fetchone()
    if target is None:
        call.db.execute(f"DELETE FROM queue_messages WHERE {condition}", spent)
    else:
        call.db.execute(
            f"UPDATE queue_messages SET queue = ?, attempts = 0, lease = NULL WHERE {condition}", (target[0], *spent)
        )


def _retry_delay(call: Call, queue: str) -> float:
    row = call.db.execute("SELECT settings FROM queue_consumers WHERE queue = ?", (queue,)).fetchone()
    return float(orjson.loads(row[0]).get("retry_delay", 0)) if row else 0.0


def _body(message: Fields, kind: str) -> bytes:
    value = message.values.get("body")
    if kind == "json":
        return orjson.dumps(value)
    if not isinstance(value, str):
        raise message.refuse("body", "a string")
    return value.encode()


def _shape(identifier: str, body: bytes, kind: str, sent: float, attempts: int) -> dict[str, Any]:
    """Text as it is; JSON and bytes in base64, as the pull API does."""
    shown = body.decode() if kind == "text" else base64.b64encode(body).decode("ascii")
    metadata = {"CF-Content-Type": kind, "CF-sourceMessageSource": "api"}
    return {
        "id": identifier,
        "body": shown,
        "attempts": attempts,
        "timestamp_ms": int(sent * 1000),
        "metadata": metadata,
    }


def _metrics(call: Call, queue: tuple[Any, ...]) -> dict[str, int]:
    count, size, oldest = call.db.execute(
        "SELECT count(*), coalesce(sum(length(body)), 0), coalesce(min(sent), 0) FROM queue_messages WHERE queue = ?",
        (queue[0],),
    ).fetchone()
    return {"backlog_count": count, "backlog_bytes": size, "oldest_message_timestamp_ms": int(oldest * 1000)}


_BASE = "/accounts/{account}/queues/{queue}"
ROUTES = (
    Route("POST", _BASE + "/messages", send_message),
    Route("POST", _BASE + "/messages/batch", send_batch),
    Route("POST", _BASE + "/messages/pull", pull_messages),
    Route("POST", _BASE + "/messages/ack", acknowledge),
    Route("POST", _BASE + "/messages/peek", peek_messages),
    Route("POST", _BASE + "/messages/preview", peek_messages),
    Route("POST", _BASE + "/messages/purge", purge_messages),
    Route("GET", _BASE + "/metrics", get_metrics),
    Route("GET", _BASE + "/purge", get_purge),
    Route("POST", _BASE + "/purge", purge_queue),
)
