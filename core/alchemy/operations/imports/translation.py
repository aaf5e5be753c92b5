"""What a kind of another tool is here: its name, its props in our spelling, its outputs, its name in the cloud.

The five kinds of ours have a table; of any other kind that is loaded the names are respelled; a kind that is not loaded
keeps everything as it was. Neighbour: `planning`, which also keeps what has no counterpart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from alchemy.engine import kinds
from alchemy.engine.resource import MISSING
from alchemy.operations.imports.source import Hidden, Linked, Tree

Values = Mapping[str, Tree]


@dataclass(frozen=True, slots=True)
class Translated:
    """`exact`: nothing was left out, so the source's own form need not be kept beside it."""

    props: dict[str, Tree]
    outputs: dict[str, Tree]
    name: str = ""  # in the cloud, as props or outputs say it
    account: str = ""
    retain: bool = False
    exact: bool = True
    notes: list[str] = field(default_factory=list)


def kind_of(kind: str) -> str:
    """`cloudflare::D1Database` is `cloudflare:D1Database`; always one colon, as kinds are spelled here."""
    vendor, _, name = kind.replace("::", ":").partition(":")
    if not name:
        vendor, name = "custom", vendor
    return f"{_part(vendor)}:{_part(name)}"


def _part(text: str) -> str:
    return "".join(c if c.isprintable() and c not in ":/" else "-" for c in text) or "unnamed"


def translate(kind: str, props: Values, outputs: Values) -> Translated:
    """`kind` as `kind_of` spells it."""
    table = _TABLES.get(kind)
    if table is not None:
        return table(props, outputs)
    account = _text(outputs, "accountId", "account_id") or _text(props, "accountId", "account_id")
    name = _text(outputs, "name") or _text(props, "name")
    cls = kinds.find(kind)
    if cls is None:
        return Translated(dict(props), dict(outputs), name)
    declared = {n: f for n, f in cls._fields.items() if not f.is_output}
    made = {n: _first(props, n, _camel(n)) for n in declared}
    for prop, about in declared.items():
        if made[prop] is MISSING:
            made[prop] = None if about.default is MISSING else about.default
    known = {n: _first(outputs, n, _camel(n)) for n, f in cls._fields.items() if f.is_output}
    given = {n: value for n, value in known.items() if value is not MISSING}
    spelled = {_camel(n) for n in (*declared, *known)} | {*declared, *known}
    exact = not (props.keys() | outputs.keys()) - spelled
    return Translated(made, given, name, account if cls.cloud else "", exact=exact)


# -- our own kinds ----------------------------------------------------------------------------------------------------


def _d1(props: Values, outputs: Values) -> Translated:
    mode = _first(props, "read_replication", "readReplication")
    return _made(
        props,
        outputs,
        {
            "name": _text(props, "name") or None,
            "location_hint": _text(props, "location_hint", "primaryLocationHint", "locationHint") or None,
            "jurisdiction": _jurisdiction(props),
            "read_replication": mode.get("mode")
            if isinstance(mode, Mapping)
            else _text(props, "read_replication") or None,
        },
        {
            "database_id": _text(outputs, "database_id", "databaseId", "id", "uuid"),
            "database_name": _text(outputs, "database_name", "databaseName", "name"),
        },
    )


def _kv(props: Values, outputs: Values) -> Translated:
    return _made(
        props,
        outputs,
        {"name": _text(props, "name", "title") or None, "jurisdiction": _jurisdiction(props)},
        {
            "namespace_id": _text(outputs, "namespace_id", "namespaceId", "id"),
            "title": _text(outputs, "title", "name"),
        },
    )


def _r2(props: Values, outputs: Values) -> Translated:
    where = _text(outputs, "jurisdiction") or _text(props, "jurisdiction") or "default"
    return _made(
        props,
        outputs,
        {
            "name": _text(props, "name") or None,
            "location_hint": _text(props, "location_hint", "locationHint").lower() or None,
            "jurisdiction": where,
            "storage_class": _text(props, "storage_class", "storageClass") or "Standard",
        },
        {
            "bucket_name": _text(outputs, "bucket_name", "bucketName", "name"),
            "location": _text(outputs, "location").lower(),
            "jurisdiction": where,
        },
    )


def _queue(props: Values, outputs: Values) -> Translated:
    nested = props.get("settings")
    settings = nested if isinstance(nested, Mapping) else props
    made = {
        name: None if (value := _first(settings, name, _camel(name))) is MISSING else value
        for name in ("delivery_delay", "delivery_paused", "message_retention_period")
    }
    return _made(
        props,
        outputs,
        {"name": _text(props, "name") or None, **made, "jurisdiction": _jurisdiction(props)},
        {
            "queue_id": _text(outputs, "queue_id", "queueId", "id"),
            "queue_name": _text(outputs, "queue_name", "queueName", "name"),
        },
    )


def _worker(props: Values, outputs: Values) -> Translated:
    bound = props.get("bindings")
    given = dict(bound) if isinstance(bound, Mapping) else {}
    plain = props.get("env")
    env = dict(plain) if isinstance(plain, Mapping) else {}
    bindings: dict[str, Tree] = {}
    notes: list[str] = []
    for name, value in given.items():
        if isinstance(value, Linked) and kind_of(value.kind) in _TABLES:
            bindings[name] = value
        elif isinstance(value, str | Hidden):
            env[name] = value
        else:
            notes.append(f"its binding {name} has no counterpart: the next deploy takes it away")
    public = _first(props, "workers_dev", "url")
    flags = _first(props, "compatibility_flags", "compatibilityFlags")
    date = _text(props, "compatibility_date", "compatibilityDate")
    made = _made(
        props,
        outputs,
        {
            "name": _text(props, "name") or None,
            "entrypoint": _text(props, "entrypoint"),
            "bindings": bindings,
            "env": env,
            "compatibility_date": date or _text(outputs, "compatibilityDate") or "2026-01-01",
            "compatibility_flags": flags if isinstance(flags, list) else [],
            "workers_dev": public if isinstance(public, bool) else True,
        },
        {
            # Not `id`: there it is the resource's.
            "script_name": _text(outputs, "script_name", "scriptName", "name"),
            "url": _text(outputs, "url") or None,
            "etag": _text(outputs, "etag") or None,
        },
    )
    made.notes.extend(notes)
    return made


_TABLES: dict[str, Callable[[Values, Values], Translated]] = {
    "cloudflare:D1Database": _d1,
    "cloudflare:KVNamespace": _kv,
    "cloudflare:R2Bucket": _r2,
    "cloudflare:Queue": _queue,
    "cloudflare:Worker": _worker,
}
# kind -> the output that is its name in the cloud; the first of each table is its id
_NAMED = ("database_name", "title", "bucket_name", "queue_name", "script_name")


def _made(props: Values, outputs: Values, ours: dict[str, Tree], known: dict[str, Tree]) -> Translated:
    named = next((known[name] for name in _NAMED if known.get(name)), "")
    id = next(iter(known.values()))
    name = named or _text(props, "name", "title")
    notes = []
    if not id:
        known = {}
        notes.append("its id is not known: the next run looks it up by name")
    account = _text(outputs, "accountId", "account_id") or _text(props, "accountId", "account_id")
    retain = props.get("delete") is False
    if retain:
        notes.append("it was not to be deleted (delete: false): it is retained")
    return Translated(ours, known, name, account, retain, exact=False, notes=notes)


def _jurisdiction(props: Values) -> str | None:
    found = _text(props, "jurisdiction")
    return None if found in ("", "default") else found


def _first(values: Values, *names: str) -> Any:
    return next((values[name] for name in names if name in values), MISSING)


def _text(values: Values, *names: str) -> str:
    return next((found for name in names if isinstance(found := values.get(name), str) and found), "")


def _camel(name: str) -> str:
    return re.sub(r"_(.)", lambda match: match[1].upper(), name)
