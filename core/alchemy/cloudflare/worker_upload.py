"""What is sent for a Worker: one ready JavaScript module of the project, and the metadata that binds it.

Neighbours: `worker` sends it. The module is read twice, when it is declared and when it is sent; should it change in
between, the next deploy sees another digest and sends it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alchemy.engine.outputs import unknown_sources
from alchemy.errors import UsageError
from alchemy.model.canonical import SecretText
from alchemy.model.secrets import LockedSecret, Secret
from alchemy.model.text import safe_text
from alchemy.settings import find_project

_READY = (".js", ".mjs")
_SECRETS = ("secret_text", "secret_key")  # of which the API tells the name
_TO_BUNDLE = (".ts", ".mts", ".cts", ".tsx", ".jsx")
# kind -> type of the binding, its member, the output that goes there
_BINDABLE = {
    "cloudflare:D1Database": ("d1", "id", "database_id"),
    "cloudflare:KVNamespace": ("kv_namespace", "namespace_id", "namespace_id"),
    "cloudflare:R2Bucket": ("r2_bucket", "bucket_name", "bucket_name"),
    "cloudflare:Queue": ("queue", "queue_name", "queue_name"),
    "cloudflare:Worker": ("service", "service", "script_name"),
}


@dataclass(frozen=True, slots=True)
class WorkerModule:
    """`name`: the file's own name, as Cloudflare shall call it."""

    name: str
    content: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()[:32]


def read_module(address: str, entrypoint: str) -> WorkerModule:
    """`entrypoint` is relative to the project. UsageError names the file and what to do about it."""
    root = find_project().root
    path = root / entrypoint
    shown, ending = safe_text(entrypoint, 200), path.suffix.lower()
    subject = f"{address}: entrypoint {shown!r}"
    if ending in _TO_BUNDLE:
        made = f"dist/{safe_text(path.stem, 80)}.js"
        raise UsageError(
            f"{subject} has to be bundled first: a Worker is uploaded as one JavaScript module",
            hint=f'esbuild {shown} --bundle --format=esm --outfile={made}, then entrypoint="{made}"',
        )
    try:
        content = path.read_bytes() if ending in _READY or path.is_dir() else None
    except IsADirectoryError:
        raise UsageError(f"{subject} is a directory", hint="name the module in it, index.js for example") from None
    except FileNotFoundError:
        raise UsageError(
            f"{subject} does not exist below {safe_text(root, 200)}",
            hint="write the module, build it, or correct the path: it is relative to the project's folder",
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{subject} cannot be read: {safe_text(error, 200)}", hint="correct the path") from error
    if content is None:
        raise UsageError(f"{subject} is not a JavaScript module", hint="name a file that ends in .js or .mjs")
    return WorkerModule(path.name, content)


def check_bindings(address: str, bindings: Mapping[str, Any], env: Mapping[str, Any]) -> None:
    """UsageError when something cannot be bound, or one name means two things."""
    for name, bound in bindings.items():
        later = _is_secret(bound) or (isinstance(bound, str) and unknown_sources(bound))  # a plan knows no more
        if not later and getattr(bound, "kind", None) not in _BINDABLE:
            raise UsageError(
                f"{address}: bindings.{safe_text(name, 80)} cannot be bound: {safe_text(repr(bound), 80)}",
                hint="bind D1Database, KVNamespace, R2Bucket, Queue, Worker or a secret; strings go into env=",
            )
    twice = sorted(bindings.keys() & env.keys())
    if twice:
        raise UsageError(
            f"{address}: {safe_text(', '.join(twice), 200)} is in bindings= and in env=", hint="give one another name"
        )


def binding_list(bindings: Mapping[str, Any], env: Mapping[str, Any]) -> list[dict[str, Any]]:
    """As the API takes them. Resources are handles of this run or references restored from state."""
    found: list[dict[str, Any]] = []
    for name, bound in bindings.items():
        if _is_secret(bound):
            found.append({"type": "secret_text", "name": name, "text": bound})
            continue
        kind, member, output = _BINDABLE[bound.kind]
        where = bound.outputs.get("jurisdiction")  # only buckets are known by jurisdiction and name
        extra = {"jurisdiction": where} if kind == "r2_bucket" and where not in (None, "default") else {}
        found.append({"type": kind, "name": name, member: bound.outputs[output], **extra})
    for name, text in env.items():
        found.append({"type": "secret_text" if _is_secret(text) else "plain_text", "name": name, "text": text})
    return found


def seen_bindings(
    bindings: Mapping[str, Any], env: Mapping[str, Any], found: list[Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(bindings, env) as the API tells them: what is as it was sent is the value itself, of a secret only that it is.

    Secrets that were put there by hand stay there: they are not told.
    """
    there = {str(each["name"]): each for each in found if isinstance(each, dict) and "name" in each}
    bound: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for name, mine in [*bindings.items(), *env.items()]:
        told, now = bound if name in bindings else plain, there.pop(name, None)
        if now is None:
            continue
        try:
            [sent] = binding_list({name: mine}, {}) if told is bound else binding_list({}, {name: mine})
        except (AttributeError, KeyError):  # brought in by a migration: nothing to compare with
            told[name] = mine
            continue
        told[name] = mine if _is_as_sent(sent, now) else _said(now, shown=sent["type"] not in _SECRETS)
    for name, now in there.items():
        if now.get("type") not in _SECRETS:
            (plain if now.get("type") == "plain_text" else bound)[name] = _said(now, shown=True)
    return bound, plain


def _is_as_sent(sent: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    if now.get("type") != sent["type"] or sent["type"] in _SECRETS:
        return bool(now.get("type") == sent["type"])
    return all(bool(now.get(member, value) == value) for member, value in sent.items())


def _said(now: Mapping[str, Any], *, shown: bool) -> str:
    """A text for the value, a name for an object: `d1 5e1f…`."""
    kind = str(now.get("type"))
    if kind == "plain_text" and shown:
        return str(now.get("text"))
    members = [member for type, member, _ in _BINDABLE.values() if type == kind]
    return " ".join([kind, *(str(now.get(member)) for member in members)])


def secret_names(bindings: Mapping[str, Any], env: Mapping[str, Any]) -> set[str]:
    """Of the variables that are bound as secrets; whether they can be opened does not matter."""
    return {name for name, value in [*bindings.items(), *env.items()] if _is_secret(value)}


def _is_secret(value: object) -> bool:
    return isinstance(value, SecretText | LockedSecret | Secret)


def upload_form(module: WorkerModule, metadata: Mapping[str, Any]) -> list[tuple[str, tuple[str | None, bytes, str]]]:
    """httpx's `files`: the metadata first, as Cloudflare asks."""
    described = json.dumps({"main_module": module.name, **metadata}).encode()
    return [
        ("metadata", (None, described, "application/json")),
        (module.name, (module.name, module.content, "application/javascript+module")),
    ]
