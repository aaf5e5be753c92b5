"""KV namespaces: create, list, rename, delete.

Neighbours: `kv_values` holds the keys; their rows go with the namespace.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from alchemy.localcloud.call import Call, Route
from alchemy.localcloud.clock import hex_id
from alchemy.localcloud.envelope import Refusal, Reply, page_info, success

INVALID, TITLE_REQUIRED, NOT_FOUND, EXISTS = 10012, 10019, 10013, 10014
_JURISDICTIONS = ("eu", "fedramp", "us")


def create_namespace(call: Call) -> Reply:
    title = _title(call)
    jurisdiction = call.fields(INVALID).choice("jurisdiction", _JURISDICTIONS)
    row = (hex_id(), title, jurisdiction)
    try:
        call.db.execute("INSERT INTO kv_namespaces (id, title, jurisdiction) VALUES (?, ?, ?)", row)
    except sqlite3.IntegrityError:
        raise _exists("create") from None
    return success(_shape(row))


def list_namespaces(call: Call) -> Reply:
    query = call.query(INVALID)
    page, per_page = query.whole("page", 1, 1, 10**9), query.whole("per_page", 20, 1, 1000)
    order = query.choice("order", "id", ("id", "title"))
    direction = query.choice("direction", "asc", ("asc", "desc"))
    total = call.db.execute("SELECT count(*) FROM kv_namespaces").fetchone()[0]
    rows = call.db.execute(
        f"SELECT id, title, jurisdiction FROM kv_namespaces ORDER BY {order} {direction} LIMIT ? OFFSET ?",
        (per_page, (page - 1) * per_page),
    ).fetchall()
    return success(
        [_shape(row) for row in rows], info=page_info(count=len(rows), page=page, per_page=per_page, total=total)
    )


def get_namespace(call: Call) -> Reply:
    return success(_shape(find_namespace(call)))


def rename_namespace(call: Call) -> Reply:
    namespace, _, jurisdiction = find_namespace(call)
    title = _title(call)
    try:
        call.db.execute("UPDATE kv_namespaces SET title = ? WHERE id = ?", (title, namespace))
    except sqlite3.IntegrityError:
        raise _exists("rename") from None
    return success(_shape((namespace, title, jurisdiction)))


def delete_namespace(call: Call) -> Reply:
    call.db.execute("DELETE FROM kv_namespaces WHERE id = ?", (find_namespace(call)[0],))
    return success(None)


def find_namespace(call: Call) -> tuple[Any, ...]:
    """The row of the namespace in the path: id, title, jurisdiction."""
    query = "SELECT id, title, jurisdiction FROM kv_namespaces WHERE id = ?"
    row: tuple[Any, ...] | None = call.db.execute(query, (call.params["namespace"],)).fetchone()
    if row is None:
        raise Refusal(404, NOT_FOUND, "namespace not found")
    return row


def _title(call: Call) -> str:
    fields = call.fields(INVALID)
    if not fields.values.get("title"):
        raise Refusal(400, TITLE_REQUIRED, "namespace title is required")
    return fields.text("title")


def _exists(verb: str) -> Refusal:
    return Refusal(400, EXISTS, f"{verb} namespace: 'a namespace with this account ID and title already exists'")


def _shape(row: tuple[Any, ...]) -> dict[str, Any]:
    shape = {"id": row[0], "title": row[1], "supports_url_encoding": True}
    return {**shape, "jurisdiction": row[2]} if row[2] else shape


_BASE = "/accounts/{account}/storage/kv/namespaces"
ROUTES = (
    Route("GET", _BASE, list_namespaces),
    Route("POST", _BASE, create_namespace),
    Route("GET", _BASE + "/{namespace}", get_namespace),
    Route("PUT", _BASE + "/{namespace}", rename_namespace),
    Route("DELETE", _BASE + "/{namespace}", delete_namespace),
)
