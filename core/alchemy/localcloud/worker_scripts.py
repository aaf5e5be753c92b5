"""Workers: upload, read, list, delete, under the names the script, service and worker endpoints give them.

Neighbours: `worker_uploads` reads forms and keeps the rows, `worker_bindings` checks what a Worker is bound to,
`worker_settings` and `worker_versions` are the rest of a script's life.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import orjson

from alchemy.localcloud.call import Call, Route
from alchemy.localcloud.clock import hex_id, timestamp
from alchemy.localcloud.envelope import Refusal, Reply, page_info, shown, success
from alchemy.localcloud.fields import Fields
from alchemy.localcloud.queues import consumed_by
from alchemy.localcloud.worker_bindings import REFUSED_UPLOAD, resolve
from alchemy.localcloud.worker_uploads import (
    NO_SCRIPT,
    active_version,
    add_version,
    check_entry,
    deploy,
    find_script,
    handlers_of,
    keep_content,
    modules_of,
    read_upload,
    remove_unused_contents,
    script_name,
    script_row,
    source,
    version_metadata,
)

NO_SERVICE, NO_WORKER, IN_USE, WRONG_MIGRATION = 10090, 10013, 10064, 10079


def put_script(call: Call) -> Reply:
    name = script_name(call)
    upload = read_upload(call)
    check_entry(upload)
    metadata = upload.metadata
    row = script_row(call.db, name)
    previous = active_version(call.db, row).bindings if row is not None else []
    bindings = resolve(call.db, name, metadata.items("bindings"), previous, metadata.texts("keep_bindings"))
    described = version_metadata(metadata, bindings)
    tag = _migrated(metadata.mapping("migrations"), None if row is None else row["migration_tag"])
    moment = timestamp()
    if row is None:
        call.db.execute(
            "INSERT INTO worker_scripts VALUES (?, ?, ?, ?, '[]', 0, 'null', '[]', ?, 0, 0, '')",
            (name, hex_id(), moment, moment, tag),
        )
    else:
        call.db.execute("UPDATE worker_scripts SET migration_tag = ? WHERE name = ?", (tag, name))
    update_script(call.db, name, metadata)
    version = add_version(call.db, name, keep_content(call.db, upload.modules), described, source(call))
    split = [{"version_id": version.id, "percentage": 100}]
    deployment = deploy(call.db, name, split, described["annotations"], version.source)
    found = find_script(call)
    return success({**_shape(call.db, found), "deployment_id": deployment["id"], "startup_time_ms": 1})


def update_script(db: sqlite3.Connection, name: str, fields: Fields) -> None:
    """Write those of a script's own settings that were sent; what is not mentioned stays."""
    changes: dict[str, Any] = {}
    if "tags" in fields.values:
        changes["tags"] = orjson.dumps(fields.texts("tags")).decode()
    if fields.flag("logpush") is not None:
        changes["logpush"] = fields.flag("logpush")
    if "observability" in fields.values:
        changes["observability"] = orjson.dumps(fields.mapping("observability").values or None).decode()
    if "tail_consumers" in fields.values:
        changes["tail_consumers"] = orjson.dumps(fields.items("tail_consumers")).decode()
    for column, value in changes.items():
        db.execute(f"UPDATE worker_scripts SET {column} = ? WHERE name = ?", (value, name))


def get_script(call: Call) -> Reply:
    """The code of the active version: a module Worker as a multipart form, a service worker as JavaScript."""
    version = active_version(call.db, find_script(call))
    modules = modules_of(call.db, version.content)
    if version.metadata.get("body_part") and len(modules) == 1:
        headers = {"content-type": "application/javascript", "etag": f'"{version.content}"'}
        return Reply(200, modules[0].body, headers)
    return get_content(call)


def get_content(call: Call) -> Reply:
    version = active_version(call.db, find_script(call))
    boundary = hex_id()
    lines = []
    for part in modules_of(call.db, version.content):
        name = part.name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        disposition = f'Content-Disposition: form-data; name="{name}"; filename="{name}"'
        kind = part.type or "application/octet-stream"
        lines.append(f"--{boundary}\r\n{disposition}\r\nContent-Type: {kind}\r\n\r\n".encode() + part.body + b"\r\n")
    body = b"".join(lines) + f"--{boundary}--\r\n".encode()
    entry = str(version.metadata.get("main_module") or version.metadata.get("body_part") or "")
    headers = {"content-type": f"multipart/form-data; boundary={boundary}", "etag": f'"{version.content}"'}
    if entry.isascii() and entry.isprintable():
        headers["cf-entrypoint"] = entry
    return Reply(200, body, headers)


def list_scripts(call: Call) -> Reply:
    wanted = [_tag_wish(wish) for wish in call.arguments.get("tags", "").split(",") if wish]
    result = []
    for (name,) in call.db.execute("SELECT name FROM worker_scripts ORDER BY name").fetchall():
        row = script_row(call.db, name)
        assert row is not None  # the same transaction
        tags = orjson.loads(row["tags"])
        if all((tag in tags) is present for tag, present in wanted):
            result.append(_shape(call.db, row))
    return success(call.whole(result))


def delete_script(call: Call) -> Reply:
    name = find_script(call)["name"]
    queues = consumed_by(call.db, name)
    if queues:
        text = f"Cannot delete this Worker as it is a consumer for a Queue ({', '.join(queues)}): delete the consumer"
        raise Refusal(400, IN_USE, text)
    callers = _callers(call.db, name)
    if callers and call.arguments.get("force") != "true":
        text = (
            f"Cannot delete this Worker as it is bound to other Workers ({', '.join(callers)}): unbind it or use force"
        )
        raise Refusal(400, IN_USE, text)
    call.db.execute("DELETE FROM worker_scripts WHERE name = ?", (name,))
    remove_unused_contents(call.db)
    return success(None)


def get_service(call: Call) -> Reply:
    row = script_row(call.db, call.params["script"])
    if row is None:
        raise Refusal(404, NO_SERVICE, f"workers.api.error.service_not_found: {shown(call.params['script'])}")
    shape = _shape(call.db, row)
    environment = {
        "environment": "production",
        "created_on": row["created"],
        "modified_on": row["modified"],
        "script_tag": row["tag"],
        "script": shape,
    }
    result = {
        "id": row["name"],
        "created_on": row["created"],
        "modified_on": row["modified"],
        "usage_model": shape["usage_model"],
        "default_environment": environment,
        "environments": [environment],
    }
    return success(result)


def get_worker(call: Call) -> Reply:
    asked = call.params["worker"]
    found = call.db.execute("SELECT name FROM worker_scripts WHERE name = ?1 OR tag = ?1", (asked,)).fetchone()
    row = script_row(call.db, found[0]) if found else None
    if row is None:
        raise Refusal(404, NO_WORKER, f"Worker not found: {shown(asked)}")
    return success(_worker_shape(call.db, row))


def list_workers(call: Call) -> Reply:
    query = call.query(NO_SCRIPT)
    page, per_page = query.whole("page", 1, 1, 10**9), query.whole("per_page", 10, 1, 100)
    names = [name for (name,) in call.db.execute("SELECT name FROM worker_scripts ORDER BY name")]
    rows = [script_row(call.db, name) for name in names[(page - 1) * per_page : page * per_page]]
    result = [_worker_shape(call.db, row) for row in rows if row is not None]
    return success(result, info=page_info(count=len(result), page=page, per_page=per_page, total=len(names)))


def list_durable_objects(call: Call) -> Reply:
    """None: the local cloud stores Workers and does not run them, so no class ever gets a namespace."""
    query = call.query(NO_SCRIPT)
    page, per_page = query.whole("page", 1, 1, 10**9), query.whole("per_page", 20, 1, 1000)
    return success([], info=page_info(count=0, page=page, per_page=per_page, total=0))


def _migrated(migrations: Fields, current: str | None) -> str | None:
    """The migration tag after this upload: compare and set, as Cloudflare does."""
    if not migrations.values:
        return current
    old, new = migrations.optional_text("old_tag"), migrations.optional_text("new_tag")
    if (old or None) != current:
        text = (
            f"Migration tag precondition failed; current tag is '{current}'" if current else "there is no current tag"
        )
        raise Refusal(400, WRONG_MIGRATION, text)
    return new or current


def _tag_wish(wish: str) -> tuple[str, bool]:
    """`tag:yes` or `tag:no`; a tag may hold colons itself."""
    tag, _, allowed = wish.rpartition(":")
    if allowed not in ("yes", "no") or not tag:
        raise Refusal(400, REFUSED_UPLOAD, "Invalid query parameter: tags must be a list of tag:yes or tag:no")
    return tag, allowed == "yes"


def _callers(db: sqlite3.Connection, service: str) -> list[str]:
    """The other Workers with a service binding to this one."""
    query = (
        "SELECT DISTINCT s.name FROM worker_scripts s JOIN worker_versions v ON v.id = s.active,"
        " json_each(v.metadata, '$.bindings') b WHERE json_extract(b.value, '$.type') = 'service'"
        " AND json_extract(b.value, '$.service') = ?1 AND s.name != ?1 ORDER BY s.name"
    )
    return [name for (name,) in db.execute(query, (service,))]


def _shape(db: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    version = active_version(db, row)
    shape = {
        "id": row["name"],
        "tag": row["tag"],
        "tags": orjson.loads(row["tags"]),
        "etag": version.content,
        "created_on": row["created"],
        "modified_on": row["modified"],
        "handlers": handlers_of(db, version),
        "has_assets": bool(version.metadata.get("assets")),
        "has_modules": bool(version.metadata.get("main_module")),
        "usage_model": version.metadata.get("usage_model", "standard"),
        "compatibility_date": version.metadata["compatibility_date"],
        "compatibility_flags": version.metadata["compatibility_flags"],
        "logpush": bool(row["logpush"]),
        "last_deployed_from": version.source,
        "tail_consumers": orjson.loads(row["tail_consumers"]),
    }
    optional = {"observability": orjson.loads(row["observability"]), "migration_tag": row["migration_tag"]}
    return {**shape, **{name: value for name, value in optional.items() if value}}


def _worker_shape(db: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    queues = db.execute(
        "SELECT c.id, q.id, q.name FROM queue_consumers c JOIN queues q ON q.id = c.queue WHERE c.script = ?",
        (row["name"],),
    )
    references = {
        "dispatch_namespace_outbounds": [],
        "domains": [],
        "durable_objects": [],
        "queues": [{"queue_consumer_id": one, "queue_id": two, "queue_name": three} for one, two, three in queues],
        "workers": [{"id": name, "name": name} for name in _callers(db, row["name"])],
    }
    return {
        "id": row["tag"],
        "name": row["name"],
        "created_on": row["created"],
        "updated_on": row["modified"],
        "deployed_on": row["modified"],
        "logpush": bool(row["logpush"]),
        "observability": orjson.loads(row["observability"]) or {"enabled": False},
        "subdomain": {"enabled": bool(row["subdomain_enabled"]), "previews_enabled": bool(row["previews_enabled"])},
        "tags": orjson.loads(row["tags"]),
        "tail_consumers": [{"name": entry.get("service", "")} for entry in orjson.loads(row["tail_consumers"])],
        "references": references,
    }


_BASE = "/accounts/{account}/workers"
ROUTES = (
    Route("GET", _BASE + "/scripts", list_scripts),
    Route("PUT", _BASE + "/scripts/{script}", put_script),
    Route("GET", _BASE + "/scripts/{script}", get_script),
    Route("DELETE", _BASE + "/scripts/{script}", delete_script),
    Route("GET", _BASE + "/scripts/{script}/content/v2", get_content),
    Route("GET", _BASE + "/services/{script}", get_service),
    Route("DELETE", _BASE + "/services/{script}", delete_script),
    Route("GET", _BASE + "/workers", list_workers),
    Route("GET", _BASE + "/workers/{worker}", get_worker),
    Route("GET", _BASE + "/durable_objects/namespaces", list_durable_objects),
)
