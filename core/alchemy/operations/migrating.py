"""Bringing state that another tool wrote into a scope: all of it in one record, or nothing.

`prepare` reads, decides and refuses; `migrate` writes and reads back. The source is never touched. Neighbours:
`imports` has the readers; `moving` moves whole state directories of this tool to another store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alchemy import wiring
from alchemy.errors import AlchemyError, InvalidName, Refused, StateInvalid, UsageError
from alchemy.model.canonical import Json
from alchemy.model.events import Noted
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Emit, Op, Put
from alchemy.model.text import safe_text
from alchemy.model.values import ResourceState, ScopeKind, ScopeState, Target
from alchemy.operations.imports.leftover import FLAT
from alchemy.operations.imports.planning import Plan, make_plan, make_rows
from alchemy.operations.imports.reading import look_at, read_source
from alchemy.operations.imports.source import Hidden
from alchemy.operations.imports.unsealing import Unsealer
from alchemy.settings import Options, Project
from alchemy.store.sealing import Where
from alchemy.store.store import Store

if TYPE_CHECKING:
    from alchemy.store.keyring import KeyRing

_MARK = "migrated"  # the field of the scope's row that says what was brought into it
_CLOUD = "cloudflare:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """What `migrate` would do. `before`: the run that did it; `cut_short`: it wrote everything and never ended."""

    plan: Plan
    owner: ScopePath
    kind: ScopeKind
    target: Target | None
    before: str = ""
    cut_short: bool = False
    notes: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        return bool(self.before) and not self.cut_short


def prepare(store: Store, path: Path, into: ScopePath, options: Options, *, account: str = "") -> Migration:
    """Reads both sides and refuses what cannot be; writes nothing, takes no lock."""
    owner, kind = _owner(store, into)
    look_at(path)
    _refuse_overlap(store, path, owner)
    plan = make_plan(read_source(path), into)
    make_rows(plan, lineage="", run="", at="", first=1, seal=lambda *_: "")  # what has no form is found out now
    fold = store.read_fold(owner)
    before = _before(plan, fold)
    if not before:
        _refuse_rows(plan, fold)
    target, notes = _target(store, plan, fold, options, account)
    return Migration(
        plan=plan,
        owner=owner,
        kind=kind,
        target=target,
        before=before,
        cut_short=not fold.released and before == f"R-{fold.epoch}",
        notes=tuple(notes),
    )


def _owner(store: Store, into: ScopePath) -> tuple[ScopePath, ScopeKind]:
    """Which scope has the journal that `into` is in. InvalidName when it cannot have the name."""
    if len(into.parts) > 1 and into.parts[1].lower() == "test":
        raise UsageError(f"{into} would be a test scope: it is destroyed when its test ends", hint="name a stage")
    kinds = (ScopeKind.APPLICATION, ScopeKind.STAGE, ScopeKind.NESTED)
    stored = store.stored_kind(into)
    owner = ScopePath(into.parts[:2])
    if len(into.parts) == 2 and stored is ScopeKind.NESTED:
        return ScopePath(into.parts[:1]), ScopeKind.APPLICATION
    for name in store.siblings(owner):
        if name != owner.name and name.lower() == owner.name.lower():
            raise InvalidName(f"{owner} and {name} differ only in case", hint=f"did you mean {name}?")
    return owner, kinds[len(owner.parts) - 1]


def _refuse_overlap(store: Store, path: Path, owner: ScopePath) -> None:
    """The files of the new scope would lie among those that they were made from."""
    here, there = path.resolve(), (store.root / str(owner)).resolve()
    if store.remote or not path.is_dir() or ((path / FLAT).is_file() and here == store.root.resolve()):
        return
    if here == there or here in there.parents or there in here.parents:
        raise UsageError(
            f"{safe_text(path)} lies where the state of {owner} will be",
            hint=f"move it away first, `mv {safe_text(path)} {safe_text(path.name.lstrip('.'))}-before`, "
            "and migrate from there",
        )


def _before(plan: Plan, fold: Fold) -> str:
    """The run that brought the same source in, as long as something of it is there."""
    row = fold.scopes.get(str(plan.into))
    mark = row.extra.get(_MARK) if row else None
    if not isinstance(mark, dict) or mark.get("digest") != plan.source.digest or not fold.below(str(plan.into)):
        return ""
    return str(mark.get("run", "R-?"))


def _refuse_rows(plan: Plan, fold: Fold) -> None:
    there = fold.below(str(plan.into))
    if there:
        raise Refused(
            f"{plan.into} holds {len(there)} resources already, {safe_text(there[0].address, 200)} for one",
            hint=f"migrate into an empty scope: --into {plan.into.parts[0]}/another, or {plan.into}/migrated below it",
        )
    named = {*fold.scopes, *fold.resources}
    for address in [str(plan.into), *(row.address for row in plan.rows)]:
        if address in fold.resources or (address != str(plan.into) and address in named):
            raise Refused(f"{safe_text(address, 200)} is taken in the state", hint="migrate into another scope")


def _target(store: Store, plan: Plan, fold: Fold, options: Options, account: str) -> tuple[Target | None, list[str]]:
    """The cloud that the objects are in, as far as it can be told; it becomes the stage's."""
    cloud = [row for row in plan.rows if row.kind.startswith(_CLOUD)]
    if not cloud:
        return fold.target, []
    known = [account] if account else plan.accounts or [options.account_id]
    if len(known) > 1:
        raise UsageError(
            f"the resources are in {len(known)} accounts: {safe_text(', '.join(known), 200)}",
            hint="a stage has one: migrate a part of the source at a time",
        )
    if not known[0]:
        text = "which account the objects are in is not known: the first run decides, so give it the right credentials"
        return fold.target, [f"{text}, or --account here"]
    _, local = wiring.describe_target(store, replace(options, api_token="", account_id=""))
    if local is not None and local.account == known[0]:
        target = local
    else:
        url = options.api_base_url or wiring.CLOUDFLARE
        target = Target(account=known[0], name="Cloudflare", base_url=url)
    _refuse_target(fold, target)
    return fold.target or target, []


def _refuse_target(fold: Fold, target: Target | None) -> None:
    if fold.target is not None and target is not None and fold.target.account != target.account:
        raise Refused(
            f"{fold.path} is deployed to {fold.target}, and the objects are in {target}",
            hint="migrate into another stage",
        )


def know_kinds(project: Project) -> list[str]:
    """Kinds are looked for as for destroying: ours, the project's, the program's. Why the program brings none, if so.

    To be called before `prepare`; the list fills when a kind is looked for.
    """
    from alchemy.engine import kinds
    from alchemy.operations.programs import import_for_kinds

    notes: list[str] = []

    def from_program(_: str) -> None:
        if project.program.is_file():
            try:
                import_for_kinds(project.program)
            except AlchemyError as error:
                notes.append(f"{safe_text(project.program.name)} brings no kinds: {safe_text(error, 200)}")

    kinds.add_loader(wiring.load_kind)
    kinds.set_program(from_program)
    return notes


# -- writing ----------------------------------------------------------------------------------------------------------


async def migrate(
    store: Store,
    migration: Migration,
    options: Options,
    *,
    source_password: str | None,
    password: str | None,
    variable: str = "ALCHEMY_PASSWORD",
    waiting: Callable[[str], None] | None = None,
) -> str:
    """Writes the rows and reads them back; the run's name. Done already: nothing is written.

    `source_password` opens what the source sealed (it came from `variable`), `password` seals it here. A kill at any
    moment leaves the scope as it was or as it shall be; the same call again finishes.
    """
    from alchemy.store.ledger import Ledger

    if migration.done:
        return migration.before
    plan, owner = migration.plan, migration.owner
    unsealer = Unsealer(source_password, variable)
    opened = {} if migration.before else {id(hidden): unsealer.open(hidden) for hidden in plan.hidden}
    store.prepare()
    if migration.kind is ScopeKind.STAGE:
        store.ensure_application(owner)
    ring = _ring(store, owner.app, password) if opened else None
    ledger = await Ledger.open(
        store,
        owner,
        migration.kind,
        purpose="migrate",
        target=str(migration.target) if migration.target else "",
        timeout=options.lock_timeout,
        locking=options.enable_locking,
        waiting=waiting,
        lock_path=plan.into if plan.into != owner else None,
    )
    rows: list[ResourceState] = []
    try:
        if not migration.before:
            _refuse_rows(plan, ledger.fold)  # again, now that nobody else writes
            _refuse_target(ledger.fold, migration.target)
            rows = _rows(migration, ledger.fold, ledger.run, store.clock.now(), ring, opened)
            ledger.backup("before a migration")
            await ledger.intend([*_scope_ops(migration, ledger.fold, ledger.run, store.clock.now()), *map(Put, rows)])
    except BaseException as error:
        ledger.close(outcome="failed", counts={}, failures=[[str(plan.into), safe_text(error, 300)]])
        raise
    ledger.close(outcome="done", counts={}, failures=[])
    verify(store.read_fold(owner), plan.into, rows)
    return migration.before or ledger.run


def verify(fold: Fold, into: ScopePath, rows: list[ResourceState]) -> None:
    """What is stored is what was planned, to the last field; StateInvalid names the first that is not."""
    stored = {row.key: row.to_json() for row in fold.below(str(into))}
    planned = {row.key: row.to_json() for row in rows}
    different = sorted(key for key in {*stored, *planned} if stored.get(key) != planned.get(key))
    if rows and different:
        raise StateInvalid(
            f"what was read back is not what was written: {safe_text(different[0], 200)} differs",
            hint=f"the source is untouched; `alchemy scope validate {fold.path}` looks for damage",
        )


def _ring(store: Store, application: str, password: str | None) -> KeyRing:
    from alchemy.store.keyfiles import open_or_create_ring

    return open_or_create_ring(store, application, password)


def _rows(
    migration: Migration, fold: Fold, run: str, at: str, ring: KeyRing | None, opened: dict[int, Json]
) -> list[ResourceState]:
    def seal(hidden: Hidden, scope: str, resource: str, pointer: str) -> Json:
        assert ring is not None
        return ring.seal(opened[id(hidden)], Where(fold.lineage, fold.path, scope, resource, pointer))

    rows = make_rows(migration.plan, lineage=fold.lineage, run=run, at=at, first=fold.next_seq, seal=seal)
    account = migration.target.account if migration.target else ""
    return [replace(row, account=row.account or account) if row.kind.startswith(_CLOUD) else row for row in rows]


def _scope_ops(migration: Migration, fold: Fold, run: str, at: str) -> list[Op]:
    """The nested scopes, the owner's target, and the mark by which a second try knows the first."""
    plan, ops = migration.plan, list[Op]()
    source = plan.source
    mark = {"tool": source.tool, "from": source.place, "digest": source.digest, "run": run, "at": at}
    for path in [str(path) for path in plan.into.ancestors] + [str(plan.into), *plan.scopes]:
        if not migration.owner.holds(ScopePath.parse(path)):
            continue
        row = fold.scopes.get(path)
        made = row or ScopeState(path=path, kind=ScopeKind.NESTED, created_at=at, updated_at=at, last_run=run)
        extra: dict[str, Any] = dict(made.extra)
        if path == str(plan.into):
            extra[_MARK] = mark
        if plan.scopes.get(path) is not None:
            extra["origin"] = {"tool": source.tool, "data": plan.scopes[path]}
        target = made.target or (migration.target if path == str(migration.owner) else None)
        changed = replace(made, extra=extra, target=target)
        if changed != row:
            ops.append(Put(replace(changed, updated_at=at)))
    ops.append(Emit(Noted(str(plan.into), f"{len(plan.rows)} resources migrated from {safe_text(source.place)}")))
    return ops
