"""The files of a tree that Alchemy (TypeScript) wrote: found, read strictly, and put where they belong.

A directory may be `.alchemy`, an app's or a stage's: the full names in the records say which. Neighbour: `typescript`
reads the records.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alchemy.errors import AlchemyError, StateInvalid, StorageFailed, UsageError
from alchemy.model import strict
from alchemy.model.canonical import Json
from alchemy.model.text import safe_text
from alchemy.store.files import Files

TOOL = "Alchemy (TypeScript)"
SCOPE = "alchemy::Scope"
SALT = "_passkey-salt"  # where an experimental version kept one, in the data of a scope
STATUSES = frozenset(["creating", "created", "updating", "updated", "deleting", "deleted"])
_MOST_FILES = 100_000
_HINT = "mend or remove the file, or let the version of Alchemy that wrote it write it again"
_NOT_APPS = frozenset(["logs", "pids", "local", "miniflare"])  # what the tool also keeps below .alchemy


@dataclass(slots=True)
class Record:
    """One file. `file` is its name below the directory that was read."""

    file: str
    chain: tuple[str, ...]  # app, stage, scopes
    body: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.body["id"])

    @property
    def is_scope(self) -> bool:
        return bool(self.body["kind"] == SCOPE)

    @property
    def inside(self) -> tuple[str, ...]:
        """The chain of what is in it, when it is a scope or a resource that made others."""
        return (*self.chain, self.id)


@dataclass(slots=True)
class Tree:
    """`seqs` and `salts` are by the chain of a scope."""

    records: list[Record] = field(default_factory=list)
    seqs: dict[tuple[str, ...], int] = field(default_factory=dict)
    salts: dict[tuple[str, ...], str] = field(default_factory=dict)
    digest: str = ""


def read_files(directory: Path) -> Tree:
    """Every record below `directory`, and the one beside it that belongs to it."""
    tree, prefix, hash = Tree(), None, hashlib.sha256()
    for path, below in _files(directory):
        name = "/".join((*below, path.name))
        data = Files().read(path)
        hash.update(f"{name}\x00{len(data)}\x00".encode() + data)
        body = _checked(strict.read(data, name, _HINT), name)
        if body["kind"] != SCOPE:
            prefix = _prefix(body, below, name, prefix)
        tree.records.append(Record(name, below, body))
    for record in tree.records:
        record.chain = (*(prefix or ()), *record.chain)
    own = _own_record(directory) if prefix else None
    if own is not None and prefix is not None and own[0]["id"] == prefix[-1]:
        hash.update(own[1])
        tree.records.append(Record(f"../{directory.name}.json", prefix[:-1], own[0]))
    for record in tree.records:
        tree.seqs[record.inside] = record.body["seq"]
        salt = record.body["data"].get(SALT)
        if isinstance(salt, str):
            tree.salts[record.inside] = salt
    tree.digest = hash.hexdigest()
    return tree


def _own_record(directory: Path) -> tuple[dict[str, Any], bytes] | None:
    """The record of the directory's own scope, beside it: of a stage, it knows what was replaced there."""
    beside = directory.parent / f"{directory.name}.json"
    if not beside.is_file() or beside.is_symlink():
        return None
    data = Files().read(beside)
    try:
        body = strict.parse(data)
    except strict.NotStrict:
        return None
    if not isinstance(body, dict) or body.get("kind") != SCOPE:
        return None
    return _checked(body, beside.name), data


def looks_like_tree(directory: Path) -> bool:
    """Whether the first record that is found is one of the tool; never raises."""
    try:
        for path, _ in _files(directory):
            body = strict.parse(Files().read(path))
            return isinstance(body, dict) and {"kind", "id", "fqn", "seq", "status"} <= body.keys()
    except (AlchemyError, strict.NotStrict, OSError):
        return False
    return False


def _files(directory: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Every `.json` file below, with the names of the directories between. Links are refused: none was written."""
    queue: list[tuple[Path, tuple[str, ...]]] = [(directory, ())]
    count = 0
    while queue:
        here, names = queue.pop()
        try:
            with os.scandir(here) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:  # what is in it cannot be left out in silence
            raise StorageFailed(
                f"cannot list {safe_text(here)}: {error.strerror}", hint="see to its rights, then run the command again"
            ) from error
        for entry in listed:
            path = here / entry.name
            if entry.is_symlink():
                raise StateInvalid(f"{safe_text(path)} is a symbolic link", hint="copy what it leads to in its place")
            if entry.is_dir() and (names or entry.name not in _NOT_APPS):
                queue.append((path, (*names, entry.name)))
            elif entry.is_file() and entry.name.endswith(".json") and not entry.name.startswith("."):
                count += 1
                if count > _MOST_FILES:
                    raise UsageError(f"{safe_text(directory)} holds more than {_MOST_FILES} files", hint="name a stage")
                yield path, names


def _checked(body: Json, name: str) -> dict[str, Any]:
    """With every field that is read later, each of its type."""
    if not isinstance(body, dict):
        raise _bad(name, "it is not an object")
    for key in ("kind", "id", "status"):
        if not isinstance(body.get(key), str) or not body[key]:
            raise _bad(name, f"its {key} is not a text: this is no record of {TOOL}")
    for key in ("data", "props", "output"):
        body[key] = {} if body.get(key) is None else body[key]
        if not isinstance(body[key], dict):
            raise _bad(name, f"its {key} is not an object")
    if body.get("oldProps") is not None and not isinstance(body["oldProps"], dict):
        raise _bad(name, "its oldProps is not an object")
    if type(body.get("seq")) is not int:
        raise _bad(name, "its seq is not a whole number")
    if body["status"] not in STATUSES:
        raise _bad(name, f"its status {safe_text(body['status'], 40)!r} is not known")
    file = name.rpartition("/")[2].removesuffix(".json")
    written = {body["id"].replace("/", sign) for sign in ":-"}  # "-" and "+" on Windows
    if file not in written | {each.replace("*", "+") for each in written}:
        raise _bad(name, f"it holds {safe_text(body['id'], 80)!r}: it was moved or renamed")
    return body


def _prefix(body: dict[str, Any], below: tuple[str, ...], name: str, before: tuple[str, ...] | None) -> tuple[str, ...]:
    """What the directory itself is: the part of the full name that is above the file's own directories."""
    fqn = body.get("fqn")
    tail = "/".join((*below, body["id"]))
    if not isinstance(fqn, str) or not (fqn == tail or fqn.endswith("/" + tail)):
        raise _bad(name, f"its full name {safe_text(fqn, 200)!r} does not end in {safe_text(tail, 200)!r}")
    prefix = tuple(part for part in fqn[: -len(tail)].split("/") if part)
    if before is not None and before != prefix:
        shown = ["/".join(map(safe_text, each)) or "another tree" for each in (prefix, before)]
        raise _bad(name, f"it belongs to {shown[0]}, its neighbours to {shown[1]}")
    return prefix


def _bad(name: str, why: str) -> StateInvalid:
    return StateInvalid(f"{safe_text(name)} cannot be read: {why}", hint=_HINT)
