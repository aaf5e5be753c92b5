"""Running a client's SQL in one D1 database: split, guarded, in one transaction, with D1's answer shape.

Neighbours: `d1` finds the database and maps failures to HTTP. The guard is SQLite's authorizer with D1's own rules: no
ATTACH (it would open any file of this user), no transaction control (the batch is the transaction), few PRAGMAs.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from alchemy.localcloud.clock import stopwatch

Parameter: TypeAlias = str | int | float | bytes | None

LONGEST_SCRIPT = 10_000_000  # characters in one request; a single statement is limited by SQLite below
LONGEST_RUN = 20.0  # seconds; D1 gives up after 30, a client here waits 25 for an answer
LARGEST_RESULT = 50_000_000  # bytes of values in one statement's rows
# D1's published limits, so that what works here works there.
_LIMITS = {
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_LENGTH: 2_000_000,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 100,
    sqlite3.SQLITE_LIMIT_COLUMN: 100,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
}
_PRAGMAS = {
    "case_sensitive_like", "data_version", "defer_foreign_keys", "encoding", "foreign_key_check",
    "foreign_key_list", "foreign_keys", "function_list", "ignore_check_constraints", "index_info", "index_list",
    "index_xinfo", "integrity_check", "legacy_alter_table", "module_list", "optimize", "pragma_list",
    "quick_check", "recursive_triggers", "reverse_unordered_selects", "table_info", "table_list", "table_xinfo",
    "user_version",
}  # fmt: skip
_MODULES = {"fts5", "fts5vocab"}
_FUNCTIONS = {"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"}
_REFUSED = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT}
_CHANGES_SCHEMA = {
    getattr(sqlite3, f"SQLITE_{verb}_{noun}")
    for verb in ("CREATE", "DROP")
    for noun in ("INDEX", "TABLE", "TRIGGER", "VIEW")
} | {sqlite3.SQLITE_ALTER_TABLE, sqlite3.SQLITE_CREATE_VTABLE, sqlite3.SQLITE_DROP_VTABLE}
# What may hold a semicolon that ends nothing; anything else is looked at character by character.
_TOKENS = re.compile(
    r"""'(?:[^']|'')*+'|"(?:[^"]|"")*+"|`(?:[^`]|``)*+`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)|;|\S""", re.DOTALL
)


class SqlFailure(Exception):
    """SQL that SQLite or the guard refused, in D1's words: `<reason>: SQLITE_<CODE>`."""

    def __init__(self, message: str, *, overloaded: bool = False) -> None:
        super().__init__(message)
        self.overloaded = overloaded


@dataclass(frozen=True, slots=True)
class Statement:
    text: str
    parameters: Sequence[Parameter]


def statements(script: str, parameters: Sequence[Parameter]) -> list[Statement]:
    """Split at the semicolons that end statements; parameters belong to the last one, as in D1."""
    texts = list(_split(script))
    last = len(texts) - 1
    return [Statement(text, parameters if position == last else ()) for position, text in enumerate(texts)]


def _split(script: str) -> Iterator[str]:
    start, holds_code = 0, False
    for token in _TOKENS.finditer(script):
        text = token.group()
        if text == ";":
            if token.start() - start > _LIMITS[sqlite3.SQLITE_LIMIT_SQL_LENGTH]:
                raise SqlFailure("statement too long: SQLITE_TOOBIG")
            # A trigger's body has semicolons of its own; SQLite knows when the statement is over.
            if holds_code and sqlite3.complete_statement(script[start : token.end()]):
                yield script[start : token.end()]
                start, holds_code = token.end(), False
            elif not holds_code:
                start = token.end()
        elif not text.startswith(("--", "/*")):
            holds_code = True
    if holds_code:
        yield script[start:]


class _Guard:
    """The authorizer: only active while a client's statement is being prepared."""

    def __init__(self) -> None:
        self.changed_schema = False

    def __call__(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action in _CHANGES_SCHEMA:
            self.changed_schema = True
        refused = (
            action in _REFUSED
            or (action == sqlite3.SQLITE_PRAGMA and (first or "").lower() not in _PRAGMAS)
            or (action == sqlite3.SQLITE_CREATE_VTABLE and (second or "").lower() not in _MODULES)
            or (action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FUNCTIONS)
        )
        return sqlite3.SQLITE_DENY if refused else sqlite3.SQLITE_OK


def run(connection: sqlite3.Connection, batch: Sequence[Statement], *, raw: bool) -> list[dict[str, Any]]:
    """Run all statements as one transaction and commit it; one result each. Raises SqlFailure, and nothing happened."""
    for limit, value in _LIMITS.items():
        connection.setlimit(limit, value)
    connection.text_factory = lambda value: value.decode("utf-8", "replace")
    deadline = stopwatch() + LONGEST_RUN
    connection.execute("BEGIN IMMEDIATE")
    connection.set_progress_handler(lambda: stopwatch() > deadline, 50_000)
    try:
        results = [_run_one(connection, statement, raw=raw) for statement in batch]
        connection.execute("COMMIT")  # deferred foreign keys are checked here
    except (SqlFailure, sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
        connection.set_progress_handler(None, 0)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise error if isinstance(error, SqlFailure) else _failure(error) from None
    connection.set_progress_handler(None, 0)
    size, _ = measure(connection)
    for result in results:
        result["meta"]["size_after"] = size
    return results


def _run_one(connection: sqlite3.Connection, statement: Statement, *, raw: bool) -> dict[str, Any]:
    guard = _Guard()
    before, started = connection.total_changes, stopwatch()
    connection.set_authorizer(guard)
    try:
        cursor = connection.execute(statement.text, tuple(statement.parameters))
        rows = list(_bounded(cursor))
    finally:
        connection.set_authorizer(None)
    duration = round((stopwatch() - started) * 1000, 4)  # milliseconds
    changes = connection.total_changes - before
    columns = [column[0] for column in cursor.description or ()]
    values = [[list(value) if isinstance(value, bytes) else value for value in row] for row in rows]
    return {
        "success": True,
        "results": {"columns": columns, "rows": values} if raw else _objects(columns, values),
        "meta": {
            "served_by": "local-cloud",
            "served_by_region": "WNAM",
            "served_by_primary": True,
            "timings": {"sql_duration_ms": duration},
            "duration": duration,
            "changes": changes,
            "changed_db": changes > 0 or guard.changed_schema,
            "last_row_id": cursor.lastrowid or 0,
            "rows_read": len(values),
            "rows_written": changes,
        },
    }


def _bounded(cursor: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
    """The rows, until they are more than an answer should carry: one statement must not take all memory."""
    size = 0
    for row in cursor:
        size += sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)
        if size > LARGEST_RESULT:
            raise SqlFailure(f"result larger than {LARGEST_RESULT} bytes: SQLITE_TOOBIG")
        yield row


def _objects(columns: list[str], rows: list[list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _failure(error: Exception) -> SqlFailure:
    name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
    code = "_".join(name.split("_")[:2])  # the primary code, as D1 prints it
    if code in ("SQLITE_INTERRUPT", "SQLITE_BUSY"):
        reason = "D1 DB storage operation exceeded timeout which caused object to be reset"
        return SqlFailure(f"{reason}: {code}", overloaded=True)
    return SqlFailure(f"{error}: {code}")


def measure(connection: sqlite3.Connection) -> tuple[int, int]:
    """Size in bytes and number of tables."""
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    query = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    return pages * size, connection.execute(query).fetchone()[0]
