"""D1 databases: their rows in the account, and running SQL in their files.

Neighbours: `sql` runs statements under guard; `store` holds the rows. A database's file is made by its first query, so
that creating one is a single row and a crash cannot leave half of it.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path
from typing import Any

from alchemy.localcloud import sql
from alchemy.localcloud.call import Call, Route, Transaction
from alchemy.localcloud.clock import timestamp, uuid_id
from alchemy.localcloud.envelope import Refusal, Reply, page_info, shown, success
from alchemy.localcloud.fields import Fields
from alchemy.localcloud.files import make_directory
from alchemy.localcloud.store import Store, create_database, open_database

INVALID, NOT_FOUND, EXISTS, SQL_ERROR, OVERLOADED = 7400, 7404, 7502, 7500, 7429
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.IGNORECASE)
_JURISDICTIONS = ("eu", "fedramp", "us")
_LOCATIONS = ("wnam", "enam", "weur", "eeur", "apac", "oc")
_COLUMNS = "uuid, name, created_at, jurisdiction, read_replication"


def create_database_row(call: Call) -> Reply:
    fields = call.fields(INVALID)
    name = fields.text("name")
    if not _NAME.fullmatch(name):
        raise fields.refuse("name", "1 to 64 letters, digits, - and _, beginning with a letter or digit")
    jurisdiction = fields.choice("jurisdiction", _JURISDICTIONS)
    fields.choice("primary_location_hint", _LOCATIONS)
    mode = fields.mapping("read_replication").choice("mode", ("auto", "disabled")) or "disabled"
    row = (uuid_id(), name, timestamp(), jurisdiction, mode)
    try:
        call.db.execute(f"INSERT INTO d1_databases ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", row)
    except sqlite3.IntegrityError:
        raise Refusal(400, EXISTS, "A database with that name already exists") from None
    return success(_details(call.store, row))


def list_databases(call: Call) -> Reply:
    query = call.query(INVALID)
    page, per_page = query.whole("page", 1, 1, 10**9), query.whole("per_page", 1000, 1, 10_000)
    name = call.arguments.get("name", "")
    total = call.db.execute("SELECT count(*) FROM d1_databases WHERE instr(name, ?) > 0", (name,)).fetchone()[0]
    rows = call.db.execute(
        f"SELECT {_COLUMNS} FROM d1_databases WHERE instr(name, ?) > 0 ORDER BY created_at, uuid LIMIT ? OFFSET ?",
        (name, per_page, (page - 1) * per_page),
    ).fetchall()
    result = [{**_summary(row), "jurisdiction": row[3]} for row in rows]
    info = page_info(count=len(rows), page=page, per_page=per_page, total=total)
    info.pop("total_pages")
    return success(result, info=info)


def get_database(call: Call) -> Reply:
    with call.store.transaction(write=False) as db:
        row = find_database(db, call.params["database"])
    details = _details(call.store, row)
    wanted = call.arguments.get("fields")  # wrangler asks for `uuid,name` only
    return success({key: details[key] for key in wanted.split(",") if key in details} if wanted else details)


def update_database(call: Call) -> Reply:
    replication = call.fields(INVALID).mapping("read_replication")
    mode = replication.choice("mode", ("auto", "disabled"))
    if mode is None and replication.values:
        raise replication.refuse("mode", "auto or disabled")
    with call.store.transaction(write=True) as db:
        uuid = find_database(db, call.params["database"])[0]
        if mode is not None:
            db.execute("UPDATE d1_databases SET read_replication = ? WHERE uuid = ?", (mode, uuid))
        row = find_database(db, uuid)
    return success(_details(call.store, row))


def delete_database(call: Call) -> Reply:
    with call.store.transaction(write=True) as db:
        uuid = find_database(db, call.params["database"])[0]
        db.execute("DELETE FROM d1_databases WHERE uuid = ?", (uuid,))
    path = _path(call.store, uuid)
    for file in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        with contextlib.suppress(FileNotFoundError):
            file.unlink()
    return success(None)


def query_database(call: Call) -> Reply:
    return _run(call, raw=False)


def query_database_raw(call: Call) -> Reply:
    return _run(call, raw=True)


def _run(call: Call, *, raw: bool) -> Reply:
    with call.store.transaction(write=False) as db:
        uuid = find_database(db, call.params["database"])[0]
    try:
        statements = _statements(call.fields(INVALID))
        with contextlib.closing(open_file(call.store, uuid)) as connection:
            return success(sql.run(connection, statements, raw=raw))
    except sql.SqlFailure as error:
        status, code = (429, OVERLOADED) if error.overloaded else (400, SQL_ERROR)
        raise Refusal(status, code, str(error)) from None


def _statements(fields: Fields) -> list[sql.Statement]:
    """The statements of a single query or of a batch, each with its parameters."""
    if "batch" in fields.values:
        batch = [Fields(entry, INVALID, "batch entry") for entry in fields.items("batch")]
    else:
        batch = [fields]
    found: list[sql.Statement] = []
    for entry in batch:
        text = entry.text("sql", longest=sql.LONGEST_SCRIPT)
        found += sql.statements(text, [_parameter(entry, value) for value in entry.items("params")])
    if not found:
        raise Refusal(400, SQL_ERROR, "No SQL statements detected.: SQLITE_ERROR")
    return found


def _parameter(fields: Fields, value: Any) -> sql.Parameter:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list) and all(isinstance(byte, int) and 0 <= byte <= 255 for byte in value):
        return bytes(value)  # how D1's protocol sends an ArrayBuffer
    raise fields.refuse("params", "a list of strings, numbers, booleans, nulls and byte lists")


def find_database(db: sqlite3.Connection, name_or_uuid: str) -> tuple[Any, ...]:
    """The row by uuid or, as wrangler asks, by name."""
    query = f"SELECT {_COLUMNS} FROM d1_databases WHERE uuid = ?1 OR name = ?1 ORDER BY uuid = ?1 DESC"
    row: tuple[Any, ...] | None = db.execute(query, (name_or_uuid,)).fetchone()
    if row is None:
        raise Refusal(404, NOT_FOUND, f"The database {shown(name_or_uuid)} could not be found")
    return row


def _path(store: Store, uuid: str) -> Path:
    return store.databases / f"{uuid}.sqlite"


def open_file(store: Store, uuid: str) -> sqlite3.Connection:
    """The database's own file, made if this is its first use."""
    path = _path(store, uuid)
    if not path.exists():
        make_directory(path.parent)
        create_database(path, "")
    try:
        return open_database(path)
    except sqlite3.OperationalError:
        with store.transaction(write=False) as db:
            find_database(db, uuid)  # deleted by another process since: that is the answer
        raise


def _summary(row: tuple[Any, ...]) -> dict[str, Any]:
    return {"uuid": row[0], "name": row[1], "created_at": row[2], "version": "production"}


def _details(store: Store, row: tuple[Any, ...]) -> dict[str, Any]:
    size, tables = 0, 0
    path = _path(store, row[0])
    if path.exists():
        with contextlib.closing(open_file(store, row[0])) as connection:
            size, tables = sql.measure(connection)
    return {
        **_summary(row),
        "file_size": size,
        "num_tables": tables,
        "jurisdiction": row[3],
        "read_replication": {"mode": row[4]},
    }


_BASE = "/accounts/{account}/d1/database"
ROUTES = (
    Route("GET", _BASE, list_databases),
    Route("POST", _BASE, create_database_row),
    Route("GET", _BASE + "/{database}", get_database, Transaction.OWN),
    Route("PUT", _BASE + "/{database}", update_database, Transaction.OWN),
    Route("PATCH", _BASE + "/{database}", update_database, Transaction.OWN),
    Route("DELETE", _BASE + "/{database}", delete_database, Transaction.OWN),
    Route("POST", _BASE + "/{database}/query", query_database, Transaction.OWN),
    Route("POST", _BASE + "/{database}/raw", query_database_raw, Transaction.OWN),
)
