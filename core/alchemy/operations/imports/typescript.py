"""Trees of Alchemy (TypeScript), versions 0.56 to 0.94: `.alchemy/<app>/<stage>/<scope>/…/<id>.json`.

A file holds kind, id, fqn, seq, status, data, props, oldProps and output. A directory is a scope, of a `run` block or
of a resource that made others; its own record, of kind alchemy::Scope, lies beside it. Neighbours: `tstree` reads the
files, `tsvalues` props and outputs, `unsealing` opens secrets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alchemy.errors import StateInvalid, UsageError
from alchemy.model.canonical import Json
from alchemy.model.text import safe_text
from alchemy.model.values import Status
from alchemy.operations.imports.source import Found, Source
from alchemy.operations.imports.tstree import SALT, TOOL, Record, Tree, read_files
from alchemy.operations.imports.tsvalues import FQN, ID, KIND, Values

_PENDING = "pendingDeletions"
_STATUS = {
    "creating": Status.CREATING,
    "created": Status.READY,
    "updating": Status.UPDATING,
    "updated": Status.READY,
    "deleting": Status.DELETING,
    "deleted": Status.DELETING,
}


def read_tree(directory: Path) -> Source:
    """`directory` is `.alchemy`, an app's or a stage's in it. UsageError lists the stages when there are several."""
    tree = read_files(directory)
    stages = sorted({record.chain[:2] for record in tree.records if not record.is_scope})
    if not stages:
        raise UsageError(
            f"{safe_text(directory)} holds no state of {TOOL}: no resource of a stage was found in it",
            hint="name the directory that has <id>.json files, .alchemy/my-app/prod for example",
        )
    if len(stages) > 1:
        names = ", ".join("/".join(map(safe_text, stage)) for stage in stages[:8])
        raise UsageError(
            f"{safe_text(directory)} holds {len(stages)} stages: {names}",
            hint="migrate one at a time: name its directory, .alchemy/my-app/prod for example",
        )
    return _source(directory, tree, stages[0])


def _source(directory: Path, tree: Tree, stage: tuple[str, ...]) -> Source:
    found: list[Found] = []
    notes: list[str] = []
    data: dict[tuple[str, ...], Json] = {}
    for record in tree.records:
        if not record.is_scope:
            found.append(_resource(record, tree))
        for number, item in enumerate(_pending(record)):
            old = _former(record, item, number, tree, notes)
            found += [old] if old else []
        kept = {name: value for name, value in record.body["data"].items() if name not in (_PENDING, SALT)}
        if kept and record.is_scope:
            data[record.inside[len(stage) :]] = kept
        elif kept:
            notes.append(f"{safe_text(record.file)}: not brought over: data ({', '.join(map(safe_text, kept))})")
    found.sort(key=lambda item: (item.order, not item.former))
    place, files = str(directory), tuple(found)
    return Source(tool=TOOL, place=place, digest=tree.digest, found=files, notes=tuple(notes), data=data)


# -- records --------------------------------------------------------------------------------------------------------


def _resource(record: Record, tree: Tree) -> Found:
    body, values = record.body, _values(record, tree)
    props, status, pending = body["props"], _STATUS[body["status"]], None
    if status is Status.UPDATING and body.get("oldProps") is not None:
        props, pending = body["oldProps"], values.read(body["props"], "/props")
    return Found(
        key="/".join(record.inside),
        scope=record.chain[2:],
        id=record.id,
        kind=body["kind"],
        file=record.file,
        status=status,
        props=values.read(props, "/props"),
        outputs={} if status is Status.CREATING else values.read(body["output"], "/output"),
        pending=pending,
        order=_order(record.chain, body["seq"], tree),
        name=default_name(record.chain, record.id),
        guessed=True,
        notes=tuple(values.notes),
    )


def _pending(record: Record) -> list[Any]:
    """Objects that were replaced and wait for their deletion."""
    pending = record.body["data"].get(_PENDING) or []
    if not isinstance(pending, list):
        raise StateInvalid(
            f"{safe_text(record.file)} cannot be read: data.{_PENDING} is not a list",
            hint="mend or remove the file, or let the version of Alchemy that wrote it write it again",
        )
    return pending


def _former(record: Record, item: Any, number: int, tree: Tree, notes: list[str]) -> Found | None:
    old = item.get("resource") if isinstance(item, dict) else None
    id, kind = (old.get(ID), old.get(KIND)) if isinstance(old, dict) else (None, None)
    if not isinstance(old, dict) or not isinstance(id, str) or not isinstance(kind, str) or not id:
        notes.append(f"{safe_text(record.file)}: replaced object {number + 1} names no resource: look for it by hand")
        return None
    chain = record.inside
    given = old.get(FQN)
    if isinstance(given, str) and given.endswith(f"/{id}") and given.startswith("/".join(chain) + "/"):
        chain = tuple(given[: -len(id) - 1].split("/"))
    values = _values(Record(record.file, chain, record.body), tree)
    place = f"/data/{_PENDING}/{number}"
    before = item.get("oldProps")
    return Found(
        key=f"{'/'.join(chain)}/{id}#{number}",
        scope=chain[2:],
        id=id,
        kind=kind,
        file=record.file,
        props=values.read(before if isinstance(before, dict) else {}, f"{place}/oldProps"),
        outputs=values.read(old, f"{place}/resource"),
        former=True,
        order=(*_order(chain, 0, tree)[:-1], -1),
        name=default_name(chain, id),
        guessed=True,
        notes=(*values.notes, "replaced before the migration: destroying or cleaning up deletes it"),
    )


def _values(record: Record, tree: Tree) -> Values:
    above = [record.chain[:count] for count in range(len(record.chain), 0, -1)]
    return Values(record.file, tuple(tree.salts[chain] for chain in above if chain in tree.salts))


def _order(chain: tuple[str, ...], seq: int, tree: Tree) -> tuple[int, ...]:
    return (*(tree.seqs.get(chain[:count], 0) for count in range(3, len(chain) + 1)), seq)


def default_name(chain: tuple[str, ...], id: str) -> str:
    """What the tool calls an object that was given no name: app, scopes, id and stage, joined by hyphens."""
    parts = (*chain[:1], *chain[2:], id, *chain[1:2])
    return "-".join("".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in part) for part in parts)
