"""Finding in the cloud what a program declares and the state does not know: by explicit name, or by the stage's mark.

The program runs as for a plan, on a copy of what was salvaged, so that it says what it wants without anything being
called. Changes nothing. Neighbour: `rebuilding` writes what is found as creations whose end nobody recorded.
"""

from __future__ import annotations

import re
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alchemy.engine import kinds
from alchemy.engine.calls import describe
from alchemy.engine.context import Context
from alchemy.engine.props import LeftOut, plain_outputs, seal_outputs
from alchemy.engine.resource import Resource
from alchemy.engine.session import Run, Session, different_target
from alchemy.errors import RunFailed, UsageError
from alchemy.model.changes import Change
from alchemy.model.fold import Fold
from alchemy.model.masking import is_unsealed
from alchemy.model.naming import physical_name, plain_name
from alchemy.model.paths import ScopePath
from alchemy.model.records import Op, Put
from alchemy.model.text import safe_text
from alchemy.model.values import Desired, ResourceState, ScopeKind, Status, Target
from alchemy.operations.destroying import stored_session
from alchemy.operations.programs import run_program
from alchemy.settings import Invocation, Options, Project
from alchemy.store.beginnings import Beginning
from alchemy.store.keyfiles import ring_path
from alchemy.store.layout import Layout
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from alchemy.store.shelf import shelf_of
from alchemy.store.store import Store

GENERATIONS = 5  # incarnations of one address that are asked for


@dataclass(slots=True)
class Found:
    """`rows` with where each was found; `notes`: what could not be looked for, and why."""

    rows: list[tuple[ResourceState, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    target: Target | None = None


async def search(
    store: Store, path: ScopePath, kind: ScopeKind, known: Fold, program: Path, options: Options, project: Project
) -> Found:
    """What `program` declares in `path`, is not in `known`, and is in the cloud."""
    found = Found()
    wished = await _wishes(store, path, kind, known, program)
    session = stored_session(store, options, project, "plan", None)
    run = Run(session, Ledger(store, path, kind, known))
    try:
        for wish in wished:
            cls = kinds.find(wish.kind)
            if cls is None:
                found.notes.append(f"{wish.address}: no loaded class for the kind {wish.kind}")
                continue
            if cls.cloud:
                found.target = _target(session, known, path)
            await _look_for(run, cls, wish, found)
    finally:
        await session.end(path)
    return found


def _target(session: Session, known: Fold, path: ScopePath) -> Target:
    now = session.connection().target
    if known.target is not None and known.target.account != now.account:
        raise different_target(str(path), known.target, str(now))
    return now


# -- what the program wants


async def _wishes(store: Store, path: ScopePath, kind: ScopeKind, known: Fold, program: Path) -> Sequence[Desired]:
    async with _copy_of(store, path, kind, known) as directory:
        stage = path.name if kind is ScopeKind.STAGE else ""
        asked = Invocation(phase="plan", stage=stage, state_dir=directory, listener=lambda _: None)
        planned: list[Change] = []
        try:
            result = await run_program(program, asked)
        except RunFailed as error:
            raise _unplanned(path, program, error) from error
        runs = [run for run in result.runs if run.ledger.path == path]
        if not runs:
            opened = ", ".join(sorted({str(run.ledger.path) for run in result.runs})) or "no scope"
            raise UsageError(f"{program.name} opens {opened}, not {path}", hint="name the program that deploys it")
        planned = [change for run in runs for change in run.planned]
        unknown = [change.desired for change in planned if change.desired and known.current(change.address) is None]
        return unknown


def _unplanned(path: ScopePath, program: Path, error: RunFailed) -> UsageError:
    causes = "; ".join(why if why.startswith(address) else f"{address}: {why}" for address, why in error.failures)
    way_out = "mend the program, or leave it out: then only what is in files is rebuilt"
    return UsageError(
        f"what {program.name} declares in {path} cannot be told: {safe_text(causes, 500) or error.message}",
        hint="; ".join([*error.hints, way_out]),
    )


@asynccontextmanager
async def _copy_of(original: Store, path: ScopePath, kind: ScopeKind, known: Fold) -> AsyncIterator[Path]:
    """A state directory of its own that holds what is known, and says of no cloud that it was deployed there."""
    with tempfile.TemporaryDirectory(prefix="alchemy-rebuild-") as name:
        store = LocalStore(Layout(Path(name)), uuid.uuid4().hex)
        keys = shelf_of(original).read(ring_path(path.app))
        if keys is not None:
            shelf_of(store).create(ring_path(path.app), keys)
        ops: list[Op] = [Put(replace(row, target=None)) for row in known.scopes.values()]
        ops += [Put(row) for row in known.resources.values()]
        beginning = Beginning(0, 0, 0, known.next_seq, known.lineage, tuple(ops))
        ledger = await Ledger.open(store, path, kind, purpose="rebuild", timeout=1.0, beginning=beginning)
        ledger.close(outcome="done", counts={}, failures=[])
        yield Path(name)


# -- what the cloud has


async def _look_for(run: Run, cls: type[Resource], wish: Desired, found: Found) -> None:
    """Adds the newest incarnation as current, older ones as former.

    One that cannot be looked up is left to the next run; a list that cannot be had ends the search.
    """
    names = list(_names(cls, wish, run.ledger.fold.lineage) or await _alike(run, cls, wish))
    if not names:
        found.notes.append(f"{wish.address}: {_not_found(cls, wish)}; the next deploy makes it")
        return
    known = {row.physical_name for row in run.ledger.fold.resources.values() if row.kind == wish.kind}
    names = [found for found in names if found[0] not in known]  # of one that was moved to another address
    if len(names) > 1 and not names[0][2]:
        several = ", ".join(name for name, _, _ in names)
        found.notes.append(f"{wish.address}: could be any of {several}; name= with adopt=True takes one of them over")
        return
    newest: ResourceState | None = None
    for name, generation, ours in names:
        row = _announced(run, cls, wish, name, generation, ours)
        try:
            seen = await _ask(run, cls.restore(row).read, row)
        except Exception as error:
            found.notes.append(f"{wish.address}: {name} could not be looked up: {describe(error)}; the next run looks")
            found.rows.append((row, f"cloud, not looked up: {name}"))
            return
        if seen is None:
            continue
        instance = cls.restore(row)
        row = replace(row, outputs=seal_outputs(instance, plain_outputs(instance, seen), LeftOut()))
        former = newest is not None
        found.rows.append((replace(row, status=Status.READY, former=True) if former else row, f"cloud: {name}"))
        newest = newest or row


def _not_found(cls: type[Resource], wish: Desired) -> str:
    """Why there is no name to look for."""
    if "name" in wish.unknown:
        return "not looked for: its name is not known before it is deployed"
    if cls.list_names is Resource.list_names:
        return f"not looked for: the mark in its name is lost, and {wish.kind} cannot be listed"
    return "nothing in the cloud is called as this stage would call it"


async def _ask(run: Run, verb: Callable[[Context], Coroutine[Any, Any, Any]], row: ResourceState) -> Any:
    """A look needs no epoch: nothing is announced, nobody is fenced by it."""
    return await run.session.calls.make(lambda: verb(run.context(row)), row.timeout)


def _names(cls: type[Resource], wish: Desired, lineage: str) -> Sequence[tuple[str, int, bool]]:
    """(physical name, generation, its mark says that it is ours), the newest incarnation first."""
    own = wish.props.get("name") if "name" in cls._fields else None
    if isinstance(own, str) and own:
        return [] if "name" in wish.unknown else [(own, 0, False)]
    limit = cls.name_limit
    plain = [(plain_name(wish.address, limit), 0, False)] if wish.adopt else []
    if not lineage:
        return plain
    marked = [(physical_name(lineage, wish.address, number, limit), number, True) for number in range(GENERATIONS)]
    return [*reversed(marked), *plain]


async def _alike(run: Run, cls: type[Resource], wish: Desired) -> Sequence[tuple[str, int, bool]]:
    """The lineage is lost, and with it the mark: objects with a name like this stage would give, and some mark."""
    row = _announced(run, cls, wish, "", 0, ours=False)
    like = re.compile(re.escape(plain_name(wish.address, cls.name_limit - 7)) + "-[0-9a-f]{6}")
    names = await _ask(run, cls.restore(row).list_names, row)
    return [(name, 0, False) for name in sorted(names) if like.fullmatch(name)]


def _announced(run: Run, cls: type[Resource], wish: Desired, name: str, generation: int, ours: bool) -> ResourceState:
    """As after a creation whose end nobody recorded; what it was made with is not known, so its hash is empty."""
    now = run.ledger.store.clock.now()
    return ResourceState(
        address=wish.address,
        kind=wish.kind,
        status=Status.CREATING,
        physical_name=name,
        token=uuid.uuid4().hex,
        props={n: v for n, v in wish.props.items() if n not in wish.unknown and not is_unsealed(v)},
        props_hash="",
        outputs={},
        depends_on=wish.depends_on,
        generation=generation,
        adopted=not ours,
        on_destroy=wish.on_destroy,
        protect=wish.protect,
        retain=wish.retain,
        verify=True,
        module=wish.module,
        timeout=wish.timeout,
        account=run.session.connection().target.account if cls.cloud else "",
        created_at=now,
        updated_at=now,
    )
