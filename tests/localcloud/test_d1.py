from __future__ import annotations

from typing import Any

import pytest

from tests.localcloud.driver import Cloud

DATABASES = "d1/database"


@pytest.fixture
def database(cloud: Cloud) -> str:
    uuid: str = cloud.result("POST", DATABASES, json={"name": "main"})["uuid"]
    return f"{DATABASES}/{uuid}"


def rows(cloud: Cloud, database: str, sql: str, params: list[Any] | None = None) -> Any:
    return cloud.result("POST", f"{database}/query", json={"sql": sql, "params": params or []})[-1]["results"]


def test_a_database_lives_from_create_to_delete(cloud: Cloud) -> None:
    made = cloud.result("POST", DATABASES, json={"name": "main", "primary_location_hint": "weur"})
    assert made["read_replication"] == {"mode": "disabled"}
    by_uuid = cloud.result("GET", f"{DATABASES}/{made['uuid']}")
    assert by_uuid == made == cloud.result("GET", f"{DATABASES}/main")
    assert cloud.result("GET", f"{DATABASES}/main?fields=uuid%2Cname") == {"uuid": made["uuid"], "name": "main"}
    assert cloud.result("DELETE", f"{DATABASES}/{made['uuid']}") is None
    assert cloud.refusal("GET", f"{DATABASES}/{made['uuid']}") == (404, 7404)
    assert cloud.refusal("DELETE", f"{DATABASES}/{made['uuid']}") == (404, 7404)


def test_a_name_is_taken_once(cloud: Cloud, database: str) -> None:
    assert cloud.refusal("POST", DATABASES, json={"name": "main"}) == (400, 7502)
    cloud.result("DELETE", database)
    assert cloud.result("POST", DATABASES, json={"name": "main"})


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": 7}, {"name": "a b"}, {"name": "x", "jurisdiction": "mars"}]
)
def test_a_database_that_cannot_be_is_refused(cloud: Cloud, body: dict[str, Any]) -> None:
    assert cloud.refusal("POST", DATABASES, json=body) == (400, 7400)


def test_the_list_finds_by_part_of_the_name(cloud: Cloud) -> None:
    for name in ("app-one", "app-two", "other"):
        cloud.result("POST", DATABASES, json={"name": name})
    assert [one["name"] for one in cloud.result("GET", DATABASES)] == ["app-one", "app-two", "other"]
    assert [one["name"] for one in cloud.result("GET", f"{DATABASES}?name=app-")] == ["app-one", "app-two"]
    assert cloud.result("GET", f"{DATABASES}?name=%25") == []


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_read_replication_is_what_can_change(cloud: Cloud, database: str, method: str) -> None:
    changed = cloud.result(method, database, json={"read_replication": {"mode": "auto"}})
    assert changed["read_replication"] == {"mode": "auto"}
    assert cloud.result("GET", database) == changed
    assert cloud.refusal(method, database, json={"read_replication": {"mode": "always"}}) == (400, 7400)


def test_several_statements_in_one_query_answer_one_by_one(cloud: Cloud, database: str) -> None:
    sql = "CREATE TABLE t (a); INSERT INTO t VALUES (1), (2); SELECT a FROM t -- the end;"
    first, second, third = cloud.result("POST", f"{database}/query", json={"sql": sql})
    assert (first["meta"]["changes"], first["meta"]["changed_db"]) == (0, True)
    assert (second["meta"]["changes"], second["meta"]["last_row_id"], second["meta"]["rows_written"]) == (2, 2, 2)
    assert (third["results"], third["meta"]["changed_db"]) == ([{"a": 1}, {"a": 2}], False)
    assert third["meta"]["size_after"] > 0
    details = cloud.result("GET", database)
    assert (details["num_tables"], details["file_size"]) == (1, third["meta"]["size_after"])


SCRIPTS = [
    ("a semicolon in a string", "SELECT 'a;b' AS x", [{"x": "a;b"}]),
    ("a doubled quote", "SELECT 'it''s;' AS x", [{"x": "it's;"}]),
    ("comments", "/* one; */ SELECT 1 AS x; -- two;", [{"x": 1}]),
    ("quoted names", 'SELECT 1 AS "a;b", 2 AS [c;d], 3 AS `e;f`', [{"a;b": 1, "c;d": 2, "e;f": 3}]),
    ("empty statements", ";; SELECT 1 AS x ;; ;", [{"x": 1}]),
    (
        "a trigger's body",
        "CREATE TABLE t (a); CREATE TABLE log (a); CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO log VALUES"
        " (new.a); INSERT INTO log VALUES (CASE new.a WHEN 1 THEN 2 END); END; INSERT INTO t VALUES (1);"
        " SELECT a FROM log",
        [{"a": 1}, {"a": 2}],
    ),
]


@pytest.mark.parametrize(("sql", "expected"), [case[1:] for case in SCRIPTS], ids=[case[0] for case in SCRIPTS])
def test_a_script_is_split_where_sqlite_would(cloud: Cloud, database: str, sql: str, expected: list[Any]) -> None:
    assert rows(cloud, database, sql) == expected


VALUES = [
    ("text", "ä\0b", "ä\0b"),
    ("whole number", 2**53, 2**53),
    ("a number beyond 64 bits", 2**70, float(2**70)),
    ("fraction", 1.5, 1.5),
    ("boolean", True, 1),
    ("null", None, None),
    ("bytes", [0, 255], [0, 255]),
]


@pytest.mark.parametrize(("sent", "stored"), [case[1:] for case in VALUES], ids=[case[0] for case in VALUES])
def test_a_parameter_comes_back(cloud: Cloud, database: str, sent: Any, stored: Any) -> None:
    assert rows(cloud, database, "SELECT ? AS x", [sent]) == [{"x": stored}]


def test_parameters_belong_to_the_last_statement(cloud: Cloud, database: str) -> None:
    sql = "CREATE TABLE t (a, b); INSERT INTO t VALUES (?2, ?1)"
    rows(cloud, database, sql, ["one", "two"])
    assert rows(cloud, database, "SELECT * FROM t") == [{"a": "two", "b": "one"}]


def test_raw_answers_columns_and_rows(cloud: Cloud, database: str) -> None:
    [answer] = cloud.result("POST", f"{database}/raw", json={"sql": "SELECT 1 AS a, x'00ff' AS a"})
    assert answer["results"] == {"columns": ["a", "a"], "rows": [[1, [0, 255]]]}


def test_a_batch_is_one_transaction(cloud: Cloud, database: str) -> None:
    rows(cloud, database, "CREATE TABLE t (a UNIQUE)")
    batch = [{"sql": "INSERT INTO t VALUES (?)", "params": [1]}, {"sql": "INSERT INTO t VALUES (?)", "params": [1]}]
    response = cloud.send("POST", f"{database}/query", json={"batch": batch})
    assert response.status_code == 400
    assert response.json()["errors"] == [{"code": 7500, "message": "UNIQUE constraint failed: t.a: SQLITE_CONSTRAINT"}]
    assert rows(cloud, database, "SELECT * FROM t") == []
    answers = cloud.result("POST", f"{database}/query", json={"batch": batch[:1]})
    assert [answer["meta"]["changes"] for answer in answers] == [1]


FAILURES = [
    ("unknown table", "SELECT * FROM nowhere", "no such table: nowhere: SQLITE_ERROR"),
    ("syntax", "SELEC 1", 'near "SELEC": syntax error: SQLITE_ERROR'),
    ("unfinished", "SELECT 'abc", 'unrecognized token: "\'abc": SQLITE_ERROR'),
    ("nothing", " -- only a comment", "No SQL statements detected.: SQLITE_ERROR"),
    ("another file", "ATTACH DATABASE '/tmp/other.sqlite' AS other", "not authorized: SQLITE_AUTH"),
    ("a copy elsewhere", "VACUUM INTO '/tmp/other.sqlite'", "cannot VACUUM from within a transaction: SQLITE_ERROR"),
    ("own transaction", "BEGIN; SELECT 1; COMMIT", "not authorized: SQLITE_AUTH"),
    ("savepoint", "SAVEPOINT x", "not authorized: SQLITE_AUTH"),
    ("journal mode", "PRAGMA journal_mode = DELETE", "not authorized: SQLITE_AUTH"),
    ("writable schema", "PRAGMA writable_schema = ON", "not authorized: SQLITE_AUTH"),
    ("an extension", "SELECT load_extension('/tmp/x.so')", None),
    ("a foreign module", "CREATE VIRTUAL TABLE v USING dbstat", None),
    ("too large", "SELECT zeroblob(100000000)", "string or blob too big: SQLITE_TOOBIG"),
    ("too long", "SELECT '" + "x" * 200_000 + "'", None),
    ("a NUL", "SELECT 1\0", None),
]


@pytest.mark.parametrize(("sql", "message"), [case[1:] for case in FAILURES], ids=[case[0] for case in FAILURES])
def test_sql_that_may_not_run_is_refused(cloud: Cloud, database: str, sql: str, message: str | None) -> None:
    response = cloud.send("POST", f"{database}/query", json={"sql": sql})
    [error] = response.json()["errors"]
    assert (response.status_code, error["code"]) == (400, 7500)
    assert message is None or error["message"] == message


def test_a_query_without_end_is_stopped(cloud: Cloud, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alchemy.localcloud.sql.LONGEST_RUN", 0.2)
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    assert cloud.refusal("POST", f"{database}/query", json={"sql": endless}) == (429, 7429)
    assert rows(cloud, database, "SELECT 1 AS x") == [{"x": 1}]


def test_an_answer_without_end_is_refused(cloud: Cloud, database: str) -> None:
    huge = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT zeroblob(1000000) FROM n"
    assert cloud.refusal("POST", f"{database}/query", json={"sql": huge}) == (400, 7500)
    assert rows(cloud, database, "SELECT 1 AS x") == [{"x": 1}]


def test_the_wrong_number_of_parameters_is_refused(cloud: Cloud, database: str) -> None:
    for params in ([], ["one", "two"]):
        body = {"sql": "SELECT ?", "params": params}
        assert cloud.refusal("POST", f"{database}/query", json=body) == (400, 7500)
    assert cloud.refusal("POST", f"{database}/query", json={"sql": "SELECT ?", "params": [{}]}) == (400, 7400)


def test_reading_pragmas_work(cloud: Cloud, database: str) -> None:
    rows(cloud, database, "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
    assert [column["name"] for column in rows(cloud, database, "PRAGMA table_info(t)")] == ["a", "b"]


def test_foreign_keys_are_enforced(cloud: Cloud, database: str) -> None:
    rows(cloud, database, "CREATE TABLE p (id PRIMARY KEY); CREATE TABLE c (p REFERENCES p (id))")
    assert cloud.refusal("POST", f"{database}/query", json={"sql": "INSERT INTO c VALUES (1)"}) == (400, 7500)


def test_full_text_search_works(cloud: Cloud, database: str) -> None:
    sql = "CREATE VIRTUAL TABLE f USING fts5 (body); INSERT INTO f VALUES ('hello world'); SELECT body FROM f('world')"
    assert rows(cloud, database, sql) == [{"body": "hello world"}]


def test_deleting_a_database_removes_its_file(cloud: Cloud, database: str) -> None:
    rows(cloud, database, "CREATE TABLE t (a)")
    assert len(list((cloud.directory / "d1").iterdir())) == 1
    cloud.result("DELETE", database)
    assert list((cloud.directory / "d1").iterdir()) == []
    assert cloud.refusal("POST", f"{database}/query", json={"sql": "SELECT 1"}) == (404, 7404)
