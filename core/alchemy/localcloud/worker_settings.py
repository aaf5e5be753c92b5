"""What a Worker carries beside its code: settings, secrets, schedules, its workers.dev address.

Neighbours: a change of bindings or secrets is a new version with the same content (`worker_uploads`), deployed at once.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from typing import Any

import orjson

from alchemy.localcloud.call import Call, Route
from alchemy.localcloud.clock import timestamp
from alchemy.localcloud.envelope import Refusal, Reply, shown, success
from alchemy.localcloud.fields import Fields
from alchemy.localcloud.worker_bindings import (
    REFUSED_UPLOAD,
    SECRET_TYPES,
    Binding,
    answered,
    resolve,
    without_value,
)
from alchemy.localcloud.worker_scripts import update_script
from alchemy.localcloud.worker_uploads import active_version, add_version, deploy, find_script, read_upload, source

NO_SECRET, BAD_SUBDOMAIN, BAD_CRON = 10056, 10031, 10100
DEFAULT_SUBDOMAIN = "local"
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_VERSION_SETTINGS = ("compatibility_date", "compatibility_flags", "usage_model", "limits", "placement", "annotations")


def get_settings(call: Call) -> Reply:
    row = find_script(call)
    version = active_version(call.db, row)
    settings = {
        **_own_settings(row),
        "bindings": answered(version.bindings),
        "compatibility_date": version.metadata["compatibility_date"],
        "compatibility_flags": version.metadata["compatibility_flags"],
        "usage_model": version.metadata.get("usage_model", "standard"),
        "annotations": version.metadata["annotations"],
    }
    optional = {name: version.metadata[name] for name in ("limits", "placement") if version.metadata.get(name)}
    migrations = {"migration_tag": row["migration_tag"]} if row["migration_tag"] else {}
    return success({**settings, **optional, **migrations})


def update_settings(call: Call) -> Reply:
    row = find_script(call)
    sent = read_upload(call, metadata_part="settings").metadata
    update_script(call.db, row["name"], sent)
    changes = {name: sent.values[name] for name in _VERSION_SETTINGS if name in sent.values}
    sent.texts("compatibility_flags")
    sent.optional_text("compatibility_date", longest=10)
    sent.mapping("annotations")
    bindings = active_version(call.db, row).bindings
    if "bindings" in sent.values:
        bindings = resolve(call.db, row["name"], sent.items("bindings"), bindings, sent.texts("keep_bindings"))
    if changes or "bindings" in sent.values:
        changes = {name: value for name, value in changes.items() if value is not None}
        _redeploy(call.db, row, bindings, changes, source(call))
    return get_settings(call)


def get_script_settings(call: Call) -> Reply:
    return success(_own_settings(find_script(call)))


def update_script_settings(call: Call) -> Reply:
    update_script(call.db, find_script(call)["name"], call.fields(REFUSED_UPLOAD))
    return get_script_settings(call)


def list_secrets(call: Call) -> Reply:
    return success(call.whole(answered(_secrets(call))))


def put_secret(call: Call) -> Reply:
    row = find_script(call)
    secret = _read_secret(call.fields(REFUSED_UPLOAD))
    _change_secrets(call.db, row, {secret["name"]: secret}, source(call))
    return success(answered([secret])[0])


def put_secrets(call: Call) -> Reply:
    """Several at once; a null removes one."""
    row = find_script(call)
    changes: dict[str, Binding | None] = {}
    for name, value in call.fields(REFUSED_UPLOAD).mapping("secrets").values.items():
        sent = None if value is None else Fields(value, REFUSED_UPLOAD, "secret")
        changes[name] = None if sent is None else {**_read_secret(sent), "name": name}
    _change_secrets(call.db, row, changes, source(call))
    return success({})


def get_secret(call: Call) -> Reply:
    return success(answered([_find_secret(call)])[0])


def delete_secret(call: Call) -> Reply:
    _change_secrets(call.db, find_script(call), {_find_secret(call)["name"]: None}, source(call))
    return success(None)


def get_schedules(call: Call) -> Reply:
    rows = call.db.execute(
        "SELECT cron, created, modified FROM worker_schedules WHERE script = ? ORDER BY cron",
        (find_script(call)["name"],),
    )
    return success({"schedules": [{"cron": row[0], "created_on": row[1], "modified_on": row[2]} for row in rows]})


def put_schedules(call: Call) -> Reply:
    name, moment = find_script(call)["name"], timestamp()
    entries = call.json(REFUSED_UPLOAD)
    if not isinstance(entries, list):
        raise Refusal(400, BAD_CRON, "The body must be a list of schedules")
    crons = [Fields(entry, BAD_CRON, "schedule").text("cron", longest=100) for entry in entries]
    for cron in crons:
        if len(cron.split()) != 5:
            raise Refusal(400, BAD_CRON, f"invalid cron string: {shown(cron)}")
    query = "SELECT cron, created FROM worker_schedules WHERE script = ?"
    before: dict[str, str] = dict(call.db.execute(query, (name,)).fetchall())
    call.db.execute("DELETE FROM worker_schedules WHERE script = ?", (name,))
    rows = [(name, cron, before.get(cron, moment), moment) for cron in dict.fromkeys(crons)]
    call.db.executemany("INSERT INTO worker_schedules (script, cron, created, modified) VALUES (?, ?, ?, ?)", rows)
    return get_schedules(call)


def get_script_subdomain(call: Call) -> Reply:
    row = find_script(call)
    return success({"enabled": bool(row["subdomain_enabled"]), "previews_enabled": bool(row["previews_enabled"])})


def put_script_subdomain(call: Call) -> Reply:
    row, fields = find_script(call), call.fields(REFUSED_UPLOAD)
    enabled, previews = fields.flag("enabled"), fields.flag("previews_enabled")
    if enabled is None:
        raise fields.refuse("enabled", "true or false")
    return _set_subdomain(call, row["name"], enabled, bool(row["previews_enabled"]) if previews is None else previews)


def delete_script_subdomain(call: Call) -> Reply:
    return _set_subdomain(call, find_script(call)["name"], False, False)


def get_subdomain(call: Call) -> Reply:
    row = call.db.execute("SELECT value FROM settings WHERE name = 'subdomain'").fetchone()
    return success({"subdomain": row[0] if row else DEFAULT_SUBDOMAIN})


def put_subdomain(call: Call) -> Reply:
    name = call.fields(REFUSED_UPLOAD).text("subdomain", longest=63)
    if not _SUBDOMAIN.fullmatch(name):
        raise Refusal(400, BAD_SUBDOMAIN, "Invalid subdomain: 1 to 63 of a-z, 0-9 and inner hyphens")
    call.db.execute("INSERT OR REPLACE INTO settings (name, value) VALUES ('subdomain', ?)", (name,))
    return get_subdomain(call)


def _set_subdomain(call: Call, name: str, enabled: bool, previews: bool) -> Reply:
    query = "UPDATE worker_scripts SET subdomain_enabled = ?, previews_enabled = ? WHERE name = ?"
    call.db.execute(query, (enabled, previews, name))
    return get_script_subdomain(call)


def _own_settings(row: sqlite3.Row) -> dict[str, Any]:
    settings = {name: orjson.loads(row[name]) for name in ("tags", "tail_consumers", "observability")}
    settings["observability"] = settings["observability"] or {"enabled": False}
    return {**settings, "logpush": bool(row["logpush"])}


def _secrets(call: Call) -> list[Binding]:
    bindings = active_version(call.db, find_script(call)).bindings
    return sorted((one for one in bindings if one["type"] in SECRET_TYPES), key=lambda one: str(one["name"]))


def _find_secret(call: Call) -> Binding:
    for secret in _secrets(call):
        if secret["name"] == call.params["secret"]:
            return secret
    raise Refusal(404, NO_SECRET, f"Secret not found: {shown(call.params['secret'])}")


def _read_secret(fields: Fields) -> Binding:
    kind = fields.choice("type", SECRET_TYPES) or SECRET_TYPES[0]
    if kind == "secret_text" and not isinstance(fields.values.get("text"), str):
        raise fields.refuse("text", "a string")
    return without_value({**fields.values, "name": fields.text("name", longest=255), "type": kind})


def _change_secrets(
    db: sqlite3.Connection, row: sqlite3.Row, changes: Mapping[str, Binding | None], origin: str
) -> None:
    """Replace or remove secrets by name; another binding of that name is in the way."""
    bindings = {binding["name"]: binding for binding in active_version(db, row).bindings}
    for name, secret in changes.items():
        if name in bindings and bindings[name]["type"] not in SECRET_TYPES:
            raise Refusal(400, REFUSED_UPLOAD, f"Binding name '{shown(name)}' already in use.")
        bindings.pop(name, None)
        if secret is not None:
            bindings[name] = secret
    _redeploy(db, row, list(bindings.values()), {}, origin)


def _redeploy(
    db: sqlite3.Connection, row: sqlite3.Row, bindings: list[Binding], changes: Mapping[str, Any], origin: str
) -> None:
    before = active_version(db, row)
    metadata = {**before.metadata, "annotations": {}, **changes, "bindings": bindings}
    version = add_version(db, row["name"], before.content, metadata, origin)
    deploy(db, row["name"], [{"version_id": version.id, "percentage": 100}], metadata["annotations"], origin)


_ACCOUNT = "/accounts/{account}/workers"
_BASE = _ACCOUNT + "/scripts/{script}"
ROUTES = (
    Route("GET", _BASE + "/settings", get_settings),
    Route("PATCH", _BASE + "/settings", update_settings),
    Route("GET", _BASE + "/script-settings", get_script_settings),
    Route("PATCH", _BASE + "/script-settings", update_script_settings),
    Route("GET", _BASE + "/secrets", list_secrets),
    Route("PUT", _BASE + "/secrets", put_secret),
    Route("PATCH", _BASE + "/secrets-bulk", put_secrets),
    Route("GET", _BASE + "/secrets/{secret}", get_secret),
    Route("DELETE", _BASE + "/secrets/{secret}", delete_secret),
    Route("GET", _BASE + "/schedules", get_schedules),
    Route("PUT", _BASE + "/schedules", put_schedules),
    Route("GET", _BASE + "/subdomain", get_script_subdomain),
    Route("POST", _BASE + "/subdomain", put_script_subdomain),
    Route("DELETE", _BASE + "/subdomain", delete_script_subdomain),
    Route("GET", _ACCOUNT + "/subdomain", get_subdomain),
    Route("PUT", _ACCOUNT + "/subdomain", put_subdomain),
)
