"""Bindings of a Worker: checked against what exists, completed from the version before, shaped for answers.

Neighbours: `worker_uploads` and `worker_settings` call this. Secrets are bindings whose value is not even kept: nothing
here runs a Worker, and nothing shall be found in our files.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from alchemy.localcloud.envelope import Refusal, shown
from alchemy.localcloud.r2 import bucket_row

Binding: TypeAlias = dict[str, Any]

REFUSED_UPLOAD = 10021
SECRET_TYPES = ("secret_text", "secret_key")
_SECRET_MEMBERS = ("text", "key_base64", "key_jwk")
# What each type must carry, of those the local cloud can check; other types are stored as they are.
_REQUIRED = {
    "d1": "id", "kv_namespace": "namespace_id", "queue": "queue_name", "r2_bucket": "bucket_name",
    "plain_text": "text", "json": "json", "service": "service", "durable_object_namespace": "class_name",
    "workflow": "workflow_name", "hyperdrive": "id", "vectorize": "index_name", "secret_text": "text",
}  # fmt: skip


def resolve(
    db: sqlite3.Connection, script: str, sent: Iterable[Any], previous: Sequence[Binding], keep: Sequence[str] = ()
) -> list[Binding]:
    """The bindings of a new version: those sent, plus the previous ones whose type the client asked to keep."""
    before = {binding["name"]: binding for binding in previous}
    found: dict[str, Binding] = {}
    for binding in sent:
        complete = _complete(binding, before)
        if complete["name"] in found:
            raise Refusal(400, REFUSED_UPLOAD, f"Binding name '{shown(complete['name'])}' already in use.")
        _check(db, script, complete)
        found[complete["name"]] = without_value(complete)
    for binding in previous:
        if binding["type"] in keep:
            found.setdefault(binding["name"], binding)
    return list(found.values())


def _complete(binding: Any, before: dict[str, Binding]) -> Binding:
    """One binding with its type's member present; inherited ones and unchanged secrets come from the version before."""
    if not isinstance(binding, dict):
        raise Refusal(400, REFUSED_UPLOAD, "Every binding must be a JSON object")
    sent: Binding = binding
    name, kind = sent.get("name"), sent.get("type")
    if not isinstance(name, str) or not name or len(name) > 255 or not isinstance(kind, str):
        raise Refusal(400, REFUSED_UPLOAD, "Every binding needs a name (1 to 255 characters) and a type")
    if kind == "inherit":
        old = binding.get("old_name") or name
        if not isinstance(old, str) or old not in before:
            raise Refusal(400, REFUSED_UPLOAD, f"Binding '{shown(name)}' inherits from a version that does not have it")
        return {**before[old], "name": name}
    member = _REQUIRED.get(kind)
    if kind == "d1":
        sent = {**sent, "id": sent.get("id") or sent.get("database_id")}
    if member is None or (sent.get(member) is not None and (member == "json" or isinstance(sent[member], str))):
        return sent
    if kind in SECRET_TYPES and before.get(name, {}).get("type") == kind:
        return before[name]
    raise Refusal(400, REFUSED_UPLOAD, f"Binding '{shown(name)}' of type {kind} needs `{member}`")


def _check(db: sqlite3.Connection, script: str, binding: Binding) -> None:
    """Refuse a binding to something that does not exist in this account."""
    kind = binding["type"]
    tables = {"d1": ("d1_databases", "uuid"), "kv_namespace": ("kv_namespaces", "id"), "queue": ("queues", "name")}
    if kind in tables:
        target = binding[_REQUIRED[kind]]
        table, column = tables[kind]
        exists = db.execute(f"SELECT 1 FROM {table} WHERE {column} = ?", (target,)).fetchone() is not None
    elif kind == "r2_bucket":
        target = binding["bucket_name"]
        exists = bucket_row(db, str(binding.get("jurisdiction") or "default"), target) is not None
    elif kind == "service":
        target = binding["service"]
        query = "SELECT 1 FROM worker_scripts WHERE name = ?"
        exists = target == script or db.execute(query, (target,)).fetchone() is not None
    else:
        return
    if not exists:
        name = shown(binding["name"])
        raise Refusal(400, REFUSED_UPLOAD, f"Binding '{name}' references {kind} '{shown(target)}' which was not found.")


def without_value(binding: Binding) -> Binding:
    """A secret by its name and type; any other as it is."""
    if binding["type"] not in SECRET_TYPES:
        return binding
    return {name: value for name, value in binding.items() if name not in _SECRET_MEMBERS}


def answered(bindings: Iterable[Binding]) -> list[Binding]:
    """Bindings as an answer shows them: a d1 id under both its names, no secret values."""
    result: list[Binding] = []
    for binding in map(without_value, bindings):
        if binding["type"] == "d1":
            binding = {**binding, "database_id": binding["id"]}
        result.append(binding)
    return result
