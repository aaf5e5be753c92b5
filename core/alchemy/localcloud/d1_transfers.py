"""Whole SQL files in and out of a D1 database: what `wrangler d1 execute --file` and `d1 export` use.

Neighbours: `d1` finds and opens the database, `sql` runs the file. A transfer is a file under a random name; the
address made from it is the permission, as with Cloudflare's signed URLs, so these two routes take no token.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alchemy.localcloud import sql
from alchemy.localcloud.call import Call, Route, Transaction
from alchemy.localcloud.clock import hex_id, stopwatch
from alchemy.localcloud.d1 import INVALID, find_database, open_file
from alchemy.localcloud.envelope import Refusal, Reply, success
from alchemy.localcloud.fields import Fields
from alchemy.localcloud.files import make_directory, write_synced

_HEX = frozenset("0123456789abcdef")


def import_file(call: Call) -> Reply:
    """`init` gives an address to put the file at, `ingest` runs it; it is complete at once, so `poll` has no work."""
    with call.store.transaction(write=False) as db:
        uuid = find_database(db, call.params["database"])[0]
    fields = call.fields(INVALID)
    action = fields.choice("action", ("init", "ingest", "poll"))
    if action == "init":
        fields.text("etag")
        name = hex_id()
        with call.store.transaction(write=True) as db:
            db.execute("INSERT INTO settings (name, value) VALUES (?, ?)", (f"transfer {name}", uuid))
        return success({**_progress("import"), "filename": name, "upload_url": f"{call.origin}/transfers/{name}"})
    if action == "ingest":
        return success(_ingest(call, uuid, fields))
    return success({**_progress("import"), "status": "complete"})


def export_file(call: Call) -> Reply:
    with call.store.transaction(write=False) as db:
        uuid = find_database(db, call.params["database"])[0]
    fields = call.fields(INVALID)
    if fields.choice("output_format", ("polling",)) is None:
        raise fields.refuse("output_format", "polling")
    options = fields.mapping("dump_options")
    with contextlib.closing(open_file(call.store, uuid)) as connection:
        connection.execute("BEGIN")  # one consistent view
        lines = dump(
            connection,
            options.texts("tables"),
            schema=not options.flag("no_schema"),
            data=not options.flag("no_data"),
        )
        content = "".join(f"{line}\n" for line in lines).encode()
        connection.execute("ROLLBACK")
    name = hex_id()
    _write(call, name, content)
    result = {"filename": f"{name}.sql", "signed_url": f"{call.origin}/transfers/{name}"}
    return success({**_progress("export"), "status": "complete", "result": result})


def put_transfer(call: Call) -> Reply:
    name = _name(call.params["name"])
    with call.store.transaction(write=True) as db:
        if not db.execute("DELETE FROM settings WHERE name = ?", (f"transfer {name}",)).rowcount:
            raise Refusal(404, INVALID, "No such transfer: it was never begun, or is already here")
    _write(call, name, call.body)
    reply = success({})
    etag = hashlib.md5(call.body, usedforsecurity=False).hexdigest()
    return Reply(reply.status, reply.body, {**reply.headers, "etag": f'"{etag}"'})


def get_transfer(call: Call) -> Reply:
    return Reply(200, _read(call, call.params["name"]), {"content-type": "application/sql"})


def dump(connection: sqlite3.Connection, tables: list[str], *, schema: bool, data: bool) -> Iterator[str]:
    """The database as SQL, without a transaction of its own, because D1 takes none."""
    yield "PRAGMA defer_foreign_keys=TRUE;"
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    objects = connection.execute(f"{query} ORDER BY type = 'table' DESC, rowid").fetchall()
    wanted = [row for row in objects if row[3] is not None and (not tables or row[2] in tables)]
    for kind, name, _, statement in wanted:
        if kind != "table":
            continue
        if schema:
            yield f"{statement};"
        if data and not statement.upper().startswith("CREATE VIRTUAL"):
            quoted = _identifier(name)
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({quoted})")]
            values = " || ',' || ".join(f"quote({_identifier(column)})" for column in columns)
            names = ",".join(map(_identifier, columns))
            for (row,) in connection.execute(f"SELECT {values} FROM {quoted}"):
                yield f"INSERT INTO {quoted} ({names}) VALUES({row});"
    if schema:
        yield from (f"{statement};" for kind, _, _, statement in wanted if kind != "table")


def _ingest(call: Call, uuid: str, fields: Fields) -> dict[str, Any]:
    name, etag = _name(fields.text("filename")), fields.text("etag")
    content = _read(call, name)
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != etag:
        raise Refusal(400, INVALID, "The uploaded file does not have the announced etag: upload it again")
    started = stopwatch()
    try:
        statements = sql.statements(content.decode("utf-8", "replace"), ())
        with contextlib.closing(open_file(call.store, uuid)) as connection:
            results = sql.run(connection, statements, raw=True)
    except sql.SqlFailure as error:
        return {**_progress("import"), "success": False, "status": "error", "error": str(error)}
    finally:
        _path(call, name).unlink(missing_ok=True)
    metas = [result["meta"] for result in results]
    duration = round((stopwatch() - started) * 1000, 4)  # milliseconds
    meta: dict[str, Any] = {
        "served_by": "local-cloud",
        "duration": duration,
        "timings": {"sql_duration_ms": duration},
        "changed_db": any(meta["changed_db"] for meta in metas),
        "last_row_id": metas[-1]["last_row_id"] if metas else 0,
        "size_after": metas[-1]["size_after"] if metas else 0,
        **{name: sum(meta[name] for meta in metas) for name in ("changes", "rows_read", "rows_written")},
    }
    result = {"final_bookmark": hex_id(), "num_queries": len(metas), "meta": meta}
    return {**_progress("import"), "status": "complete", "result": result}


def _progress(kind: str) -> dict[str, Any]:
    return {"type": kind, "success": True, "at_bookmark": hex_id(), "messages": []}


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _name(text: str) -> str:
    if len(text) != 32 or not _HEX.issuperset(text):
        raise Refusal(404, INVALID, "No such transfer")
    return text


def _path(call: Call, name: str) -> Path:
    return call.store.transfers / name


def _write(call: Call, name: str, content: bytes) -> None:
    make_directory(call.store.transfers)
    write_synced(_path(call, name), content)


def _read(call: Call, name: str) -> bytes:
    try:
        return _path(call, _name(name)).read_bytes()
    except FileNotFoundError:
        raise Refusal(404, INVALID, "No such transfer: it was never uploaded, or is used up") from None


_BASE = "/accounts/{account}/d1/database/{database}"
ROUTES = (
    Route("POST", _BASE + "/import", import_file, Transaction.OWN),
    Route("POST", _BASE + "/export", export_file, Transaction.OWN),
    Route("PUT", "/transfers/{name}", put_transfer, Transaction.OWN, public=True),
    Route("GET", "/transfers/{name}", get_transfer, Transaction.OWN, public=True),
)
