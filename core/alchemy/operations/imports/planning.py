"""Which row each found resource becomes: its address, its name in the cloud, what it needs, what is kept beside it.

Pure. Secrets stay sealed as they were until `rows` is given a function that seals them for their new place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from alchemy.engine.outputs import OutputIndex
from alchemy.errors import AlchemyError, StateInvalid, UsageError
from alchemy.model.canonical import Json, digest, normalise
from alchemy.model.masking import hash_props
from alchemy.model.naming import plain_name
from alchemy.model.paths import ScopePath, address_of, check_id, check_name
from alchemy.model.text import safe_text
from alchemy.model.values import ResourceState
from alchemy.operations.imports.source import Found, Hidden, Linked, Source, Tree, hidden_in, links_in
from alchemy.operations.imports.translation import Translated, kind_of, translate

Sealer: TypeAlias = Callable[[Hidden, str, str, str], Json]  # (value, scope, id, pointer) -> what stands in the row


@dataclass(slots=True)
class Planned:
    """One row to be. `origin` is what the source had and the row has no place for."""

    found: Found
    address: str
    kind: str
    name: str
    translated: Translated
    generation: int = 0
    needs: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Plan:
    """Everything that one source becomes below `into`, in the order of creation."""

    source: Source
    into: ScopePath
    rows: list[Planned] = field(default_factory=list)
    scopes: dict[str, Json] = field(default_factory=dict)  # nested ones, outermost first: path -> data kept with it
    notes: list[str] = field(default_factory=list)

    @property
    def accounts(self) -> list[str]:
        return sorted({row.translated.account for row in self.rows if row.translated.account})

    @property
    def hidden(self) -> list[Hidden]:
        """Every sealed value of the source."""
        trees = [tree for row in self.rows for tree in (row.found.props, row.found.outputs, row.found.pending)]
        return [hidden for tree in trees for hidden in hidden_in(tree)]


def make_plan(source: Source, into: ScopePath) -> Plan:
    """AlchemyError names the file of what cannot become a row."""
    plan = Plan(source, into, notes=list(source.notes))
    names = _Names(into, source, plan.notes)
    generations: dict[str, int] = {}
    current: set[str] = set()
    for found in source.found:
        scope, id = names.scope(found.scope), names.id(found)
        address = address_of(scope, id)
        kind = kind_of(found.kind)
        translated = translate(kind, found.props, found.outputs)
        generation = generations.get(address, 0)
        generations[address] = generation + 1
        if not found.former and address in current:
            raise StateInvalid(
                f"{safe_text(found.file)}: {safe_text(address, 200)} would be there twice",
                hint="rename one of the two in the source",
            )
        if not found.former:
            current.add(address)
        name = translated.name or found.name or plain_name(address)
        notes = [*found.notes, *translated.notes]
        if kind != found.kind:
            notes += [] if kind == found.kind.replace("::", ":") else [f"its kind was {safe_text(found.kind, 80)!r}"]
        if not translated.name and (found.guessed or not found.name):
            notes.append("its name in the cloud is a guess: check it before the next deploy")
        if id != found.id:
            notes.append(f"its id was {safe_text(found.id, 80)!r}")
        plan.rows.append(Planned(found, address, kind, name, translated, generation, notes=notes))
        _add_scopes(plan, scope)
    _link(plan)
    for chain, data in source.data.items():
        plan.scopes[str(names.scope(chain))] = data
        _add_scopes(plan, names.scope(chain))
    plan.scopes = dict(sorted(plan.scopes.items(), key=lambda item: (item[0].count("/"), item[0])))
    return plan


def _add_scopes(plan: Plan, scope: ScopePath) -> None:
    for path in (*scope.ancestors, scope):
        if path != plan.into and plan.into.holds(path):
            plan.scopes.setdefault(str(path), None)


def _link(plan: Plan) -> None:
    """What each row needs: resources inside its props, ids it names, and outputs that stand in its props as text."""
    addresses = {row.found.key: row.address for row in plan.rows}
    index = OutputIndex()
    for row in plan.rows:
        needed = {addresses[key] for key in row.found.needs if key in addresses}
        needed |= {addresses[link.key] for link in links_in(dict(row.found.props)) if link.key in addresses}
        needed |= {address for text in _texts(row.translated.props) for address in index.sources(text)}
        row.needs = tuple(sorted(needed - {row.address}))
        if not row.found.former:
            index.add(row.address, {n: v for n, v in row.translated.outputs.items() if isinstance(v, str)})


def _texts(tree: Tree) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Mapping):
        for item in tree.values():
            yield from _texts(item)
    elif isinstance(tree, list):
        for item in tree:
            yield from _texts(item)


# -- rows -------------------------------------------------------------------------------------------------------------


def make_rows(plan: Plan, *, lineage: str, run: str, at: str, first: int, seal: Sealer) -> list[ResourceState]:
    """`first` numbers the first row in the order of creation. StateInvalid names the file of what has no form."""
    by_key = {row.found.key: row for row in plan.rows}
    made: list[ResourceState] = []
    for number, row in enumerate(plan.rows):
        try:
            trees = _trees(plan, row, by_key, seal)
        except UsageError as error:
            raise StateInvalid(f"{safe_text(row.found.file)}: {error.message}", hint=error.hint) from error
        made.append(
            ResourceState(
                address=row.address,
                kind=row.kind,
                status=row.found.status,
                physical_name=row.name,
                token=digest([lineage, plan.source.digest, row.found.key], 32),
                props=trees["props"],
                props_hash=hash_props(trees["props"]),
                outputs=trees["outputs"],
                depends_on=row.needs,
                pending=trees["pending"],
                seq=first + number,
                generation=row.generation,
                former=row.found.former,
                retain=row.translated.retain,
                verify=True,
                account=row.translated.account,
                run=run,
                created_at=at,
                updated_at=at,
                extra={"origin": trees["origin"]},
            )
        )
    return made


def _trees(plan: Plan, row: Planned, by_key: dict[str, Planned], seal: Sealer) -> dict[str, Any]:
    """Props, outputs, pending and origin of one row as they are stored."""
    found, (scope, _, id) = row.found, row.address.rpartition("/")

    def stored(tree: Tree, name: str, place: str = "") -> Json:
        pointer = "/" + (place or name).replace(".", "/")
        made = _stored(tree, pointer, by_key, lambda hidden, place: seal(hidden, scope, id, place))
        return normalise(made, f"{row.address}.{name}")

    trees = {"props": stored(row.translated.props, "props"), "outputs": stored(row.translated.outputs, "outputs")}
    trees["pending"] = None
    if found.pending is not None:
        trees["pending"] = stored(translate(row.kind, found.pending, found.outputs).props, "pending", "props")
    origin: dict[str, Any] = {"tool": plan.source.tool, "file": found.file, "kind": found.kind, "id": found.id}
    if not row.translated.exact:
        origin |= {"props": stored(found.props, "origin.props"), "outputs": stored(found.outputs, "origin.outputs")}
    return {**trees, "origin": origin}


def _stored(tree: Tree, pointer: str, rows: dict[str, Planned], seal: Callable[[Hidden, str], Json]) -> Json:
    """As the engine stores it: resources as references, sealed values in place, `$` escaped in keys of the user's."""
    if isinstance(tree, Hidden):
        return seal(tree, pointer)
    if isinstance(tree, Linked):
        row = rows.get(tree.key)
        if row is None:
            return _stored(tree.outputs, pointer, rows, seal)
        known = row.translated.outputs if not row.found.former else tree.outputs
        kept = {name: value for name, value in known.items() if name != "etag"}
        inside = _stored(kept, f"{pointer}/outputs", rows, seal)
        return {"$resource": row.address, "kind": row.kind, "outputs": inside}
    if isinstance(tree, Mapping):
        return {
            "$" + key if key.startswith("$") else key: _stored(item, f"{pointer}/{_step(key)}", rows, seal)
            for key, item in tree.items()
        }
    if isinstance(tree, list):
        return [_stored(item, f"{pointer}/{number}", rows, seal) for number, item in enumerate(tree)]
    return tree


def _step(key: str) -> str:
    name = "$" + key if key.startswith("$") else key
    return name.replace("~", "~0").replace("/", "~1")


# -- names ------------------------------------------------------------------------------------------------------------


class _Names:
    """Scopes and ids inside our grammar, still unique. A scope never has the name of a resource beside it."""

    def __init__(self, into: ScopePath, source: Source, notes: list[str]) -> None:
        self._into = into
        self._notes = notes
        self._scopes: dict[tuple[str, ...], ScopePath] = {(): into}
        self._taken: dict[tuple[str, ...], set[str]] = {}
        for found in source.found:
            self._taken.setdefault(found.scope, set()).add(self.id(found).casefold())

    def id(self, found: Found) -> str:
        try:
            return check_id(found.id.replace("/", ":"))
        except AlchemyError as error:
            raise StateInvalid(f"{safe_text(found.file)}: {error.message}", hint=error.hint) from error

    def scope(self, chain: tuple[str, ...]) -> ScopePath:
        known = self._scopes.get(chain)
        if known is not None:
            return known
        parent = self.scope(chain[:-1])
        taken = self._taken.setdefault(chain[:-1], set())
        plain = _plain(chain[-1])
        name = f"{plain[:58]}-in" if plain.casefold() in taken else plain
        number = 2
        while name.casefold() in taken:
            name, number = f"{plain[:56]}-{number}", number + 1
        taken.add(name.casefold())
        if name != chain[-1]:
            self._notes.append(f"the scope {safe_text('/'.join(chain), 200)!r} is called {parent}/{name} here")
        self._scopes[chain] = parent.child(name)
        return self._scopes[chain]


def _plain(name: str) -> str:
    """The nearest name that a scope may have."""
    made = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    made = re.sub(r"\.\.+", ".", made).strip(".-_")[:56].rstrip(".-") or "scope"
    try:
        return check_name(made)
    except AlchemyError:
        return check_name(f"{made}-scope")
