"""Versions and deployments of a Worker.

Neighbours: `worker_uploads` keeps the rows; a plain upload (`worker_scripts`) is a version and its deployment at once.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import orjson

from alchemy.localcloud.call import Call, Route
from alchemy.localcloud.envelope import Refusal, Reply, shown, success
from alchemy.localcloud.fields import Fields
from alchemy.localcloud.identity import EMAIL
from alchemy.localcloud.worker_bindings import REFUSED_UPLOAD, answered, resolve
from alchemy.localcloud.worker_uploads import (
    Version,
    active_version,
    add_version,
    check_entry,
    deploy,
    deployment_shape,
    find_script,
    find_version,
    handlers_of,
    keep_content,
    read_upload,
    source,
    version_metadata,
)

NO_DEPLOYMENT, NO_VERSION = 10336, 100146


def list_versions(call: Call) -> Reply:
    script = find_script(call)["name"]
    page, per_page = _page(call)
    rows = call.db.execute(
        "SELECT id FROM worker_versions WHERE script = ? ORDER BY number DESC LIMIT ? OFFSET ?",
        (script, per_page, (page - 1) * per_page),
    ).fetchall()
    versions = [_find(call.db, script, identifier) for (identifier,) in rows]
    return success({"items": [_summary(version) for version in versions]})


def create_version(call: Call) -> Reply:
    row = find_script(call)
    upload = read_upload(call)
    check_entry(upload)
    metadata, previous = upload.metadata, active_version(call.db, row).bindings
    keep = metadata.texts("keep_bindings")
    bindings = resolve(call.db, row["name"], metadata.items("bindings"), previous, keep)
    described = version_metadata(metadata, bindings)
    version = add_version(call.db, row["name"], keep_content(call.db, upload.modules), described, source(call))
    details = _details(call.db, version)
    details["metadata"]["main_module"] = version.metadata.get("main_module", "")
    return success({**details, "startup_time_ms": 1})


def get_version(call: Call) -> Reply:
    return success(_details(call.db, _find(call.db, find_script(call)["name"], call.params["version"])))


def list_deployments(call: Call) -> Reply:
    script = find_script(call)["name"]
    page, per_page = _page(call)
    rows = call.db.execute(
        "SELECT id, created, source, versions, annotations FROM worker_deployments WHERE script = ?"
        " ORDER BY number DESC LIMIT ? OFFSET ?",
        (script, per_page, (page - 1) * per_page),
    )
    return success({"deployments": [_deployment(row) for row in rows]})


def create_deployment(call: Call) -> Reply:
    script = find_script(call)["name"]
    fields = call.fields(REFUSED_UPLOAD)
    if fields.choice("strategy", ("percentage",)) is None:
        raise fields.refuse("strategy", "percentage")
    split: list[dict[str, Any]] = []
    for entry in fields.items("versions"):
        share = Fields(entry, REFUSED_UPLOAD, "version")
        percentage = share.number("percentage", 0.01, 100)
        if percentage is None:
            raise share.refuse("percentage", "a number from 0.01 to 100")
        split.append({"version_id": _find(call.db, script, share.text("version_id")).id, "percentage": percentage})
    if not 1 <= len(split) <= 2 or abs(sum(share["percentage"] for share in split) - 100) > 0.001:
        raise fields.refuse("versions", "one or two versions whose percentages add up to 100")
    return success(deploy(call.db, script, split, fields.mapping("annotations").values, source(call)))


def get_deployment(call: Call) -> Reply:
    return success(_deployment(_find_deployment(call)))


def delete_deployment(call: Call) -> Reply:
    row = _find_deployment(call)
    query = "SELECT id FROM worker_deployments WHERE script = ? ORDER BY number DESC LIMIT 1"
    if call.db.execute(query, (call.params["script"],)).fetchone()[0] == row[0]:
        raise Refusal(400, NO_DEPLOYMENT, "The active deployment cannot be deleted: deploy another version first")
    call.db.execute("DELETE FROM worker_deployments WHERE id = ?", (row[0],))
    return success()


def _page(call: Call) -> tuple[int, int]:
    query = call.query(REFUSED_UPLOAD)
    return query.whole("page", 1, 1, 10**9), query.whole("per_page", 10, 1, 100)


def _find(db: sqlite3.Connection, script: str, identifier: str) -> Version:
    version = find_version(db, script, identifier)
    if version is None:
        raise Refusal(404, NO_VERSION, f"Version not found: {shown(identifier)}")
    return version


def _find_deployment(call: Call) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = call.db.execute(
        "SELECT id, created, source, versions, annotations FROM worker_deployments WHERE script = ? AND id = ?",
        (find_script(call)["name"], call.params["deployment"]),
    ).fetchone()
    if row is None:
        raise Refusal(404, NO_DEPLOYMENT, f"Deployment not found: {shown(call.params['deployment'])}")
    return row


def _deployment(row: tuple[Any, ...]) -> dict[str, Any]:
    return deployment_shape(row[0], row[1], row[2], orjson.loads(row[3]), orjson.loads(row[4]))


def _summary(version: Version) -> dict[str, Any]:
    metadata = {
        "created_on": version.created,
        "modified_on": version.created,
        "source": version.source,
        "author_id": "",
        "author_email": EMAIL,
        "hasPreview": False,
    }
    annotations = version.metadata["annotations"]
    return {"id": version.id, "number": version.number, "metadata": metadata, "annotations": annotations}


def _details(db: sqlite3.Connection, version: Version) -> dict[str, Any]:
    script = {"etag": version.content, "handlers": handlers_of(db, version), "last_deployed_from": version.source}
    runtime = {
        "compatibility_date": version.metadata["compatibility_date"],
        "compatibility_flags": version.metadata["compatibility_flags"],
        "usage_model": version.metadata.get("usage_model", "standard"),
    }
    resources = {"bindings": answered(version.bindings), "script": script, "script_runtime": runtime}
    return {**_summary(version), "resources": resources}


_BASE = "/accounts/{account}/workers/scripts/{script}"
ROUTES = (
    Route("GET", _BASE + "/versions", list_versions),
    Route("POST", _BASE + "/versions", create_version),
    Route("GET", _BASE + "/versions/{version}", get_version),
    Route("GET", _BASE + "/deployments", list_deployments),
    Route("POST", _BASE + "/deployments", create_deployment),
    Route("GET", _BASE + "/deployments/{deployment}", get_deployment),
    Route("DELETE", _BASE + "/deployments/{deployment}", delete_deployment),
)
