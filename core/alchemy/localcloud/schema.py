"""What the account's database holds.

Neighbours: `store` creates the file from this; each product module owns the tables named after it. Keys of KV and R2
are blobs (UTF-8 bytes), because SQLite's text functions stop at a NUL, and keys may hold one.
"""

from __future__ import annotations

FORMAT = 1  # rises when a table changes; a file with another number is refused, not guessed at

SCHEMA = f"""
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE d1_databases (
    uuid TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_at TEXT NOT NULL,
    jurisdiction TEXT, read_replication TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX d1_by_age ON d1_databases (created_at);

CREATE TABLE kv_namespaces (id TEXT PRIMARY KEY, title TEXT NOT NULL UNIQUE, jurisdiction TEXT) WITHOUT ROWID;
CREATE TABLE kv_values (
    namespace TEXT NOT NULL REFERENCES kv_namespaces (id) ON DELETE CASCADE,
    key BLOB NOT NULL, value BLOB NOT NULL, metadata TEXT, expiration REAL,
    PRIMARY KEY (namespace, key)
);

CREATE TABLE r2_buckets (
    id INTEGER PRIMARY KEY, jurisdiction TEXT NOT NULL, name TEXT NOT NULL, created TEXT NOT NULL,
    location TEXT NOT NULL, storage_class TEXT NOT NULL, UNIQUE (jurisdiction, name)
);
CREATE TABLE r2_objects (
    bucket INTEGER NOT NULL REFERENCES r2_buckets (id), key BLOB NOT NULL, blob TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL, etag TEXT NOT NULL, uploaded TEXT NOT NULL, storage_class TEXT NOT NULL,
    http_metadata TEXT NOT NULL, PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE TABLE r2_settings (
    bucket INTEGER NOT NULL REFERENCES r2_buckets (id) ON DELETE CASCADE, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (bucket, name)
) WITHOUT ROWID;

CREATE TABLE queues (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created TEXT NOT NULL, modified TEXT NOT NULL,
    delivery_delay REAL NOT NULL, delivery_paused INTEGER NOT NULL, retention REAL NOT NULL, jurisdiction TEXT
) WITHOUT ROWID;
CREATE TABLE queue_consumers (
    id TEXT PRIMARY KEY, queue TEXT NOT NULL UNIQUE REFERENCES queues (id) ON DELETE CASCADE, type TEXT NOT NULL,
    script TEXT, dead_letter TEXT, settings TEXT NOT NULL, created TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE queue_messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
    queue TEXT NOT NULL REFERENCES queues (id) ON DELETE CASCADE,
    body BLOB NOT NULL, content_type TEXT NOT NULL, sent REAL NOT NULL, visible REAL NOT NULL,
    attempts INTEGER NOT NULL, lease TEXT
);
CREATE INDEX queue_messages_by_queue ON queue_messages (queue, number);

CREATE TABLE worker_scripts (
    name TEXT PRIMARY KEY, tag TEXT NOT NULL, created TEXT NOT NULL, modified TEXT NOT NULL, tags TEXT NOT NULL,
    logpush INTEGER NOT NULL, observability TEXT NOT NULL, tail_consumers TEXT NOT NULL, migration_tag TEXT,
    subdomain_enabled INTEGER NOT NULL, previews_enabled INTEGER NOT NULL,
    active TEXT NOT NULL -- the version that gets the traffic; no reference, because script and version come together
) WITHOUT ROWID;
CREATE TABLE worker_contents (etag TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE worker_modules (
    content TEXT NOT NULL REFERENCES worker_contents (etag) ON DELETE CASCADE,
    name TEXT NOT NULL, type TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (content, name)
);
CREATE TABLE worker_versions (
    id TEXT PRIMARY KEY, script TEXT NOT NULL REFERENCES worker_scripts (name) ON DELETE CASCADE,
    number INTEGER NOT NULL, created TEXT NOT NULL, source TEXT NOT NULL,
    content TEXT NOT NULL REFERENCES worker_contents (etag), metadata TEXT NOT NULL, UNIQUE (script, number)
) WITHOUT ROWID;
CREATE INDEX worker_versions_by_content ON worker_versions (content);
CREATE TABLE worker_deployments (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
    script TEXT NOT NULL REFERENCES worker_scripts (name) ON DELETE CASCADE, created TEXT NOT NULL,
    source TEXT NOT NULL, versions TEXT NOT NULL, annotations TEXT NOT NULL
);
CREATE INDEX worker_deployments_by_script ON worker_deployments (script, number);
CREATE TABLE worker_schedules (
    script TEXT NOT NULL REFERENCES worker_scripts (name) ON DELETE CASCADE, cron TEXT NOT NULL,
    created TEXT NOT NULL, modified TEXT NOT NULL, PRIMARY KEY (script, cron)
) WITHOUT ROWID;

PRAGMA user_version = {FORMAT};
"""
