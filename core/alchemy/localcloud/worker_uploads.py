"""Uploaded Workers: reading the multipart form, and the rows of scripts, contents, versions and deployments.

Neighbours: `worker_scripts`, `worker_versions` and `worker_settings` are the operations over these rows. A module is
known by its part's filename (the official SDK names every part `files`). Contents are kept once per hash.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from alchemy.localcloud import multipart
from alchemy.localcloud.call import Call
from alchemy.localcloud.clock import timestamp, uuid_id
from alchemy.localcloud.envelope import Refusal, shown
from alchemy.localcloud.fields import Fields, parse_json
from alchemy.localcloud.identity import EMAIL
from alchemy.localcloud.multipart import Part
from alchemy.localcloud.worker_bindings import REFUSED_UPLOAD, Binding

NO_SCRIPT, BAD_NAME, TOO_LARGE, NO_CONTENT_TYPE = 10007, 10016, 10027, 10001
LARGEST_SCRIPT = 64 * 1024 * 1024  # bytes of all modules, uncompressed; Cloudflare's limit
MOST_VERSIONS = 100  # kept of each script, beside the active one
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,254}")
_HANDLERS = re.compile(rb"\b(alarm|email|fetch|queue|scheduled|tail|tailStream|trace)\s*[(:=]")
# Members of the upload's metadata that belong to the version; the others belong to the script, or to nothing here.
_KEPT = ("main_module", "body_part", "usage_model", "limits", "placement", "annotations", "assets", "cache_options")


@dataclass(frozen=True, slots=True)
class Upload:
    metadata: Fields
    modules: list[Part]


@dataclass(frozen=True, slots=True)
class Version:
    """One version's row; `metadata` holds its bindings, secrets included."""

    id: str
    script: str
    number: int
    created: str
    source: str
    content: str
    metadata: dict[str, Any]

    @property
    def bindings(self) -> list[Binding]:
        bindings: list[Binding] = self.metadata["bindings"]
        return bindings


def read_upload(call: Call, *, metadata_part: str = "metadata") -> Upload:
    """The form as sent: metadata and modules. A plain JavaScript body is a service worker without metadata."""
    content_type = call.headers.get("content-type", "")
    if not multipart.is_multipart(content_type):
        if "javascript" not in content_type:
            raise Refusal(400, NO_CONTENT_TYPE, "Content-Type must be multipart/form-data or application/javascript")
        metadata = Fields({"body_part": "script"}, REFUSED_UPLOAD, "metadata")
        return Upload(metadata, [Part("script", "script", "application/javascript", call.body)])
    parts = multipart.parse(content_type, call.body, REFUSED_UPLOAD)
    described = [part.body for part in parts if part.name == metadata_part]
    if not described:
        raise Refusal(400, REFUSED_UPLOAD, f"The upload has no part named {metadata_part}")
    metadata = Fields(parse_json(described[0], REFUSED_UPLOAD), REFUSED_UPLOAD, metadata_part)
    modules = [part for part in parts if part.name != metadata_part]
    names = [module_name(part) for part in modules]
    if len(set(names)) != len(names):
        raise Refusal(400, REFUSED_UPLOAD, "Two modules of the upload have the same file name")
    if sum(len(part.body) for part in modules) > LARGEST_SCRIPT:
        raise Refusal(413, TOO_LARGE, f"The script is larger than {LARGEST_SCRIPT // 1024 // 1024} MiB")
    return Upload(metadata, modules)


def module_name(part: Part) -> str:
    return part.filename or part.name


def check_entry(upload: Upload) -> None:
    """The entry point that the metadata names must have been sent."""
    entry = upload.metadata.optional_text("main_module") or upload.metadata.optional_text("body_part")
    if entry is None and not upload.modules and upload.metadata.values.get("assets"):
        return  # a Worker of static assets only
    if entry is None:
        raise Refusal(400, REFUSED_UPLOAD, "The metadata names no entry point: main_module or body_part is required")
    if entry not in [module_name(part) for part in upload.modules]:
        raise Refusal(400, REFUSED_UPLOAD, f'Uncaught Error: No such module "{shown(entry)}".')


def version_metadata(metadata: Fields, bindings: list[Binding]) -> dict[str, Any]:
    """What a version remembers of an upload."""
    kept = {name: metadata.values[name] for name in _KEPT if metadata.values.get(name) is not None}
    return {
        **kept,
        "annotations": metadata.mapping("annotations").values,
        "compatibility_date": metadata.optional_text("compatibility_date", longest=10) or "",
        "compatibility_flags": metadata.texts("compatibility_flags"),
        "bindings": bindings,
    }


def script_name(call: Call) -> str:
    name = call.params["script"]
    if not _NAME.fullmatch(name):
        raise Refusal(400, BAD_NAME, "Invalid Worker name: 1 to 255 letters, digits, - and _")
    return name


def find_script(call: Call) -> sqlite3.Row:
    """The row of the script in the path."""
    row = script_row(call.db, call.params["script"])
    if row is None:
        raise Refusal(404, NO_SCRIPT, f"This Worker does not exist on your account: {shown(call.params['script'])}")
    return row


def script_row(db: sqlite3.Connection, name: str) -> sqlite3.Row | None:
    cursor = db.execute("SELECT * FROM worker_scripts WHERE name = ?", (name,))
    row = cursor.fetchone()
    return None if row is None else sqlite3.Row(cursor, row)


def find_version(db: sqlite3.Connection, script: str, identifier: str) -> Version | None:
    query = (
        "SELECT id, script, number, created, source, content, metadata FROM worker_versions WHERE script = ? AND id = ?"
    )
    row = db.execute(query, (script, identifier)).fetchone()
    if row is None:
        return None
    found, owner, number, created, source, content, metadata = row
    return Version(found, owner, number, created, source, content, orjson.loads(metadata))


def active_version(db: sqlite3.Connection, script: Mapping[str, Any] | sqlite3.Row) -> Version:
    version = find_version(db, script["name"], script["active"])
    assert version is not None  # the active version is never pruned
    return version


def keep_content(db: sqlite3.Connection, modules: list[Part]) -> str:
    """Store the modules once; their hash."""
    digest = hashlib.sha256()
    for part in sorted(modules, key=module_name):
        for field in (module_name(part).encode(), part.type.encode(), part.body):
            digest.update(len(field).to_bytes(8, "big") + field)
    etag = digest.hexdigest()
    if db.execute("INSERT OR IGNORE INTO worker_contents (etag) VALUES (?)", (etag,)).rowcount:
        rows = [(etag, module_name(part), part.type, part.body) for part in modules]
        db.executemany("INSERT INTO worker_modules (content, name, type, body) VALUES (?, ?, ?, ?)", rows)
    return etag


def modules_of(db: sqlite3.Connection, content: str) -> list[Part]:
    query = "SELECT name, type, body FROM worker_modules WHERE content = ? ORDER BY rowid"
    return [Part(name, name, kind, body) for name, kind, body in db.execute(query, (content,))]


def handlers_of(db: sqlite3.Connection, version: Version) -> list[str]:
    """The event handlers its entry point seems to define; read, not run."""
    entry = version.metadata.get("main_module") or version.metadata.get("body_part")
    query = "SELECT body FROM worker_modules WHERE content = ? AND name = ?"
    row = db.execute(query, (version.content, entry)).fetchone()
    return sorted({match.decode() for match in _HANDLERS.findall(row[0])}) if row else []


def source(call: Call) -> str:
    """Who is deploying: wrangler asks before it overwrites what it did not deploy itself."""
    return "wrangler" if call.headers.get("user-agent", "").startswith("wrangler/") else "api"


def add_version(db: sqlite3.Connection, script: str, content: str, metadata: Mapping[str, Any], origin: str) -> Version:
    """Append a version; it gets traffic only by a deployment."""
    query = "SELECT coalesce(max(number), 0) + 1 FROM worker_versions WHERE script = ?"
    number = db.execute(query, (script,)).fetchone()[0]
    version = Version(uuid_id(), script, number, timestamp(), origin, content, dict(metadata))
    db.execute(
        "INSERT INTO worker_versions (id, script, number, created, source, content, metadata)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (version.id, script, number, version.created, version.source, content, orjson.dumps(metadata).decode()),
    )
    return version


def deploy(
    db: sqlite3.Connection, script: str, split: list[dict[str, Any]], annotations: Mapping[str, Any], origin: str
) -> dict[str, Any]:
    """Send the traffic to these versions; the deployment as an answer shows it."""
    identifier, created = uuid_id(), timestamp()
    active = max(split, key=lambda share: share["percentage"])["version_id"]
    db.execute(
        "INSERT INTO worker_deployments (id, script, created, source, versions, annotations) VALUES (?, ?, ?, ?, ?, ?)",
        (identifier, script, created, origin, orjson.dumps(split).decode(), orjson.dumps(annotations).decode()),
    )
    db.execute("UPDATE worker_scripts SET active = ?, modified = ? WHERE name = ?", (active, created, script))
    _prune(db, script, [share["version_id"] for share in split])
    return deployment_shape(identifier, created, origin, split, dict(annotations))


def deployment_shape(
    identifier: str, created: str, source: str, versions: list[dict[str, Any]], annotations: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": identifier,
        "source": source,
        "strategy": "percentage",
        "author_email": EMAIL,
        "annotations": annotations,
        "versions": versions,
        "created_on": created,
    }


def _prune(db: sqlite3.Connection, script: str, active: list[str]) -> None:
    """Forget versions and deployments beyond the newest hundred, and contents that no version has any more."""
    marks = ", ".join("?" * len(active))
    gone = db.execute(
        f"DELETE FROM worker_versions WHERE script = ? AND id NOT IN ({marks}) AND number <="
        " (SELECT max(number) FROM worker_versions WHERE script = ?) - ?",
        (script, *active, script, MOST_VERSIONS),
    ).rowcount
    db.execute(
        "DELETE FROM worker_deployments WHERE script = ? AND number <= (SELECT number FROM worker_deployments"
        " WHERE script = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
        (script, script, MOST_VERSIONS),
    )
    if gone:
        remove_unused_contents(db)


def remove_unused_contents(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM worker_contents WHERE etag NOT IN (SELECT content FROM worker_versions)")
