"""The account's database: one SQLite file in WAL, one worker thread a process, no row kept between requests.

Neighbours: `schema` is what the file holds; `app` runs each request through `Store.run`; `sql` opens the files of D1
databases with the same settings. Two processes on one directory are correct because every write takes SQLite's write
lock first (BEGIN IMMEDIATE) and is synced before the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from alchemy.localcloud.files import complete_or_absent, damaged, make_directory, remove_abandoned
from alchemy.localcloud.schema import FORMAT, SCHEMA

T = TypeVar("T")

BUSY_TIMEOUT = 5.0  # seconds to wait for another process's write
DATABASE_FILE = "account.sqlite"

# One for the process, not one for each application: SQLite work is short, and two threads would only wait for the lock.
_worker: ThreadPoolExecutor | None = None


def _executor() -> ThreadPoolExecutor:
    global _worker
    if _worker is None:
        _worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="local-cloud")
    return _worker


class Store:
    """The durable state below one directory. Everything but `run` is called on the worker thread."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] = (0, 0)
        self._close: weakref.finalize[[], Store] | None = None

    async def run(self, job: Callable[[], T]) -> T:
        """Run `job` on the worker thread, so that the event loop never waits for a disk."""
        return await asyncio.get_running_loop().run_in_executor(_executor(), job)

    @property
    def databases(self) -> Path:
        """Where D1's files are, named by uuid."""
        return self.directory / "d1"

    @property
    def blobs(self) -> Path:
        """Where R2's objects are, named by a random id."""
        return self.directory / "r2"

    @property
    def transfers(self) -> Path:
        """SQL files on their way into or out of D1, under random names."""
        return self.directory / "transfers"

    @contextlib.contextmanager
    def transaction(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        """A transaction on the account's database; a write is durable when the block has been left."""
        connection = self._connect()
        connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _connect(self) -> sqlite3.Connection:
        """The open connection, unless the file under the name is another one by now (`cloud reset`)."""
        path = self.directory / DATABASE_FILE
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(path)
            if self._connection is not None and (found.st_dev, found.st_ino) == self._identity:
                return self._connection
        if self._close is not None:
            self._close()
        connection = open_account(path)
        found = os.stat(path)
        self._connection, self._identity = connection, (found.st_dev, found.st_ino)
        self._close = weakref.finalize(self, connection.close)
        self._sweep(connection)
        return connection

    def _sweep(self, connection: sqlite3.Connection) -> None:
        """Remove files whose row was never written, or whose deletion a crash cut short."""

        def known(table: str, column: str) -> Callable[[str], bool]:
            query = f"SELECT 1 FROM {table} WHERE {column} = ?"
            return lambda name: connection.execute(query, (name.partition(".")[0],)).fetchone() is not None

        remove_abandoned(self.blobs, known("r2_objects", "blob"))
        remove_abandoned(self.databases, known("d1_databases", "uuid"))
        remove_abandoned(self.transfers, lambda _: False)


def open_account(path: Path) -> sqlite3.Connection:
    """Open the account's database, making it first when absent: schema and all, in one step, by whoever is first."""
    if not path.exists():
        make_directory(path.parent)
        create_database(path, SCHEMA)
    connection = open_database(path)
    try:
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found != FORMAT:
            raise damaged(path, f"has format {found}, this version of alchemy reads format {FORMAT}")
    except BaseException:
        connection.close()
        raise
    return connection


def create_database(path: Path, schema: str) -> None:
    """Make a SQLite file in WAL mode holding `schema`; does nothing when somebody else was faster."""
    with complete_or_absent(path) as temporary:
        connection = sqlite3.connect(temporary, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(schema)
        finally:
            connection.close()  # the last connection moves the log into the file, which is then complete alone


def open_database(path: Path) -> sqlite3.Connection:
    """Open an existing file (never create one) with the settings every connection here needs."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection
